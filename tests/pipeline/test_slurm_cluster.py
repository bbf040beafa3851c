"""dask-jobqueue's own SLURMCluster with an sbatch and a scancel that run jobs on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mnbatch.errors import UsageError
from mnbatch.pipeline.cluster_opening import open_cluster
from tests.in_process import mnbatch
from tests.pipeline.conftest import write_random_model, write_slide

dask = pytest.importorskip("dask")
pytest.importorskip("dask_jobqueue")

# Jobs are process groups of their own, named by their first process. They see only the network of this machine.
SBATCH = """#!/bin/bash
cp "${@: -1}" "$JOBS/script.$$"
setsid bash "$JOBS/script.$$" > "$JOBS/out.$$" 2>&1 < /dev/null &
echo $! >> "$JOBS/submitted"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job; do
  kill -TERM -- "-$job" 2>/dev/null
  while kill -0 -- "-$job" 2>/dev/null; do sleep 0.05; kill -KILL -- "-$job" 2>/dev/null; done
  echo "$job" >> "$JOBS/cancelled"
done
"""


def where(_: int) -> tuple[int, str]:
    """In which process of which job."""
    return os.getpid(), os.environ["OF_JOB"]


@pytest.mark.skipif(os.name == "nt", reason="Slurm is not there")
def test_jobs_of_slurm_are_workers_and_end_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL), ("squeue", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(jobs))
    # On a busy machine a worker needs more than the minute after which dask-jobqueue, or a nanny, ends it.
    monkeypatch.setitem(dask.config.config["jobqueue"]["slurm"], "death-timeout", 900)
    described = tmp_path / "slurm.toml"
    described.write_text(
        "[slurm]\njobs = 2\ncores = 1\nmemory = '2GB'\nqueue = 'short'\ninterface = 'lo'\n"
        "job_script_prologue = ['export OF_JOB=$$']\nworker_extra_args = ['--no-nanny']\n"
        f"python = '{sys.executable}'\nlog_directory = '{jobs}'\nlocal_directory = '{jobs}'\n"
    )
    with open_cluster(str(described)) as client:
        client.wait_for_workers(2, timeout=900)
        workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
        answers = [client.submit(where, 0, workers=[worker], pure=False).result(900) for worker in workers]
        submitted = (jobs / "submitted").read_text().split()
        script = next(jobs.glob("script.*")).read_text()
    assert {job for _, job in answers} == set(submitted)
    assert len(submitted) == 2
    assert "#SBATCH -p short" in script
    assert sorted((jobs / "cancelled").read_text().split()) == sorted(submitted)
    assert not [job for job in submitted if Path(f"/proc/{job}").exists()]


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """A run of one slide by jobs of Slurm, which would wait for an hour for the first of them."""
    write_slide(tmp_path / "export/D/S", 0, cells=4)
    write_random_model(tmp_path / "model", 1, ("fluorescence", "giemsa"))
    described = tmp_path / "slurm.toml"
    described.write_text("[slurm]\njobs = 2\ncores = 1\nmemory = '2GB'\ninterface = 'lo'\nqueue = 'nonesuch'\n")
    options = ["--layout", "donor-slide-folders", "--model", tmp_path / "model", "--device", "cpu"]
    options += ["--cluster", described, "--cluster-timeout", 3600]
    return ["run", tmp_path / "export", "--out", tmp_path / "out", *options]


@pytest.mark.skipif(os.name == "nt", reason="Slurm is not there")
@pytest.mark.parametrize(
    ("sbatch", "said"),
    [
        (None, "No job was started: sbatch cannot be run: No such file or directory."),
        (
            "#!/bin/sh\necho 'sbatch: error: invalid partition specified: nonesuch' >&2\nexit 1\n",
            "No job was started: sbatch refuses the job: sbatch: error: invalid partition specified: nonesuch.",
        ),
        ("#!/bin/sh\nexit 3\n", "No job was started: sbatch refuses the job: exit status 3."),
        ("#!/bin/sh\necho later\n", "No job was started: sbatch does not say the number of its job: later."),
    ],
)
def test_a_batch_system_that_takes_no_job_ends_the_run_at_once_in_its_own_words(
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    sbatch: str | None,
    said: str,
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    if sbatch is not None:
        (tools / "sbatch").write_text(sbatch)
        (tools / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    done = mnbatch(*arguments)
    assert (done.returncode, said in done.stderr) == (10, True), done.stderr
    everything = done.stderr + done.stdout + "".join(capfd.readouterr()) + caplog.text
    assert "Traceback" not in everything
    assert "exception" not in everything.lower()


REFUSES_THE_SECOND = """#!/bin/bash
if mkdir "$JOBS/first" 2>/dev/null; then sleep 600 > /dev/null 2>&1 & echo "Submitted batch job $!"; exit; fi
echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
exit 1
"""


@pytest.mark.skipif(os.name == "nt", reason="Slurm is not there")
def test_jobs_that_are_not_taken_are_named_and_the_run_goes_on(
    arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was taken never becomes a worker here, so this run then waits as long as it was told."""
    for name, text in (("sbatch", REFUSES_THE_SECOND), ("scancel", "#!/bin/sh\nkill $1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path))
    done = mnbatch(*arguments[:-1], 3)
    assert done.returncode == 10
    assert (
        done.stderr.count("warning: 1 of 2 jobs were not started: sbatch refuses the job: sbatch: error: QOSMax") == 1
    )
    assert "No worker of the cluster" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Slurm is not there")
def test_what_dask_cannot_use_is_said_in_its_words(tmp_path: Path) -> None:
    described = tmp_path / "slurm.toml"
    (tmp_path / "file").write_text("")
    logs = tmp_path / "file/logs"
    described.write_text(f"[slurm]\njobs = 1\ncores = 1\nmemory = '2GB'\nlog_directory = '{logs}'\n")
    with pytest.raises(UsageError, match=r"slurm\.toml cannot be used: Not a directory"), open_cluster(str(described)):
        pass

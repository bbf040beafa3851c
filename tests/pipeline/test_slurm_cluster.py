"""dask-jobqueue's own SLURMCluster with an sbatch and a scancel that run jobs on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mnbatch.pipeline.cluster_opening import open_cluster

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

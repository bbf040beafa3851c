"""The recipes of docs/operations.md, each as far as it can be tried without the system that it is for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mnbatch.settings import read_settings_file

PAGE = (Path(__file__).resolve().parents[1] / "docs/operations.md").read_text(encoding="utf-8")
CHECKOUT = str(Path(__file__).resolve().parents[1])


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE)


def program(path: Path) -> Path:
    """A `mnbatch` as an installation has it."""
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -m mnbatch "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_units_are_what_systemd_takes(tmp_path) -> None:
    mnbatch = program(tmp_path / "mnbatch")
    names = []
    for text in blocks("ini"):
        first, unit = text.split("\n", 1)
        name = Path(first.removeprefix("# ")).name.replace("@.", "@scanner1.")
        (tmp_path / name).write_text(unit.replace("/opt/mnbatch/bin/mnbatch", str(mnbatch)))
        names.append(str(tmp_path / name))
    assert len(names) == 4
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_settings_file_is_one(tmp_path) -> None:
    (text,) = (block for block in blocks("toml") if "[status]" in block)
    (tmp_path / "lab.toml").write_text(text)
    assert set(read_settings_file(tmp_path / "lab.toml")) == {"run", "status", "ack"}
    assert tomllib.loads(text)["status"] == {"max-age": "26h"}


def test_a_command_runs_as_cron_runs_it(tmp_path) -> None:
    """No profile, cron's PATH, the whole path of the program, the settings file in a variable."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "batch.json").write_text("{}")
    (tmp_path / "lab.toml").write_text("[status]\nquiet = true\n")
    line = f"{program(tmp_path / 'mnbatch')} status {out}"
    bare = {"HOME": "/", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "MNBATCH_CONFIG": str(tmp_path / "lab.toml")}
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, env=bare, cwd="/")
    assert (done.returncode, done.stderr) == (6, "")
    assert done.stdout == "look: no run is known to have finished here (0 of 0 slides counted)\n"


def test_the_mail_is_written_where_something_failed(tmp_path) -> None:
    (script,) = (block for block in blocks("sh") if "/etc/mnbatch/tell" in block)
    (tmp_path / "mail").write_text(f'#!/bin/sh\n{{ printf "%s|" "$@"; cat; }} > "{tmp_path}/sent"\n')
    (tmp_path / "mail").chmod(0o755)
    (tmp_path / "tell").write_text(script.replace("/opt/mnbatch/bin/python", sys.executable))
    for code in (0, 3):
        night = json.dumps({"exit_code": code, "summary": "# mnbatch: the run finished\n\nD1 failed\n"})
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(["sh", str(tmp_path / "tell")], input=night, text=True, check=True, env=env)
        assert (tmp_path / "sent").exists() == bool(code)
    sent = (tmp_path / "sent").read_text()
    assert sent.startswith("-s|mnbatch: the run finished|lab@example.org|# mnbatch")


@pytest.mark.parametrize(
    ("stub", "code"), [("exit 3", 3), ("trap 'sleep 0.2; exit 143' TERM; kill -TERM $PPID; sleep 9 & wait", 143)]
)
def test_a_slurm_job_gives_the_exit_code_of_its_run(tmp_path, stub, code) -> None:
    (script,) = (block for block in blocks("sh") if "#SBATCH" in block)
    (tmp_path / "mnbatch").write_text(f'#!/bin/bash\necho "$@" > "{tmp_path}/typed"\n{stub}\n')
    (tmp_path / "mnbatch").chmod(0o755)
    env = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_CPUS_PER_TASK": "2", "MNBATCH": str(tmp_path / "mnbatch")}
    done = subprocess.run(["bash", "-c", script], check=False, env={**os.environ, **env})
    assert done.returncode == code
    assert (tmp_path / "typed").read_text() == "run /mnt/scanner/scanner2 --out /data/mn/scanner2 --quiet\n"

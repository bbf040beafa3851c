"""The shim sees what the kernel sees, and a fault comes where it was asked for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, pathlib, sys
root = pathlib.Path(sys.argv[1])
if len(sys.argv) > 2:
    from tests.campaign.faults import Faults, FaultPlan
    plan = None if sys.argv[2] == "count" else FaultPlan(int(sys.argv[3]), sys.argv[2])
    faults = Faults(str(root), plan)
    faults.install()
from mnbatch.results.out_files import write_atomically
(root / "sub").mkdir()
write_atomically(root / "sub/a.bin", b"x" * 50_000, durable=True)
with (root / "rows.csv").open("w", encoding="utf-8") as file:
    for i in range(4000):
        file.write(f"{i},row\\n")
with open(root / "rows.csv", "a+b") as file:
    file.truncate(10)
    file.write(b"tail")
os.rename(root / "rows.csv", root / "b.csv")
os.unlink(root / "b.csv")
if len(sys.argv) > 2:
    print(len(faults.seen), " ".join(kind for kind, _ in faults.seen))
"""


def played(root: Path, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    root.mkdir()
    command = [*before, sys.executable, "-c", PROGRAM, str(root), *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace on this machine")
def test_the_shim_counts_what_strace_counts(tmp_path):
    calls = "write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,mkdir,mkdirat,unlink,unlinkat,rmdir,openat,open"
    trace = tmp_path / "trace"
    strace = ("strace", "-f", "-y", "-o", str(trace), "-e", f"trace={calls}")
    done = played(tmp_path / "traced", before=strace)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    root, kernel = str(tmp_path / "traced"), []
    for line in trace.read_text(errors="replace").splitlines():
        opened = "open" in line.split("(")[0]
        if f"{root}/" in line and (not opened or re.search("O_WRONLY|O_RDWR|O_CREAT", line)):
            kernel.append(line)
    counted = played(tmp_path / "counted", "count")
    assert counted.returncode == 0, counted.stderr
    assert int(counted.stdout.split()[0]) == len(kernel), (counted.stdout, "\n".join(kernel))
    assert len(kernel) > 15


def test_a_fault_comes_at_its_event(tmp_path):
    assert played(tmp_path / "a", "kill", "0").returncode == -9
    assert not (tmp_path / "a/sub").exists()
    torn = played(tmp_path / "b", "torn", "2")
    assert torn.returncode == -9
    (left,) = (tmp_path / "b/sub").iterdir()
    assert left.stat().st_size == 25_000
    full = played(tmp_path / "c", "ENOSPC", "2")
    assert full.returncode == 1
    assert "is full" in full.stderr
    assert "Input/output error" in played(tmp_path / "d", "EIO", "3").stderr

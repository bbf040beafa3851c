"""Processes that draw or read for another one end with it, also where it was killed and could tell nobody."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mnbatch.processes import runs, started

POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from mnbatch.training.synthetic_cells import begin_drawing
from mnbatch.processes import end_with_parent

if __name__ == "__main__":
    first = {"drawing": begin_drawing, "end_with_parent": end_with_parent}[sys.argv[1]]
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), initializer=first)
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
@pytest.mark.parametrize("first", ["drawing", "end_with_parent"])
def test_processes_of_a_pool_end_when_the_program_is_killed(tmp_path, first):
    """A killed training left processes behind that drew cells for nobody, and then waited for ever."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    program = subprocess.Popen([sys.executable, str(script), first], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pids = [int(word) for word in program.stdout.readline().split()]
    assert pids
    born = {pid: started(pid) or "" for pid in pids}
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    program.stdout.close()
    until = time.monotonic() + 120
    while left := [pid for pid in pids if runs(pid, born[pid])]:
        assert time.monotonic() < until, f"{left} still run"
        time.sleep(0.05)

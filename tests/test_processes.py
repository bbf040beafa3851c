"""Processes that draw or read for another one end with it, also where it was killed and could tell nobody."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mnbatch.processes import runs, started

POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from mnbatch.one_thread_processes import OneThreadContext
from mnbatch.processes import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, OneThreadContext(), initializer=end_with_parent)
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
def test_processes_of_a_pool_end_when_the_program_is_killed(tmp_path):
    """A killed training left processes behind that drew cells for nobody, and then waited for ever."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    program = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
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

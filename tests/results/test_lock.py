import json
import multiprocessing
import os
import signal
import socket
import time

import pytest

from mnbatch.errors import LockHeldError
from mnbatch.results.lock import current_holder, hold_lock, read_holder


def hold_until_killed(path, ready):
    with hold_lock(path):
        ready.set()
        time.sleep(60)


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock.json"


@pytest.fixture
def other_process(lock):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold_until_killed, args=(lock, ready))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_run_is_refused_and_told_who_holds_it(lock, other_process):
    with (
        pytest.raises(LockHeldError, match=f"process {other_process.pid} on host {socket.gethostname()}"),
        hold_lock(lock),
    ):
        pass


def test_a_killed_holder_is_taken_over_at_once(lock, other_process):
    os.kill(other_process.pid, signal.SIGKILL)
    other_process.join()
    assert read_holder(lock).pid == other_process.pid
    assert current_holder(lock) is None
    with hold_lock(lock) as me:
        assert me.pid == os.getpid()


def test_a_released_lock_names_nobody_and_can_be_taken_again(lock):
    with hold_lock(lock):
        assert read_holder(lock).pid == os.getpid()
    assert read_holder(lock) is None
    with hold_lock(lock):
        pass


def test_another_host_is_waited_for_until_its_heartbeat_stops(lock):
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": time.time()}))
    with pytest.raises(LockHeldError, match="elsewhere"), hold_lock(lock):
        pass
    old = time.time() - 3600
    os.utime(lock, (old, old))
    with hold_lock(lock) as me:
        assert me.host == socket.gethostname()


def test_a_dead_process_of_this_host_is_taken_over_without_kernel_locks(lock, monkeypatch):
    monkeypatch.setattr("mnbatch.results.lock._try_kernel_lock", lambda file: None)
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1, "start": 0}))
    with hold_lock(lock):
        pass
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid(), "start": 0}))
    with pytest.raises(LockHeldError), hold_lock(lock):
        pass

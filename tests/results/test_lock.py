import json
import multiprocessing
import os
import shutil
import signal
import socket
import time
from dataclasses import replace

import pytest

from mnbatch.errors import LockHeldError, StorageError
from mnbatch.processes import this_process
from mnbatch.results import lock as locks
from mnbatch.results.lock import check_still_held, current_holder, hold_lock, read_holder


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
    with hold_lock(lock, look_seconds=0) as me:
        assert me.host == socket.gethostname()


def test_a_dead_process_of_this_host_is_taken_over_without_kernel_locks(lock, monkeypatch):
    monkeypatch.setattr("mnbatch.results.lock.try_kernel_lock", lambda file: None)
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1, "start": 0}))
    with hold_lock(lock):
        pass
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid(), "start": 0}))
    with pytest.raises(LockHeldError), hold_lock(lock):
        pass


def elsewhere(lock, **change):
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "start": 1e9, "token": "theirs"} | change))


def age(lock, seconds):
    then = time.time() - seconds
    os.utime(lock, (then, then))


@pytest.mark.parametrize("ahead", [900, 90_000, -900])
def test_a_lock_is_judged_by_the_clock_of_the_share(lock, monkeypatch, ahead):
    """Our clock, 900 s ahead, took a fresh lock of another host for a dead one: two runs in one OUT."""
    elsewhere(lock)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    with pytest.raises(LockHeldError, match="elsewhere"), hold_lock(lock, look_seconds=0):
        pass
    assert current_holder(lock).host == "elsewhere"
    monkeypatch.undo()
    age(lock, 700)
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    with hold_lock(lock, look_seconds=0):
        pass


def test_a_lock_dated_ahead_is_not_stale(lock):
    elsewhere(lock)
    age(lock, -90_000)
    with pytest.raises(LockHeldError, match="elsewhere"), hold_lock(lock, look_seconds=0):
        pass


def test_a_heartbeat_that_moves_between_two_looks_is_alive_whatever_its_date(lock, monkeypatch):
    elsewhere(lock)
    age(lock, 7200)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: age(lock, 7190))
    with pytest.raises(LockHeldError, match="elsewhere"), hold_lock(lock):
        pass


@pytest.mark.parametrize("kernel", [True, None])
def test_a_process_number_that_is_used_again_holds_nothing(lock, monkeypatch, kernel):
    me = this_process()
    known = {"host": me.host, "boot": me.boot, "space": me.space, "pid": os.getppid(), "start": 1e9}
    monkeypatch.setattr(locks, "try_kernel_lock", lambda file: kernel)
    lock.write_text(json.dumps(known | {"process_start": "1"}))
    assert current_holder(lock) is None
    with hold_lock(lock) as holder:
        assert read_holder(lock) == replace(holder, path=None)


@pytest.mark.parametrize("pid", [2**70, -1, 0])
def test_an_impossible_process_number_is_dead(lock, pid):
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": pid, "start": 1e308}))
    assert current_holder(lock) is None
    with hold_lock(lock):
        pass


NOBODY = ["[", "[]", "3", '{"pid": 3}', '{"host": "a", "pid": "x"}', "[" * 5000, "\x00\xff", '{"host":"a","pid":1.5}']


@pytest.mark.parametrize("text", NOBODY)
def test_a_lock_that_names_nobody_is_said_and_lapses_where_the_kernel_cannot_tell(lock, text, monkeypatch):
    monkeypatch.setattr(locks, "try_kernel_lock", lambda file: None)
    lock.write_text(text)
    with pytest.raises(LockHeldError, match="cannot be understood"), hold_lock(lock, look_seconds=0):
        pass
    age(lock, 700)
    with hold_lock(lock, look_seconds=0):
        pass


@pytest.mark.parametrize("text", NOBODY)
def test_a_lock_torn_by_a_kill_is_free_after_two_looks(lock, text, monkeypatch):
    lock.write_text(text)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: None)
    with hold_lock(lock) as holder:
        assert read_holder(lock) == replace(holder, path=None)


def test_a_lock_whose_text_is_finished_between_two_looks_is_held(lock, monkeypatch):
    whole = json.dumps({"host": "elsewhere", "pid": 3, "start": 1e9})
    lock.write_text(whole[:20])
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: lock.write_text(whole))
    with pytest.raises(LockHeldError), hold_lock(lock):
        pass


def test_what_is_no_file_is_said(lock):
    os.mkfifo(lock)
    assert read_holder(lock) is None
    with pytest.raises(StorageError, match="not a file"), hold_lock(lock):
        pass


def test_a_lock_copied_with_its_folder_holds_nothing(lock, other_process, tmp_path):
    copy = tmp_path / "copy" / "lock.json"
    copy.parent.mkdir()
    shutil.copy2(lock, copy)
    assert current_holder(lock).pid == other_process.pid
    assert current_holder(copy) is None
    with hold_lock(copy):
        pass


def test_a_container_on_the_same_machine_is_seen_by_the_kernel_or_waited_for(lock):
    me = this_process()
    lock.touch()
    beside = {"host": "container", "boot": me.boot, "space": "pid:[1]", "pid": 1, "inode": lock.stat().st_ino}
    elsewhere(lock, **beside)
    with hold_lock(lock):
        pass
    elsewhere(lock, **beside | {"boot": "other"})
    with pytest.raises(LockHeldError, match="container"), hold_lock(lock, look_seconds=0):
        pass


def test_a_run_whose_lock_was_taken_over_commits_nothing_and_leaves_the_other_alone(lock):
    with hold_lock(lock) as me:
        assert me.still_mine()
        check_still_held(lock)
        elsewhere(lock)
        assert not me.still_mine()
        with pytest.raises(LockHeldError, match="taken over by process 7 on host elsewhere"):
            check_still_held(lock)
    assert read_holder(lock).host == "elsewhere"
    check_still_held(lock)


def test_where_the_system_cannot_tell_no_process_is_touched(lock, monkeypatch):
    """On Windows, asking about a process by a signal ends it."""
    monkeypatch.setattr("mnbatch.processes.os.name", "nt")
    monkeypatch.setattr("mnbatch.processes.started", lambda pid: None)
    monkeypatch.setattr("mnbatch.processes.os.kill", lambda *a: pytest.fail("a signal was sent"))
    monkeypatch.setattr(locks, "try_kernel_lock", lambda file: None)
    assert locks.runs(4, "") is None


def test_a_disk_that_takes_half_of_the_lock_blocks_nobody_afterwards(lock, monkeypatch):
    real = locks.open_lock

    class Half:
        def __init__(self, file):
            self._file = file

        def write(self, data):
            return self._file.write(data[: len(data) // 2])

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

    monkeypatch.setattr(locks, "open_lock", lambda path: Half(real(path)))
    with pytest.raises(StorageError, match="is full"), hold_lock(lock):
        pass
    monkeypatch.undo()
    with hold_lock(lock):
        pass

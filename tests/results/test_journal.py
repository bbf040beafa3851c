"""Annotations change as a whole or not at all: on a full disk, and at a kill, whichever write it meets."""

import errno
import io
import os
import shutil
from concurrent.futures import ProcessPoolExecutor

import pytest

from mnbatch.errors import MnbatchError, StorageError
from mnbatch.results import annotations
from mnbatch.results.checksums import checksum
from mnbatch.results.paths import OutPaths

TRAILS = 2
ROWS = 120


class Killed(BaseException):
    """In place of a signal: nothing after it runs, `except Exception` does not catch it."""


@pytest.fixture
def paths(tmp_path):
    found = OutPaths(tmp_path / "out")
    annotations.change(found, append={found.signatures: [{"n": -1}]}, replace={found.samples: b"old"})
    return found


def import_(paths):
    rows = {paths.review_trail(f"s{i}"): [{"n": n} for n in range(ROWS)] for i in range(TRAILS)}
    annotations.change(paths, append=rows, replace={paths.samples: b"new"})


def count(paths):
    trails = [annotations.read(paths, paths.review_trail(f"s{i}")) or b"" for i in range(TRAILS)]
    return sum(trail.count(b"\n") for trail in trails), annotations.read(paths, paths.samples)


class Faults:
    """Counts writes, syncs, renames and removals below OUT, and fails at one of them."""

    def __init__(self, patch, at, fault):
        self.seen, self._at, self._fault = 0, at, fault
        for name in ("fsync", "replace", "unlink", "open", "mkdir"):
            patch.setattr(os, name, self._counted(getattr(os, name)))
        opened, faults = os.fdopen, self

        def fdopen(*args, **kwargs):
            file = opened(*args, **kwargs)
            return Writes(file, faults) if file.writable() else file

        patch.setattr(os, "fdopen", fdopen)

    def event(self, half=None):
        self.seen += 1
        if self.seen == self._at:
            if half is not None:
                half()
            raise self._fault

    def _counted(self, real):
        def call(*args, **kwargs):
            self.event()
            return real(*args, **kwargs)

        return call


class Writes:
    """A file that writes half of what it was given where it fails."""

    def __init__(self, file, faults):
        self._file, self._faults = file, faults

    def write(self, data):
        def half():
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.event(half)
        return self._file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def events(paths):
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch, -1, Killed())
        import_(paths)
        return faults.seen


def stop(paths):
    """What the import said; None where it went through."""
    try:
        import_(paths)
    except (Killed, MnbatchError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize(
    "fault", [Killed(), OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O")]
)
@pytest.mark.usefixtures("paths")
def test_all_or_nothing_at_every_event_and_nothing_twice(tmp_path, fault):
    def fresh(name):
        shutil.copytree(tmp_path / "out", tmp_path / name)
        return OutPaths(tmp_path / name)

    number = events(fresh("count"))
    assert number > 4 * TRAILS
    seen = set()
    for at in range(1, number + 1):
        paths = fresh(f"fault{at}")
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, at, fault)
            said = stop(paths)
            assert faults.seen >= at
        found = count(paths)
        if said is None:
            # A fault that harms nothing, as at the release of the lock.
            assert found[0] == TRAILS * ROWS, f"event {at}"
        elif not isinstance(fault, Killed):
            assert isinstance(said, MnbatchError), f"event {at}"
        assert found in ((0, b"old"), (TRAILS * ROWS, b"new")), f"event {at}"
        seen.add(found[0])
        annotations.settle(paths)
        assert count(paths) == found, f"event {at}"
        assert not paths.journal.exists()
        for i in range(TRAILS):
            path = paths.review_trail(f"s{i}")
            assert annotations.altered_trail(paths, path, annotations.read(paths, path)) == (), f"event {at}"
    assert seen == {0, TRAILS * ROWS}


def test_the_next_change_puts_the_last_one_in_its_place_first(paths):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations, "_put_in_place", lambda paths, changes: None)
        annotations.change(paths, append={paths.signatures: [{"n": 0}]})
    assert paths.journal.exists()
    assert annotations.read(paths, paths.signatures).count(b"\n") == 2
    annotations.change(paths, append={paths.signatures: [{"n": 1}]})
    data = paths.signatures.read_bytes()
    assert data.count(b"\n") == 3
    assert annotations.altered_trail(paths, paths.signatures, data) == ()


def test_what_is_kept_in_the_journal_is_said(paths, monkeypatch):
    monkeypatch.setattr(annotations, "_apply", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(StorageError, match="All of it is kept"):
        import_(paths)
    assert count(paths) == (TRAILS * ROWS, b"new")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"changes": [], "checksum": ""}', b"\xff", b"[" * 100_000])
def test_a_damaged_journal_is_named(paths, data):
    paths.journal.write_bytes(data)
    with pytest.raises(StorageError, match=r"\.journal is damaged"):
        annotations.read(paths, paths.samples)


def test_a_journal_reaches_no_file_outside(paths):
    for name in ("../batch.json", "/etc/passwd", "a/../../b"):
        paths.journal.write_bytes(annotations._dump([annotations._Change(name, None, b"x")]))
        with pytest.raises(StorageError, match="outside"):
            annotations.settle(paths)


def test_seals_hold_what_was_written(paths):
    seals = annotations.read_seals(paths)
    assert seals.files == {"samples.csv": checksum(b"old")}
    assert seals.trails["signatures.jsonl"].lines == 1
    paths.checksums.write_bytes(paths.checksums.read_bytes().replace(b'"lines": 1', b'"lines": 2'))
    assert "checksum" in annotations.read_seals(paths).damaged


def _append(root, writer):
    paths = OutPaths(root)
    for number in range(10):
        annotations.change(paths, append={paths.signatures: [{"writer": writer, "n": number}]})


def test_writers_at_once_lose_nothing(paths):
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(_append, [paths.root] * 3, range(3)))
    data = paths.signatures.read_bytes()
    assert data.count(b"\n") == 31
    assert annotations.altered_trail(paths, paths.signatures, data) == ()
    assert io.BytesIO(data).readline().startswith(b'{"n": -1')

import errno
import os

import pytest

from mnbatch.errors import StorageError
from mnbatch.results.out_files import stream_if_changed, write_atomically


def test_a_write_replaces_the_whole_file(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"old and long")
    write_atomically(path, b"new", durable=True)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_full_disk_keeps_the_old_bytes_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="is full"):
        write_atomically(path, b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"no/such/place\.csv"):
        write_atomically(tmp_path / "no/such/place.csv", b"")


@pytest.mark.parametrize(
    "pieces", [[b"ab", b"cd"], [b"ab", b"cd", b"e"], [b"ab"], [b"ab", b"xd"], [b"x", b"bcd"], [b"abc", b"xyz"], []]
)
@pytest.mark.parametrize("before", [b"abcd", b"", None])
def test_a_stream_replaces_the_file_only_where_its_bytes_differ(tmp_path, before, pieces):
    path = tmp_path / "a.csv"
    if before is not None:
        path.write_bytes(before)
    inode = path.stat().st_ino if before is not None else None
    changed = stream_if_changed(path, iter(pieces))
    assert path.read_bytes() == b"".join(pieces)
    assert changed is (before != b"".join(pieces))
    assert (path.stat().st_ino != inode) is changed
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_pipe_in_the_place_of_a_table_is_replaced_and_not_waited_for(tmp_path):
    path = tmp_path / "a.csv"
    os.mkfifo(path)
    assert stream_if_changed(path, iter([b"a\n", b"b\n"]))
    assert path.is_file()
    assert path.read_bytes() == b"a\nb\n"


def test_a_table_that_is_cut_while_it_is_copied_is_no_endless_loop(tmp_path):
    path = tmp_path / "a.csv"
    first = b"x" * 300_000  # more than a reader keeps
    path.write_bytes(first + b"second\n")

    def pieces():
        yield first
        path.write_bytes(b"")
        yield b"other\n"

    with pytest.raises(StorageError, match="cut while it was copied"):
        stream_if_changed(path, pieces())
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_stream_that_breaks_off_keeps_the_old_bytes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")

    def pieces():
        yield b"new"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="is full"):
        stream_if_changed(path, pieces())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.csv"]

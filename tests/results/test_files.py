import errno
import os

import pytest

from mnbatch.errors import StorageError
from mnbatch.results.out_files import write_atomically


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

"""Reviewed crops do not outlive the process that learns from them."""

import os
import stat
import subprocess
import sys
import tempfile

import pytest

from mnbatch.processes import this_process
from mnbatch.training.adapting_place import adapting_place


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_place_is_private_and_gone_afterwards_whatever_happened(temporary):
    def interrupted():
        with adapting_place() as place:
            assert place.parent == temporary
            assert os.name == "nt" or stat.S_IMODE(place.stat().st_mode) == 0o700
            (place / "crop.jpg").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(temporary.iterdir()) == []


def test_what_a_dead_process_left_goes_and_what_may_be_in_use_stays(temporary):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    me = this_process()
    left = temporary / f"mnbatch-adapt-{me.machine}-{ended.pid}-12345-abcd_123"
    stays = [
        temporary / f"mnbatch-adapt-{me.machine}-{me.pid}-{me.started}-abcd_123",
        temporary / f"mnbatch-adapt-{'0' * 8}-{ended.pid}-12345-abcd_123",
        temporary / "mnbatch-adapt-abcd_123",
        temporary / "mnbatch-adapt-notes",
    ]
    for folder in (left, *stays):
        folder.mkdir()
        (folder / "crop.jpg").write_bytes(b"x")
    with adapting_place():
        assert not left.exists()
    assert sorted(temporary.iterdir()) == sorted(stays)

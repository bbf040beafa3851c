"""Files of OUT: the writers of `mnbatch.files`, digests, and the sweep of what killed commands left."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from mnbatch.files import (
    TEMPORARY_PREFIX,
    is_leftover,
    remove,
    storage_error,
    storage_errors,
    stream_if_changed,
    sync_folder,
    write_atomically,
    write_out_file,
)
from mnbatch.results.paths import GENERATION_PREFIX

__all__ = [
    "hash_file",
    "storage_error",
    "storage_errors",
    "stream_if_changed",
    "sweep_out",
    "sync_folder",
    "write_atomically",
    "write_out_file",
]

_OF_EARLIER_VERSIONS = re.compile(r"\.tmp-[a-z0-9_]{8}")
_GENERATION = re.compile(GENERATION_PREFIX + r"\d+")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep_out(root: Path) -> None:
    """Remove the temporary files that dead processes left anywhere in OUT; the caller holds OUT.

    Generations are not looked into: nothing in them is ever replaced.
    """
    folders = [os.fspath(root)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(TEMPORARY_PREFIX) and (
                _OF_EARLIER_VERSIONS.fullmatch(entry.name) or is_leftover(entry)
            ):
                remove(entry)
            elif not _GENERATION.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)

"""Entries of a folder, one at a time: whatever one of them is, it costs the others nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

What = Literal["file", "folder", "lost", "gone", "other"]

_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def what_is(entry: os.DirEntry[str]) -> What:
    """What an entry is, a link being what it leads to.

    `lost` is there and cannot be examined: a link to what is not there, or to itself; a fault of the disk. `gone` was
    listed and is not there any more. `other` is a pipe or a device.
    """
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        entry.stat()
    except OSError:
        return "lost" if os.path.lexists(entry.path) else "gone"
    return "other"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; False for what cannot be examined."""
    return what_is(entry) == "folder"


def is_link_to_nowhere(path: str, error: OSError) -> bool:
    """Whether an error comes of a link whose target is not there (a share that is not mounted), or is the link."""
    return error.errno in _LEADS_NOWHERE and os.path.islink(path)


def lost_link_above(root: Path, path: str) -> bool:
    """Whether a folder is gone because a link on the way to it leads nowhere now.

    Args:
        path: relative to the root, with forward slashes.
    """
    parts = path.split("/")
    ways = (os.path.join(root, *parts[:end]) for end in range(1, len(parts) + 1))
    return any(os.path.islink(way) and not os.path.exists(way) for way in ways)

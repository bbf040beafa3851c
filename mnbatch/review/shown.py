"""What the review server shows of OUT: a list of what pages need, and nothing else.

Names must be those of the file system, byte for byte: where it takes `PRIVATE` for `private`, a list of what is hidden
would not hide it. Links are not followed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_NAME = r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]*"
SHOWN = re.compile(
    r"index\.html|slides\.csv|donors\.csv"
    rf"|donors/{_NAME}/(index|sheet|gallery)\.html"
    rf"|slides/{_NAME}/(index\.html|gallery\.html|cells\.csv|contact-sheet\.png|gallery/[\w-]+\.(jpg|png|js))",
    re.ASCII,
)
"""Paths in OUT that may be asked for."""


def shown_file(root: Path, name: str) -> bytes | None:
    """The bytes of a file that pages need; None for everything else.

    Args:
        root: OUT.
        name: path below it, forward slashes, as text.
    """
    if SHOWN.fullmatch(name) is None:
        return None
    path = root
    try:
        for part in name.split("/"):
            if part not in os.listdir(path) or (path / part).is_symlink():
                return None
            path /= part
        return _regular(path)
    except (OSError, ValueError):
        return None


def _regular(path: Path) -> bytes | None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None

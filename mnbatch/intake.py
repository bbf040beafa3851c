"""Files as they are taken in: regular ones of a bounded size, text that is UTF-8, JSON that is no trap.

A path that a person types, and any file in OUT, may be a pipe, a device, a directory, gigabytes of zeros or brackets
that are nested a million deep. What cannot be read is an `OSError` with a sentence for `strerror`; what cannot be
understood is a `ValueError`. Nothing here waits for a pipe.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

LARGEST = 2**31
"""Bytes of the largest file that is read whole: far above any table, below what memory would not hold."""

DEEPEST = 64
"""Levels of nesting in a JSON file; ours have fewer than ten."""

_SHOWN = 200


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """The content of a regular file.

    Args:
        most: largest size in bytes.

    Raises:
        OSError: it is absent, no regular file, too large, or cannot be read; `strerror` says which.
    """
    with open_regular(path, most) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
    return data


@contextlib.contextmanager
def open_regular(path: Path, most: int = sys.maxsize) -> Iterator[IO[bytes]]:
    """A regular file, open to be read.

    Args:
        most: largest size in bytes.

    Raises:
        OSError: it is absent, no regular file, too large, or cannot be opened; `strerror` says which.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL in the path
        raise OSError(errno.EINVAL, "no path can hold a NUL", str(path)) from error
    try:
        # Asked before a file object is made of it: that refuses a directory with words of its own.
        refuse_irregular(os.fstat(descriptor), path, most)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            yield file
    finally:
        os.close(descriptor)


def is_there(path: Path) -> bool:
    """Whether there is something at a path; False also for a name that no file can have (too long, with a NUL)."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def refuse_irregular(status: os.stat_result, path: Path, most: int = LARGEST) -> None:
    """Raise an OSError for what is no regular file of at most `most` bytes."""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory, not a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, at most {most} are read", str(path))


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a regular file in UTF-8, a mark at its beginning taken away; line ends are left as they are.

    Raises:
        OSError: as `read_bytes`.
        ValueError: it is not UTF-8.
    """
    return decoded(read_bytes(path, most))


def decoded(data: bytes) -> str:
    """UTF-8 text; a ValueError says that it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from error


def parse_json(data: bytes | str, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        finite: refuse NaN and numbers beyond what a float holds.

    Raises:
        ValueError: it is none, not UTF-8, nested too deeply, or holds a number that cannot be used.
    """
    text = decoded(data) if isinstance(data, bytes) else data
    try:
        value = (_FINITE if finite else _ANY).decode(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    # Fewer brackets than levels cannot be too deep: most of our files.
    if text.count("{") + text.count("[") > DEEPEST:
        _refuse_depth(value)
    return value


def read_json(path: Path, *, finite: bool = True, most: int = LARGEST) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: as `read_bytes`.
        ValueError: as `parse_json`.
    """
    return parse_json(read_bytes(path, most), finite=finite)


def reason(error: Exception) -> str:
    """Why something cannot be read or understood, for a sentence: one line, short, without a full stop."""
    # Of pydantic, which takes long to load: who raises its errors has loaded it.
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(error, pydantic.ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        text = f"{place}: {first['msg']}" if place else first["msg"]
    elif isinstance(error, OSError):
        text = error.strerror or str(error)
    elif isinstance(error, KeyError):
        text = f"it has no {error.args[0]}" if error.args else "something is missing"
    else:
        text = str(error)
    return short(text)


def short(text: str) -> str:
    """`text` on one line and no longer than a message can bear."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that is most like `word`; "" where none is like it."""
    found = difflib.get_close_matches(word[:_SHOWN], list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


# Made once: of tens of thousands of small files the making costs as much as the reading.
_FINITE = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
_ANY = json.JSONDecoder()


def _refuse_depth(value: Any) -> None:
    level, values = 0, [value]
    while values:
        level += 1
        if level > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        inner: list[Any] = []
        for one in values:
            if isinstance(one, dict):
                inner.extend(v for v in one.values() if isinstance(v, (dict, list)))
            elif isinstance(one, list):
                inner.extend(v for v in one if isinstance(v, (dict, list)))
        values = inner

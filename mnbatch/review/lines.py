"""Files of JSON lines that are only ever appended to, and outlive a kill: the trails of decisions and of sign-offs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mnbatch.results.files import storage_errors

Entry = TypeVar("Entry")


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows, each as a line; they are on the disk when this returns.

    Raises:
        StorageError: the file cannot be written.
    """
    text = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
    with storage_errors(path), path.open("a+b") as file:
        if file.tell() and not _ends_whole(path):
            # A line that a kill tore ends where it was torn.
            text = "\n" + text
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path, parse: Callable[[Any], Entry]) -> tuple[tuple[Entry, ...], int]:
    """All entries in order, and how many lines cannot be read; none of either where there is no file.

    Args:
        parse: makes an entry of a line's JSON value; a ValueError, TypeError, KeyError or AttributeError says that it
            is none.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    if not path.exists():
        return (), 0
    with storage_errors(path):
        lines = path.read_bytes().split(b"\n")
    entries, torn = [], 0
    for line in filter(None, lines):
        try:
            entries.append(parse(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            torn += 1
    return tuple(entries), torn


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

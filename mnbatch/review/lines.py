"""Trails: files of JSON lines that are only ever appended to, each line chained to the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mnbatch.intake import parse_json
from mnbatch.results.journal import altered_trail, read
from mnbatch.results.paths import OutPaths

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Lines(Generic[Entry]):
    """A trail as it was read.

    Attributes:
        torn: lines that cannot be read.
        altered: what was done to the trail by hand, in words.
    """

    entries: tuple[Entry, ...] = ()
    torn: int = 0
    altered: tuple[str, ...] = ()


def read_lines(paths: OutPaths, path: Path, parse: Callable[[Any], Entry]) -> Lines[Entry]:
    """All entries of a trail, in order; none where there is no file.

    Args:
        parse: makes an entry of a line's JSON value; a ValueError, TypeError, KeyError or AttributeError says that it
            is none.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    data = read(paths, path)
    entries, torn = [], 0
    for line in filter(None, (data or b"").split(b"\n")):
        try:
            entries.append(parse(parse_json(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            torn += 1
    return Lines(tuple(entries), torn, altered_trail(paths, path, data))

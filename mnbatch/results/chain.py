"""Hash chains over files of JSON lines: a line that was edited, moved or taken out is noticed.

Each line's `chain` is a checksum over the line and the one before it. The first line of a file, and one that follows a
line without a chain (written by an earlier version, or torn by a kill), is chained to all bytes before it. How many
lines there are and how the last one ends is kept elsewhere (`mnbatch.results.seals`), so that a missing end is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mnbatch.intake import parse_json
from mnbatch.results.checksums import checksum, content_checksum

CHAIN = "chain"


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a chain apart from it: its number of lines, and the `chain` of the last."""

    lines: int
    last: str


def add_lines(data: bytes, rows: Iterable[Mapping[str, Any]], head: Head | None) -> tuple[bytes, Head]:
    """The bytes to append to a file that holds `data`, and its new head.

    Args:
        head: as it is known; new lines are chained to it, so that an end that was cut off stays missing. A file that is
            gone as a whole begins anew.
    """
    # A line that a kill tore ends where it was torn.
    start = b"\n" if data and not data.endswith(b"\n") else b""
    whole = data + start
    number, before = 0, checksum(b"")
    for line in _lines(whole):
        number, before = number + 1, _stated(line.row) or checksum(whole[: line.end])
    if head is not None and data:
        number, before = head.lines, head.last
    added = bytearray(start)
    for row in rows:
        before = _link(before, row)
        added += json.dumps({**row, CHAIN: before}, ensure_ascii=True).encode() + b"\n"
        number += 1
    return bytes(added), Head(number, before)


def broken(data: bytes, head: Head | None) -> tuple[str, ...]:
    """What was done to a chain since it was written, in words; empty where nothing was."""
    found, chained, number, before, last = [], False, 0, checksum(b""), ""
    for line in _lines(data):
        number, last = number + 1, _stated(line.row)
        if last and isinstance(line.row, dict) and last != _link(before, line.row):
            found.append(f"line {number}, or the one before it, was altered, moved or taken out")
        elif chained and not last:
            found.append(f"line {number} was put in or altered by hand")
        chained = chained or bool(last)
        before = last or checksum(data[: line.end])
    if head is None:
        return tuple(found)
    if number < head.lines:
        found.append(f"{head.lines - number} of {head.lines} lines are gone")
    elif number > head.lines or (last != head.last and not found):
        found.append("its end is not the one that was written")
    return tuple(found)


def is_chained(data: bytes) -> bool:
    """Whether any line is chained."""
    return any(_stated(line.row) for line in _lines(data))


@dataclass(frozen=True, slots=True)
class _Line:
    row: Any
    end: int


def _lines(data: bytes) -> Iterator[_Line]:
    """Lines that are not empty; `end`: offset after the line; a row that is no JSON is None."""
    end = 0
    for text in data.split(b"\n"):
        end = min(len(data), end + len(text) + 1)
        if text:
            yield _Line(_parsed(text), end)


def _parsed(text: bytes) -> Any:
    try:
        return parse_json(text, finite=False)
    except ValueError:
        return None


def _stated(row: Any) -> str:
    stated = row.get(CHAIN) if isinstance(row, dict) else None
    return stated if isinstance(stated, str) else ""


def _link(before: str, row: Mapping[str, Any]) -> str:
    return content_checksum({"before": before, "line": {name: row[name] for name in row if name != CHAIN}})

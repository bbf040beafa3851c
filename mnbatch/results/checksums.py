"""Checksums (BLAKE2b, 16 bytes) of what OUT holds, and hash chains over its trails: later changes show."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mnbatch.intake import parse_json, read_bytes

# Checksums (BLAKE2b, 16 bytes) of what OUT holds, made while it is written, so that a later change is noticed.
#
# They tell accidents and edits by hand. They are not a signature: a person who can write to OUT can make new ones.


DIGEST_SIZE = 16


class HashedFile(io.FileIO):
    """A new file whose checksum is made of the bytes as they go out; nothing is read again for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w")
        self._hash = hashlib.blake2b(digest_size=DIGEST_SIZE)

    @classmethod
    def buffered(cls, path: Path) -> tuple[Self, io.BufferedWriter]:
        """The file, and the buffer to write to."""
        raw = cls(path)
        return raw, io.BufferedWriter(raw, 1 << 16)

    def write(self, data: Any, /) -> int:
        """Write and hash what was written."""
        number = super().write(data) or 0
        self._hash.update(memoryview(data).cast("B")[:number])
        return number

    @property
    def checksum(self) -> str:
        """Of all bytes that left the buffers: flush them first."""
        return self._hash.hexdigest()


def checksum(data: bytes) -> str:
    """32 hex digits over bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_SIZE).hexdigest()


def file_checksum(path: Path) -> str:
    """The same over a file, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new).hexdigest()


def content_checksum(content: Mapping[str, Any]) -> str:
    """The same over a JSON object, whatever the order and spacing of its text."""
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())


SEAL = "checksum"
"""Of report.json, over its other fields."""


def sealed_files(path: Path) -> dict[str, str]:
    """report.json: name below OUT -> checksum of a table or page, as the latest report wrote it.

    Raises:
        OSError: it is absent, or cannot be read.
        ValueError: it is not as it was written.
    """
    try:
        content = dict(parse_json(read_bytes(path)))
        stated, files = content.pop(SEAL), dict(content["files"])
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it was altered") from None
    if stated != content_checksum(content) or not all(isinstance(value, str) for value in files.values()):
        raise ValueError("it was altered")
    return files


def _new() -> Any:
    return hashlib.blake2b(digest_size=DIGEST_SIZE)


# Hash chains over files of JSON lines: a line that was edited, moved or removed is noticed.
#
# Each line's `chain` is a checksum over the line and the one before it. The first line of a file, and one that
# follows a line without a chain (written by an earlier version, or torn by a kill), is chained to all bytes before
# it. How many lines there are and how the last one ends is kept elsewhere (`mnbatch.results.checksums`), so that a
# missing end is noticed.


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
            gone as a whole begins again.
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
            found.append(f"line {number}, or the one before it, was altered, moved or removed")
        elif chained and not last:
            found.append(f"line {number} was inserted or altered by hand")
        chained = chained or bool(last)
        before = last or checksum(data[: line.end])
    if head is None:
        return tuple(found)
    if number < head.lines:
        found.append(f"{head.lines - number} of {head.lines} lines are missing")
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


# What the annotations of OUT must hold, kept apart from them: `annotations/checksums.json`.
#
# Checksums of the files that are replaced as a whole (sample sheet, validation, curve, plan), and the heads of the
# trails that are only appended to. It is switched together with what it is about (`mnbatch.results.annotations`).


CHECKSUM = "checksum"


@dataclass(frozen=True, slots=True)
class Seals:
    """By a file's path below annotations, with forward slashes.

    Attributes:
        damaged: why it cannot be relied on; "" where it can, or where there is none.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    trails: Mapping[str, Head] = field(default_factory=dict)
    damaged: str = ""

    def to_bytes(self) -> bytes:
        """As the file holds them."""
        trails = {name: asdict(head) for name, head in sorted(self.trails.items())}
        content: dict[str, Any] = {"files": dict(sorted(self.files.items())), "trails": trails}
        content[CHECKSUM] = content_checksum(content)
        return json.dumps(content, indent=1).encode() + b"\n"


def parse_seals(data: bytes | None) -> Seals:
    """Seals from the bytes of their file; none without one."""
    return Seals() if data is None else _parse(data)


@functools.lru_cache(maxsize=4)
def _parse(data: bytes) -> Seals:
    try:
        content = parse_json(data)
        stated = content.pop(CHECKSUM)
        if stated != content_checksum(content):
            return Seals(damaged="its content does not match its checksum")
        trails = {str(name): Head(int(head["lines"]), str(head["last"])) for name, head in content["trails"].items()}
        return Seals({str(name): str(value) for name, value in content["files"].items()}, trails)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Seals(damaged="it cannot be understood")


def name_of(annotations: Path, path: Path) -> str:
    """A file's name in the seals."""
    return path.relative_to(annotations).as_posix()

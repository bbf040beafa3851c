"""How many pages a TIFF should have: by its chain, by what its metadata promise, by pages that no chain leads to."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_REDUCED, _WIDTH, _LENGTH, _DESCRIPTION, _SAMPLES = 254, 256, 257, 270, 277
_OFFSETS = {273: 279, 324: 325, 513: 514, 288: 289}
"""Tags that say where data are, and the tag of their lengths."""

_FOLDERS = (330, 34665, 34853, 40965)
"""Tags that lead to further directories."""

_MOST_ENTRIES = 4096
_MOST_VALUES = 1 << 24
_MOST_LOST = 10_000
_PART = 1 << 24

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Expected:
    """Pages of a TIFF.

    Attributes:
        found: by following the chain.
        lost: pages that should be there and are not reached; at least one where the chain is broken.
        broken: the chain ends outside the file, in nothing, or in itself; how many pages are lost is then not known
            unless the metadata say it.
        known: how many are lost is known.
    """

    found: int
    lost: int
    broken: bool
    known: bool

    @property
    def total(self) -> int:
        """Pages that are to be read or to be reported as missing."""
        return self.found + self.lost


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    place: int


class _File:
    """Reads numbers of a TIFF; raises EOFError where they are not."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = stream.seek(0, 2)
        stream.seek(0)
        header = stream.read(16)
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        self.big = header[2:4] in (b"+\0", b"\0+")
        if order is None or len(header) < (16 if self.big else 8):
            raise ValueError("no TIFF header")
        self.order = order
        self.first: int = struct.unpack_from(order + self.pointer, header, 8 if self.big else 4)[0]

    @property
    def pointer(self) -> str:
        return "Q" if self.big else "I"

    @property
    def entry_size(self) -> int:
        return 20 if self.big else 12

    def unpack(self, place: int, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize(self.order + layout)
        data = self.bytes(place, size)
        return struct.unpack(self.order + layout, data)

    def bytes(self, place: int, size: int) -> bytes:
        if not 0 <= place <= self.size - size:
            raise EOFError
        self.stream.seek(place)
        return self.stream.read(size)

    def entry(self, place: int) -> tuple[int, _Entry]:
        """A tag at a place, and where its values are."""
        tag, kind, count = self.unpack(place, "HHQ" if self.big else "HHI")
        inline = 8 if self.big else 4
        value = place + self.entry_size - inline
        if SIZES.get(kind, 1) * count > inline:
            value = int(self.unpack(value, self.pointer)[0])
        return tag, _Entry(kind, count, value)

    def numbers(self, entry: _Entry | None) -> tuple[int, ...]:
        if entry is None or entry.kind not in _WHOLE or entry.count > _MOST_VALUES:
            return ()
        try:
            return self.unpack(entry.place, f"{entry.count}{_WHOLE[entry.kind]}")
        except EOFError:
            return ()

    def text(self, entry: _Entry | None) -> str:
        if entry is None or entry.count > _MOST_VALUES:
            return ""
        try:
            return self.bytes(entry.place, entry.count).decode("utf-8", "replace").rstrip("\0")
        except EOFError:
            return ""


def expected_pages(stream: BinaryIO) -> Expected:
    """Count the pages that a TIFF has and those that it should have.

    Raises:
        ValueError: no TIFF.
    """
    file = _File(stream)
    spans: list[Span] = [(0, 16 if file.big else 8)]
    offset, pages = file.first, 0
    seen: set[int] = set()
    full = 0
    first: dict[int, _Entry] = {}
    while offset and offset not in seen:
        try:
            entries, offset_after = _directory(file, offset, spans)
        except EOFError:
            break
        seen.add(offset)
        full += not _first(file, entries.get(_REDUCED)) & 1
        first = first or entries
        pages, offset = pages + 1, offset_after
    broken = offset != 0
    promised = _promised(file, first)
    orphans = len(_orphans(file, _merged(spans))) if pages else 0
    lost = max(promised - full, orphans)
    # What is found is all of it only where the metadata say so, or where the file goes on behind the break.
    known = lost > 0 or not broken
    if broken and pages:
        lost = max(1, lost)
    return Expected(pages, max(0, min(lost, _MOST_LOST)), broken, known)


def _directory(file: _File, offset: int, spans: list[Span]) -> tuple[dict[int, _Entry], int]:
    """Tags of a directory and the place of the next; what it covers of the file is added to `spans`."""
    layout = "Q" if file.big else "H"
    (count,) = file.unpack(offset, layout)
    if not 0 < count <= _MOST_ENTRIES:
        raise EOFError
    start = offset + struct.calcsize(layout)
    end = start + count * file.entry_size
    (following,) = file.unpack(end, file.pointer)
    spans.append((offset, end + struct.calcsize(file.pointer)))
    entries = dict(_entries(file, start, count, spans))
    _add_data(file, entries, spans)
    return entries, int(following)


def _entries(file: _File, start: int, count: int, spans: list[Span]) -> Iterator[tuple[int, _Entry]]:
    for index in range(count):
        try:
            tag, entry = file.entry(start + index * file.entry_size)
        except EOFError:
            continue
        spans.append((entry.place, entry.place + SIZES.get(entry.kind, 1) * entry.count))
        yield tag, entry


def _add_data(file: _File, entries: dict[int, _Entry], spans: list[Span]) -> None:
    for where, how_long in _OFFSETS.items():
        starts, lengths = file.numbers(entries.get(where)), file.numbers(entries.get(how_long))
        spans.extend((start, start + length) for start, length in zip(starts, lengths, strict=False))
    for tag in _FOLDERS:
        for place in file.numbers(entries.get(tag)):
            _add_folder(file, place, spans)


def _add_folder(file: _File, place: int, spans: list[Span]) -> None:
    """A directory below a page; its own ones are not followed further than the file's spans grow."""
    if any(start == place for start, _ in spans):
        return
    try:
        _directory(file, place, spans)
    except EOFError:
        return


def _first(file: _File, entry: _Entry | None) -> int:
    return next(iter(file.numbers(entry)), 0)


def _promised(file: _File, entries: dict[int, _Entry]) -> int:
    """Images that the first page's description speaks of; 0 where it says nothing."""
    text = file.text(entries.get(_DESCRIPTION))
    if text.startswith("ImageJ="):
        images = re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE)
        return int(images[1]) if images else 0
    if text.startswith("{") and '"shape"' in text:
        width, length = (_first(file, entries.get(tag)) for tag in (_WIDTH, _LENGTH))
        return _by_shape(text, width * length * max(1, _first(file, entries.get(_SAMPLES))))
    return _by_ome(text) if "<OME" in text[:4096] else 0


def _by_shape(text: str, a_page: int) -> int:
    try:
        shape = json.loads(text)["shape"]
        return math.prod(int(side) for side in shape) // a_page if a_page else 0
    except (ValueError, TypeError, LookupError):
        return 0


def _by_ome(text: str) -> int:
    if "FileName=" in text:
        return 0
    total = 0
    for pixels in re.findall(r"<(?:\w+:)?Pixels\b.*?(?:</(?:\w+:)?Pixels>|$)", text, re.DOTALL):
        head = pixels[: pixels.find(">") + 1]
        sizes = [re.search(rf'\bSize{axis}="(\d{{1,6}})"', head) for axis in "CZT"]
        samples = re.search(r'SamplesPerPixel="(\d{1,3})"', pixels)
        planes = math.prod(int(size[1]) for size in sizes if size)
        total += planes // max(1, int(samples[1]) if samples else 1)
    return total


def _merged(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _orphans(file: _File, covered: Sequence[Span]) -> list[int]:
    """Places of full-resolution directories in parts of the file that nothing leads to, with data there as well.

    A directory that a program wrote again leaves an old one behind; that one's data belong to the new one.
    """
    gaps = [(end, start) for (_, end), (start, _) in zip(covered, [*covered[1:], (file.size, 0)], strict=True)]
    gaps = [(start, min(end, file.size)) for start, end in gaps if min(end, file.size) - start >= 4 * file.entry_size]
    return [place for gap in gaps for place in _directories(file, gap) if _is_lost_page(file, place, gaps)]


def _directories(file: _File, gap: Span) -> Iterator[int]:
    """Places in a gap where the tags of width and height follow each other."""
    count = "Q" if file.big else "I"

    def tag(number: int) -> bytes:
        return (
            b"(?:"
            + b"|".join(re.escape(struct.pack(f"{file.order}HH{count}", number, kind, 1)) for kind in (3, 4))
            + b")"
        )

    value = b".{%d}" % (8 if file.big else 4)
    pattern = re.compile(tag(_WIDTH) + value + tag(_LENGTH), re.DOTALL)
    for start in range(gap[0], gap[1], _PART):
        data = file.bytes(start, min(_PART + 4 * file.entry_size, gap[1] - start))
        for match in pattern.finditer(data):
            if match.start() < _PART:
                yield start + match.start()


def _is_lost_page(file: _File, place: int, gaps: Sequence[Span]) -> bool:
    entries: dict[int, _Entry] = {}
    try:
        tag, entry = file.entry(place - file.entry_size)
        if tag == _REDUCED and _first(file, entry) & 1:
            return False
        last = 0
        for index in range(_MOST_ENTRIES):
            tag, entry = file.entry(place + index * file.entry_size)
            if tag <= last:
                break
            entries[tag], last = entry, tag
    except EOFError:
        pass
    starts = [start for where in _OFFSETS for start in file.numbers(entries.get(where))]
    return bool(starts) and any(begin <= starts[0] < end for begin, end in gaps)

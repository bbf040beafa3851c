"""The nearest cells of all cells of OUT, and those that showed the same picture: kept, so that two are compared once.

A slide stands for itself by the checksums of its stored result. Cells of slides that came or went are looked for among
all; earlier ones keep what was found. Kept in `runs/`: it is no part of the results.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mnbatch.assay.near_copies import Compared
from mnbatch.assay.nearest_cells import Nearest
from mnbatch.errors import StorageError
from mnbatch.intake import parse_json, read_bytes
from mnbatch.results.checksums import checksum
from mnbatch.results.compared_slides import compared_as
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord

_AT = np.dtype("<i4")
_NO_PART = 255
MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class NearCells:
    """What was found of some slides.

    Attributes:
        slides: slide_id, what it was compared as ("" where that cannot be told), and its cells; in slide order.
        found: of all their cells, one slide after the other.
    """

    slides: tuple[tuple[str, str, int], ...] = ()
    found: Compared | None = field(default=None)

    def moved(self, slides: Sequence[tuple[str, str, int]]) -> tuple[Compared, npt.NDArray[np.int64]] | None:
        """What was found, and where each of its cells is among those of these slides: -1 for one that is not there.

        None where nothing is known, or slides that are known come in another order.
        """
        if self.found is None:
            return None
        starts = _starts(slides)
        now = {slide: start for slide, start in zip(slides, starts, strict=False) if slide[1]}
        places = [
            np.arange(cells) + now[slide_id, key, cells] if (slide_id, key, cells) in now else np.full(cells, -1)
            for slide_id, key, cells in self.slides
        ]
        found = np.concatenate([*places, np.empty(0, np.int64)]).astype(np.int64)
        there = found[found >= 0]
        return (self.found, found) if (there[1:] > there[:-1]).all() else None

    def keep(self, paths: OutPaths) -> None:
        """Write it. The caller holds OUT."""
        if self.found is None:
            return
        lists = self.found.nearest
        counts = np.bincount(lists.rows, minlength=len(lists.takes)).astype(np.uint8)
        counts[~lists.takes] = _NO_PART
        parts = (counts.tobytes(), lists.others.astype(_AT).tobytes(), self.found.alike.astype(_AT).tobytes())
        if sum(map(len, parts)) > MOST_BYTES:
            return
        check_still_held(paths.lock)
        head = {"slides": self.slides, "bytes": [len(part) for part in parts]}
        body = json.dumps(head).encode() + b"\n" + b"".join(parts)
        # Without it the next report takes longer; that is no reason to fail this one.
        with contextlib.suppress(StorageError), storage_errors(paths.runs):
            paths.runs.mkdir(exist_ok=True)
            write_atomically(paths.near_cells, checksum(body).encode() + b"\n" + body)


def slides_of(records: Sequence[SlideRecord]) -> tuple[tuple[str, str, int], ...]:
    """How slides stand for their cells in `NearCells`."""
    return tuple((record.slide_id, compared_as(record, ""), record.cells) for record in records)


def read_near_cells(paths: OutPaths) -> NearCells:
    """What is kept; nothing where there is none, or it is not what was written."""
    try:
        stated, _, body = read_bytes(paths.near_cells).partition(b"\n")
        if stated.decode("ascii") != checksum(body):
            return NearCells()
        line, _, rest = body.partition(b"\n")
        head = parse_json(line)
        first, second, _ = head["bytes"]
        counts = np.frombuffer(rest[:first], np.uint8)
        others = np.frombuffer(rest[first : first + second], _AT).astype(np.int64)
        alike = np.frombuffer(rest[first + second :], _AT).astype(np.int64).reshape(-1, 2)
        takes = counts != _NO_PART
        rows = np.repeat(np.arange(len(counts)), np.where(takes, counts, 0))
        slides = tuple((str(slide_id), str(key), int(cells)) for slide_id, key, cells in head["slides"])
        if sum(cells for _, _, cells in slides) != len(counts) or len(rows) != len(others):
            return NearCells()
        return NearCells(slides, Compared(Nearest(takes, rows, others), alike))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NearCells()


def _starts(slides: Sequence[tuple[str, str, int]]) -> list[int]:
    return [0, *np.cumsum([cells for _, _, cells in slides]).tolist()]

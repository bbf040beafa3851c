"""Uncompressed pixels of which sectors were lost, overwritten or exchanged: nothing but the pixels can show it.

A disk and a network share lose whole sectors: 512 bytes, 4096 bytes, counted from the file's start. A picture knows
nothing of sectors, so what begins and ends at their edges, in the middle of a row, is no part of it. Black or white
areas by themselves prove nothing: grounds of exact zeros are common, and so are crops that are filled up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.imaging.wholeness.damage import DamageError

SECTOR = 512
LEAST_SHARE = 0.02
"""Of the bytes of a picture. Less than this is not looked for where the bytes alone must show it."""

_RARE = 1e-3
_STEP = 4.0
_STEP_LEVELS = 1 / 64
_NEAR_PIXELS = 16
_NOISE = 0.2
_TIMES_NOISE = 5.0
_DISTINCT = 32

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Pixels that follow each other in the file: all strips of a plane, or one tile.

    Attributes:
        offset: of the first byte in the file.
        data: rows one after the other.
        stride: bytes a row.
        kind: type of a sample, with its byte order.
        samples: a pixel.
    """

    offset: int
    data: bytes
    stride: int
    kind: np.dtype[np.generic]
    samples: int = 1


@dataclass(frozen=True, slots=True)
class _Run:
    start: int
    end: int
    value: int


def check_blocks(pieces: Sequence[Piece]) -> None:
    """Look for sectors that do not belong to the picture.

    Raises:
        DamageError: at least a fiftieth of the bytes are sectors of zeros (or of 255) that begin and end inside rows,
            zeros from inside a row to the end, sectors that are there twice, or noise; or the picture has steps that
            run along a sector's edge.
    """
    total = sum(len(piece.data) for piece in pieces)
    blank = noisy = twice = 0
    steps: list[int] = []
    for piece in pieces:
        if len(piece.data) < 2 * SECTOR or piece.stride <= 0:
            continue
        values = np.frombuffer(piece.data, np.uint8)
        runs = list(_constant_runs(values, piece.offset))
        blank += sum(run.end - run.start for run in runs if _foreign(run, values, piece))
        twice += _repeated(piece)
        found, noise = _steps_and_noise(piece, [run.start for run in runs if run.end == len(values)])
        noisy += noise
        steps.extend(found)
    if blank >= LEAST_SHARE * total:
        raise DamageError(f"{blank / total:.0%} of its bytes are blank sectors in the middle of rows")
    if noisy >= LEAST_SHARE * total:
        raise DamageError(f"{noisy / total:.0%} of its bytes are sectors of noise")
    if twice >= LEAST_SHARE * total:
        raise DamageError(f"{twice / total:.0%} of its bytes are sectors that are there twice")
    if len(steps) >= 2:
        raise DamageError("the picture breaks along edges of the file's sectors")


def _sectors(values: Bytes, offset: int) -> tuple[int, Bytes]:
    first = -offset % SECTOR
    count = max(0, (len(values) - first) // SECTOR)
    return first, values[first : first + count * SECTOR].reshape(count, SECTOR)


def _constant_runs(values: Bytes, offset: int) -> Iterator[_Run]:
    """Runs of 0 or of 255 that hold a whole sector, as long as they really are."""
    first, sectors = _sectors(values, offset)
    for value in (0, 255):
        hits = np.flatnonzero((sectors == value).all(axis=1))
        if not len(hits):
            continue
        others = np.flatnonzero(values != value)
        known = -1
        for hit in hits:
            place = first + int(hit) * SECTOR
            if place < known:
                continue
            after = int(np.searchsorted(others, place))
            start = int(others[after - 1]) + 1 if after else 0
            known = int(others[after]) if after < len(others) else len(values)
            yield _Run(start, known, value)


def _foreign(run: _Run, values: Bytes, piece: Piece) -> bool:
    """Whether a run is no part of the picture: sector to sector inside rows, or from inside a row to the end."""
    if run.end == len(values):
        # Whole samples: the upper byte of 16 bits is mostly zero.
        before = values[: run.start // piece.kind.itemsize * piece.kind.itemsize].reshape(-1, piece.kind.itemsize)
        rare = np.count_nonzero((before == run.value).all(axis=1)) < _RARE * len(before)
        return bool(run.start % piece.stride and rare)
    if run.start == 0:
        return False
    return all(_at_sector(edge, piece) and edge % piece.stride for edge in (run.start, run.end))


def _at_sector(edge: int, piece: Piece) -> bool:
    # A byte of a sample beside the sector may be zero too.
    slack = piece.kind.itemsize - 1
    return (edge + piece.offset + slack) % SECTOR <= 2 * slack


def _repeated(piece: Piece) -> int:
    """Bytes in sectors that are there twice, at a distance that is no whole number of rows (crops are filled up by
    repeated rows)."""
    _, sectors = _sectors(np.frombuffer(piece.data, np.uint8), piece.offset)
    seen: dict[bytes, int] = {}
    found = 0
    for index, sector in enumerate(sectors):
        known = seen.setdefault(sector.tobytes(), index)
        far = (index - known) * SECTOR
        if known != index and far % piece.stride and len(np.unique(sector)) >= _DISTINCT:
            found += SECTOR
    return found


def _steps_and_noise(piece: Piece, tails: Sequence[int]) -> tuple[list[int], int]:
    """Places where the picture breaks along a sector's edge, and bytes in sectors of noise."""
    size, width = piece.kind.itemsize, piece.stride // piece.kind.itemsize
    if piece.kind.kind not in "iu" or size > 2 or piece.stride % size:
        return [], 0
    usable = len(piece.data) // size
    values = np.frombuffer(piece.data, piece.kind, usable).astype(np.float64)
    top = float(values.max())
    if len(values) < 4 * width or top == 0:
        return [], 0
    edges = np.arange(-piece.offset % SECTOR, len(piece.data), SECTOR)
    # A tail of zeros may begin anywhere: its start is an edge as well.
    edges = np.unique(np.concatenate([edges, np.array(tails, edges.dtype)])) // size
    return _steps(values, width, piece.samples, edges, top), _noise(values, piece, top)


def _steps(values: Numbers, width: int, samples: int, edges: npt.NDArray[np.int64], top: float) -> list[int]:
    """Edges at which every column changes at once, a row later left of the edge than right of it."""
    down = np.concatenate([[0.0], np.cumsum(np.abs(values[width:] - values[:-width]))])

    def mean(first: npt.NDArray[np.int64], length: int) -> Numbers:
        start = np.clip(first - width, 0, len(down) - 1)
        end = np.clip(first - width + length, 0, len(down) - 1)
        return np.asarray((down[end] - down[start]) / np.maximum(1, end - start))

    near = _NEAR_PIXELS * samples
    inside = (edges % width >= near) & (edges % width <= width - near)
    edges = edges[inside & (edges >= 2 * width) & (edges + width < len(values))]
    least = top * _STEP_LEVELS
    usual = np.maximum(mean(edges - width, width), mean(edges + width, width))
    broken = mean(edges, width) >= _STEP * usual + least
    right = mean(edges, near) >= _STEP * mean(edges - near, near) + least
    left = mean(edges + width - near, near) >= _STEP * mean(edges + width, near) + least
    return [int(edge) for edge in edges[broken & (right | left)]]


def _noise(values: Numbers, piece: Piece, top: float) -> int:
    across = np.abs(values[piece.samples :] - values[: -piece.samples])
    length = SECTOR // piece.kind.itemsize
    first = (-piece.offset % SECTOR) // piece.kind.itemsize
    count = (len(across) - first) // length
    if count < 4:
        return 0
    means = across[first : first + count * length].reshape(count, length).mean(axis=1)
    noisy = (means > _NOISE * top) & (means > _TIMES_NOISE * np.median(means))
    return int(np.count_nonzero(noisy)) * SECTOR

"""What is raised for damage; and uncompressed pixels of which sectors were lost, overwritten or exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.reasons import say

# What is raised where a file shows that a part of its picture is missing or was overwritten.


class DamageError(ValueError):
    """What the file shows, in a few words; a kind of ValueError, as decoders raise it.

    Args:
        what: holds no name of the export.
    """

    def __init__(self, what: str) -> None:
        super().__init__(say("damage", what=what))


# Uncompressed pixels of which sectors were lost, overwritten or exchanged: nothing but the pixels can show it.
#
# A disk and a network share lose whole sectors: 512 bytes, 4096 bytes, counted from the file's start. A picture knows
# nothing of sectors, so what begins and ends at their edges, in the middle of a row, is no part of it. Black or white
# areas by themselves prove nothing: backgrounds of exact zeros are common, and so are crops that are filled up.


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
_PART_OF_ROW = 8
_SOME = 3
_AREA = 8

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
        tile_rows: rows of a tile, where the rows are those of tiles; else 0.
        apart: it is one of several strips with gaps between them.
    """

    offset: int
    data: bytes
    stride: int
    kind: np.dtype[np.generic]
    samples: int = 1
    tile_rows: int = 0
    apart: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    start: int
    end: int
    value: int


def check_blocks(pieces: Sequence[Piece]) -> None:
    """Look for sectors that do not belong to the picture.

    Raises:
        DamageError: at least a fiftieth of the bytes are sectors of zeros (or of 255) that begin and end inside rows
            or stand alone in a picture that is nowhere else even, zeros from inside a row to the end, sectors that are
            there twice, or noise; or the picture has steps that run along a sector's edge.
    """
    total = sum(len(piece.data) for piece in pieces)
    blank = noisy = twice = 0
    steps: list[int] = []
    large = [piece for piece in pieces if len(piece.data) >= 2 * SECTOR and piece.stride > 0]
    runs_of = [list(_constant_runs(np.frombuffer(piece.data, np.uint8), piece.offset)) for piece in large]
    # Of strips that lie apart, any tells whether the background of the whole picture is even.
    even_runs: Counter[int] = Counter()
    seen = {run.value for runs in runs_of for run in runs}
    for piece, runs in zip(large, runs_of, strict=True):
        values = np.frombuffer(piece.data, np.uint8)
        for value in seen:
            even_runs[value] += _even_runs_elsewhere(values, value, runs, piece)
    even = {value: count >= _SOME for value, count in even_runs.items()}
    for piece, runs in zip(large, runs_of, strict=True):
        values = np.frombuffer(piece.data, np.uint8)
        blank += sum(run.end - run.start for run in runs if _foreign(run, values, piece, even[run.value]))
        twice += _repeated(piece)
        found, noise = _steps_and_noise(piece, [run.start for run in runs if run.end == len(values)])
        noisy += noise
        steps.extend(found)
    if blank >= LEAST_SHARE * total:
        raise DamageError(f"{blank / total:.0%} of its bytes are blank sectors in the middle of rows")
    if noisy >= LEAST_SHARE * total:
        raise DamageError(f"{noisy / total:.0%} of its bytes are sectors of noise")
    if twice >= LEAST_SHARE * total:
        raise DamageError(f"{twice / total:.0%} of its bytes are sectors that occur twice")
    if len(steps) >= 2:
        raise DamageError("the picture breaks along edges of the file's sectors")


def _sectors(values: Bytes, offset: int) -> tuple[int, Bytes]:
    first = -offset % SECTOR
    count = max(0, (len(values) - first) // SECTOR)
    return first, values[first : first + count * SECTOR].reshape(count, SECTOR)


def _constant_runs(values: Bytes, offset: int) -> Iterator[_Run]:
    """Runs of 0 or of 255 that hold a whole sector, as long as they really are; and one of any value at the end."""
    first, sectors = _sectors(values, offset)
    last = int(values[-1])
    filled = bool((values[-SECTOR:] == last).all())
    for value in (0, 255, last) if filled and last not in (0, 255) else (0, 255):
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
            if value in (0, 255) or known == len(values):
                yield _Run(start, known, value)


def _foreign(run: _Run, values: Bytes, piece: Piece, even: bool) -> bool:
    """Whether a run is no part of the picture.

    It goes from sector to sector inside rows, or from inside a row to the end; or such a run is in the middle of a
    picture that has no even areas of its value (crops are filled up by whole rows at the top or bottom).
    """
    inside = [edge % piece.stride != 0 for edge in (run.start, run.end)]
    # A pixel or two next to the rows that fill a crop up may have their value by chance.
    deep = [
        _PART_OF_ROW * min(edge % piece.stride, -edge % piece.stride) >= piece.stride for edge in (run.start, run.end)
    ]
    alone = not even and not piece.tile_rows
    if run.end == len(values):
        # Whole samples: the upper byte of 16 bits is mostly zero.
        before = values[: run.start // piece.kind.itemsize * piece.kind.itemsize].reshape(-1, piece.kind.itemsize)
        if even and piece.apart:
            return False  # a strip of a picture whose background is zero
        rare = np.count_nonzero((before == run.value).all(axis=1)) < _RARE * len(before)
        return bool(inside[0] and (rare or (alone and deep[0])))
    if run.start == 0:
        return deep[1] and alone
    return all(_at_sector(edge, piece) for edge in (run.start, run.end)) and (all(inside) or alone)


def _even_runs_elsewhere(values: Bytes, value: int, runs: Sequence[_Run], piece: Piece) -> int:
    """Number of runs of exactly this value, next to those that begin and end at sectors or at the end."""
    others = np.flatnonzero(values != value)
    lengths = np.diff(others) - 1
    least = max(2, min(piece.stride // _PART_OF_ROW, SECTOR // 2))
    long = int(np.count_nonzero(lengths >= least))
    own = [run for run in runs if run.value == value and run.start > 0 and run.end < len(values)]
    return long - sum(_at_sector(run.start, piece) and _at_sector(run.end, piece) for run in own)


def _at_sector(edge: int, piece: Piece) -> bool:
    # A byte of a sample next to the sector may be zero too.
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
    return _steps(values, width, piece, edges, top), _noise(values, piece, top)


def _steps(values: Numbers, width: int, piece: Piece, edges: npt.NDArray[np.int64], top: float) -> list[int]:
    """Edges at which every column changes at once, a row later left of the edge than right of it."""
    down = np.concatenate([[0.0], np.cumsum(np.abs(values[width:] - values[:-width]))])

    def mean(first: npt.NDArray[np.int64], length: int) -> Numbers:
        start = np.clip(first - width, 0, len(down) - 1)
        end = np.clip(first - width + length, 0, len(down) - 1)
        return np.asarray((down[end] - down[start]) / np.maximum(1, end - start))

    near, tile_rows = _NEAR_PIXELS * piece.samples, piece.tile_rows
    inside = (edges % width >= near) & (edges % width <= width - near)
    edges = edges[inside & (edges >= 2 * width) & (edges + width < len(values))]
    if tile_rows:
        # From the last row of one tile to the first of another all columns change.
        edges = edges[~np.isin((edges // width) % tile_rows, (0, tile_rows - 1))]
    least = top * _STEP_LEVELS
    usual = np.maximum(mean(edges - width, width), mean(edges + width, width))
    broken = mean(edges, width) >= _STEP * usual + least
    right = mean(edges, near) >= _STEP * mean(edges - near, near) + least
    left = mean(edges + width - near, near) >= _STEP * mean(edges + width, near) + least
    return [int(edge) for edge in edges[broken & (right | left)]]


def _noise(values: Numbers, piece: Piece, top: float) -> int:
    across = np.abs(values[piece.samples :] - values[: -piece.samples])
    first = (-piece.offset % SECTOR) // piece.kind.itemsize
    return _noisy_sectors(across[first:], SECTOR // piece.kind.itemsize, top) * SECTOR


def check_noise(data: bytes, kind: np.dtype[np.generic], samples: int, *, differences: bool) -> None:
    """Look for noise in the pixels of one strip or tile whose compression has no checksum.

    Args:
        data: pixels, or what each differs from the one before it.

    Raises:
        DamageError: at least a fiftieth of it is noise.
    """
    if kind.kind not in "iu" or kind.itemsize > 2 or len(data) < 4 * SECTOR:
        return
    values = np.frombuffer(data, kind, len(data) // kind.itemsize)
    if differences:
        # Around zero in both directions, so that their sizes are what is examined; noise has a quarter of the range.
        sizes = np.abs(values.view(np.dtype(f"{kind.byteorder}i{kind.itemsize}")).astype(np.float64))
        top = 2.0 ** (8 * kind.itemsize) / 2
    else:
        real = values.astype(np.float64)
        sizes, top = np.abs(real[samples:] - real[:-samples]), float(real.max())
    noisy = _noisy_sectors(sizes, SECTOR // kind.itemsize, top)
    if noisy * SECTOR >= LEAST_SHARE * len(data):
        raise DamageError(f"{noisy * SECTOR / len(data):.0%} of a strip or tile is noise")


def _noisy_sectors(sizes: Numbers, length: int, top: float) -> int:
    """Parts of a sector's length in which differences are those of noise, and of no other part."""
    count = len(sizes) // length
    if count < 4:
        return 0
    means = sizes[: count * length].reshape(count, length).mean(axis=1)
    # The quieter half may be all that is left of the picture.
    usual = float(np.quantile(means[means > 0], 0.25)) if means.any() else 0.0
    return int(np.count_nonzero((means > _NOISE * top) & (means > _TIMES_NOISE * usual)))


def check_tiles(picture: npt.NDArray[np.generic], tile: tuple[int, int]) -> None:
    """Look for blank parts of tiles in an uncompressed picture that is nowhere else even.

    Args:
        picture: (height, width, samples).
        tile: (height, width) of a tile.

    Raises:
        DamageError: at least a fiftieth of the picture, without blank rows and columns along its sides.
    """
    from scipy import ndimage

    if picture.dtype.kind != "u" or picture.dtype.itemsize > 2 or not picture.size:
        return
    for value in (0, 2 ** (8 * picture.dtype.itemsize) - 1):
        blank = np.asarray((picture == value).all(axis=-1))
        inner = _without_sides(blank)
        lost = sum(_blank_rows(part, tile[1] * picture.dtype.itemsize) for part in _parts(inner, tile))
        # Single pixels of that value are common: areas of it are what tells a picture with a blank background.
        rest = int(np.count_nonzero(ndimage.binary_opening(inner, np.ones((1, _AREA), np.bool_)))) - lost
        # What fills a crop up has a straight edge: with a part of a tile the band next to it is lost, too.
        share = np.count_nonzero(blank) / blank.size
        if lost and share >= LEAST_SHARE and rest < _RARE * max(1, inner.size - lost):
            raise DamageError(f"{share:.0%} of the picture are blank parts of tiles")
        if lost >= LEAST_SHARE * inner.size and _cut_off(picture, blank, value, tile):
            raise DamageError("the picture breaks off along the sides of tiles")


def _cut_off(picture: npt.NDArray[np.generic], blank: npt.NDArray[np.bool_], value: int, tile: tuple[int, int]) -> bool:
    """Whether something that is far from blank ends at a tile's side, over several rows, where blank pixels begin.

    No lens draws such an edge.
    """
    from scipy import ndimage

    away = np.abs(picture.mean(axis=-1, dtype=np.float64) - value)
    far = away > away.max() / 4
    edges = range(tile[1], picture.shape[1], tile[1])
    least = max(2 * _AREA, tile[0] // 2)
    rows = [np.concatenate([blank[:, x - 1] & far[:, x], far[:, x - 1] & blank[:, x]]) for x in edges]
    return any(ndimage.binary_opening(found, np.ones(least, np.bool_)).any() for found in rows)


def _without_sides(blank: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The same with what a crop that was filled up has along its sides set to False."""
    rows, columns = np.flatnonzero(~blank.all(axis=1)), np.flatnonzero(~blank.all(axis=0))
    inner = np.zeros_like(blank)
    if len(rows) and len(columns):
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inner[box] = blank[box]
    return inner


def _parts(blank: npt.NDArray[np.bool_], tile: tuple[int, int]) -> Iterator[npt.NDArray[np.bool_]]:
    for top in range(0, blank.shape[0], tile[0]):
        for left in range(0, blank.shape[1], tile[1]):
            yield blank[top : top + tile[0], left : left + tile[1]]


def _blank_rows(part: npt.NDArray[np.bool_], stride: int) -> int:
    """Pixels of rows of a tile that are blank, where they are at least a sector."""
    rows = int(np.count_nonzero(part.all(axis=1)))
    return rows * part.shape[1] if rows * stride >= SECTOR // 2 else 0

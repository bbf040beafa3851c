"""Cells that show the same picture though their pixels differ: saved again, smaller, brighter, turned, shifted.

Three steps, each stricter than the last: a spectrum that turns, mirrors and shifts do not change finds pairs that may
be alike; correlation of small thumbnails in eight orientations finds how one fits on the other; where they overlap,
their fine structure decides, and their noise: two cells may have one shape, but only one picture has this noise.
`benchmarks/near_copies.py` says what is found and what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mnbatch.assay.nearest_cells import Nearest, find_nearest

SIDE = 64
THUMBNAIL_BYTES = SIDE * SIDE

LEAST_CORRELATION = 0.96
"""Of the fine structure of two thumbnails, on what both show.

The highest of two different cells was 0.89 among 10 000 simulated ones of one stain, 50 million pairs.
"""

LEAST_NOISE_CORRELATION = 0.4
"""Of the finest structure where both show next to nothing else. Of equal shapes with noise of their own it was 0.19 at
most, of pictures that were saved again 0.45 and more."""

_LEAST_NOISE = 0.3
"""Grey levels; drawings without noise cannot be told from each other by it, and are no copies."""

_SMALL = 32
_FINE = 2.0
"""Structure that is coarser than this (sigma of a Gaussian, pixels) is common to most cells."""

_LEAST_STRUCTURE = 2.0
"""Grey levels (root mean square) of fine structure; with less there is nothing to compare but noise."""

_SHIFT = 5
"""Pixels of 32, about a sixth of the crop."""

_ROUGHLY_ALIKE = 0.7
_HIGHEST = 0.35
_LEVELS = 510
"""Of a spectrum's length; `mnbatch.assay.nearest_cells` counts in these steps."""

_EDGE = 4
_STEPS = 3
_NOISE_SIGMA = 1.5
_BLOCK = 256
_TINY = 1e-6

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]


def _window() -> Floats:
    middle = (_SMALL - 1) / 2
    radius = np.hypot(*(np.mgrid[:_SMALL, :_SMALL] - middle)) / (_SMALL / 2)
    inner = np.clip((1.0 - radius) / 0.3, 0, 1)
    return np.asarray(inner * inner * (3 - 2 * inner), np.float32)


def _frequencies() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    rows, columns = np.triu_indices(_SMALL // 2)
    radius = np.hypot(rows, columns)
    kept = (radius > 0.5) & (radius < _HIGHEST * _SMALL)
    return rows[kept], columns[kept]


_WINDOW = _window()
_WIDE_WINDOW = np.kron(_WINDOW, np.ones((2, 2), np.float32))


@cache
def _blur(side: int) -> Floats:
    """What gives the coarse structure of a line of `side` pixels, (side, side).

    As a matrix: a filter of a picture this small costs more in calls than in arithmetic.
    """
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter1d(np.eye(side, dtype=np.float32), _FINE, axis=0, mode="nearest"))


_ROWS, _COLUMNS = _frequencies()
_BACKWARDS = -np.arange(_SMALL) % _SMALL

SPECTRUM_BYTES = len(_ROWS)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a cell's picture is found by, when it comes again with other pixels.

    Attributes:
        spectrum: SPECTRUM_BYTES; the same for a picture that is turned, mirrored or shifted. Zeros where the picture
            shows no structure to compare.
        thumbnail: THUMBNAIL_BYTES, grey, rows one after the other.
    """

    spectrum: bytes
    thumbnail: bytes


def likeness_of(thumbnail: Grey) -> Likeness:
    """What a thumbnail (64, 64) of a scored picture is found by."""
    return likenesses_of([thumbnail])[0]


def likenesses_of(thumbnails: Sequence[Grey]) -> list[Likeness]:
    """`likeness_of` for each; together they cost less."""
    from scipy import fft

    if not thumbnails:
        return []
    fine = _fine(_halved(np.stack(thumbnails)))
    told = np.sqrt((fine**2).reshape(len(fine), -1).mean(axis=1)) >= _LEAST_STRUCTURE
    values = np.zeros((len(fine), SPECTRUM_BYTES), np.float32)
    if told.any():
        size = np.abs(fft.fft2(fine[told] * _WINDOW))
        either = size + size[:, :, _BACKWARDS]
        found = (either + either.transpose(0, 2, 1))[:, _ROWS, _COLUMNS]
        lengths = np.array([np.linalg.norm(row) for row in found], np.float32)
        values[told] = np.sqrt(found / lengths[:, None])
    spectra = np.minimum(np.rint(values * _LEVELS), 255).astype(np.uint8)
    pictures = [np.ascontiguousarray(one).tobytes() for one in thumbnails]
    return [Likeness(*both) for both in zip(map(np.ndarray.tobytes, spectra), pictures, strict=True)]


def fine_structure(thumbnails: npt.NDArray[np.uint8], *, halved: bool = False) -> Floats:
    """What thumbnails (n, 64, 64) show without their coarse structure, less towards their edges, as unit vectors.

    Returns:
        (n, 4096), or (n, 1024) where they are halved first. Products of two rows are correlations.
    """
    fine = _fine(_halved(thumbnails)) * _WINDOW if halved else _fine(thumbnails) * _WIDE_WINDOW
    rows = fine.reshape(len(thumbnails), fine.shape[-1] ** 2)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Which cells were compared, and which showed the same picture.

    Attributes:
        nearest: the nearest of each cell; each of these pairs was compared.
        alike: (pairs, 2), numbers of two cells, the earlier one first, in their order.
    """

    nearest: Nearest
    alike: Pairs


def find_near_copies(spectra: npt.NDArray[np.uint8], thumbnails: Callable[[int], Grey]) -> Pairs:
    """Find pairs of cells that show the same picture.

    Args:
        spectra: (n, SPECTRUM_BYTES), see `Likeness`; zeros for cells that take no part.
        thumbnails: gives the thumbnail (64, 64) of a cell; asked only of cells with like spectra.

    Returns:
        (pairs, 2), indices of two cells, the earlier one first.
    """
    return compare_nearest(spectra, thumbnails).alike


def compare_nearest(
    spectra: npt.NDArray[np.uint8],
    thumbnails: Callable[[int], Grey],
    before: tuple[Compared, npt.NDArray[np.int64]] | None = None,
) -> Compared:
    """Compare each cell with its nearest ones; arguments as for `find_near_copies`.

    Args:
        before: what was found of some of these cells and others, and where each of its cells is now, in the same order;
            -1 for one that is gone. Two cells that were compared are not compared again.
    """
    if before is None:
        nearest = find_nearest(spectra)
        return Compared(nearest, _those_alike(nearest.pairs, thumbnails))
    earlier, places = before
    left = earlier.nearest.moved(places, np.asarray(spectra.any(axis=1)))
    nearest = find_nearest(spectra, left)
    pairs, known = nearest.pairs, left.lists.pairs
    fresh = pairs[~np.isin(_numbered(pairs, len(spectra)), _numbered(known, len(spectra)))]
    same = places[earlier.alike]
    same = same[(same >= 0).all(axis=1)]
    still = same[left.kept[same].all(axis=1) & np.isin(_numbered(same, len(spectra)), _numbered(pairs, len(spectra)))]
    both = np.concatenate([still, _those_alike(fresh, thumbnails)])
    return Compared(nearest, both[np.argsort(_numbered(both, len(spectra)))])


def _numbered(pairs: Pairs, cells: int) -> npt.NDArray[np.int64]:
    """One number for each pair, in their order."""
    return np.asarray(pairs[:, 0] * cells + pairs[:, 1])


def _those_alike(pairs: Pairs, thumbnails: Callable[[int], Grey]) -> Pairs:
    few = [pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK)]
    return np.concatenate([np.empty((0, 2), np.int64), *(some[_alike(some, thumbnails)] for some in few)])


def is_near_copy(one: bytes, other: bytes) -> bool:
    """Whether two thumbnails (`Likeness.thumbnail`) show the same picture, as `find_near_copies` would say."""
    both = [np.frombuffer(values, np.uint8).reshape(SIDE, SIDE) for values in (one, other)]
    return bool(_alike(np.array([[0, 1]]), both.__getitem__)[0])


def _halved(thumbnails: npt.NDArray[np.generic]) -> Floats:
    """(..., 64, 64) to (..., 32, 32)."""
    rows = np.add(thumbnails[..., ::2, :], thumbnails[..., 1::2, :], dtype=np.float32)
    return np.asarray((rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25))


def _fine(thumbnails: npt.NDArray[np.generic]) -> Floats:
    """What is left of thumbnails (..., side, side) without their coarse structure."""
    values = thumbnails.astype(np.float32)
    blur = _blur(thumbnails.shape[-1])
    return np.asarray(values - blur @ values @ blur.T)


def _alike(pairs: Pairs, thumbnails: Callable[[int], Grey]) -> npt.NDArray[np.bool_]:
    from scipy import fft

    one = np.stack([thumbnails(int(index)) for index in pairs[:, 0]])
    other = _oriented(np.stack([thumbnails(int(index)) for index in pairs[:, 1]]))
    ours, theirs = _fine(_halved(one)) * _WINDOW, _fine(_halved(other)) * _WINDOW
    norms = np.linalg.norm(ours, axis=(1, 2))[:, None] * np.linalg.norm(theirs, axis=(2, 3)) + _TINY
    spectrum = fft.rfft2(ours)[:, None] * np.conj(fft.rfft2(theirs))
    near = np.r_[0 : _SHIFT + 1, -_SHIFT:0]
    found = fft.irfft2(spectrum, s=(_SMALL, _SMALL))[:, :, near][:, :, :, near] / norms[:, :, None, None]
    flat = found.reshape(len(pairs), -1)
    result = np.asarray(flat.max(axis=1) >= _ROUGHLY_ALIKE)
    turn, down, right = np.unravel_index(flat.argmax(axis=1), found.shape[1:])
    for index in np.flatnonzero(result):
        # The small ones have half as many pixels.
        shift = (2.0 * near[down[index]], 2.0 * near[right[index]])
        result[index] = _same_picture(one[index], other[index, turn[index]], shift)
    return result


def _oriented(thumbnails: Grey) -> Grey:
    """(n, 8, 64, 64): four turns, and each mirrored."""
    turns = [np.rot90(thumbnails, turn, (1, 2)) for turn in range(4)]
    return np.stack([view for turn in turns for view in (turn, turn[:, :, ::-1])], axis=1)


def _same_picture(one: Grey, other: Grey, shift: tuple[float, float]) -> bool:
    """Whether fine structure and noise correlate, on what both show, at the best shift near a first guess.

    The shift is refined by least squares on the picture's gradients (Lucas and Kanade 1981): cuts fall between the
    pixels of a thumbnail.
    """
    down, right = shift
    ours = _fine(one)
    for _ in range(_STEPS):
        moved = _fine(_moved(other, down, right))
        both = _overlap(down), _overlap(right)
        by_row, by_column = (np.gradient(moved, axis=axis) for axis in (0, 1))
        columns = [np.asarray(values)[both].ravel() for values in (ours, moved, by_row, by_column)]
        target, same, *slopes = (values - values.mean() for values in columns)
        gain, lower, further = np.linalg.lstsq(np.stack([same, *slopes], axis=1), target, rcond=None)[0]
        if gain <= 0:
            return False
        down, right = down - float(np.clip(lower / gain, -1, 1)), right - float(np.clip(further / gain, -1, 1))
    there = _moved(other, down, right)
    both = _overlap(down), _overlap(right)
    if _correlation(ours[both], _fine(there)[both]) < LEAST_CORRELATION:
        return False
    here = one.astype(np.float32)
    middle = np.asarray((here + there) / 2, np.float32)
    slope = np.hypot(*np.gradient(_blurred(middle)))[both]
    quiet = slope <= np.median(slope)
    noise = [(values - _blurred(values))[both][quiet] for values in (here, there)]
    known = min(float(values.std()) for values in noise) >= _LEAST_NOISE
    return known and _correlation(*noise) >= LEAST_NOISE_CORRELATION


def _moved(picture: Grey, down: float, right: float) -> Floats:
    from scipy import ndimage

    return np.asarray(ndimage.shift(picture.astype(np.float32), (down, right), order=3, mode="nearest"))


def _blurred(values: Floats) -> Floats:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(values, _NOISE_SIGMA))


def _correlation(one: Floats, other: Floats) -> float:
    a, b = (values.ravel() - values.mean() for values in (one, other))
    return float(a @ b) / (float(np.linalg.norm(a) * np.linalg.norm(b)) + _TINY)


def _overlap(shift: float) -> slice:
    """Rows (or columns) that both have after a shift, without their outermost ones."""
    whole = int(np.ceil(abs(shift)))
    return slice(_EDGE + (whole if shift > 0 else 0), SIDE - _EDGE - (whole if shift < 0 else 0))

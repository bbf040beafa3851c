"""Pictures that stop in their middle: a copy whose room was made beforehand, and which was not finished."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnbatch.imaging.wholeness.lost_sectors import LEAST_SHARE, DamageError, Piece

_PAGE = 4096
_HALF = 0.45
_ALIKE = 0.7
_STRONG = 0.15
_FULL = 0.9
_DEPTHS = (4, 8)
_LEAST_SAMPLES = 8

Values = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def check_tail(piece: Piece) -> None:
    """Look for zeros to the end of uncompressed pixels that begin in the middle of something.

    Raises:
        DamageError: the picture is cut off.
    """
    if piece.kind.kind not in "iu" or piece.stride % piece.kind.itemsize or piece.tile_rows:
        return
    values = np.frombuffer(piece.data, piece.kind, len(piece.data) // piece.kind.itemsize)
    width = piece.stride // piece.kind.itemsize
    rows = len(values) // width if width else 0
    if not rows or width % piece.samples:
        return
    picture = values[: rows * width].reshape(rows, -1, piece.samples)
    order = np.arange(picture.size).reshape(picture.shape)
    places = piece.offset + piece.kind.itemsize * order
    check_end(picture, order.max(axis=-1), places.min(axis=-1), piece.kind.itemsize * piece.samples)


def check_end(picture: Values, order: Integers, places: Integers, pixel_bytes: int) -> None:
    """The same for pixels in any order, as those of tiles.

    Backgrounds of exact zeros are common, but what is on them is round: its last row is short. Where what is there
    reaches the zeros almost as wide as it is some pixels further inside, and bright or without a gap, it was cut. Zeros
    that begin with a row may fill up the crop of a cell at the edge of its field; that they do not where they take
    half of it, or begin where a disk's page does.

    What cannot be known: a picture that stops in its background, below the cell or between its two nuclei.

    Args:
        picture: (height, width, samples).
        order: (height, width), numbers of the pixels in the order of the file.
        places: (height, width), the byte of the file where each begins.

    Raises:
        DamageError: the picture is cut off.
    """
    filled = np.asarray(picture.any(axis=-1))
    if not filled.any():
        return
    last = int(order[filled].max())
    lost = np.asarray(order > last)
    share = float(np.count_nonzero(lost)) / lost.size
    if share < LEAST_SHARE or not _is_cut(picture.max(axis=-1).astype(np.float64), filled, lost):
        return
    begins = int(places[order == last][0]) + pixel_bytes
    # What fills a crop up is below or right of all that is there.
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    in_rows = not lost[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].any()
    if not in_rows or share >= _HALF or abs((begins + _PAGE // 2) % _PAGE - _PAGE // 2) < pixel_bytes:
        raise DamageError(f"the last {share:.0%} of its bytes are zero, from the middle of the picture on")


def _is_cut(values: npt.NDArray[np.float64], filled: Mask, lost: Mask) -> bool:
    """Whether what is next to the lost pixels is no end of anything."""
    wide = bright = sides = 0
    inside = dict.fromkeys(_DEPTHS, 0)
    level = _STRONG * float(values.max())
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        beyond, edge = _shifted(lost, axis, step, 1), ~lost
        touching = beyond & edge
        sides += int(np.count_nonzero(touching))
        wide += int(np.count_nonzero(touching & filled))
        bright += int(np.count_nonzero(touching & (values >= level) & filled))
        for depth in _DEPTHS:
            inside[depth] += int(np.count_nonzero(touching & _shifted(filled, axis, -step, depth)))
    if not sides or wide < _ALIKE * max(inside.values()):
        return False
    return bright >= _LEAST_SAMPLES or wide >= _FULL * sides


def _shifted(mask: Mask, axis: int, step: int, by: int) -> Mask:
    """What is `by` pixels further along an axis, at each pixel; False beyond the picture."""
    moved = np.zeros_like(mask)
    size = mask.shape[axis]
    if by >= size:
        return moved
    to, of = (slice(0, size - by), slice(by, size)) if step > 0 else (slice(by, size), slice(0, size - by))
    index: list[slice] = [slice(None), slice(None)]
    source = list(index)
    index[axis], source[axis] = to, of
    moved[tuple(index)] = mask[tuple(source)]
    return moved

"""Pictures that stop in their middle: a copy whose room was made beforehand, and which was not finished."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnbatch.imaging.wholeness.lost_sectors import LEAST_SHARE, DamageError, Piece

_PAGE = 4096
_HALF = 0.45
_ALIKE = 0.85
_STRONG = 0.15
_FULL = 0.9
_ROWS_ABOVE = 4
_LEAST_SAMPLES = 8


def check_tail(piece: Piece) -> None:
    """Look for zeros to the end of uncompressed pixels that begin in the middle of something.

    Backgrounds of exact zeros are common, but what lies on them is round: its last row is short. Where the last row is
    as wide as those above it, and bright or without a gap, it was cut. Zeros that begin with a row may fill up the crop
    of a cell at the edge of its field; that they do not where they take half of it, or begin where a disk's page does.

    Raises:
        DamageError: the picture is cut off.
    """
    if piece.kind.kind not in "iu" or piece.stride % piece.kind.itemsize or piece.tile_rows:
        return
    values: npt.NDArray[np.integer] = np.frombuffer(piece.data, piece.kind, len(piece.data) // piece.kind.itemsize)
    width = piece.stride // piece.kind.itemsize
    filled = np.flatnonzero(values)
    end = int(filled[-1]) + 1 if len(filled) else len(values)
    share = 1 - end / max(1, len(values))
    if share < LEAST_SHARE or not _is_cut(values[:end], width, piece.samples):
        return
    page_begins = (piece.offset + end * piece.kind.itemsize) % _PAGE == 0
    if end % width or share >= _HALF or page_begins:
        raise DamageError(f"the last {share:.0%} of its bytes are zero, from the middle of the picture on")


def _is_cut(values: npt.NDArray[np.integer], width: int, samples: int) -> bool:
    """Whether the last row before the zeros is no end of anything."""
    if len(values) < (_ROWS_ABOVE + 1) * width:
        return False
    last, above = values[-width:], values[-_ROWS_ABOVE * width - width : -_ROWS_ABOVE * width]
    wide, bright = np.count_nonzero(last), np.count_nonzero(last >= _STRONG * float(values.max()))
    if wide < _ALIKE * np.count_nonzero(above):
        return False
    return bool(bright >= _LEAST_SAMPLES * samples or wide >= _FULL * width)

"""Cells that are the same picture under another name: the first in slide order counts, the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class CopyOf:
    """Where the original of a copied cell lies.

    Attributes:
        slide_id: slide of the original.
        row: its row in that slide, counted from 0.
    """

    slide_id: str
    row: int


def find_copies(slides: Sequence[tuple[str, npt.NDArray[np.uint8]]]) -> dict[str, dict[int, CopyOf]]:
    """Find cells whose pixels are equal to those of an earlier cell.

    Args:
        slides: (slide_id, digests) in slide order; digests is uint8 (n, 16), all zero for an unreadable cell.
            Slides that are failed must not be given: a cell must not lose its count to a slide that has none.

    Returns:
        For each slide that has copies, row -> original.
    """
    lengths = [len(digests) for _, digests in slides]
    if not sum(lengths):
        return {}
    stacked = np.ascontiguousarray(np.concatenate([digests for _, digests in slides]))
    keys = stacked.view(np.dtype((np.void, DIGEST_BYTES))).ravel()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    # In a run of equal keys the stable sort puts the earliest cell first; it is the original of the whole run.
    run_start = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    first_of_run = order[np.maximum.accumulate(np.where(run_start, np.arange(len(order)), 0))]
    is_copy = ~run_start & stacked[order].any(axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    copies: dict[str, dict[int, CopyOf]] = {}
    for cell, original in zip(order[is_copy], first_of_run[is_copy], strict=True):
        slide, row = _locate(int(cell), starts)
        origin_slide, origin_row = _locate(int(original), starts)
        copies.setdefault(slides[slide][0], {})[row] = CopyOf(slides[origin_slide][0], origin_row)
    return {slide_id: dict(sorted(rows.items())) for slide_id, rows in copies.items()}


def _locate(index: int, starts: npt.NDArray[np.int64]) -> tuple[int, int]:
    slide = int(np.searchsorted(starts, index, side="right")) - 1
    return slide, index - int(starts[slide])

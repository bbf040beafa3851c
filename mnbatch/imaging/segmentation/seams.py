"""Seams: where two objects of a label image meet, and how long the line between them is."""

from __future__ import annotations

import numpy as np

from mnbatch.imaging.segmentation.found import Labels

Pair = tuple[int, int]
"""Two labels, the smaller first."""


def seam_lengths(labels: Labels) -> dict[Pair, float]:
    """Length in pixels of the seam between each two objects that touch.

    A seam's pixel pairs across columns and across rows are its extents in y and x; the root of their squares is its
    length if it is straight.
    """
    count = int(labels.max()) if labels.size else 0
    across = _meeting(labels[:, :-1], labels[:, 1:], count)
    down = _meeting(labels[:-1], labels[1:], count)
    seams: dict[Pair, float] = {}
    for key in sorted(across.keys() | down.keys()):
        a, b = divmod(key, count + 1)
        seams[(a, b)] = float(np.hypot(across.get(key, 0), down.get(key, 0)))
    return seams


def _meeting(first: Labels, second: Labels, count: int) -> dict[int, int]:
    """Number of neighbouring pixels for each two labels, under the key smaller * (count + 1) + larger."""
    meet = (first != second) & (first > 0) & (second > 0)
    a, b = first[meet].astype(np.int64), second[meet].astype(np.int64)
    keys, lengths = np.unique(np.minimum(a, b) * (count + 1) + np.maximum(a, b), return_counts=True)
    return dict(zip(keys.tolist(), lengths.tolist(), strict=True))

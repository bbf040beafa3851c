"""Seams: where two objects of a label image meet, how long the line between them is, and how much stain lies on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.imaging.segmentation.found import Labels

Pair = tuple[int, int]
"""Two labels, the smaller first."""

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seam:
    """The line between two objects.

    A seam's pixel pairs across columns and across rows are its extents in y and x; the root of their squares is its
    length if it is straight.

    Attributes:
        across, down: pixel pairs across columns and across rows.
        stain: mean of the signal over those pixels.
    """

    across: float
    down: float
    stain: float

    @property
    def length(self) -> float:
        """In pixels."""
        return float(np.hypot(self.across, self.down))

    def with_another(self, other: Seam) -> Seam:
        """Both seams as one."""
        own, new = self.across + self.down, other.across + other.down
        stain = (self.stain * own + other.stain * new) / (own + new)
        return Seam(self.across + other.across, self.down + other.down, stain)


def seams_between(labels: Labels, signal: FloatImage) -> dict[Pair, Seam]:
    """The seam between each two objects that touch, in order of their labels."""
    count = int(labels.max()) if labels.size else 0
    across = _meeting(labels[:, :-1], labels[:, 1:], signal[:, :-1], signal[:, 1:], count)
    down = _meeting(labels[:-1], labels[1:], signal[:-1], signal[1:], count)
    seams: dict[Pair, Seam] = {}
    for key in sorted(across.keys() | down.keys()):
        (pairs_across, stain_across), (pairs_down, stain_down) = across.get(key, (0, 0.0)), down.get(key, (0, 0.0))
        stain = (stain_across + stain_down) / (pairs_across + pairs_down)
        a, b = divmod(key, count + 1)
        seams[(a, b)] = Seam(pairs_across, pairs_down, stain)
    return seams


def _meeting(
    first: Labels, second: Labels, stain: FloatImage, stain_beside: FloatImage, count: int
) -> dict[int, tuple[int, float]]:
    """Number and summed stain of neighbouring pixels of each two labels, under smaller * (count + 1) + larger."""
    meet = (first != second) & (first > 0) & (second > 0)
    a, b = first[meet].astype(np.int64), second[meet].astype(np.int64)
    keys, where = np.unique(np.minimum(a, b) * (count + 1) + np.maximum(a, b), return_inverse=True)
    lengths = np.bincount(where, minlength=len(keys))
    stains = np.bincount(where, (stain[meet] + stain_beside[meet]) / 2, minlength=len(keys))
    return dict(zip(keys.tolist(), zip(lengths.tolist(), stains.tolist(), strict=True), strict=True))

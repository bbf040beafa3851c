"""Scores of cells whose truth is known, counted in bins: what a model card or a laboratory's own cells say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EDGES: tuple[float, ...] = (
    0.0,
    0.001,
    0.003,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    0.95,
    0.98,
    0.99,
    0.997,
    0.999,
    1.0,
)
"""Limits of the bins: fine at both ends, where a network's scores are."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Cells by score, apart for each true class.

    Attributes:
        edges: limits of the bins, rising from 0 to 1; a bin holds its lower limit, the last one both.
        mn, nomn: cells with and without a micronucleus in each bin.
        data: which cells these were.

    Raises:
        ValueError: the numbers do not make a histogram of at least one cell of each class.
    """

    edges: tuple[float, ...]
    mn: tuple[int, ...]
    nomn: tuple[int, ...]
    data: str

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        if len(self.edges) < 3 or self.edges[0] != 0 or self.edges[-1] != 1 or not rising:
            raise ValueError("the limits of a score histogram rise from 0 to 1 over at least two bins")
        if not len(self.mn) == len(self.nomn) == len(self.edges) - 1:
            raise ValueError("a score histogram has one count a bin for each class")
        if min(*self.mn, *self.nomn) < 0 or not sum(self.mn) or not sum(self.nomn):
            raise ValueError("a score histogram has cells of both classes, and no negative count")

    @classmethod
    def of(
        cls, scores: Sequence[float], truth: Sequence[bool], data: str, edges: tuple[float, ...] = EDGES
    ) -> ScoreHistogram:
        """Histogram of scored cells; `truth` says which of them have a micronucleus."""
        p, has_mn = np.asarray(scores, float), np.asarray(truth, bool)
        mn, nomn = count_scores(p[has_mn], edges), count_scores(p[~has_mn], edges)
        return cls(edges, tuple(mn.tolist()), tuple(nomn.tolist()), data)


def count_scores(scores: npt.ArrayLike, edges: Sequence[float]) -> Counts:
    """Scores in each bin, int64 (len(edges) - 1,)."""
    counted: Counts = np.histogram(np.asarray(scores, float), bins=np.asarray(edges))[0].astype(np.int64)
    return counted


def joined(histogram: ScoreHistogram, slide: Counts, most: int = 8) -> tuple[Counts, Counts, Counts]:
    """Join neighbouring bins until each holds enough cells of known truth to say something.

    Each joined bin has at least 1 / `most` of the weight, where both classes weigh alike.

    Args:
        histogram: cells of known truth.
        slide: the slide's cells in the same bins.
        most: joined bins, at most.

    Returns:
        Cells with MN, cells without, and the slide's cells, in the joined bins.
    """
    mn, nomn = np.array(histogram.mn), np.array(histogram.nomn)
    weight = (mn / mn.sum() + nomn / nomn.sum()) / 2
    starts, held = [0], 0.0
    for i in range(len(weight)):
        held += float(weight[i])
        if held >= 1 / most and float(weight[i + 1 :].sum()) >= 1 / most:
            starts.append(i + 1)
            held = 0.0
    return tuple(np.add.reduceat(counts, starts) for counts in (mn, nomn, slide))  # type: ignore[return-value]

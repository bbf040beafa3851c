"""Reliability: of the cells that got a probability of about p, what share has a micronucleus?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.assay.intervals import clopper_pearson
from mnbatch.training.evaluation.ranking import Bools, Floats


@dataclass(frozen=True, slots=True)
class Bin:
    """Cells whose probabilities lie in `from_p <= p < to_p` (the last bin holds p = 1 too).

    Attributes:
        mean_p: mean probability; None in an empty bin.
        observed: share with MN, with its exact (Clopper-Pearson) 95 % interval; None in an empty bin.
    """

    from_p: float
    to_p: float
    cells: int
    with_mn: int
    mean_p: float | None
    observed: float | None
    low: float | None
    high: float | None


def reliability(scores: Floats, labels: Bools, bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal width over 0..1 with their counts."""
    place = np.minimum((scores * bins).astype(int), bins - 1)
    return tuple(_bin(number, bins, scores[place == number], labels[place == number]) for number in range(bins))


def _bin(number: int, bins: int, scores: Floats, labels: Bools) -> Bin:
    edges = number / bins, (number + 1) / bins
    cells, with_mn = len(labels), int(labels.sum())
    if cells == 0:
        return Bin(*edges, 0, 0, None, None, None, None)
    return Bin(*edges, cells, with_mn, float(scores.mean()), with_mn / cells, *clopper_pearson(with_mn, cells))

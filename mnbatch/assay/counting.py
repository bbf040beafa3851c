"""From a yes or no to a number of micronuclei: 0, 1, 2, 3 or more, and the MN frequency (the yield).

A counting model says, beside p_mn = P(n >= 1), two continuation ratios: q2 = P(n >= 2 | n >= 1) and
q3 = P(n >= 3 | n >= 2) (Fienberg, The Analysis of Cross-Classified Categorical Data, 2nd ed. 1980, chapter 6; Tutz,
Br J Math Stat Psychol 43:39, 1990). Each answers only what the one before it leaves open, so p_mn, and with it which
cells are called MN, is that of the yes/no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mnbatch.assay.distribution import Distribution

CLASSES = ("0", "1", "2", "3+")
"""Numbers of micronuclei that are told apart."""

MOST = len(CLASSES) - 1
"""Stands for itself and for every larger number."""

PER = 1000
NOT_COUNTED = "not available: the model answers yes or no and counts no micronuclei"

Ratios = tuple[float, float]
"""(q2, q3) of a cell."""

Four = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CellCount:
    """Micronuclei of one cell.

    Attributes:
        p: probabilities of 0, 1, 2 and 3 or more; they add up to 1.
        expected: mean of that distribution. As p_mn it holds for a cell of a set with as many cells with MN as without:
            over a slide, where few cells have any, it adds up to too much.
        n: micronuclei as called: 0 for a cell not called MN, else the likeliest of 1, 2 and 3 (or more).
    """

    p: Four
    expected: float
    n: int

    @classmethod
    def of(cls, p_mn: float, ratios: Ratios, called: bool, mean_3plus: float) -> CellCount:
        """The count of a cell with a score and its call; `mean_3plus` as on the model's card."""
        p = count_probabilities(p_mn, ratios)
        return cls(p, p[1] + 2 * p[2] + mean_3plus * p[3], likeliest_count(ratios) if called else 0)


def count_probabilities(p_mn: float, ratios: Ratios) -> Four:
    """P(n = 0), P(n = 1), P(n = 2), P(n >= 3) from the score and the continuation ratios."""
    q2, q3 = ratios
    return 1 - p_mn, p_mn * (1 - q2), p_mn * q2 * (1 - q3), p_mn * q2 * q3


def likeliest_count(ratios: Ratios) -> int:
    """The most probable number of micronuclei, 1 to 3, of a cell that has any; of equals the smaller."""
    q2, q3 = ratios
    chances = (1 - q2, q2 * (1 - q3), q2 * q3)
    return 1 + chances.index(max(chances))


@dataclass(frozen=True, slots=True)
class MnFrequency:
    """Micronuclei per 1000 BN cells with the exact 95 % interval of a Poisson count.

    Attributes:
        bn_cells: cells counted, at least 1.
        micronuclei: sum of the cells' counts; a cell of 3 or more adds 3.
        cells: number of cells with 0, 1, 2 and 3 or more micronuclei.
    """

    bn_cells: int
    micronuclei: int
    cells: tuple[int, int, int, int]
    per_1000: float
    ci_low: float
    ci_high: float

    @classmethod
    def of(cls, counts: Iterable[int]) -> MnFrequency:
        """Frequency of cells with these numbers of micronuclei.

        Raises:
            ValueError: no cell, or a number that is none of 0 to 3.
        """
        return cls._of(Distribution.of_cells(list(counts)))

    @classmethod
    def pooled(cls, parts: Iterable[MnFrequency]) -> MnFrequency:
        """Frequency of the cells of several slides together."""
        return cls._of(sum((part.distribution for part in parts), Distribution(())))

    @classmethod
    def _of(cls, distribution: Distribution) -> MnFrequency:
        mean, interval, number = distribution.mean, distribution.interval(), distribution.counts
        if mean is None or interval is None or len(number) > len(CLASSES):
            raise ValueError(f"not the cells of a slide by their micronuclei: {number}")
        zero, one, two, more = (*number, *(0,) * (len(CLASSES) - len(number)))
        rates = (PER * value for value in (mean, *interval))
        return cls(distribution.cells, distribution.micronuclei, (zero, one, two, more), *rates)

    @property
    def distribution(self) -> Distribution:
        """Of micronuclei over cells, for its dispersion index and u."""
        return Distribution(self.cells)

"""Numbers of micronuclei: of a cell 0, 1, 2, 3 or more; of a case N, X, yield, dispersion index and u."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Literal

from mnbatch.assay.intervals import garwood

# From a yes or no to a number of micronuclei: 0, 1, 2, 3 or more, and the MN frequency (the yield).
#
# A counting model gives, in addition to p_mn = P(n >= 1), two continuation ratios: q2 = P(n >= 2 | n >= 1) and
# q3 = P(n >= 3 | n >= 2) (Fienberg, The Analysis of Cross-Classified Categorical Data, 2nd ed. 1980, chapter 6; Tutz,
# Br J Math Stat Psychol 43:39, 1990). Each answers only what the one before it leaves open, so p_mn, and with it which
# cells are called MN, is that of the yes/no model.


CLASSES = ("0", "1", "2", "3+")
"""Numbers of micronuclei that are told apart."""

MOST = len(CLASSES) - 1
"""Stands for itself and for every larger number."""

PER = 1000
NOT_COUNTED = "not available: the model gives yes or no and counts no micronuclei"

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


# How many micronuclei the cells of a case have: N, X, yield, dispersion index and u (the MN endpoint).
#
#     N = sum C_k          cells                 X = sum k C_k        micronuclei
#     y = X / N            yield                 s2 = (sum k^2 C_k - X^2 / N) / (N - 1)
#     DI = s2 / y          dispersion index      y_err = sqrt(s2 / N)
#     u = (DI - 1) sqrt((N - 1) / (2 (1 - 1/X)))
#
# after IAEA, Cytogenetic Dosimetry (EPR-Biodosimetry 2011), and Papworth's u (Savage, Mutat Res 1970). A Poisson
# distribution has DI = 1 and u within -1.96..1.96 in 95 of 100 cases.


U_LIMIT = 1.96
"""|u| above it marks over- or underdispersion at the 5 % level."""

Verdict = Literal["underdispersed", "not distinguishable from Poisson", "overdispersed", "not defined"]


@dataclass(frozen=True)
class Distribution:
    """Cells by their number of micronuclei.

    Attributes:
        counts: C_0, C_1, ...: cells with k micronuclei, for every k up to the largest that was counted.

    Raises:
        ValueError: a count is negative or not a whole number.
    """

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        for k, number in enumerate(self.counts):
            if number < 0 or number != int(number):
                raise ValueError(f"C{k} = {number} is not a number of cells")

    @classmethod
    def of_cells(cls, micronuclei: Sequence[int]) -> Distribution:
        """Distribution of cells given one by one.

        Args:
            micronuclei: number of micronuclei of each cell, at least 0.
        """
        if any(k < 0 for k in micronuclei):
            raise ValueError("a cell cannot have a negative number of micronuclei")
        counts = [0] * (max(micronuclei, default=0) + 1)
        for k in micronuclei:
            counts[k] += 1
        return cls(tuple(counts))

    def __add__(self, other: Distribution) -> Distribution:
        """The two pooled: cells add up."""
        longer, shorter = sorted((self.counts, other.counts), key=len, reverse=True)
        padded = shorter + (0,) * (len(longer) - len(shorter))
        return Distribution(tuple(a + b for a, b in zip(longer, padded, strict=True)))

    @cached_property
    def cells(self) -> int:
        """N."""
        return sum(self.counts)

    @cached_property
    def micronuclei(self) -> int:
        """X."""
        return sum(k * number for k, number in enumerate(self.counts))

    @property
    def mnbn_cells(self) -> int:
        """Cells with at least one micronucleus."""
        return self.cells - (self.counts[0] if self.counts else 0)

    @property
    def mean(self) -> float | None:
        """Yield y in micronuclei a cell; None without cells."""
        return self.micronuclei / self.cells if self.cells else None

    @cached_property
    def variance(self) -> float | None:
        """s2 of the micronuclei a cell; None for fewer than two cells."""
        if self.cells < 2:
            return None
        squares = sum(k * k * number for k, number in enumerate(self.counts))
        # In whole numbers up to the last division: nothing cancels.
        return (squares * self.cells - self.micronuclei**2) / (self.cells * (self.cells - 1))

    @property
    def yield_error(self) -> float | None:
        """y_err, standard error of the yield from the spread of the cells; None for fewer than two cells."""
        return None if self.variance is None else sqrt(self.variance / self.cells)

    @property
    def dispersion_index(self) -> float | None:
        """DI; None without a micronucleus (0 / 0) or for fewer than two cells."""
        if self.variance is None or not self.micronuclei:
            return None
        return self.variance * self.cells / self.micronuclei

    def u(self, expected: float = 1.0) -> float | None:
        """Standardised distance of the dispersion index from `expected`.

        Args:
            expected: dispersion index to compare with; 1 is Poisson's.

        Returns:
            None for fewer than two micronuclei, where its variance is 0 and u is not defined.
        """
        if self.dispersion_index is None or self.micronuclei < 2:
            return None
        return (self.dispersion_index - expected) * sqrt((self.cells - 1) / (2 * (1 - 1 / self.micronuclei)))

    @property
    def verdict(self) -> Verdict:
        """What u says of the spread."""
        u = self.u()
        if u is None:
            return "not defined"
        if abs(u) <= U_LIMIT:
            return "not distinguishable from Poisson"
        return "overdispersed" if u > 0 else "underdispersed"

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Exact Poisson (Garwood) interval of the yield, micronuclei a cell; None without cells.

        It holds for Poisson counts; where the verdict is `overdispersed` it is too narrow.
        """
        if not self.cells:
            return None
        low, high = garwood(self.micronuclei, level)
        return low / self.cells, high / self.cells

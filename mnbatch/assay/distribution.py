"""How many micronuclei the cells of a case have: N, X, yield, dispersion index and u (the MN endpoint).

    N = sum C_k          cells                 X = sum k C_k        micronuclei
    y = X / N            yield                 s2 = (sum k^2 C_k - X^2 / N) / (N - 1)
    DI = s2 / y          dispersion index      y_err = sqrt(s2 / N)
    u = (DI - 1) sqrt((N - 1) / (2 (1 - 1/X)))

after IAEA, Cytogenetic Dosimetry (EPR-Biodosimetry 2011), and Papworth's u (Savage, Mutat Res 1970). A Poisson
distribution has DI = 1 and u within -1.96..1.96 in 95 of 100 cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Literal

from mnbatch.assay.intervals import garwood

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

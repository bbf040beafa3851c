"""What a classifier's errors do to a frequency, and what is behind it when they are taken out."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from mnbatch.assay.intervals import normal_quantile

# The effect of a classifier's errors on a frequency, and the frequency corrected for them.
#
# Rogan and Gladen (Am J Epidemiol 107:71, 1978) turn the share of cells that are called MN into the share that have
# one; Lang and Reiczigel (Prev Vet Med 113:13, 2014) give the interval that carries the uncertainty of sensitivity and
# specificity as well as that of the count.


@dataclass(frozen=True, slots=True)
class CountedRate:
    """A sensitivity or a specificity as it was counted.

    Attributes:
        right: cells called rightly, of `total` cells of that class.

    Raises:
        ValueError: no cells, or more right calls than cells.
    """

    right: int
    total: int

    def __post_init__(self) -> None:
        if self.total < 1 or not 0 <= self.right <= self.total:
            raise ValueError(f"{self.right} of {self.total} is not a count of right calls")

    @property
    def value(self) -> float:
        """`right / total`."""
        return self.right / self.total

    def __str__(self) -> str:
        return f"{self.right}/{self.total}"


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """How a classifier errs, on cells whose truth a person gave.

    Attributes:
        sensitivity: of cells with a micronucleus; specificity: of cells without.
        data: what they were measured on, in the words of the person who measured.
    """

    sensitivity: CountedRate
    specificity: CountedRate
    data: str

    @property
    def youden(self) -> float:
        """Se + Sp - 1; at 0 and below a call says nothing of the cell."""
        return self.sensitivity.value + self.specificity.value - 1


@dataclass(frozen=True, slots=True)
class CorrectedFraction:
    """A fraction of cells with the classifier's errors taken out.

    Attributes:
        raw: Rogan-Gladen estimate as it comes, possibly below 0 or above 1.
        value: the same, within 0..1.
        low, high: Lang-Reiczigel interval, within 0..1; None where it is wholly outside 0..1: the rates then cannot
            hold for these cells, and an interval without width would be wrong.
    """

    raw: float
    value: float
    low: float | None
    high: float | None


def rogan_gladen(fraction: float, sensitivity: float, specificity: float) -> float:
    """(p + Sp - 1) / (Se + Sp - 1), not clipped.

    Raises:
        ValueError: Se + Sp <= 1, where a call says nothing of the cell.
    """
    if sensitivity + specificity <= 1:
        raise ValueError(f"sensitivity {sensitivity:g} and specificity {specificity:g} are no better than guessing")
    return (fraction + specificity - 1) / (sensitivity + specificity - 1)


def rogan_gladen_error(fraction: float, cells: int, sensitivity: float, specificity: float) -> float:
    """Standard error of `rogan_gladen` from counting alone, as if both rates were known without error."""
    return sqrt(fraction * (1 - fraction) / cells) / (sensitivity + specificity - 1)


def correct_fraction(positive: int, cells: int, rates: ErrorRates, level: float = 0.95) -> CorrectedFraction:
    """Fraction of cells with a micronucleus behind `positive` of `cells` that were called MN.

    The interval is that of Lang and Reiczigel: z^2/2 events and as many non-events are added to the count, one right
    and one wrong call to each rate, so that even 39 right calls out of 39 leave doubt about the specificity.

    Raises:
        ValueError: no cells, contradictory counts, or rates no better than guessing.
    """
    if cells < 1 or not 0 <= positive <= cells:
        raise ValueError(f"{positive} of {cells} is not a count of events among cells")
    raw = rogan_gladen(positive / cells, rates.sensitivity.value, rates.specificity.value)
    se, sp = rates.sensitivity, rates.specificity
    low, high = lang_reiczigel(positive, cells, (se.right, se.total), (sp.right, sp.total), level)
    value = min(1.0, max(0.0, raw))
    if high <= 0 or low >= 1:
        return CorrectedFraction(raw, value, None, None)
    return CorrectedFraction(raw, value, max(0.0, low), min(1.0, high))


def lang_reiczigel(
    positive: int,
    cells: int,
    sensitivity: tuple[float, int],
    specificity: tuple[float, int],
    level: float = 0.95,
) -> tuple[float, float]:
    """The interval of `correct_fraction`, not clipped to 0..1.

    Args:
        positive, cells: cells called MN, of cells counted.
        sensitivity, specificity: right calls, of cells of that class (as counts).
        level: confidence, 0..1.

    Returns:
        (low, high); 0..1 where the adjusted rates are no better than guessing, since nothing is known then.
    """
    z = normal_quantile(level)
    n = cells + z * z
    p = (positive + z * z / 2) / n
    (se, var_se), (sp, var_sp) = _adjusted(*sensitivity), _adjusted(*specificity)
    youden = se + sp - 1
    if youden <= 0:
        return 0.0, 1.0
    true = (p + sp - 1) / youden
    shift = 2 * z * z * (true * var_se - (1 - true) * var_sp)
    half = z / youden * sqrt(p * (1 - p) / n + (1 - true) ** 2 * var_sp + true**2 * var_se)
    return true + shift - half, true + shift + half


def _adjusted(right: float, total: int) -> tuple[float, float]:
    """A rate with one right and one wrong call added, and its variance."""
    rate = (right + 1) / (total + 2)
    return rate, rate * (1 - rate) / (total + 2)


@dataclass(frozen=True, slots=True)
class CorrectedYield:
    """Micronuclei a cell with the classifier's errors taken out.

    Attributes:
        raw: (y_obs - f) / s, possibly below 0; value: the same, at least 0.
        error: its standard error; low, high: normal interval, at least 0.
    """

    raw: float
    value: float
    error: float
    low: float
    high: float


def correct_yield(
    observed: tuple[float, float], false_per_cell: tuple[float, float], found: tuple[float, float], level: float = 0.95
) -> CorrectedYield:
    """y = (y_obs - f) / s with var = (var(y_obs) + var(f) + y^2 var(s)) / s^2 (delta method).

    Args:
        observed: yield as counted, micronuclei a cell, and its variance.
        false_per_cell: false micronuclei a cell, and the variance of that estimate.
        found: share of true micronuclei that are found, above 0, and the variance of that estimate.

    Raises:
        ValueError: no true micronucleus is found, or a variance is negative.
    """
    (y, var_y), (f, var_f), (s, var_s) = observed, false_per_cell, found
    if s <= 0 or min(var_y, var_f, var_s) < 0:
        raise ValueError("a yield is corrected with a positive share found and variances of 0 or more")
    raw = (y - f) / s
    error = sqrt(var_y + var_f + raw**2 * var_s) / s
    half = normal_quantile(level) * error
    return CorrectedYield(raw, max(0.0, raw), error, max(0.0, raw - half), max(0.0, raw + half))

"""What a frequency is compared with: the laboratory's own controls, or the general population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnbatch.assay.comparison import compare_rates, poisson_p_greater
from mnbatch.assay.limits import Limits, limits_of_control, limits_of_rate

HUMN_MEDIAN = 6.5
HUMN_QUARTILES = (3.0, 12.0)
"""MNBN per 1000 BN cells in the general population, scored by eye (HUMN project, Bonassi et al., Environ Mol Mutagen
37:31, 2001). People differ that much; women have 19 % more than men."""

ALPHA, BETA = 0.05, 0.1
"""One-sided false alarms against the background, and misses at the detection limit."""

Source = Literal["control", "literature"]


@dataclass(frozen=True, slots=True)
class Control:
    """Slides that the sample sheet marks as controls, scored by one model at one threshold.

    Attributes:
        mnbn_cells, bn_cells: of all of them together.
        slides: how many; donors: of how many donors.
        low, high: smallest and largest frequency of one of these donors, per 1000 BN cells.
    """

    mnbn_cells: int
    bn_cells: int
    slides: int
    donors: int
    low: float
    high: float

    @property
    def per_1000(self) -> float:
        """Frequency of all of them together."""
        return 1000 * self.mnbn_cells / self.bn_cells


@dataclass(frozen=True, slots=True)
class Background:
    """A counted frequency beside its background.

    Attributes:
        source: own control, or literature where there is none.
        per_1000: the background, MNBN per 1000 BN cells.
        p_greater: one-sided p of a count at least as high, if the case had the background's frequency. Only counting
            error is in it, not that people differ.
        limits: in MNBN cells among the cells counted.
        above: whether the count lies above the decision threshold.
    """

    source: Source
    per_1000: float
    p_greater: float
    limits: Limits
    above: bool
    cells: int

    @property
    def detection_limit_per_1000(self) -> float:
        """Smallest frequency that this many cells tell from the background in 9 of 10 cases."""
        return 1000 * self.limits.detection_limit / self.cells


def pool_controls(donors: Sequence[Sequence[tuple[int, int]]]) -> Control | None:
    """Pool control slides.

    Args:
        donors: for each control donor, (MNBN cells, BN cells) of each of its slides.

    Returns:
        None where no cell was counted.
    """
    sums = [(sum(k for k, _ in slides), sum(n for _, n in slides)) for slides in donors]
    counted = [(k, n) for k, n in sums if n]
    if not counted:
        return None
    rates = [1000 * k / n for k, n in counted]
    mnbn, cells = sum(k for k, _ in counted), sum(n for _, n in counted)
    return Control(mnbn, cells, sum(map(len, donors)), len(counted), min(rates), max(rates))


def compare_with_background(mnbn: int, cells: int, control: Control | None) -> Background:
    """Compare a count with the control, or with the literature's median where there is none.

    Against a control the exact conditional test carries the control's own counting error. Both tests are those of
    Poisson counts, which for a fraction of cells are slightly conservative.

    Raises:
        ValueError: no cells.
    """
    if control is None:
        rate = HUMN_MEDIAN / 1000
        limits = limits_of_rate(rate, cells, ALPHA, BETA)
        p = poisson_p_greater(mnbn, rate * cells)
        return Background("literature", HUMN_MEDIAN, p, limits, mnbn > limits.decision_threshold, cells)
    limits = limits_of_control(control.mnbn_cells, control.bn_cells, cells, ALPHA, BETA)
    p = compare_rates(mnbn, cells, control.mnbn_cells, control.bn_cells).p_greater
    return Background("control", control.per_1000, p, limits, mnbn > limits.decision_threshold, cells)

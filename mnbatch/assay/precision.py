"""How far the number of scored cells carries, and what more cells would bring."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betaincinv

TIERS: tuple[int, ...] = (200, 500, 1000, 2000)
"""Usual numbers of BN cells a donor: 200 in triage, 1000 to 2000 otherwise."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Width of the exact 95 % interval of a fraction, now and with more cells.

    Attributes:
        tier: largest of `TIERS` that is reached; None below 200 cells.
        width: of the interval, as a fraction.
        next_cells, next_width: the next tier and the width there, were the fraction the same; None from 2000 on.
    """

    cells: int
    tier: int | None
    width: float
    next_cells: int | None
    next_width: float | None


def precision(mnbn: int, cells: int, level: float = 0.95) -> Precision:
    """Precision of `mnbn` cells called MN among `cells` BN cells.

    Raises:
        ValueError: no cells, or contradictory counts.
    """
    if cells < 1 or not 0 <= mnbn <= cells:
        raise ValueError(f"{mnbn} of {cells} is not a count of events among cells")
    reached = [tier for tier in TIERS if tier <= cells]
    further = next((tier for tier in TIERS if tier > cells), None)
    wider = None if further is None else expected_width(mnbn / cells, further, level)
    return Precision(
        cells, reached[-1] if reached else None, expected_width(mnbn / cells, cells, level), further, wider
    )


def expected_width(fraction: float, cells: int, level: float = 0.95) -> float:
    """Width of the Clopper-Pearson interval of `fraction` of `cells`, which need not make a whole number of events."""
    events, tail = fraction * cells, (1 - level) / 2
    low = 0.0 if events <= 0 else float(betaincinv(events, cells - events + 1, tail))
    high = 1.0 if events >= cells else float(betaincinv(events + 1, cells - events, 1 - tail))
    return high - low

"""Geometry of the two charts: interval bars on a common scale, and the histogram of scores.

Positions are percentages of the drawing's width, so that the SVG stretches with the page while text and
strokes keep their size. Nothing here knows HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mnbatch.assay.background import HUMN_MEDIAN, HUMN_QUARTILES

HISTOGRAM_BINS = 50
HISTOGRAM_HEIGHT = 150.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Common axis of interval bars, from 0 to `top` per 1000 cells."""

    top: float
    ticks: tuple[float, ...]

    @property
    def band(self) -> tuple[float, float, float]:
        """Places of the background reference: lower quartile, median, upper quartile."""
        low, high = HUMN_QUARTILES
        return self.x(low), self.x(HUMN_MEDIAN), self.x(high)

    def x(self, per_1000: float) -> float:
        """Place on the axis, percent of its width, clipped to it."""
        return round(100 * min(max(per_1000 / self.top, 0.0), 1.0), 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """One estimate with its interval on a scale; all in percent of the width."""

    point: float
    low: float
    high: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """One histogram bin: x and width in percent, height in pixels, and its part above the threshold."""

    x: float
    width: float
    height: float
    above_x: float
    above_width: float
    count: int
    label: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores of one slide: bins, labelled counts (height px, text) and the threshold's place in percent."""

    bins: tuple[Bin, ...]
    grid: tuple[tuple[float, str], ...]
    threshold: float
    height: float = HISTOGRAM_HEIGHT


def nice_axis(value: float) -> tuple[float, ...]:
    """Ticks from 0 to the next round number at or above `value`, in three to five equal round parts."""
    power = 10.0 ** math.floor(math.log10(value))
    axes = ((1, 4), (2, 4), (3, 3), (4, 4), (5, 5), (6, 3), (8, 4), (10, 4))
    mantissa, parts = next(axis for axis in axes if axis[0] * power >= value * (1 - 1e-9))
    return tuple(mantissa * power * part / parts for part in range(parts + 1))


def common_scale(intervals: Iterable[tuple[float, float]]) -> Scale:
    """Scale that holds the (point, upper limit) of all rows.

    One slide with a handful of cells has an interval of hundreds per 1000 and would flatten all others, so
    the axis ends at three times the largest estimate or at the median upper limit, whichever is larger;
    longer bars are cut and marked. It always shows the background reference.
    """
    rows = list(intervals)
    highs = [high for _, high in rows]
    floor = 20.0
    if highs:
        points = max(point for point, _ in rows)
        floor = max(floor, min(max(highs), max(3 * points, float(np.median(highs)))))
    ticks = nice_axis(min(floor, 1000.0))
    return Scale(ticks[-1], ticks)


def interval(scale: Scale, point: float, low: float, high: float) -> Interval:
    """Place an estimate and its limits (per 1000) on a scale."""
    return Interval(scale.x(point), scale.x(low), scale.x(high), high > scale.top)


def histogram(p_mn: Sequence[float], threshold: float) -> Histogram:
    """Histogram of scores with a logarithmic count axis.

    Counts are drawn as log(1 + n): nearly all cells of a slide lie at the left, and the few at the right
    are the result.
    """
    counts, _ = np.histogram(np.asarray(p_mn, dtype=float), bins=HISTOGRAM_BINS, range=(0.0, 1.0))
    largest = max(int(counts.max()), 10)
    unit = HISTOGRAM_HEIGHT / math.log1p(largest)
    bins = tuple(_bin(i, int(n), unit, threshold) for i, n in enumerate(counts) if n)
    steps = [10**k for k in range(7) if 10**k <= largest]
    grid = tuple((round(math.log1p(n) * unit, 1), f"{n:,}".replace(",", "\u202f")) for n in steps)
    return Histogram(bins, grid, round(100 * threshold, 2))


def _bin(index: int, count: int, unit: float, threshold: float) -> Bin:
    width = 100.0 / HISTOGRAM_BINS
    left, right = index * width, (index + 1) * width
    above = min(max(100 * threshold, left), right)
    return Bin(
        x=round(left + 0.1, 2),
        width=round(width - 0.2, 2),
        height=round(math.log1p(count) * unit, 1),
        above_x=round(max(above, left + 0.1), 2),
        above_width=round(max(right - 0.1 - max(above, left + 0.1), 0.0), 2),
        count=count,
        label=f"p {left / 100:.2f} to {right / 100:.2f}",
    )

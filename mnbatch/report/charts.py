"""Charts of the pages: interval bars, histograms, frequency against cells scored, calibration curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from mnbatch.assay.calls import PER, CalledCell
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.detection_limits import HUMN_MEDIAN, HUMN_QUARTILES
from mnbatch.report import wording

# Geometry of the two charts: interval bars on a common scale, and the histogram of scores.
#
# Positions are percentages of the drawing's width, so that the SVG stretches with the page while text and
# strokes keep their size. Nothing here knows HTML.


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

    Counts are drawn as log(1 + n): nearly all cells of a slide are at the left, and the few at the right
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


# Frequency against cells scored: whether it had settled, and whether a part of the slide is unlike the rest.


WIDTH, HEIGHT = 600, 150
POINTS = 120
LEAST = 50
"""Cells before which a running frequency says nothing."""


@dataclass(frozen=True, slots=True)
class Cumulative:
    """A line and its band as SVG points in a box of `WIDTH` x `HEIGHT`; `top` is the axis' end, per 1000 cells."""

    line: str
    band: str
    top: str
    cells: str
    text: str


def cumulative(cells: Sequence[CalledCell]) -> Cumulative | None:
    """The running MNBN frequency with its exact interval, in the order of the slide; None for under `LEAST` cells."""
    calls = np.array([cell.mn for cell in cells if cell.mn is not None], dtype=bool)
    if len(calls) < LEAST:
        return None
    number = np.unique(np.linspace(LEAST, len(calls), POINTS).astype(int))
    found = np.cumsum(calls)[number - 1]
    rates = PER * found / number
    limits = np.array([clopper_pearson(int(x), int(n)) for x, n in zip(found, number, strict=True)]) * PER
    top = max(float(rates.max()), float(np.median(limits[:, 1]))) * 1.15 or 1.0
    x = WIDTH * number / len(calls)

    def points(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
        y = HEIGHT - HEIGHT * np.clip(values / top, 0, 1)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    return Cumulative(
        line=" ".join(points(rates)),
        band=" ".join([*points(limits[:, 1]), *reversed(points(limits[:, 0]))]),
        top=f"{top:.3g}",
        cells=wording.whole(len(calls)),
        text=f"MNBN per 1000 cells after each number of cells: {rates[0]:.1f} after {number[0]}, "
        f"{rates[len(rates) // 2]:.1f} after {number[len(rates) // 2]}, {rates[-1]:.1f} after all {len(calls)}.",
    )


# A calibration curve with its band as SVG, with the calibration points and one case on it where given.


CURVE_WIDTH, CURVE_HEIGHT = 560.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 16.0, 14.0, 44.0
BAND, LINE, INK, CASE = "#cfdce6", "#2f5d7c", "#3c4348", "#a8321e"
STEPS = 80


@dataclass(frozen=True, slots=True)
class CaseMark:
    """A case on the curve: dose with its limits (upper None: unbounded), yield with its limits, events a cell."""

    dose: float
    lower: float
    upper: float | None
    y: float
    y_low: float
    y_high: float


class _Axes:
    """Places of doses (Gy) and yields (per 1000 cells) in the drawing."""

    def __init__(self, highest_dose: float, highest_yield: float) -> None:
        self.doses, self.yields = nice_axis(highest_dose), nice_axis(highest_yield)

    def x(self, dose: float) -> float:
        share = min(dose / self.doses[-1], 1.0)
        return round(LEFT + (CURVE_WIDTH - LEFT - RIGHT) * share, 2)

    def y(self, per_1000: float) -> float:
        share = min(max(per_1000 / self.yields[-1], 0.0), 1.0)
        return round(CURVE_HEIGHT - BOTTOM - (CURVE_HEIGHT - TOP - BOTTOM) * share, 2)


def figure(curve: Curve, level: float = 0.95, case: CaseMark | None = None, g: float = 1.0) -> str:
    """The figure as an `<svg>` element that stretches with its container; colours are attributes, no style is needed.

    The curve is drawn to its highest dose and, where the case is beyond, dashed to there.
    """
    measured = curve.highest_dose or 5.0
    reach = max(measured, 1.05 * max(case.dose, min(case.upper or case.dose, 3 * measured)) if case else 0.0)
    doses = np.linspace(0, reach, STEPS)
    y = 1000 * curve.yields(doses, g)
    low, high = (1000 * limit for limit in curve.band(doses, level, g))
    points = _points(curve)
    tallest = max([float(high.max()), *(p["yield"] * 1000 for p in points), case.y_high * 1000 if case else 0.0])
    axes = _Axes(reach, max(tallest, 1.0))
    inside = doses <= measured + 1e-9
    parts = [_frame(axes, curve), _band(axes, doses, low, high), _line(axes, doses[inside], y[inside], "")]
    if not inside.all():
        beyond = doses >= measured * (1 - 1 / STEPS)
        parts.append(_line(axes, doses[beyond], y[beyond], ' stroke-dasharray="5 4"'))
    parts += [f'<circle cx="{axes.x(p["dose"])}" cy="{axes.y(1000 * p["yield"])}" r="3" fill="{INK}"/>' for p in points]
    if case:
        parts.append(_case(axes, case))
    return (
        f'<svg class="curve" viewBox="0 0 {CURVE_WIDTH:g} {CURVE_HEIGHT:g}" role="img" font-size="12" '
        f'aria-label="{escape(_spoken(curve, level, case))}">{"".join(parts)}</svg>'
    )


def standalone(curve: Curve, level: float = 0.95) -> bytes:
    """The figure as a file of its own."""
    svg = figure(curve, level).replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * CURVE_WIDTH:g}" height="{2 * CURVE_HEIGHT:g}" '
        'font-family="sans-serif" ', 1,
    )  # fmt: skip
    background = f'<rect width="{CURVE_WIDTH:g}" height="{CURVE_HEIGHT:g}" fill="#ffffff"/>'
    head, rest = svg.split(">", 1)
    return f"{head}>{background}{rest}\n".encode()


def _points(curve: Curve) -> Sequence[Mapping[str, Any]]:
    """Calibration points that the curve's file carries."""
    fitted = curve.about.get("fit")
    found = fitted.get("points") if isinstance(fitted, Mapping) else None
    return [p for p in found if "dose" in p and "yield" in p] if isinstance(found, list) else []


def _frame(axes: _Axes, curve: Curve) -> str:
    unit = "Micronuclei" if curve.endpoint == "mn" else "MNBN"
    parts = []
    for value in axes.yields:
        y = axes.y(value)
        parts.append(f'<line x1="{LEFT}" x2="{CURVE_WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#dfe4e8"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4}" text-anchor="end" fill="{INK}">{value:g}</text>')
    for value in axes.doses:
        x = axes.x(value)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{CURVE_HEIGHT - BOTTOM}" y2="{CURVE_HEIGHT - BOTTOM + 4}" stroke="{INK}"/>'
        )
        parts.append(
            f'<text x="{x}" y="{CURVE_HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="{INK}">{value:g}</text>'
        )
    middle = (TOP + CURVE_HEIGHT - BOTTOM) / 2
    centre = (LEFT + CURVE_WIDTH - RIGHT) / 2
    parts.append(f'<text x="{centre}" y="{CURVE_HEIGHT - 8}" text-anchor="middle" fill="{INK}">'
                 "Dose, Gy</text>")  # fmt: skip
    parts.append(f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle" fill="{INK}">'
                 f"{unit} per 1000 BN cells</text>")  # fmt: skip
    return "".join(parts)


def _band(axes: _Axes, doses: Any, low: Any, high: Any) -> str:
    up = [f"{axes.x(d)},{axes.y(v)}" for d, v in zip(doses, high, strict=True)]
    down = [f"{axes.x(d)},{axes.y(v)}" for d, v in zip(doses[::-1], low[::-1], strict=True)]
    return f'<polygon points="{" ".join(up + down)}" fill="{BAND}"/>'


def _line(axes: _Axes, doses: Any, y: Any, dashes: str) -> str:
    points = " ".join(f"{axes.x(d)},{axes.y(v)}" for d, v in zip(doses, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="1.8"{dashes}/>'


def _case(axes: _Axes, case: CaseMark) -> str:
    x, y, floor = axes.x(case.dose), axes.y(1000 * case.y), axes.y(0)
    low, high = axes.x(case.lower), axes.x(axes.doses[-1] if case.upper is None else case.upper)
    bottom, top = axes.y(1000 * case.y_low), axes.y(1000 * case.y_high)
    return (
        f'<g stroke="{CASE}" fill="none"><line x1="{x}" x2="{x}" y1="{floor}" y2="{y}" stroke-dasharray="2 3"/>'
        f'<line x1="{x}" x2="{x}" y1="{bottom}" y2="{top}" stroke-width="1.6"/>'
        f'<line x1="{low}" x2="{high}" y1="{floor - 2}" y2="{floor - 2}" stroke-width="5" stroke-opacity="0.55"/></g>'
        f'<circle cx="{x}" cy="{y}" r="4.5" fill="{CASE}"/>'
    )


def _spoken(curve: Curve, level: float, case: CaseMark | None) -> str:
    text = f"Calibration curve, {curve.shape}, with its {100 * level:g} % band"
    if case:
        upper = "not bounded" if case.upper is None else f"{case.upper:.2f}"
        text += f"; the case at {case.dose:.2f} Gy, interval {case.lower:.2f} to {upper} Gy"
    return text

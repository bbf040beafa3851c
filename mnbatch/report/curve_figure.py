"""A calibration curve with its band as SVG, with the calibration points and one case on it where given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from mnbatch.assay.curve import Curve
from mnbatch.report.charts import nice_axis

WIDTH, HEIGHT = 560.0, 300.0
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
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 2)

    def y(self, per_1000: float) -> float:
        share = min(max(per_1000 / self.yields[-1], 0.0), 1.0)
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 2)


def figure(curve: Curve, level: float = 0.95, case: CaseMark | None = None, g: float = 1.0) -> str:
    """The figure as an `<svg>` element that stretches with its container; colours are attributes, no style is needed.

    The curve is drawn to its highest dose and, where the case lies beyond, dashed to there.
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
        f'<svg class="curve" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" font-size="12" '
        f'aria-label="{escape(_spoken(curve, level, case))}">{"".join(parts)}</svg>'
    )


def standalone(curve: Curve, level: float = 0.95) -> bytes:
    """The figure as a file of its own."""
    svg = figure(curve, level).replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH:g}" height="{2 * HEIGHT:g}" '
        'font-family="sans-serif" ', 1,
    )  # fmt: skip
    background = f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" fill="#ffffff"/>'
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
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#dfe4e8"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4}" text-anchor="end" fill="{INK}">{value:g}</text>')
    for value in axes.doses:
        x = axes.x(value)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}" stroke="{INK}"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="{INK}">{value:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle" fill="{INK}">'
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

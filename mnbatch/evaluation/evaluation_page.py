"""index.html of an evaluation with its charts: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mnbatch import __version__
from mnbatch.assay.mn_counts import CLASSES
from mnbatch.evaluation.evaluation_records import Evaluation
from mnbatch.evaluation.performance import GRID, Bin, Curve, Figure, Floats, Measured

# Figures of an evaluation as inline SVG: classes only, so that the page's style gives the colours.


SIDE, LEFT, BOTTOM, TOP, RIGHT = 260.0, 44.0, 40.0, 10.0, 14.0
_MOST_POINTS = 400
_BAR = 46.0


def roc_chart(curve: Curve, point: tuple[float, float] | None) -> Markup:
    """ROC curve with its band.

    Args:
        point: (1 - specificity, sensitivity) at the card's threshold, marked.
    """
    inside = [_band(curve), _line([0.0, 1.0], [0.0, 1.0], "chance"), _line(*_thinned(curve.x, curve.y), "curve")]
    return _chart(inside, point, "1 − specificity", "sensitivity", "ROC curve with its 95 % band")


def precision_recall_chart(curve: Curve, point: tuple[float, float] | None, prevalence: float) -> Markup:
    """Precision-recall steps with their band.

    Args:
        point: (recall, precision) at the card's threshold, marked.
        prevalence: share of cells with MN: the precision of calls made by chance.
    """
    # Precision holds for the stretch of recall that its threshold adds: a step to the left of its corner.
    x = np.repeat(np.concatenate([[0.0], curve.x]), 2)[1:-1]
    y = np.repeat(curve.y, 2)
    chance = _line([0.0, 1.0], [prevalence, prevalence], "chance")
    inside = [_band(curve), chance, _line(*_thinned(x, y), "curve")]
    return _chart(inside, point, "recall (sensitivity)", "precision", "Precision-recall curve with its 95 % band")


def reliability_chart(bins: Sequence[Bin]) -> Markup:
    """Observed share with MN against mean probability, exact intervals, and the number of cells in each bin."""
    inside = [_line([0.0, 1.0], [0.0, 1.0], "chance")]
    most = max((part.cells for part in bins), default=1) or 1
    for part in bins:
        if part.mean_p is not None and part.observed is not None:
            if part.low is not None and part.high is not None:
                inside.append(_line([part.mean_p] * 2, [part.low, part.high], "whisker"))
            inside.append(_dot(part.mean_p, part.observed))
        inside.append(_count_bar(part, most))
    label = "Observed share of cells with micronuclei against the probability, with counts"
    return _chart(inside, None, "probability (bars: cells)", "observed share", label, below=_BAR)


def _count_bar(part: Bin, most: int) -> Markup:
    height = (_BAR - 16) * part.cells / most
    left, right, floor = _x(part.from_p) + 1, _x(part.to_p) - 1, TOP + SIDE + 22 + _BAR
    bar = Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    text = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>')
    drawn = bar.format(left, floor - height, right - left, height)
    return drawn + text.format((left + right) / 2, floor - height - 3, part.cells)


def _chart(
    inside: Iterable[Markup], point: tuple[float, float] | None, x: str, y: str, label: str, below: float = 0.0
) -> Markup:
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM + below
    middle_y = TOP + SIDE / 2
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">').format(
            width, height, label
        ),
        *_frame(),
        *inside,
        _dot(*point) if point else Markup(""),
        Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(_x(0.5), height - 6, x),
        Markup('<text x="12" y="{0:.1f}" text-anchor="middle" transform="rotate(-90 12 {0:.1f})">{1}</text>').format(
            middle_y, y
        ),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def _frame() -> Iterable[Markup]:
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield _line([0.0, 1.0], [tick, tick], "grid")
        yield Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="end">{:g}</text>').format(LEFT - 6, _y(tick) + 4, tick)
        yield Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{:g}</text>').format(
            _x(tick), TOP + SIDE + 15, tick
        )


def _band(curve: Curve) -> Markup:
    known = ~(np.isnan(curve.low) | np.isnan(curve.high))
    if not known.any():
        return Markup("")
    x = np.concatenate([GRID[known], GRID[known][::-1]])
    y = np.concatenate([curve.high[known], curve.low[known][::-1]])
    return Markup('<polygon class="band" points="{}"/>').format(_points(x, y))


def _line(x: Iterable[float], y: Iterable[float], kind: str) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(kind, _points(x, y))


def _dot(x: float, y: float) -> Markup:
    return Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(_x(x), _y(y))


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most 400 points, the ends among them: no eye sees more, and the page stays small."""
    if len(x) <= _MOST_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int))
    return x[kept], y[kept]


def _points(x: Iterable[float], y: Iterable[float]) -> str:
    return " ".join(f"{_x(float(a)):.1f},{_y(float(b)):.1f}" for a, b in zip(x, y, strict=True))


def _x(value: float) -> float:
    return LEFT + SIDE * value


def _y(value: float) -> float:
    return TOP + SIDE * (1 - value)


# index.html of an evaluation: one file, no script, nothing loaded from elsewhere.


NOT_KNOWN = "–"
WORDS = {
    "auc": "Area under the ROC curve (AUC)",
    "average_precision": "Average precision (AP)",
    "f1": "F1 at the card’s threshold",
    "best_f1": "Best F1 over all thresholds (optimistic)",
    "precision": "Precision at the card’s threshold",
    "brier": "Brier score (0 is best)",
    "sensitivity": "Sensitivity at the card’s threshold",
    "specificity": "Specificity at the card’s threshold",
    "count_error": "Mean absolute error, micronuclei a cell",
    "mn_per_1000": "MN frequency as called, per 1000 cells",
    "true_mn_per_1000": "True MN frequency, per 1000 cells",
    "mn_ratio": "Called over true",
}
MAPS = {
    "attention5": "Attention of layer 5",
    "attention6": "Attention of layer 6",
    "evidence": "Exact evidence",
    "evidence_drawn": "Exact evidence, spread by one step as the report draws it",
    "grad_cam": "Grad-CAM (last convolution)",
    "random": "A point drawn at random (expected)",
    "reachable": "Any point of the grid (upper bound)",
}
TARGETS = {"any": "a micronucleus of any cell in the crop", "own": "a micronucleus of the crop’s own cell"}
MOST_LISTED = 200
"""Cells that were not scored, on the page; all are in scores.csv."""


@dataclass(frozen=True, slots=True)
class Charts:
    """The three figures; "" where one cannot be drawn."""

    roc: Markup
    precision_recall: Markup
    reliability: Markup


def render_page(found: Evaluation) -> bytes:
    """The page of an evaluation; every text from outside is escaped."""
    css = _asset("page.css")
    text = (
        _environment()
        .get_template("page.html.j2")
        .render(
            found=found,
            charts=_charts(found),
            words=WORDS,
            maps=MAPS,
            targets=TARGETS,
            count_classes=CLASSES,
            most_listed=MOST_LISTED,
            version=__version__,
            css=Markup(css),
            css_hash="sha256-" + base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        )
    )
    return text.encode("utf-8", "backslashreplace")


def _charts(found: Evaluation) -> Charts:
    measured = found.overall
    roc, curve = measured.roc, measured.precision_recall
    precision, recall = measured["precision"].value, measured["sensitivity"].value
    point = None if precision is None or recall is None else (recall, precision)
    return Charts(
        roc=roc_chart(roc, _roc_point(measured)) if roc else Markup(""),
        precision_recall=precision_recall_chart(curve, point, measured.share_with_mn) if curve else Markup(""),
        reliability=reliability_chart(found.calibration),
    )


def _roc_point(measured: Measured) -> tuple[float, float] | None:
    sensitivity, specificity = measured["sensitivity"].value, measured["specificity"].value
    return None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mnbatch.evaluation", "page"),
        # Names of files and groups come from others: everything is escaped, always.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": interval, "percent": percent, "p_value": p_value}
    return environment


def number(value: float | None, digits: int = 3) -> str:
    """0.98123 -> '0.981'; a dash where there is none."""
    return NOT_KNOWN if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(figure: Figure) -> str:
    """'0.951 to 0.993', or a dash."""
    if figure.low is None or figure.high is None:
        return NOT_KNOWN
    return f"{figure.low:.3f} to {figure.high:.3f}"


def percent(share: float) -> str:
    """0.065 -> '6.5 %'."""
    return f"{100 * share:.3g} %"


def p_value(value: float) -> str:
    """0.0312 -> '0.031'; small ones as a bound."""
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def _asset(name: str) -> str:
    return resources.files("mnbatch.evaluation").joinpath("page", name).read_text(encoding="utf-8")

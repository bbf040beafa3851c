"""index.html of an evaluation: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mnbatch import __version__
from mnbatch.assay.counting import CLASSES
from mnbatch.training.evaluation.charts import precision_recall_chart, reliability_chart, roc_chart
from mnbatch.training.evaluation.request import Evaluation
from mnbatch.training.evaluation.statistics import Figure, Measured

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
    prevalence = measured.with_mn / measured.cells
    return Charts(
        roc=roc_chart(roc, _roc_point(measured)) if roc else Markup(""),
        precision_recall=precision_recall_chart(curve, point, prevalence) if curve else Markup(""),
        reliability=reliability_chart(found.calibration),
    )


def _roc_point(measured: Measured) -> tuple[float, float] | None:
    sensitivity, specificity = measured["sensitivity"].value, measured["specificity"].value
    return None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mnbatch.training.evaluation", "page"),
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
    return resources.files("mnbatch.training.evaluation").joinpath("page", name).read_text(encoding="utf-8")

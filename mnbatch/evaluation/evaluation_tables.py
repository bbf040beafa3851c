"""metrics.csv, metrics.json and scores.csv of an evaluation, and whole-file writes.

The same rules as for the tables of a run (docs/data-dictionary.md): UTF-8 with a byte order mark, text that a
spreadsheet would take for a formula preceded by an apostrophe, an empty field for a number that does not exist.
Writing whole files is what `results` has too, but training does not import it (docs/architecture.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from mnbatch import __version__
from mnbatch.csvfile import Value, csv_bytes, shown
from mnbatch.evaluation.cell_weights import PROBABILITY
from mnbatch.evaluation.count_quality import CountsMeasured, counts_of
from mnbatch.evaluation.evaluation_records import Evaluation, ModelFacts
from mnbatch.evaluation.performance import Figure, Measured

METRIC_COLUMNS = (
    "model",
    "group",
    "figure",
    "prevalence",
    "value",
    "ci_low",
    "ci_high",
    "interval",
    "cells",
    "with_mn",
)
SCORE_COLUMNS = ("file", "slide", "donor", "has_mn", "p_mn", "called_mn", "reason")
COUNT_COLUMNS = ("true_n_mn", "n_mn")
ALL = "all"


def metrics_csv(found: Evaluation) -> bytes:
    """One row a figure: of all cells, of every group, and of the second model."""
    rows: list[Sequence[Value]] = []
    for model, group, measured in _parts(found):
        rows += [
            [model, group, *_figure_fields(figure), measured.cells, measured.with_mn] for figure in measured.figures
        ]
    if found.counts is not None:
        counts = found.counts
        rows += [
            [found.model.name, ALL, *_figure_fields(figure), counts.cells, sum(map(sum, counts.confusion[1:]))]
            for figure in counts.figures
        ]
    for game in found.pointing:
        name = f"pointing_{game.name}_{game.target}"
        method = "Clopper-Pearson over cells" if game.low is not None else ""
        rows.append(
            [found.model.name, ALL, name, None, game.share, game.low, game.high, method, game.cells, game.cells]
        )
    return _csv(METRIC_COLUMNS, rows)


def _parts(found: Evaluation) -> Iterator[tuple[str, str, Measured]]:
    yield found.model.name, ALL, found.overall
    for group in found.groups:
        yield found.model.name, group.name, group.measured
    if found.comparison is not None:
        yield f"{found.comparison.model.name} (against)", ALL, found.comparison.measured


def _figure_fields(figure: Figure) -> list[Value]:
    return [figure.name, figure.prevalence, figure.value, figure.low, figure.high, figure.method]


def metrics_json(found: Evaluation) -> bytes:
    """Everything but the scores of the cells, for programs."""
    request = found.request
    content = {
        "mnbatch": __version__,
        "data": str(found.data.path),
        "labelled": len(found.data.cells),
        "not_scored": [{"file": file, "reason": why} for file, why in found.not_scored],
        "bootstrap": {"resamples": request.bootstrap, "seed": request.seed},
        "model": _model(found.model),
        "overall": {**_measured(found.overall), "curves": _curves(found.overall)},
        "calibration": [asdict(part) for part in found.calibration],
        "group_by": request.group_by,
        "groups": [{"name": group.name, **_measured(group.measured)} for group in found.groups],
        "against": _comparison(found),
        "counts": None if found.counts is None else _counts(found.counts),
        "pointing": [asdict(game) for game in found.pointing],
        "warnings": list(found.warnings),
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _model(facts: ModelFacts) -> dict[str, object]:
    return {
        "asked_for": facts.asked_for,
        "name": facts.name,
        "version": facts.version,
        "digest": facts.digest,
        "thresholds": dict(facts.thresholds),
    }


def _counts(counts: CountsMeasured) -> dict[str, object]:
    content = asdict(counts)
    stood_for = content.pop("stood_for")
    if stood_for is not None:
        content["confusion_as_labelled"], content["confusion"] = content["confusion"], stood_for
    return content


def _measured(measured: Measured) -> dict[str, object]:
    return {
        "cells": measured.cells,
        "with_mn": measured.with_mn,
        **_confusion(measured),
        "best_f1_threshold": measured.best_threshold,
        "figures": [asdict(figure) for figure in measured.figures],
        "warning": measured.warning,
    }


def _confusion(measured: Measured) -> dict[str, object]:
    """Right and wrong calls; of drawn cells those that they stand for, and their own numbers beside them."""
    counts = asdict(measured.confusion)
    stood_for = measured.stood_for
    if stood_for is None:
        return {"confusion": counts}
    return {
        "stands_for": {"cells": stood_for.cells, "with_mn": stood_for.with_mn},
        "confusion": asdict(stood_for),
        "confusion_as_labelled": counts,
    }


def _curves(measured: Measured) -> dict[str, object]:
    curves = {"roc": measured.roc, "precision_recall": measured.precision_recall}
    return {name: {"x": curve.x.tolist(), "y": curve.y.tolist()} for name, curve in curves.items() if curve is not None}


def _comparison(found: Evaluation) -> dict[str, object] | None:
    against = found.comparison
    if against is None:
        return None
    delong = None if against.delong is None else asdict(against.delong)
    # JSON has no infinity: a difference without any error has no z.
    if delong is not None and delong["z"] in (float("inf"), float("-inf")):
        delong["z"] = None
    return {
        "model": _model(against.model),
        **_measured(against.measured),
        "delong": delong,
        "mcnemar": None if against.mcnemar is None else asdict(against.mcnemar),
    }


def scores_csv(found: Evaluation) -> bytes:
    """One row a cell, in the order of the data; cells that were not scored keep their row with the reason."""
    second = found.scored_against
    against = ("p_mn_against", "called_mn_against", "reason_against") if second else ()
    chance = (PROBABILITY,) if found.weights is not None else ()
    columns = (*SCORE_COLUMNS, *against, *COUNT_COLUMNS, *chance)
    rows = []
    for place, (cell, file) in enumerate(zip(found.data.cells, found.data.files, strict=True)):
        row: list[Value] = [file, cell.slide, cell.donor, int(cell.has_mn)]
        for scored in (found.scored, second) if second else (found.scored,):
            why = scored.reasons[place]
            score: list[Value] = [None, None] if why else [float(scored.scores[place]), int(scored.called[place])]
            row += [*score, why]
        row += [cell.n_mn, counts_of(found.scored, place)]
        row += [found.data.columns[PROBABILITY][place]] if chance else []
        rows.append(row)
    return _csv(columns, rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Value]]) -> bytes:
    """A table as a spreadsheet may open it."""
    return csv_bytes(header, rows, text=shown, mark=True)

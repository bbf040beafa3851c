"""How a slide's model errs: from the laboratory's own scored cells where it gave some, else from the model's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mnbatch.assay.classifier_error import CountedRate, ErrorRates
from mnbatch.assay.own_cells import ValidatedCell, Validation, ValidationRow, read_validation, validate_with
from mnbatch.assay.score_mixture import ScoreHistogram
from mnbatch.assay.slide_errors import ValidationSlide
from mnbatch.csvfile import csv_bytes, read_stored, shown
from mnbatch.errors import UsageError
from mnbatch.intake import reason
from mnbatch.results.annotations import change, read
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import RateStamp, SlideRecord
from mnbatch.results.store import Store

NO_SCORES = "the model's card holds no validation scores: give your own scored cells (--validation)"
COLUMNS = ("cell_id", "p_mn", "truth", "model_digest")
COLOURLESS_SHARE = 0.1
"""Of a slide's readable cells: with more of them without colour, errors measured on cells with colour do not hold."""
NO_COLOUR = (
    "the card's errors were measured on cells with colour, and more than a tenth of a slide's cells have none: give "
    "your own scored cells (--validation)"
)
NOT_KEPT = "the record of this slide does not state the model's error rates: run the same `mnbatch run` again"


def keep_validation(store: Store, path: Path) -> list[ValidatedCell]:
    """Read a laboratory's scored cells, find their scores in the store, and keep both with OUT's annotations.

    What was kept before stays next to it under another name.

    Raises:
        UsageError: a line that cannot be used, a cell that OUT does not hold or could not read, or scores alone in an
            OUT that several models scored.
        StorageError: a file cannot be read or written.
    """
    cells = _find_scores(store, read_validation(path), path)
    content = csv_bytes(COLUMNS, [(cell.cell_id, cell.p_mn, int(cell.truth), cell.model) for cell in cells])
    kept = store.paths.validation
    before = read(store.paths, kept)
    aside = {} if before is None or before == content else {_unused(kept): before}
    change(store.paths, replace={**aside, kept: content})
    return cells


def load_validation(paths: OutPaths) -> list[ValidatedCell]:
    """The laboratory's scored cells in force; none where none were given.

    Raises:
        StorageError: they are there and cannot be read.
        UsageError: the file was edited and is no longer what `keep_validation` wrote.
    """
    data = read(paths, paths.validation)
    if data is None:
        return []
    try:
        return [_kept_cell(row) for row in read_stored(data, COLUMNS)]
    except ValueError as error:
        raise UsageError(
            f"{paths.validation} is not what `mnbatch report --validation` wrote: {reason(error)}.",
            "Give --validation again, or delete the file.",
        ) from error


def _kept_cell(row: Mapping[str, str]) -> ValidatedCell:
    p_mn, truth = float(row["p_mn"]), row["truth"]
    if not 0 <= p_mn <= 1 or truth not in ("0", "1"):
        raise ValueError(f"p_mn {row['p_mn'][:20]} and truth {truth[:20]} are no score and no truth")
    return ValidatedCell(row["cell_id"], p_mn, truth == "1", row["model_digest"])


def validation_of(record: SlideRecord, cells: Sequence[ValidatedCell]) -> Validation:
    """What is known of the errors of the model that scored a slide, at the threshold of the slide's call.

    Args:
        record: of a scored slide.
        cells: the laboratory's own scored cells; they go before the card where there are any.
    """
    if record.model is None or record.call is None:
        return _nothing("no model scored this slide")
    if cells:
        return validate_with(cells, record.model.digest, record.call.threshold)
    card = record.model.validation
    if card is None:
        return _nothing(NOT_KEPT)
    if record.colourless > COLOURLESS_SHARE * sum(record.stains.values()):
        return _nothing(NO_COLOUR)
    rates, reason = None, "the model's card gives no sensitivity and specificity with their counts"
    if record.call.threshold != card.threshold:
        reason = (
            f"the card's rates hold at its threshold {card.threshold:g}, and the cells were called at "
            f"{record.call.threshold:g}: give your own scored cells (--validation)"
        )
    elif card.sensitivity is not None and card.specificity is not None:
        rates = ErrorRates(_counted(card.sensitivity), _counted(card.specificity), _named(card.sensitivity.data))
        reason = ""
    slides = tuple(ValidationSlide(**s.model_dump()) for s in card.slides) if rates else ()
    if card.scores is None:
        return Validation(rates, reason, None, NO_SCORES, slides)
    s = card.scores
    return Validation(rates, reason, ScoreHistogram(s.edges, s.mn, s.nomn, _named(s.data)), "", slides)


def _nothing(reason: str) -> Validation:
    return Validation(None, reason, None, reason)


def _counted(rate: RateStamp) -> CountedRate:
    return CountedRate(rate.right, rate.total)


def _named(data: str) -> str:
    return f'the model card\'s "{data}"'


def _find_scores(store: Store, rows: Sequence[ValidationRow], path: Path) -> list[ValidatedCell]:
    records = {record.slide_id: record for record in store.records() if record.model is not None}
    models = {record.model.digest for record in records.values() if record.model}
    scores: dict[str, dict[str, float | None]] = {}
    found = []
    for row in rows:
        if row.p_mn is not None:
            if len(models) != 1:
                raise UsageError(
                    f"{path}, line {row.line}: a score without a cell_id, and {len(models)} models scored this OUT.",
                    "Name the cells by cell_id, so that their model is known.",
                )
            found.append(ValidatedCell("", row.p_mn, row.truth, next(iter(models))))
            continue
        slide_id = row.cell_id.split(":", 1)[0]
        record = records.get(slide_id)
        if record is not None and slide_id not in scores:
            found_in = store.scores(record)
            # As the store names them, and as cells.csv shows names with control characters.
            scores[slide_id] = {shown(score.cell_id): score.p_mn for score in found_in}
            scores[slide_id] |= {score.cell_id: score.p_mn for score in found_in}
        p_mn = scores.get(slide_id, {}).get(row.cell_id)
        if record is None or record.model is None or p_mn is None:
            raise UsageError(
                f"{path}, line {row.line}: {store.paths.root} has no score of the cell {row.cell_id}.",
                "Take cell_id from the slide's cells.csv; leave out cells that could not be read.",
            )
        found.append(ValidatedCell(row.cell_id, p_mn, row.truth, record.model.digest))
    return found


def _unused(path: Path) -> Path:
    number = 1
    while (other := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    return other

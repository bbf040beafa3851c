"""A laboratory's own scored cells: a person's truth for cells that the model also scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnbatch.assay.classifier_error import CountedRate, ErrorRates
from mnbatch.assay.score_mixture import EDGES, ScoreHistogram, count_scores
from mnbatch.assay.slide_errors import ValidationSlide
from mnbatch.csvfile import CsvError
from mnbatch.errors import StorageError, UsageError
from mnbatch.handed_table import needs, parse_table
from mnbatch.intake import read_bytes, reason, short
from mnbatch.spelled_numbers import SpellingError, count_of, decimal_of

TRUTH_COLUMNS: tuple[str, ...] = ("truth", "has_mn")
"""Accepted names of the column with the truth; `has_mn` is that of `mnbatch evaluate`'s scores.csv."""

_WORDS = {"mn": True, "yes": True, "true": True, "nomn": False, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """One line of the file.

    Attributes:
        cell_id: identity as in cells.csv, or "" where the line gives a score.
        p_mn: the model's score, or None where the line gives a cell_id.
        truth: whether a person found a micronucleus.
        line: line of the file, counted from 1.
    """

    cell_id: str
    p_mn: float | None
    truth: bool
    line: int


@dataclass(frozen=True, slots=True)
class ValidatedCell:
    """A cell with its score and its truth.

    Attributes:
        cell_id: "" where only the score is known.
        model: digest of the model that gave the score.
    """

    cell_id: str
    p_mn: float
    truth: bool
    model: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What is known of a model's errors, from its card or from a laboratory's own cells.

    Attributes:
        rates: sensitivity and specificity at the threshold in force, or None.
        rates_reason: why there are none; "" otherwise.
        scores: cells of known truth by score, or None.
        scores_reason: why there are none; "" otherwise.
        slides: calls on each slide of known truth at the threshold in force; empty where they are not known by slide.
    """

    rates: ErrorRates | None
    rates_reason: str
    scores: ScoreHistogram | None
    scores_reason: str
    slides: tuple[ValidationSlide, ...] = ()


def validate_with(cells: Sequence[ValidatedCell], model: str, threshold: float) -> Validation:
    """What a laboratory's own cells say of one model at one threshold.

    Cells that another model scored say nothing of this one and are left out.
    """
    own = [cell for cell in cells if cell.model == model]
    with_mn = [cell.p_mn for cell in own if cell.truth]
    without = [cell.p_mn for cell in own if not cell.truth]
    if not own:
        reason = "the laboratory's own scored cells were scored by another model"
    elif not with_mn or not without:
        reason = f"of the laboratory's {len(own)} own scored cells all are {'with' if with_mn else 'without'} MN"
    else:
        data = f"the laboratory's own {len(own)} scored cells"
        found = CountedRate(sum(p >= threshold for p in with_mn), len(with_mn))
        spared = CountedRate(sum(p < threshold for p in without), len(without))
        scores = ScoreHistogram.of([cell.p_mn for cell in own], [cell.truth for cell in own], data)
        return Validation(ErrorRates(found, spared, data), "", scores, "", _by_slide(own, threshold))
    return Validation(None, reason, None, reason)


def _by_slide(cells: Sequence[ValidatedCell], threshold: float) -> tuple[ValidationSlide, ...]:
    """Counts of each slide; a cell known by its score alone is of no known slide and is not among them."""
    slides: dict[str, list[ValidatedCell]] = {}
    for cell in cells:
        if cell.cell_id:
            slides.setdefault(cell.cell_id.split(":", 1)[0], []).append(cell)
    return tuple(slide_counts(same, threshold) for _, same in sorted(slides.items()))


def slide_counts(cells: Sequence[ValidatedCell], threshold: float) -> ValidationSlide:
    """Counts of one slide's cells at one threshold."""
    return ValidationSlide(
        n=len(cells),
        n_mn=sum(cell.truth for cell in cells),
        called=sum(cell.p_mn >= threshold for cell in cells),
        right=sum(cell.truth and cell.p_mn >= threshold for cell in cells),
        mn_scores=tuple(count_scores([cell.p_mn for cell in cells if cell.truth], EDGES).tolist()),
        nomn_scores=tuple(count_scores([cell.p_mn for cell in cells if not cell.truth], EDGES).tolist()),
    )


def read_validation(path: Path) -> list[ValidationRow]:
    """Read a validation file: CSV, UTF-8; columns cell_id or p_mn, and truth (or has_mn).

    The truth is 1 or 0, mn or nomn, yes or no, or a number of micronuclei. Lines without truth (a person was not sure)
    are left out. Where a line has both cell_id and p_mn, the cell_id counts. Other columns are not used.

    Raises:
        UsageError: a missing column, a line with neither cell nor score, a truth or score that cannot be read, a cell
            named twice; names the line.
        StorageError: the file cannot be read.
    """
    try:
        table = parse_table(_read(path), needed=needs("cell_id", "p_mn", *TRUTH_COLUMNS))
    except CsvError as error:
        raise UsageError(
            f"The validation file {path} cannot be used: {reason(error)}.",
            "Save it as 'CSV UTF-8'; its first line names cell_id (or p_mn) and truth.",
        ) from error
    names = {name.lower(): name for name in table.columns if name}
    truths = [names[column] for column in TRUTH_COLUMNS if column in names]
    truth = truths[0] if truths else None
    if len(truths) > 1:
        raise UsageError(f"The validation file {path} has both columns {' and '.join(truths)}.", "Keep one of them.")
    if truth is None or not {"cell_id", "p_mn"} & set(names):
        raise UsageError(
            f"The validation file {path} lacks a column.",
            "Its first line names cell_id (or p_mn) and truth.",
        )
    rows = []
    for line, fields in table.dicts():
        if fields[truth].strip():
            cell_id = fields.get(names.get("cell_id", ""), "").strip()
            score = fields.get(names.get("p_mn", ""), "").strip()
            rows.append(
                _row(
                    path=path,
                    line=line,
                    cell_id=cell_id,
                    score=score,
                    truth=fields[truth].strip(),
                    separator=table.separator,
                )
            )
    return _unique(path, rows)


def _row(path: Path, line: int, cell_id: str, score: str, truth: str, separator: str) -> ValidationRow:
    where = f"{path}, line {line}"
    has_mn = _WORDS.get(truth.lower())
    if has_mn is None:
        try:
            has_mn = count_of(truth, "truth") > 0
        except SpellingError as error:
            raise UsageError(
                f"{where}: truth '{short(truth)}' is not known.", "Use 1 or 0, mn or nomn, or a number of MN."
            ) from error
    if cell_id:
        return ValidationRow(cell_id, None, has_mn, line)
    try:
        p_mn = decimal_of(score, separator, "p_mn")
    except SpellingError:
        p_mn = -1.0
    if not 0 <= p_mn <= 1:
        raise UsageError(
            f"{where}: there is no cell_id, and p_mn '{short(score)}' is not a score.", "A score is from 0 to 1."
        )
    return ValidationRow("", p_mn, has_mn, line)


def _unique(path: Path, rows: Sequence[ValidationRow]) -> list[ValidationRow]:
    if not rows:
        raise UsageError(f"The validation file {path} has no cell with a truth.", "Give each cell a truth.")
    seen: dict[str, int] = {}
    for row in rows:
        if row.cell_id and row.cell_id in seen:
            raise UsageError(
                f"{path}, line {row.line}: the cell {row.cell_id} is already in line {seen[row.cell_id]}.",
                "Keep one line for each cell.",
            )
        seen[row.cell_id] = row.line
    return list(rows)


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no validation file {path}.", "Check --validation.") from error
    except OSError as error:
        raise StorageError(
            f"The validation file {path} cannot be read: {reason(error)}.", "Check --validation and its permissions."
        ) from error

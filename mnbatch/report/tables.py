"""The CSV files: cells.csv, slides.csv, donors.csv. Columns and units are documented in
docs/data-dictionary.md.

UTF-8 with a byte order mark: Excel reads it rightly only with one, and pandas, R and LibreOffice drop it.
Text that a spreadsheet would take for a formula is preceded by an apostrophe; numbers are never touched. A
number that does not exist is an empty field, never a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mnbatch.assay.calls import CalledCell, Frequency
from mnbatch.assay.field_records import FieldCounts, FoundAt
from mnbatch.assay.mn_counts import MnFrequency
from mnbatch.csvfile import Number, Value, csv_bytes, is_number, shown
from mnbatch.report import statistics
from mnbatch.report.dose_report import DOSE_COLUMNS, NO_DOSE
from mnbatch.report.signature_lines import SIGNATURE_COLUMNS, signature_fields
from mnbatch.review.sign_offs import Signed
from mnbatch.review.standing import NO_REVIEW, SlideReview

CELL_COUNT_COLUMNS = ("p_0", "p_1", "p_2", "p_3plus", "expected_mn", "n_mn")
FOUND_COLUMNS = (
    "x",
    "y",
    "x_um",
    "y_um",
    "box_left",
    "box_top",
    "box_width",
    "box_height",
    "cell_class",
    "nuclei",
    "nucleus_area_px",
    "cell_area_px",
    "mask_label",
)
"""Where a cell was found in its field; empty for a cell of a gallery."""

_CELL_TAIL = (*CELL_COUNT_COLUMNS, "zoom", *FOUND_COLUMNS)
CELL_COLUMNS = ("cell_id", "source", "page", "p_mn", "mn", "qc", "reason", *_CELL_TAIL)
COUNT_COLUMNS = (
    "status",
    "reason",
    "bn_cells",
    "excluded_cells",
    "flagged_cells",
    "mnbn_cells",
    "mnbn_per_1000",
    "ci_low",
    "ci_high",
    "model",
    "model_digest",
    "threshold",
    "warnings",
)
SAMPLE_COLUMNS = ("dose_gy", "culture", "sex", "age", "note")
REVIEW_COLUMNS = (
    "review_status",
    "review_reason",
    "reviewers",
    "reviewed_cells",
    "reviewed_mnbn_cells",
    "reviewed_bn_cells",
    "reviewed_per_1000",
    "reviewed_low",
    "reviewed_high",
    "reviewed_ci_low",
    "reviewed_ci_high",
)
MN_COLUMNS = ("micronuclei", "mn_per_1000_bn", "mn_ci_low", "mn_ci_high", "C0", "C1", "C2", "C3plus", "mn_reason")
FIELD_COLUMNS = (
    "fields",
    "fields_empty",
    "fields_set_aside",
    "found_cells",
    "m1_cells",
    "m2_cells",
    "m3_cells",
    "m4_cells",
    "ndi",
    "cbpi",
    "not_scored_cells",
    "not_scored",
)
"""What was found in the fields of slides that are no galleries; empty for galleries."""

SLIDE_COLUMNS = (
    *("slide_id", "donor", "slide", *COUNT_COLUMNS, *SAMPLE_COLUMNS, *REVIEW_COLUMNS, *MN_COLUMNS),
    *("control", *statistics.SLIDE_COLUMNS, "input", *FIELD_COLUMNS),
)
DONOR_COLUMNS = (
    *("donor", *COUNT_COLUMNS, "slides", "slides_done", "slides_failed", *REVIEW_COLUMNS, *MN_COLUMNS),
    *(*statistics.DONOR_COLUMNS, *DOSE_COLUMNS, *FIELD_COLUMNS, *SIGNATURE_COLUMNS),
)


@dataclass(frozen=True, slots=True)
class CountRow:
    """What slides.csv and donors.csv have in common.

    Attributes:
        frequency: None where none could be given; its columns are then empty.
        model: name and version; several, separated by "; ", where pooled slides differ.
        mn: micronuclei; None where there are no counts, and `mn_reason` then says why unless `reason` does.
    """

    status: str
    reason: str
    frequency: Frequency | None
    excluded_cells: int | None
    flagged_cells: int | None
    model: str
    model_digest: str
    threshold: str
    warnings: tuple[str, ...] = ()
    mn: MnFrequency | None = None
    mn_reason: str = ""

    def mn_fields(self) -> list[Value]:
        """Values in the order of `MN_COLUMNS`."""
        mn = self.mn
        if mn is None:
            return [*[None] * (len(MN_COLUMNS) - 1), self.mn_reason]
        return [mn.micronuclei, _rate(mn.per_1000), _rate(mn.ci_low), _rate(mn.ci_high), *mn.cells, ""]

    def fields(self) -> list[Value]:
        """Values in the order of `COUNT_COLUMNS`."""
        f = self.frequency
        counts: list[Value] = [None] * 7
        if f is not None:
            rates = [_rate(f.per_1000), _rate(f.ci_low), _rate(f.ci_high)]
            counts = [f.bn_cells, self.excluded_cells, self.flagged_cells, f.mnbn_cells, *rates]
        else:
            counts[1] = self.excluded_cells
        provenance: list[Value] = [self.model, self.model_digest, Number(self.threshold)]
        return [self.status, self.reason, *counts, *provenance, "; ".join(self.warnings)]


@dataclass(frozen=True, slots=True)
class SlideRow:
    """One row of slides.csv; `sample` holds what the sample sheet says in `SAMPLE_COLUMNS`."""

    slide_id: str
    donor: str
    slide: str
    counts: CountRow
    sample: Mapping[str, str] = field(default_factory=dict)
    review: SlideReview = NO_REVIEW
    statistics: Sequence[Value] = (None,) * len(statistics.SLIDE_COLUMNS)
    input: str = "gallery"
    fields: FieldCounts | None = None


@dataclass(frozen=True, slots=True)
class DonorRow:
    """One row of donors.csv: pooled over the donor's slides that are done."""

    donor: str
    counts: CountRow
    slides: int
    slides_failed: int
    review: SlideReview = NO_REVIEW
    statistics: Sequence[Value] = (None,) * len(statistics.DONOR_COLUMNS)
    dose: Sequence[Value] = NO_DOSE
    fields: FieldCounts | None = None
    signatures: Sequence[Signed] = ()


def cells_csv(cells: Iterable[CalledCell]) -> bytes:
    """cells.csv: every cell of a slide; an excluded one keeps its row with p_mn and mn empty."""
    return _csv(CELL_COLUMNS, (_cell_fields(row, cell) for row, cell in enumerate(cells, start=1)))


def slides_csv(rows: Sequence[SlideRow]) -> bytes:
    """slides.csv; the sample sheet's columns stand at the end, empty where there is none."""
    body = (
        [
            row.slide_id,
            row.donor,
            row.slide,
            *row.counts.fields(),
            *(_sample(row.sample.get(name, "")) for name in SAMPLE_COLUMNS),
            *_review_fields(row.review),
            *row.counts.mn_fields(),
            row.sample.get("control", ""),
            *row.statistics,
            row.input,
            *_field_counts(row.fields),
        ]
        for row in rows
    )
    return _csv(SLIDE_COLUMNS, body)


def donors_csv(rows: Sequence[DonorRow]) -> bytes:
    """donors.csv; only its header where no donor is known."""
    body = (
        [
            row.donor,
            *row.counts.fields(),
            row.slides,
            row.slides - row.slides_failed,
            row.slides_failed,
            *_review_fields(row.review),
            *row.counts.mn_fields(),
            *row.statistics,
            *row.dose,
            *_field_counts(row.fields),
            *signature_fields(row.signatures),
        ]
        for row in rows
    )
    return _csv(DONOR_COLUMNS, body)


def _cell_fields(row: int, cell: CalledCell) -> list[Value]:
    place = _found_fields(row, cell.found)
    if cell.mn is None:
        tail = [*[None] * len(CELL_COUNT_COLUMNS), None, *place]
        return [cell.cell_id, cell.source, cell.page, None, None, ";".join(cell.qc), cell.reason, *tail]
    flags = ";".join(cell.qc) or "ok"
    fields = [cell.cell_id, cell.source, cell.page, cell.p_mn, int(cell.mn), flags, cell.reason]
    return [*fields, *_count_fields(cell), float(f"{cell.zoom:.4g}"), *place]


def _found_fields(row: int, found: FoundAt | None) -> list[Value]:
    """Values in the order of `FOUND_COLUMNS`; micrometres are empty where the pixel size is not known.

    Args:
        row: counted from 1.
    """
    if found is None:
        return [None] * len(FOUND_COLUMNS)
    um = found.um_per_pixel
    x_um, y_um = (None if um is None else round(value * um, 3) for value in (found.x, found.y))
    box = [found.left, found.top, found.width, found.height]
    areas = [found.nucleus_area, found.cell_area]
    return [found.x, found.y, x_um, y_um, *box, found.cell_class, found.nuclei, *areas, row]


def _field_counts(counts: FieldCounts | None) -> list[Value]:
    """Values in the order of `FIELD_COLUMNS`."""
    if counts is None:
        return [None] * len(FIELD_COLUMNS)
    reasons = sorted((counts.not_scored or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    text = "; ".join(f"{reason}: {number}" for reason, number in reasons)
    fields = [counts.fields, counts.empty, counts.set_aside]
    division = counts.division()
    nuclei: list[Value] = [None] * 6
    if division is not None:
        indices = (None if value is None else round(value, 4) for value in (division.ndi, division.cbpi))
        nuclei = [division.one, division.two, division.three, division.four, *indices]
    return [*fields, counts.found, *nuclei, counts.excluded, text]


def _count_fields(cell: CalledCell) -> list[Value]:
    count = cell.count
    if count is None:
        return [None] * len(CELL_COUNT_COLUMNS)
    return [*(float(f"{value:.6g}") for value in (*count.p, count.expected)), count.n]


def _review_fields(review: SlideReview) -> list[Value]:
    """Values in the order of `REVIEW_COLUMNS`; numbers only of a review that is complete."""
    people = "; ".join(state.reviewer for state in review.reviewers)
    looked = review.looked if review.reviewers else None
    head: list[Value] = [review.status, review.reason, people, looked]
    e = review.number
    if e is None:
        return [*head, *[None] * 7]
    limits = [_rate(value) for value in (e.per_1000, e.low, e.high, e.ci_low, e.ci_high)]
    return [*head, round(e.mnbn, 2), round(e.bn_cells, 2), *limits]


def _sample(text: str) -> str:
    """A value of the sample sheet; what reads as a number stays one (-1 is no formula)."""
    return Number(text) if is_number(text) else text


def _rate(per_1000: float | None) -> float | None:
    return None if per_1000 is None else round(per_1000, 4)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Value]]) -> bytes:
    return csv_bytes(header, rows, text=shown, mark=True)

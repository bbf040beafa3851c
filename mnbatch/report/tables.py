"""The tables that people open: cells.csv, slides.csv, donors.csv, column by column.

A new column is one entry here: header, rows, docs/data-dictionary.md and the types of a DataFrame follow. It goes to
the end of its table, since people may read a table by position. A number that does not exist is an empty field, never
a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mnbatch.assay.calls import PER, CalledCell, DonorCall, Frequency, SlideCall
from mnbatch.assay.field_records import FieldCounts, FoundAt
from mnbatch.assay.heterogeneity import Heterogeneity
from mnbatch.assay.mn_counts import CellCount, Distribution, MnFrequency
from mnbatch.csvfile import Number, Value, is_number
from mnbatch.dosimetry.detection_limits import Background
from mnbatch.report.columns import Column, Columns, Table, of_part
from mnbatch.report.confirmation import ConfirmedFrequency
from mnbatch.report.control_samples import BatchControls
from mnbatch.report.dose_report import DonorDose
from mnbatch.report.headline import Headline
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.signature_lines import signature_status
from mnbatch.report.statistics import Statistics
from mnbatch.report.trust_light import TrustLight, donor_light, slide_light
from mnbatch.results.records import SlideRecord
from mnbatch.review.estimate import Estimate
from mnbatch.review.review_status import SlideReview
from mnbatch.review.sign_offs import Signed

RATE = "per 1000 BN cells"
SAMPLE_COLUMNS = ("dose_gy", "culture", "sex", "age", "note")


@dataclass(frozen=True, slots=True)
class NumberedCell:
    """A row of cells.csv: the cell and its number in the table, counted from 1."""

    number: int
    cell: CalledCell


@dataclass(frozen=True, slots=True)
class SlideLine:
    """A row of slides.csv: the slide, and how it compares with the donor's other slides (p; None for one slide)."""

    item: SlideItem
    against_others: float | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What slides and donors have in common: the call, and the records of the slides that it is made of."""

    call: SlideCall | DonorCall
    excluded_cells: int | None
    warnings: tuple[str, ...]
    records: tuple[SlideRecord, ...]

    @property
    def models(self) -> str:
        """Names and versions, each once."""
        return _each_once(f"{r.model.name} {r.model.version}" for r in self.records if r.model)

    @property
    def digests(self) -> str:
        """Digests of the models, each once."""
        return _each_once(r.model.digest for r in self.records if r.model)

    @property
    def thresholds(self) -> str:
        """Thresholds, each once."""
        return _each_once(f"{r.call.threshold:g}" for r in self.records if r.call)


def slide_lines(items: Sequence[SlideItem], donors: Sequence[DonorItem]) -> list[SlideLine]:
    """Rows of slides.csv, in the order of the slides; `donors` say how a slide compares with its donor's others."""
    against = {
        slide.record.slide_id: p
        for donor in donors
        if donor.heterogeneity
        for slide, p in zip(donor.done, donor.heterogeneity.against_others, strict=True)
    }
    return [SlideLine(item, against.get(item.record.slide_id)) for item in items]


def _each_once(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if value))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _p(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _micrometres(pixels: float, um_per_pixel: float | None) -> float | None:
    return None if um_per_pixel is None else round(pixels * um_per_pixel, 3)


def _sample(text: str) -> Value:
    """A value of the sample sheet; what reads as a number stays one (-1 is no formula)."""
    return Number(text) if is_number(text) else text


def _counted(row: NumberedCell) -> CalledCell | None:
    """The cell, unless it is excluded."""
    return None if row.cell.mn is None else row.cell


_IDENTITY: Columns[CalledCell] = (
    Column("cell_id", "text", "stable identity: slide-id, source and page", lambda c: c.cell_id),
    Column("source", "text", "file of the cell, relative to the export", lambda c: c.source),
    Column("page", "count from 0, or empty", "page of a multi-page file", lambda c: c.page, "count"),
    Column(
        *("p_mn", "0 to 1"),
        'score for "has at least one micronucleus", as the network gives it; not a calibrated probability',
        lambda c: None if c.mn is None else c.p_mn,
        "number",
    ),
    Column(
        *("mn", "0 or 1", "1: called MN, that is `p_mn` >= threshold"),
        lambda c: None if c.mn is None else int(c.mn),
        "yes/no",
    ),
    Column(
        *("qc", "`ok` or flags separated by `;`"),
        "quality flags (below); a flag excludes nothing; empty for a cell that could not be read",
        lambda c: ";".join(c.qc) or ("" if c.mn is None else "ok"),
    ),
    Column("reason", "text", "why the cell is excluded; empty for a counted one", lambda c: c.reason),
)

_CLASSES = "probability of {} micronuclei; `p_0` to `p_3plus` add up to 1, and `p_0` = 1 - `p_mn`"
_CELL_COUNTS: Columns[CellCount] = (
    Column("p_0", "0 to 1", _CLASSES.format("0"), lambda c: _six(c.p[0]), "number"),
    Column("p_1", "0 to 1", _CLASSES.format("1"), lambda c: _six(c.p[1]), "number"),
    Column("p_2", "0 to 1", _CLASSES.format("2"), lambda c: _six(c.p[2]), "number"),
    Column("p_3plus", "0 to 1", _CLASSES.format("3 or more"), lambda c: _six(c.p[3]), "number"),
    Column(
        *("expected_mn", "micronuclei"),
        "mean of that distribution, 3 or more taken as the card's `mean_3plus`. As `p_mn` it holds for a cell of a set "
        "with as many cells with MN as without: do not add it up over a slide",
        lambda c: _six(c.expected),
        "number",
    ),
    Column(
        *("n_mn", "0 to 3"),
        "micronuclei as called: 0 where `mn` is 0, else the likeliest of 1, 2 and 3; 3 means 3 or more",
        lambda c: c.n,
        "count",
    ),
)


def _six(value: float) -> float:
    return float(f"{value:.6g}")


_ZOOM: Columns[CalledCell] = (
    Column(
        *("zoom", "1 and above"),
        "how far the middle of the crop was enlarged before it was scored, because its nuclei were small "
        "([models.md](models.md)); 1: the whole crop was scored",
        lambda c: float(f"{c.zoom:.4g}"),
        "number",
    ),
)

_PIXELS = "pixels of the full resolution"
_FOUND: Columns[FoundAt] = (
    Column(
        *("x", _PIXELS),
        "centre of the cell in its field or whole slide (pixel centres are whole numbers). From here on all columns "
        "are empty for crops",
        lambda f: f.x,
        "number",
    ),
    Column("y", _PIXELS, "the same", lambda f: f.y, "number"),
    Column(
        *("x_um", "micrometres", "the same; empty where the pixel size is not known"),
        lambda f: _micrometres(f.x, f.um_per_pixel),
        "number",
    ),
    Column("y_um", "micrometres", "the same", lambda f: _micrometres(f.y, f.um_per_pixel), "number"),
    Column("box_left", "pixels", "box round nuclei and cytoplasm", lambda f: f.left, "count"),
    Column("box_top", "pixels", "the same", lambda f: f.top, "count"),
    Column("box_width", "pixels", "the same", lambda f: f.width, "count"),
    Column("box_height", "pixels", "the same", lambda f: f.height, "count"),
    Column(
        *("cell_class", "`binucleated`, `mononucleated`, ..."),
        "what the cell was found to be; with `--cells all` every nucleus is `mononucleated`",
        lambda f: f.cell_class,
    ),
    Column("nuclei", "1 and above", "its main nuclei", lambda f: f.nuclei, "count"),
    Column("nucleus_area_px", "square pixels", "of all main nuclei", lambda f: f.nucleus_area, "number"),
    Column(
        *("cell_area_px", "square pixels", "of the whole cell, empty where no cytoplasm can be seen"),
        lambda f: f.cell_area,
        "number",
    ),
)
_LABEL: Columns[NumberedCell] = (
    Column(
        *("mask_label", "1 and above"),
        "the cell's number in the label image of its field (`--label-masks`): its row in this table",
        lambda row: None if row.cell.found is None else row.number,
        "count",
    ),
)

CELLS: Table[NumberedCell] = Table(
    "cells.csv",
    "one row a cell",
    (
        *of_part(_IDENTITY, lambda row: row.cell),
        *of_part(_CELL_COUNTS, lambda row: None if row.cell.mn is None else row.cell.count),
        *of_part(_ZOOM, _counted),
        *of_part(_FOUND, lambda row: row.cell.found),
        *_LABEL,
    ),
)

_FREQUENCY: Columns[Frequency] = (
    Column("mnbn_cells", "cells", "counted cells called MN", lambda f: f.mnbn_cells, "count"),
    Column("mnbn_per_1000", RATE, "1000 x `mnbn_cells` / `bn_cells`", lambda f: _rounded(f.per_1000), "number"),
    Column(
        *("ci_low", RATE, "exact 95 % interval (Clopper-Pearson) of that fraction; counting error only"),
        lambda f: _rounded(f.ci_low),
        "number",
    ),
    Column("ci_high", RATE, "the same", lambda f: _rounded(f.ci_high), "number"),
)


def _counts(status_values: str, status: str) -> Columns[Counts]:
    """Columns of the call; status means something else for a slide and for a donor."""
    return (
        Column("status", status_values, status, lambda c: c.call.status),
        Column("reason", "text", "why the status is not `done`", lambda c: c.call.reason),
        Column(
            *("bn_cells", "cells", "binucleated cells counted: the denominator"),
            lambda c: c.call.frequency.bn_cells if c.call.frequency else None,
            "count",
        ),
        Column(
            *("excluded_cells", "cells"),
            "unreadable cells, copies, cells of another stain and cells that another donor's slides hold too; not in "
            "the denominator",
            lambda c: c.excluded_cells,
            "count",
        ),
        Column(
            *("flagged_cells", "cells", "counted cells with at least one quality flag"),
            lambda c: c.call.flagged_cells if c.call.frequency else None,
            "count",
        ),
        *of_part(_FREQUENCY, lambda c: c.call.frequency),
        Column(
            *("model", "text"),
            "name and version of the model that scored the slide; separated by `; ` where a donor's slides differ: "
            "then the pooled frequency should not be used",
            lambda c: c.models,
        ),
        Column("model_digest", "hex", "digest of the model directory", lambda c: c.digests),
        Column(
            *("threshold", "0 to 1", "`p_mn` at and above which a cell is called MN"), lambda c: Number(c.thresholds)
        ),
        Column(
            *("warnings", "text, separated by `; `", "what to know before the number is used"),
            lambda c: "; ".join(c.warnings),
        ),
    )


_REVIEW: Columns[SlideReview] = (
    Column(
        *("review_status", "`none`, `unfinished`, `complete`, `outdated`"),
        "`outdated`: decisions were made on an earlier result of the slide; they are kept, but not used",
        lambda r: r.status,
    ),
    Column("review_reason", "text", "what is missing, or why it is outdated", lambda r: r.reason),
    Column(
        *("reviewers", "text, separated by `; `", "who decided"),
        lambda r: "; ".join(state.reviewer for state in r.reviewers),
    ),
    Column(
        *("reviewed_cells", "cells", "cells of the review's queue that were reviewed"),
        lambda r: r.looked if r.reviewers else None,
        "count",
    ),
)
_HEADLINE: Columns[Headline] = (
    Column(
        *("headline_kind", "`reviewed`, `confirmed`, `estimated`, `none`"),
        "what the number at the top of the page is: from a complete review; from called cells that a person confirmed "
        "and random negatives; from the calls and what is known of the "
        "model's errors; or none, because that is not known",
        lambda h: h.kind,
    ),
    Column("headline_per_1000", RATE, "that frequency; empty for `none`", lambda h: _rounded(h.per_1000), "number"),
    Column(
        *("headline_low", RATE, "its 95 % interval, which holds the errors of the model or what was not reviewed"),
        lambda h: _rounded(h.low),
        "number",
    ),
    Column("headline_high", RATE, "the same", lambda h: _rounded(h.high), "number"),
    Column("trust", "text", "what the interval holds, or why there is no frequency", lambda h: h.trust),
)

_CONFIRMED: Columns[ConfirmedFrequency] = (
    Column(
        *("confirmed_per_1000", RATE),
        "frequency from a complete confirmation (plan of the mode `confirm`); empty where nothing bounds what was "
        "missed, with the reason in `confirmed_note`",
        lambda c: _rounded(c.per_1000),
        "number",
    ),
    Column("confirmed_low", RATE, "its 95 % interval", lambda c: _rounded(c.low), "number"),
    Column("confirmed_high", RATE, "the same", lambda c: _rounded(c.high), "number"),
    Column("confirmed_mnbn_cells", "cells", "called cells that a person confirmed", lambda c: c.confirmed, "count"),
    Column("confirmed_called_cells", "cells", "of so many called cells", lambda c: c.called, "count"),
    Column("negatives_found", "cells", "cells with MN among the random negatives", lambda c: c.found, "count"),
    Column("negatives_looked", "cells", "random negatives that a person looked at", lambda c: c.looked, "count"),
    Column("confirmed_note", "text", "what the interval holds, or why there is none", lambda c: c.note),
)
_DOUBLE: Columns[SlideReview] = (
    Column(
        *("double_read_cells", "cells", "cells of the queue that two people decided MN or not"),
        lambda r: sum(t.twice for t in r.tallies) if r.reviewers else None,
        "count",
    ),
    Column(
        *("double_read_differing", "cells", "of these, decided differently: unsure in every count, and listed"),
        lambda r: sum(t.differing for t in r.tallies) if r.reviewers else None,
        "count",
    ),
)


def _noted(place: int) -> Callable[[SlideReview], Value]:
    return lambda r: r.cytome[place] if r.cytome else None


_CYTOME: Columns[SlideReview] = tuple(
    Column(
        *(f"noted_{name}", "cells", f"reviewed cells that people noted as {words}; empty where nothing was noted"),
        _noted(place),
        "count",
    )
    for place, (name, words) in enumerate(
        zip(
            ("bridge", "bud", "apoptotic", "necrotic", "multinucleated"),
            ("having a nucleoplasmic bridge", "having a nuclear bud", "apoptotic", "necrotic", "multinucleated"),
            strict=True,
        )
    )
)

_REVIEWED: Columns[Estimate] = (
    Column(
        *("reviewed_mnbn_cells", "cells, estimated"),
        "MNBN cells of the whole slide as estimated from the review; empty unless it is complete, as the next six",
        lambda e: round(e.mnbn, 2),
        "number",
    ),
    Column("reviewed_bn_cells", "cells, estimated", "scorable BN cells", lambda e: round(e.bn_cells, 2), "number"),
    Column("reviewed_per_1000", RATE, "their ratio", lambda e: _rounded(e.per_1000), "number"),
    Column(
        *("reviewed_low", RATE, "95 % limits for these cells only: they cover the cells that were not reviewed"),
        lambda e: _rounded(e.low),
        "number",
    ),
    Column("reviewed_high", RATE, "the same", lambda e: _rounded(e.high), "number"),
    Column(
        *("reviewed_ci_low", RATE),
        "the same with the counting error added: comparable with `ci_low`, `ci_high`",
        lambda e: _rounded(e.ci_low),
        "number",
    ),
    Column("reviewed_ci_high", RATE, "the same", lambda e: _rounded(e.ci_high), "number"),
)

_MN: Columns[MnFrequency] = (
    Column(
        *("micronuclei", "micronuclei", "sum of `n_mn` over the counted cells; a cell of 3 or more adds 3"),
        lambda m: m.micronuclei,
        "count",
    ),
    Column(
        *("mn_per_1000_bn", RATE),
        "MN frequency: 1000 x `micronuclei` / `bn_cells`; another endpoint than `mnbn_per_1000`",
        lambda m: _rounded(m.per_1000),
        "number",
    ),
    Column(
        *("mn_ci_low", RATE),
        "exact 95 % interval of a Poisson count (Garwood); counting error only, and too narrow where counts are "
        "overdispersed",
        lambda m: _rounded(m.ci_low),
        "number",
    ),
    Column("mn_ci_high", RATE, "the same", lambda m: _rounded(m.ci_high), "number"),
    Column("C0", "cells", "counted cells with no micronucleus", lambda m: m.cells[0], "count"),
    Column("C1", "cells", "with 1", lambda m: m.cells[1], "count"),
    Column("C2", "cells", "with 2", lambda m: m.cells[2], "count"),
    Column("C3plus", "cells", "with 3 or more; the four add up to `bn_cells`", lambda m: m.cells[3], "count"),
)
_MN_REASON: Columns[Counts] = (
    Column(
        *("mn_reason", "text"),
        "why the eight columns before are empty although there is a frequency: the model gives yes or no only. Nothing "
        "is estimated from the MNBN frequency",
        lambda c: "" if c.call.mn else c.call.mn_reason,
    ),
)

_ESTIMATES: Columns[Statistics] = (
    Column(
        *("corrected_per_1000", RATE),
        "frequency corrected for classifier error, within its interval; empty unless the errors are known slide by "
        "slide",
        lambda s: _rounded(s.estimates.corrected),
        "number",
    ),
    Column(
        *("corrected_unclipped_per_1000", RATE, "the same without these limits, possibly below 0"),
        lambda s: _rounded(s.estimates.corrected_raw),
        "number",
    ),
    Column(
        *("corrected_ci_low", RATE, "95 % interval, which holds how much both rates differ from slide to slide"),
        lambda s: _rounded(s.estimates.corrected_low),
        "number",
    ),
    Column("corrected_ci_high", RATE, "the same", lambda s: _rounded(s.estimates.corrected_high), "number"),
    Column(
        *("se_right", "cells", "sensitivity used: cells called MN"),
        lambda s: s.estimates.sensitivity[0] if s.estimates.sensitivity else None,
        "count",
    ),
    Column(
        *("se_cells", "cells", "of so many cells with MN"),
        lambda s: s.estimates.sensitivity[1] if s.estimates.sensitivity else None,
        "count",
    ),
    Column(
        *("sp_right", "cells", "specificity used: cells not called MN"),
        lambda s: s.estimates.specificity[0] if s.estimates.specificity else None,
        "count",
    ),
    Column(
        *("sp_cells", "cells", "of so many cells without"),
        lambda s: s.estimates.specificity[1] if s.estimates.specificity else None,
        "count",
    ),
    Column("rates_data", "text", "what the two rates were measured on", lambda s: s.estimates.rates_data),
    Column(
        *("correction_note", "text", "why there is no correction or no interval"), lambda s: s.estimates.correction_note
    ),
    Column(
        *("expected_per_1000", RATE, "expected from all scores, as a mixture of cells of known truth"),
        lambda s: _rounded(s.estimates.expected),
        "number",
    ),
    Column("expected_ci_low", RATE, "its 95 % interval", lambda s: _rounded(s.estimates.expected_low), "number"),
    Column("expected_ci_high", RATE, "the same", lambda s: _rounded(s.estimates.expected_high), "number"),
    Column(
        *("score_shift_p", "0 to 1"),
        "p of scores at least as far from every such mixture; below 0.01 the slide is outside what the model was "
        "validated on",
        lambda s: _p(s.estimates.shift_p),
        "number",
    ),
    Column("expected_note", "text", "why the four columns before are empty", lambda s: s.estimates.expected_note),
    Column(
        *("background", "`control`, `literature`, `is a control`, `none for --cells all: ...`, `not compared: ...`"),
        "what is compared with what: the count with own controls of the same scoring, a reviewed frequency with the "
        "literature",
        lambda s: s.background.source if s.background else s.no_background,
    ),
)
_BACKGROUND: Columns[Background] = (
    Column("background_per_1000", RATE, "its frequency", lambda b: _rounded(b.per_1000), "number"),
    Column(
        *(
            "background_p",
            "0 to 1",
            "one-sided p of a count at least as high; without controls counting error only",
        ),
        lambda b: _p(b.p_greater),
        "number",
    ),
    Column(
        *("decision_threshold_cells", "MNBN cells", "largest count that the background explains"),
        lambda b: b.limits.decision_threshold,
        "count",
    ),
    Column(
        *("detection_limit_per_1000", RATE),
        "smallest frequency that this many cells distinguish from the background in 9 of 10 cases",
        lambda b: _rounded(b.detection_limit_per_1000),
        "number",
    ),
)
_BASIS: Columns[Statistics] = (
    Column(
        *("background_basis", "text"),
        "which background `background_per_1000` is: of the donor's age and sex by own controls, of all own controls "
        "and why, or of the literature",
        lambda s: s.background.basis if s.background else "",
    ),
)
_PRECISION: Columns[Statistics] = (
    Column(
        *("cells_tier", "200, 500, 1000, 2000 BN cells", "tier that is reached; empty below 200"),
        lambda s: s.precision.tier,
        "count",
    ),
    Column("ci_width", RATE, "`ci_high` - `ci_low`", lambda s: _rounded(PER * s.precision.width), "number"),
    Column("next_tier", "BN cells", "the next tier", lambda s: s.precision.next_cells, "count"),
    Column(
        *("next_tier_ci_width", RATE, "and the width there at the same frequency"),
        lambda s: None if s.precision.next_width is None else _rounded(PER * s.precision.next_width),
        "number",
    ),
)
_DISPERSION: Columns[Distribution] = (
    Column(
        *("dispersion_index", "number", "of micronuclei a cell, from a counting model"),
        lambda d: _rounded(d.dispersion_index),
        "number",
    ),
    Column("u", "number", "test statistic of the dispersion index", lambda d: _rounded(d.u()), "number"),
    Column("dispersion", "text", "the verdict", lambda d: d.verdict),
)
_STATISTICS: Columns[Statistics] = (
    *_ESTIMATES,
    *of_part(_BACKGROUND, lambda s: s.background),
    *_PRECISION,
    *of_part(_DISPERSION, lambda s: s.counts),
)

_FIELDS: Columns[FieldCounts] = (
    Column("fields", "fields (regions of a whole slide)", "examined", lambda f: f.fields, "count"),
    Column("fields_empty", "fields", "without a cell", lambda f: f.empty, "count"),
    Column("fields_set_aside", "fields", "not usable, with the reason in `warnings`", lambda f: f.skipped, "count"),
    Column("found_cells", "cells", "found, of any class", lambda f: f.found, "count"),
    Column("m1_cells", "cells", "with 1 main nucleus; empty with `--cells all`", lambda f: _nuclei(f, "one"), "count"),
    Column("m2_cells", "cells", "with 2", lambda f: _nuclei(f, "two"), "count"),
    Column("m3_cells", "cells", "with 3", lambda f: _nuclei(f, "three"), "count"),
    Column("m4_cells", "cells", "with 4 or more", lambda f: _nuclei(f, "four"), "count"),
    Column("ndi", "index", "nuclear division index of these", lambda f: _rounded(_nuclei(f, "ndi")), "number"),
    Column(
        *("cbpi", "index", "cytokinesis-block proliferation index of these"),
        lambda f: _rounded(_nuclei(f, "cbpi")),
        "number",
    ),
    Column(
        *("not_scored_cells", "cells"),
        "found and not scored. They were never in the denominator and are not in `excluded_cells`",
        lambda f: f.excluded,
        "count",
    ),
    Column("not_scored", "text", "the reasons with their numbers", lambda f: _not_scored(f)),
)


def _nuclei(counts: FieldCounts, name: str) -> Any:
    division = counts.division()
    return None if division is None else getattr(division, name)


def _not_scored(counts: FieldCounts) -> str:
    reasons = sorted((counts.not_scored or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return "; ".join(f"{reason}: {number}" for reason, number in reasons)


_CONTROLS: Columns[BatchControls] = (
    Column(
        *("batch_controls", "`met`, `missed: ...`, `not judged: ...`, or empty"),
        "the batch's control samples against the range that the sample sheet gives them; the same in every row. Empty "
        "where no control has a range",
        lambda c: c.state,
    ),
)

_LIGHT: Columns[TrustLight] = (
    Column(
        *("light", "`green`, `amber`, `red`"),
        "how far the result can be used: can be used, with care, not yet",
        lambda t: t.colour,
    ),
    Column("light_reasons", "text", "why, the gravest first", lambda t: " ".join(filter(None, [*t.reasons, t.stated]))),
)
_MADE: Columns[Sequence[SlideRecord]] = (
    Column(
        *("scored_at", "ISO 8601"),
        "when scoring ended (of a donor: of the last slide); empty where nothing was scored",
        lambda records: max((r.scored.finished for r in records if r.scored), default=""),
    ),
    Column(
        *("mnbatch_version", "text, separated by `; `"),
        "version of mnbatch that scored",
        lambda records: _each_once(r.scored.mnbatch for r in records if r.scored),
    ),
)

_FROM_SHEET = {
    "dose_gy": ("Gy", "from the sample sheet, as the next four; all empty without one"),
    "culture": ("text", "culture or replicate"),
    "sex": ("text", "`f`, `m`"),
    "age": ("years", "age at sampling"),
    "note": ("text", "of the laboratory"),
}


def _sample_column(name: str, unit: str, doc: str) -> Column[SlideLine]:
    return Column(name, unit, doc, lambda row: _sample(row.item.sample.get(name, "")))


def _slide_counts(row: SlideLine) -> Counts:
    return Counts(row.item.call, row.item.excluded_cells, row.item.warnings, (row.item.record,))


SLIDES: Table[SlideLine] = Table(
    "slides.csv",
    "one row a slide",
    (
        Column("slide_id", "text", "identity, and the slide's folder in `slides/`", lambda s: s.item.record.slide_id),
        Column(
            *("donor", "text", "donor code from the sample sheet or the path; empty where not known"),
            lambda s: s.item.donor or "",
        ),
        Column("slide", "text", "what the laboratory calls it", lambda s: s.item.record.name),
        *of_part(
            _counts(
                "`done`, `partial`, `failed`, `waiting`",
                "`partial`: fields of the slide could not be used; `waiting`: not scored yet, left to the next run",
            ),
            _slide_counts,
        ),
        *(_sample_column(name, *about) for name, about in _FROM_SHEET.items()),
        *of_part(_REVIEW, lambda s: s.item.review),
        *of_part(_REVIEWED, lambda s: s.item.review.number),
        *of_part(_MN, lambda s: s.item.call.mn),
        *of_part(_MN_REASON, _slide_counts),
        Column(
            *("control", "`yes`, `positive` or empty"),
            "marked as a control in the sample sheet; `yes`: a negative one (unexposed)",
            lambda s: s.item.sample.get("control", ""),
        ),
        *of_part(_STATISTICS, lambda s: s.item.statistics),
        Column(
            *("against_others_p", "0 to 1", "p against the donor's other slides, times their number"),
            lambda s: _p(s.against_others),
            "number",
        ),
        Column("input", "`crops`, `fields`, `wsi`", "what the slide's files are", lambda s: s.item.record.input),
        *of_part(_FIELDS, lambda s: s.item.fields),
        Column(
            *("waiting_since", "ISO 8601"),
            "when a run first left the slide, or newer files of it, to the next run; empty where nothing waits",
            lambda s: s.item.record.waiting.since if s.item.record.waiting else "",
        ),
        *of_part(_HEADLINE, lambda s: s.item.headline),
        *of_part(_CONTROLS, lambda s: s.item.controls),
        *of_part(_LIGHT, lambda s: slide_light(s.item)),
        *of_part(_MADE, lambda s: (s.item.record,)),
        *of_part(_CONFIRMED, lambda s: s.item.confirmed),
        *of_part(_DOUBLE, lambda s: s.item.review),
        *of_part(_CYTOME, lambda s: s.item.review),
        *of_part(_BASIS, lambda s: s.item.statistics),
    ),
)

DOSE: Columns[DonorDose] = (
    Column(
        *("dose_status", "`ok`, `refused`, `failed`"),
        "`refused`: counted, but case and curve do not match; `failed`: nothing could be counted; the reason is "
        "in `dose_warnings`",
        lambda d: d.result.status,
    ),
    Column("dose_estimate_gy", "Gy", "estimate", lambda d: _rounded(d.result.estimate), "number"),
    Column("dose_low_gy", "Gy", "lower limit", lambda d: _rounded(d.result.lower), "number"),
    Column(
        *("dose_high_gy", "Gy", "upper limit; empty where the curve does not bound the dose"),
        lambda d: _rounded(d.result.upper),
        "number",
    ),
    Column("dose_level", "0 to 1", "of the limits", lambda d: d.result.level, "number"),
    Column("dose_method", "`profile`, `components`, `merkle`, `delta`", "of the limits", lambda d: d.result.method),
    Column(
        *("dose_class", "`< 1 Gy`, `1 to 2 Gy`, `> 2 Gy`", "triage class: the likeliest of the three"),
        lambda d: d.triage.category if d.triage else None,
    ),
    Column(
        *("dose_class_probability", "0 to 1"),
        "its probability, all doses from 0 to 10 Gy equally likely before the count",
        lambda d: round(d.triage.probability, 4) if d.triage else None,
        "number",
    ),
    Column(
        *("dose_below_detection", "1, 0"),
        "1: not above the decision threshold: not more events than the curve's background, with its own uncertainty, "
        "explains (5 %, one-sided)",
        lambda d: None if d.result.below_detection is None else int(d.result.below_detection),
        "yes/no",
    ),
    Column(
        *("dose_above_range", "1, 0", "1: the estimate is beyond the curve's highest dose and is extrapolated"),
        lambda d: None if d.result.above_range is None else int(d.result.above_range),
        "yes/no",
    ),
    Column(
        *("detection_limit_gy", "Gy", "smallest dose that this many cells would show in 9 of 10 cases"),
        lambda d: _rounded(d.result.detection_dose),
        "number",
    ),
    Column(
        *("dose_warnings", "text, separated by `; `", "what to know before the dose is used"),
        lambda d: "; ".join(d.result.warnings),
    ),
)

_DECISION: Columns[DonorDose] = (
    Column(
        *("dose_above_1_gy_probability", "0 to 1", "probability that the dose is above 1 Gy, with the same prior"),
        lambda d: round(d.triage.above[0], 4) if d.triage else None,
        "number",
    ),
    Column(
        *("dose_verdict", "`above 1 Gy`, `below 1 Gy`, `open: ...`", "decided where that probability is 95 % or more"),
        lambda d: d.triage.verdict if d.triage else None,
    ),
)

_DOSE_COUNTS: Columns[DonorDose] = (
    Column(
        *("dose_counts", "`automatic`, `confirmed`, `reviewed`"),
        "whose counts the dose is made from: the model's calls, called cells that a person confirmed, or a complete "
        "review",
        lambda d: d.counts,
    ),
    Column("dose_counts_note", "text", "why, and what would change it", lambda d: d.counts_note),
)

_SLIDES_DIFFER: Columns[Heterogeneity] = (
    Column(
        *("slides_differ_p", "0 to 1", "p of the test whether all its slides have one frequency"),
        lambda h: _p(h.p_value),
        "number",
    ),
    Column("slides_differ_test", "text", "the test", lambda h: h.method),
)

_SIGNATURES: Columns[Sequence[Signed]] = (
    Column(
        *("signature_status", "`none`, `stands`, `outdated`"),
        "`stands`: valid, nothing changed since; `outdated`: results, review, dose or curve changed since; the "
        "sign-off is kept",
        lambda s: signature_status(s)[0],
    ),
    Column(
        *("signed_by", "text, separated by `; `"),
        "who signed: the valid sign-offs or, without any, the outdated ones",
        lambda s: signature_status(s)[1],
    ),
    Column(
        *("signed_at", "ISO 8601, separated by `; `"),
        "when, in the same order, by the clock of the computer that saved it",
        lambda s: signature_status(s)[2],
    ),
)


def _donor_counts(donor: DonorItem) -> Counts:
    return Counts(donor.call, donor.excluded_cells, donor.warnings, tuple(item.record for item in donor.slides))


def _records_of(donor: DonorItem) -> tuple[SlideRecord, ...]:
    return tuple(item.record for item in donor.slides)


def _stated(donor: DonorItem, name: str) -> str:
    """What the sample sheet says of the donor's slides; every value where its lines differ."""
    return _each_once(item.sample.get(name, "") for item in donor.slides)


DONORS: Table[DonorItem] = Table(
    "donors.csv",
    "one row a donor",
    (
        Column("donor", "text", "donor code", lambda d: d.call.donor),
        *of_part(
            _counts(
                "`done`, `partial`, `insufficient`, `failed`, `waiting`",
                "`partial`: at least one slide failed, is partial or waits; `insufficient`: fewer BN cells than "
                "`--min-cells`; `failed`: no slide gave a result; `waiting`: all slides wait. A donor "
                "to whom both apply is `partial`, and `reason` says both",
            ),
            _donor_counts,
        ),
        Column("slides", "slides", "all slides of the donor", lambda d: len(d.call.slide_ids), "count"),
        Column(
            *("slides_done", "slides", "of these"),
            lambda d: len(d.call.slide_ids) - len(d.call.failed_slide_ids) - len(d.call.waiting_slide_ids),
            "count",
        ),
        Column("slides_failed", "slides", "of these", lambda d: len(d.call.failed_slide_ids), "count"),
        *of_part(_REVIEW, lambda d: d.review),
        *of_part(_REVIEWED, lambda d: d.review.number),
        *of_part(_MN, lambda d: d.call.mn),
        *of_part(_MN_REASON, _donor_counts),
        *of_part(_STATISTICS, lambda d: d.statistics),
        *of_part(_SLIDES_DIFFER, lambda d: d.heterogeneity),
        Column(
            *("disagreeing_slides", "slide_ids separated by `; `"),
            "slides that disagree with the others; a flag, the sum is unchanged",
            lambda d: "; ".join(slide.record.slide_id for slide in d.disagreeing),
        ),
        *of_part(DOSE, lambda d: d.dose),
        *of_part(_FIELDS, lambda d: d.fields),
        *of_part(_SIGNATURES, lambda d: d.signatures),
        Column(
            *("slides_waiting", "slides", "of all slides: not scored yet, left to the next run"),
            lambda d: len(d.call.waiting_slide_ids),
            "count",
        ),
        *of_part(_HEADLINE, lambda d: d.headline),
        *of_part(_DECISION, lambda d: d.dose),
        *of_part(_CONTROLS, lambda d: d.controls),
        *of_part(_LIGHT, donor_light),
        *of_part(_MADE, _records_of),
        Column("sex", "`f`, `m`", "from the sample sheet; both where its lines differ", lambda d: _stated(d, "sex")),
        Column("age", "years", "age at sampling, likewise", lambda d: _sample(_stated(d, "age"))),
        Column("control", "`yes`, `positive` or empty", "as in slides.csv", lambda d: _stated(d, "control")),
        *of_part(_CONFIRMED, lambda d: d.confirmed),
        *of_part(_DOUBLE, lambda d: d.review),
        *of_part(_DOSE_COUNTS, lambda d: d.dose),
        *of_part(_CYTOME, lambda d: d.review),
        *of_part(_BASIS, lambda d: d.statistics),
    ),
)

TABLES: tuple[Table[NumberedCell] | Table[SlideLine] | Table[DonorItem], ...] = (CELLS, SLIDES, DONORS)


def cells_csv(cells: Iterable[CalledCell]) -> bytes:
    """cells.csv: every cell of a slide; an excluded one keeps its row with p_mn and mn empty."""
    return CELLS.csv(NumberedCell(number, cell) for number, cell in enumerate(cells, start=1))

"""What the pages show, as plain frozen records: templates read them and compute nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import CalledCell, Frequency
from mnbatch.report import charts, wording
from mnbatch.report.charts import Cumulative
from mnbatch.report.dose_report import DoseView
from mnbatch.report.field_pictures import FieldsView
from mnbatch.report.first_answers import FirstScreen
from mnbatch.report.frequency_lines import Line, MicronucleiView, ReviewView
from mnbatch.report.headline import Headline
from mnbatch.report.page_pictures import GalleryView
from mnbatch.report.signature_lines import SignView
from mnbatch.report.trust_light import TrustLight

EXAMPLES = 3
ROWS_A_PAGE = 200
"""Rows of a table of the batch page that are shown at once; all of them are in the page, and printed."""


@dataclass(frozen=True, slots=True)
class RowView:
    """A slide or donor as a row of a table and as the head of its own page.

    Attributes:
        place: its path in the export, if that says more than the name; empty under pseudonyms.
        mark, spoken: its interval on the page's scale and in words; None and "" without a frequency.
        slides: number of slides (of a donor).
        headline: the frequency to be shown; None without a count.
        reviewed: the reviewed frequency with its interval, or the status of the review; "" for none.
        light: how far the result can be used, and why.
        estimate, dose_number, dose_interval, triage: dose of a donor, Gy, as it is shown (never a zero where it only
            cannot be told from none), its interval and class in words; None and "" without one.
        control: negative or positive, of a control; "" for others.
    """

    name: str
    href: str
    status: str
    reason: str
    frequency: Frequency | None
    excluded_cells: int | None
    flagged_cells: int | None
    warnings: tuple[str, ...] = ()
    next_step: str = ""
    place: str = ""
    donor: str = ""
    donor_href: str = ""
    dose: str = ""
    slides: int = 1
    headline: Headline | None = None
    mark: charts.Interval | None = None
    spoken: str = ""
    reviewed: str = ""
    light: TrustLight | None = None
    estimate: float | None = None
    dose_number: str = ""
    dose_interval: str = ""
    triage: str = ""
    control: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page belongs; empty where it is not known.

    Attributes:
        laboratory: its name, from laboratory.toml.
        export: last folder of the export's path; under pseudonyms its code.
    """

    laboratory: str = ""
    export: str = ""


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class FlagCount:
    """How many counted cells carry a flag, and how many of those are called MN."""

    name: str
    meaning: str
    cells: int
    called: int


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """Cells or files left out for the same reason, with the first names."""

    reason: str
    cells: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlidePage:
    """All that a slide's page shows; `controls`: what is wrong with the batch's control samples, "" for nothing."""

    row: RowView
    scale: charts.Scale
    cells: int
    has_table: bool
    sample: tuple[tuple[str, str], ...]
    sample_details: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str, str], ...]
    histogram: charts.Histogram | None
    histogram_text: str
    threshold: str
    flags: tuple[FlagCount, ...]
    excluded: tuple[ReasonGroup, ...]
    skipped: tuple[ReasonGroup, ...]
    gallery: GalleryView | None
    provenance: tuple[tuple[str, str], ...]
    micronuclei: MicronucleiView | None
    review: ReviewView
    cumulative: Cumulative | None
    lines: tuple[Line, ...] = ()
    fields: FieldsView | None = None
    controls: str = ""


@dataclass(frozen=True, slots=True)
class DonorPage:
    """All that a donor's page shows; `controls`: as on a slide's."""

    row: RowView
    scale: charts.Scale
    lede: str
    status_meaning: str
    slides: tuple[RowView, ...]
    show_dose: bool
    gallery: GalleryView | None
    provenance: tuple[tuple[str, str], ...]
    micronuclei: MicronucleiView | None
    review: ReviewView
    signed: SignView
    lines: tuple[Line, ...] = ()
    dose: DoseView | None = None
    controls: str = ""
    first: FirstScreen | None = None
    place: Place = NOWHERE


@dataclass(frozen=True, slots=True)
class WarningView:
    """One warning on the batch page; `href` and `name` are empty for one of the whole batch."""

    text: str
    name: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class CopyView:
    """A slide that is byte-identical to another and was taken once."""

    name: str
    original: str
    href: str


@dataclass(frozen=True, slots=True)
class ControlView:
    """A control sample as a row: its range, what was counted, and the verdict with a sign and in words."""

    name: str
    kind: str
    wanted: str
    found: str
    verdict: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One combination of model, threshold and device, and how many slides it scored."""

    name: str
    architecture: str
    digest: str
    threshold: str
    device: str
    slides: int


@dataclass(frozen=True, slots=True)
class IndexPage:
    """All that the batch page shows."""

    lede: str
    failures_text: str
    failures: tuple[RowView, ...]
    failures_open: int
    waiting_text: str
    waiting: tuple[RowView, ...]
    warnings_text: str
    warnings: tuple[WarningView, ...]
    facts: tuple[tuple[str, str, str], ...]
    scale: charts.Scale
    donors: tuple[RowView, ...]
    slides: tuple[RowView, ...]
    show_dose: bool
    copies: tuple[CopyView, ...]
    controls: str
    control_samples: tuple[ControlView, ...]
    place: Place
    show_estimate: bool
    lights_text: str
    models: tuple[ModelView, ...]
    provenance: tuple[tuple[str, str], ...]
    rows_a_page: int = ROWS_A_PAGE

    @property
    def paged(self) -> bool:
        """Whether a table is too long to be shown at once."""
        return max(len(self.slides), len(self.donors)) > self.rows_a_page


def scale_of(rows: Iterable[RowView]) -> charts.Scale:
    """The common axis of a page's interval bars."""
    pairs = []
    for row in rows:
        h = row.headline
        if h is not None and h.per_1000 is not None and h.high is not None:
            pairs.append((h.per_1000, h.high))
    return charts.common_scale(pairs)


def mark(headline: Headline | None, scale: charts.Scale) -> tuple[charts.Interval | None, str]:
    """A frequency's place on a scale, and the same in words for a reader who cannot see it."""
    h = headline
    if h is None or h.per_1000 is None or h.low is None or h.high is None:
        return None, ""
    spoken = f"{h.number} per 1000, 95 % interval {h.interval}"
    return charts.interval(scale, h.per_1000, h.low, h.high), spoken


def flag_counts(cells: Sequence[CalledCell]) -> tuple[FlagCount, ...]:
    """Flags of the counted cells, the most frequent first."""
    counted = [cell for cell in cells if cell.mn is not None]
    number = Counter(flag for cell in counted for flag in cell.qc)
    called = Counter(flag for cell in counted if cell.mn for flag in cell.qc)
    return tuple(
        FlagCount(flag.replace("_", " "), wording.flag_meaning(flag), n, called[flag])
        for flag, n in sorted(number.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def reason_groups(pairs: Iterable[tuple[str, str]]) -> tuple[ReasonGroup, ...]:
    """Group (reason, name) by reason, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for reason, name in pairs:
        groups.setdefault(reason, []).append(name)
    ordered = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return tuple(ReasonGroup(reason, len(names), tuple(names[:EXAMPLES])) for reason, names in ordered)


def _group(reason: str) -> str:
    if reason.startswith(("copy of ", "copy (")):
        return "copy of a cell that is counted elsewhere"
    if reason.startswith("the same picture "):
        return "the same picture as a cell of another donor, counted for neither"
    return reason


def excluded_groups(cells: Sequence[CalledCell]) -> tuple[ReasonGroup, ...]:
    """Excluded cells by reason; copies have as many reasons as originals and are one group."""
    return reason_groups(
        (
            _group(cell.reason),
            wording.cell_label(cell.source, cell.page),
        )
        for cell in cells
        if cell.mn is None
    )

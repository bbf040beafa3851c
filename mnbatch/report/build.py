"""Makes the tables and pages of OUT from the result store and the annotations: those that are out of date."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from mnbatch.assay.alike_names import alike_donors
from mnbatch.assay.calls import SlideStatus, pool_donor
from mnbatch.assay.estimates import pooled_estimates
from mnbatch.assay.heterogeneity import Heterogeneity, compare_slides
from mnbatch.assay.reader_slips import Slips
from mnbatch.assay.sample_sheet import is_background
from mnbatch.assay.sheet_doubts import Doubt, donor_doubts
from mnbatch.assay.sheet_regrouping import GroupedSlide, regroupings
from mnbatch.errors import StorageError
from mnbatch.intake import parse_json
from mnbatch.report import gallery_page, page_content, rendering, tables
from mnbatch.report.confirmation import confirmed_frequency
from mnbatch.report.control_charts import called_with, find_controls
from mnbatch.report.control_samples import NO_CONTROLS, BatchControls, check_controls
from mnbatch.report.derived_files import digest, page_stamp, remove_files, write_if_changed
from mnbatch.report.donor_reports import DonorBuilder
from mnbatch.report.dose_report import CountedDonor, DonorDose, donor_doses
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.kept_rows import KeptRows, read_rows
from mnbatch.report.pages_beside import make_donors_beside, make_slides_beside
from mnbatch.report.sign_off_basis import Bases, basis_of
from mnbatch.report.signature_lines import short_signature, with_signatures
from mnbatch.report.slide_reports import DERIVED, Context, ReportOptions, SlideBuilder, sweep_gallery
from mnbatch.report.spreadsheet import donor_cells, donors_xlsx
from mnbatch.report.statistics import ground_of, person_of, statistics_of
from mnbatch.report.verifying import write_seal
from mnbatch.report.views import CopyView, Place
from mnbatch.results.batch import read_batch
from mnbatch.results.commit import is_damaged
from mnbatch.results.dosing_settings import load_dosing, scoring_mode
from mnbatch.results.laboratory_file import load_laboratory
from mnbatch.results.lock import check_still_held
from mnbatch.results.model_errors import load_validation, validation_of
from mnbatch.results.out_files import stream_if_changed, write_atomically
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Samples, open_roster
from mnbatch.results.store import Store
from mnbatch.review.estimate import slips_of
from mnbatch.review.sign_offs import Basis

__all__ = ["ReportOptions", "ReportSummary", "ReportedSlide", "build_reports"]


@dataclass(frozen=True, slots=True)
class ReportedSlide:
    """A slide as the report has it: whether it was counted, and why not."""

    slide_id: str
    status: SlideStatus
    reason: str
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What `build_reports` found and did.

    Attributes:
        slides: every slide of the report, in its order; copies are not among them.
        copies, donors: numbers in the report.
        slides_built, donors_built: pages made again.
        index_built: whether the batch page was made again.
        doses: of all donors, in their order; empty where no curve is in force.
        bases: donor -> what a sign-off of the donor is about.
        alike_donors: groups of donors whose codes read the same.
        contradicted: donors of whose slides the sample sheet says what cannot all be true, or can hardly be, each with
            one sentence.
        controls: the batch's control samples against their ranges.
        damaged: whether a record or stored result was not what was written, or could not be read.
    """

    slides: tuple[ReportedSlide, ...]
    copies: int
    donors: int
    slides_built: int
    donors_built: int
    index_built: bool
    doses: tuple[DonorDose, ...] = ()
    bases: Mapping[str, Basis] = field(default_factory=dict)
    alike_donors: tuple[tuple[str, ...], ...] = ()
    contradicted: tuple[tuple[str, str], ...] = ()
    controls: BatchControls = NO_CONTROLS
    damaged: bool = False


def build_reports(store: Store, options: ReportOptions, samples: Samples | None = None) -> ReportSummary:
    """Bring every derived file of OUT up to date.

    Args:
        store: the results.
        options: what a reader may choose.
        samples: the sample sheet, by slide_id; its donor takes the place of the path's.

    Raises:
        StorageError: a file cannot be written. A slide whose stored scores cannot be read is reported as
        failed.
    """
    if options.force:
        store.compare_anew()
    roster = open_roster(store, samples or {})
    records, copied = roster.records, roster.copied
    controls = find_controls(roster, samples or {})
    kept = KeptRows() if store.whole is None else read_rows(store.paths)
    context = Context(
        samples=samples or {},
        roster=roster,
        also_found=_names_by_original(copied),
        validated=load_validation(store.paths),
        controls=controls,
        batch_controls=check_controls(roster, samples or {}, options.min_cells),
        laboratory=load_laboratory(store.paths),
        export=_export_name(store.paths),
    )
    slides = SlideBuilder(store, context, options)
    make_slides_beside(slides, slides.out_of_date(records))
    items = [slides.item(record) for record in records]
    for record in copied:
        sweep_gallery(store.paths.slide(record.slide_id).root, ())
        remove_files(store.paths.slide(record.slide_id).root, DERIVED)
    pooled = _with_doses(store.paths, _pool(items, options, context, kept))
    donors = with_signatures(store.paths, pooled, basis_of)
    pages = DonorBuilder(slides, asdict(context.laboratory))
    make_donors_beside(pages, pages.out_of_date(donors))
    stamps = {donor.call.donor: pages.write(donor) for donor in donors}
    rows = BatchRows(kept, slides.stamps, stamps, repr(context.batch_controls))
    _sweep_donors(store.paths, {donor.folder for donor in donors})
    _write_tables(store.paths, items, donors, rows)
    index_built = _write_index(
        paths=store.paths,
        items=items,
        donors=donors,
        copies=_copy_views(copied, records),
        place=Place(context.laboratory.text("laboratory.name"), context.export),
        controls=context.batch_controls,
        rows=rows,
        options=options,
    )
    write_seal(store.paths)
    store.keep_for_next()
    if store.whole is not None:
        kept.keep(store.paths)
    return ReportSummary(
        slides=tuple(
            ReportedSlide(i.record.slide_id, i.call.status, i.call.reason, i.call.acknowledged) for i in items
        ),
        copies=len(copied),
        donors=len(donors),
        slides_built=slides.built,
        donors_built=pages.built,
        index_built=index_built,
        doses=tuple(donor.dose for donor in donors if donor.dose),
        bases=Bases(donors),
        alike_donors=alike_donors(donor.call.donor for donor in donors),
        contradicted=tuple((donor.call.donor, said) for donor in donors for said in _told_of_sheet(donor)),
        controls=context.batch_controls,
        damaged=slides.damaged or any(map(is_damaged, roster.records)),
    )


def _told_of_sheet(donor: DonorItem) -> list[str]:
    """What a run says of the donor's code and lines of the sample sheet."""
    return [one.warning for one in donor.contradictions if one.certain] + [one.warning for one in donor.doubts]


def _export_name(paths: OutPaths) -> str:
    """Last folder of the export's path (under pseudonyms its code); "" where OUT is bound to none.

    A batch.json that cannot be read is named by the next run; results can be reported without it.
    """
    try:
        batch = read_batch(paths)
    except StorageError:
        return ""
    return "" if batch is None else batch.export.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _names_by_original(copied: Sequence[SlideRecord]) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for record in copied:
        if record.copy_of is not None:
            names[record.copy_of] = (*names.get(record.copy_of, ()), _shown_path(record))
    return names


def _copy_views(copied: Sequence[SlideRecord], records: Sequence[SlideRecord]) -> list[CopyView]:
    originals = {record.slide_id: record for record in records}
    found = []
    for record in copied:
        original = originals.get(record.copy_of or "")
        name = _shown_path(original) if original else record.copy_of or ""
        href = rendering.href(f"slides/{original.slide_id}/index.html") if original else ""
        found.append(CopyView(_shown_path(record), name, href))
    return found


def _shown_path(record: SlideRecord) -> str:
    return record.name if record.pseudonymised or record.path == "." else record.path


def _slips(items: Sequence[SlideItem]) -> Slips:
    """What cells that two people decided say of the slips in this OUT, of all its slides together."""
    return slips_of([tally for item in items if item.call.frequency is not None for tally in item.review.tallies])


def _pool(items: Sequence[SlideItem], options: ReportOptions, context: Context, kept: KeptRows) -> list[DonorItem]:
    """Donors in the order of their codes; slides without a donor are pooled nowhere."""
    groups: dict[str, list[SlideItem]] = {}
    for item in items:
        if item.donor:
            groups.setdefault(item.donor, []).append(item)
    donors = []
    slips = _slips(items)
    alike = {name: group for group in alike_donors(sorted(groups)) for name in group}
    doubts = _doubts(groups)
    for donor in sorted(groups):
        slides = groups[donor]
        call = pool_donor(donor, [(item.record.slide_id, item.call) for item in slides], options.min_cells)
        others = tuple(name for name in alike.get(donor, ()) if name != donor)
        pooled = DonorItem(
            call,
            slides[0].donor_folder,
            tuple(slides),
            alike=others,
            doubts=doubts[donor],
            controls=context.batch_controls,
            laboratory=context.laboratory,
            slips=slips,
        )
        donors.append(_with_statistics(pooled, context, kept))
    return donors


def _doubts(groups: Mapping[str, Sequence[SlideItem]]) -> dict[str, tuple[Doubt, ...]]:
    """Donor -> what can hardly be true of its code, its lines of the sample sheet and how it groups the slides."""
    names = Counter(item.record.name for items in groups.values() for item in items)
    known = {
        donor: [(i.record.slide_id if names[i.record.name] > 1 else i.record.name, i) for i in items]
        for donor, items in groups.items()
    }
    regrouped = regroupings(
        GroupedSlide(name, item.record.donor, donor, item.sample.get("dose_gy", ""), item.sample.get("control", ""))
        for donor, items in known.items()
        for name, item in items
        if item.record.donor
    )
    today = datetime.now(UTC).date()
    return {
        donor: (
            *((regrouped[donor],) if donor in regrouped else ()),
            *donor_doubts(donor, [(name, item.sample) for name, item in items], today),
        )
        for donor, items in known.items()
    }


def _with_statistics(donor: DonorItem, context: Context, kept: KeptRows) -> DonorItem:
    """The donor with the statistics of its frequency. A donor with any control slide is a control."""
    done, call = donor.done, donor.call
    known = [(item.estimates, validation_of(item.record, context.validated)) for item in done]
    ways = {called_with(item.record) for item in done}
    control = context.controls.get(ways.pop()) if len(ways) == 1 else None
    is_control = any(is_background(item.sample) for item in donor.slides)
    modes = {scoring_mode(item.record) for item in done}
    ground = ground_of(is_control, control, modes, donor.review.number, person_of(item.sample for item in done))
    found = [item.call.frequency for item in done if item.call.frequency is not None]
    sizes = [f.bn_cells for f in found]
    estimates = pooled_estimates(call.frequency, known, sizes)
    return replace(
        donor,
        statistics=statistics_of(call.frequency, call.mn, estimates, ground, len(done)),
        heterogeneity=_compared(kept, [f.mnbn_cells for f in found], sizes, estimates.called_spread),
        confirmed=confirmed_frequency(
            [item.review for item in done], [validation for _, validation in known], estimates, donor.slips
        ),
    )


def _compared(kept: KeptRows, mnbn: list[int], cells: list[int], spread: float | None) -> Heterogeneity | None:
    """As `compare_slides`, which draws thousands of tables for a donor of few cells: of the same counts once."""

    def compare() -> str:
        found = compare_slides(mnbn, cells, spread=spread)
        return json.dumps(None if found is None else asdict(found))

    known = parse_json(kept.row(("compared slides", mnbn, cells, spread), compare))
    if known is None:
        return None
    lists = {name: tuple(known[name]) for name in ("against_others", "disagreeing")}
    return Heterogeneity(**{**known, **lists})


def _with_doses(paths: OutPaths, donors: list[DonorItem]) -> list[DonorItem]:
    dosing = load_dosing(paths)
    if dosing is None:
        return donors
    doses = donor_doses(dosing, [_counted_donor(donor) for donor in donors])
    return [replace(donor, dose=dose) for donor, dose in zip(donors, doses, strict=True)]


def _counted_donor(donor: DonorItem) -> CountedDonor:
    cells = tuple(item.call.frequency.bn_cells for item in donor.done if item.call.frequency is not None)
    return CountedDonor(donor.call, tuple(item.record for item in donor.done), cells, donor.review)


def _sweep_donors(paths: OutPaths, folders: set[str]) -> None:
    """Remove pages of donors that no slide belongs to any more (a corrected sample sheet)."""
    if paths.donors.is_dir():
        for name in sorted(set(os.listdir(paths.donors)) - folders):
            if (paths.donors / name).is_dir():
                remove_files(paths.donors / name, ["index.html", "sheet.html", "sheet.pdf", gallery_page.PAGE])


@dataclass(frozen=True, slots=True)
class BatchRows:
    """Rows of what is made of the whole batch, kept from report to report.

    Attributes:
        slides, donors: stamps of all that is shown of a slide or a donor beside the batch's controls.
        controls: those, as text.
    """

    kept: KeptRows
    slides: Mapping[str, str]
    donors: Mapping[str, str]
    controls: str

    def slide_line(self, line: tables.SlideLine) -> str:
        """Of slides.csv."""
        item = line.item
        shows = "slides.csv", self.slides[item.record.slide_id], line.against_others, self.controls
        return self.kept.row(shows, lambda: tables.SLIDES.line(line))

    def donor_line(self, donor: DonorItem) -> str:
        """Of donors.csv."""
        shows = "donors.csv", self.donors[donor.call.donor], self.controls
        return self.kept.row(shows, lambda: tables.DONORS.line(donor))

    def donor_cells(self, number: int, donor: DonorItem) -> str:
        """Of donors.xlsx."""
        shows = "donors.xlsx", number, self.donors[donor.call.donor], self.controls
        return self.kept.row(shows, lambda: donor_cells(number, donor))

    def of_page(self, items: Sequence[SlideItem], donors: Sequence[DonorItem]) -> rendering.Rows:
        """Of the batch page."""
        stamps = {page_content.slide_href(i): [self.slides[i.record.slide_id], self.controls] for i in items}
        stamps |= {page_content.donor_href(d): [self.donors[d.call.donor], self.controls] for d in donors}
        return lambda row, shows, make: self.kept.row((*shows, stamps[row.href]), make)


def _write_tables(paths: OutPaths, items: Sequence[SlideItem], donors: Sequence[DonorItem], rows: BatchRows) -> None:
    check_still_held(paths.lock)
    lines = map(rows.slide_line, tables.slide_lines(items, donors))
    stream_if_changed(paths.slides_csv, tables.SLIDES.stream(lines))
    stream_if_changed(paths.donors_csv, tables.DONORS.stream(map(rows.donor_line, donors)))
    write_if_changed(paths.donors_xlsx, donors_xlsx(donors, rows.donor_cells))


def _write_index(
    paths: OutPaths,
    items: Sequence[SlideItem],
    donors: Sequence[DonorItem],
    copies: Sequence[CopyView],
    place: Place,
    controls: BatchControls,
    rows: BatchRows,
    options: ReportOptions,
) -> bool:
    signed = [short_signature(donor.signatures) for donor in donors]
    alike = [donor.alike for donor in donors if donor.alike]
    copied = [[copy.name, copy.original, copy.href] for copy in copies]
    states = [sample.text for sample in controls.samples]
    doses = [donor.dose.dosing.key if donor.dose else "" for donor in donors]
    stamp = digest(rows.slides, copied, options.min_cells, signed, alike, states, doses, asdict(place))
    if not options.force and page_stamp(paths.index) == stamp:
        return False
    remove_files(paths.root, ["index.pdf"])
    page = page_content.index_page(items, donors, copies, controls, place)
    write_atomically(paths.index, rendering.render_index(page, stamp, rows.of_page(items, donors)))
    return True

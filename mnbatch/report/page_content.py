"""From records and calls to what the pages show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mnbatch.assay.calls import CalledCell, SlideCall
from mnbatch.assay.heterogeneity import LEVEL
from mnbatch.assay.mn_counts import MnFrequency
from mnbatch.assay.sample_sheet import DETAILS
from mnbatch.dosimetry.triage import CLASSES
from mnbatch.report import charts, provenance, views, wording
from mnbatch.report.charts import cumulative
from mnbatch.report.control_samples import NO_CONTROLS, BatchControls
from mnbatch.report.donor_sheet import SheetSource, SheetView, sheet_view
from mnbatch.report.dose_report import dose_limits, dose_number, dose_view
from mnbatch.report.field_pictures import FieldsView
from mnbatch.report.first_answers import first_screen
from mnbatch.report.frequency_lines import (
    donor_lines,
    micronuclei_view,
    review_view,
    short_review,
    short_text,
    slide_lines,
)
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.page_pictures import GalleryView
from mnbatch.report.rendering import href
from mnbatch.report.signature_lines import sheet_signatures, short_signature, sign_view
from mnbatch.report.trust_light import donor_light, slide_light
from mnbatch.report.views import RowView
from mnbatch.results.records import SlideRecord

FAILURES_OPEN = 10
"""Failures that the batch page shows at once; the others unfold."""

SAMPLE_LABELS = {
    "dose_gy": "dose (Gy)",
    "target_low_per_1000": "target range from (per 1000)",
    "target_high_per_1000": "target range to (per 1000)",
}


def slide_href(item: SlideItem) -> str:
    """Where the slide's page is, from the batch page."""
    return href(f"slides/{item.record.slide_id}/index.html")


def donor_href(item: DonorItem) -> str:
    """Where the donor's page is, from the batch page."""
    return href(f"donors/{item.folder}/index.html")


def slide_row(item: SlideItem, up: str) -> RowView:
    """A slide's row as seen from a page `up` ("" or "../../") below OUT."""
    record, call = item.record, item.call
    told = {".", record.name, f"{record.donor}/{record.name}"}
    place = "" if record.pseudonymised or record.path in told else record.path
    return RowView(
        name=record.name,
        href=up + slide_href(item),
        status=call.status,
        reason=call.reason,
        frequency=call.frequency,
        excluded_cells=item.excluded_cells,
        flagged_cells=call.flagged_cells,
        warnings=item.warnings,
        next_step=item.next_step,
        place=place,
        donor=item.donor or "",
        donor_href=href(f"{up}donors/{item.donor_folder}/index.html") if item.donor_folder else "",
        dose=item.sample.get("dose_gy", ""),
        headline=item.headline,
        reviewed=_review_words(item),
        light=slide_light(item),
        control=_control(item.sample),
    )


def donor_row(item: DonorItem, up: str) -> RowView:
    """A donor's row, likewise."""
    call = item.call
    dose = item.dose if item.dose is not None and item.dose.result.status == "ok" else None
    return RowView(
        name=call.donor,
        href=up + donor_href(item),
        status=call.status,
        reason=call.reason,
        frequency=call.frequency,
        excluded_cells=item.excluded_cells,
        flagged_cells=call.flagged_cells,
        warnings=item.warnings,
        slides=len(call.slide_ids),
        headline=item.headline,
        reviewed=" · ".join(filter(None, (_review_words(item), short_signature(item.signatures)))),
        light=donor_light(item),
        estimate=dose.result.estimate if dose else None,
        dose_number=dose_number(dose.result) if dose else "",
        dose_interval=dose_limits(dose.result) if dose else "",
        triage=dose.triage.category if dose and dose.triage else "",
        control=next(filter(None, (_control(slide.sample) for slide in item.slides)), ""),
    )


def _control(sample: Mapping[str, str]) -> str:
    return {"": "", "positive": "positive control"}.get(sample.get("control", ""), "negative control")


def _review_words(item: SlideItem | DonorItem) -> str:
    """The state of the review in short; "" where the number itself is the reviewed one."""
    head = item.headline
    return "" if head is not None and head.kind in ("reviewed", "confirmed") else short_review(item.review)


def slide_page(
    item: SlideItem,
    cells: Sequence[CalledCell],
    gallery: GalleryView | None,
    gallery_href: str = "",
    fields: FieldsView | None = None,
) -> views.SlidePage:
    """The page of one slide, with its cells as called."""
    row = slide_row(item, "../../")
    scale = views.scale_of([row])
    scores = [cell.p_mn for cell in cells if cell.p_mn is not None]
    threshold = item.record.call.threshold if item.record.call else 0.5
    skipped = () if item.record.pseudonymised else item.record.skipped
    return views.SlidePage(
        row=_on_scale([row], scale)[0],
        scale=scale,
        cells=len(cells),
        has_table=bool(cells),
        sample=_sample_pairs(item.sample, details=False),
        sample_details=_sample_pairs(item.sample, details=True),
        facts=_slide_facts(item.call, len(cells)),
        histogram=charts.histogram(scores, threshold) if scores else None,
        histogram_text=_histogram_text(scores, threshold),
        threshold=f"{threshold:g}",
        flags=views.flag_counts(cells),
        excluded=views.excluded_groups(cells),
        skipped=views.reason_groups((left.reason, left.path) for left in skipped),
        gallery=gallery,
        fields=fields,
        provenance=provenance.slide_provenance(item.record),
        lines=slide_lines(item),
        micronuclei=micronuclei_view(item.call.mn, item.call.mn_reason),
        review=review_view(item.review, gallery_href),
        cumulative=cumulative(cells) if item.call.frequency is not None else None,
        controls=item.controls.sentence,
    )


def donor_page(
    item: DonorItem, gallery: GalleryView | None, gallery_href: str = "", place: views.Place = views.NOWHERE
) -> views.DonorPage:
    """The page of one donor."""
    head = donor_row(item, "../../")
    rows = [slide_row(slide, "../../") for slide in item.slides]
    scale = views.scale_of([head, *rows])
    failed = len(item.call.failed_slide_ids)
    waiting = len(item.call.waiting_slide_ids)
    lede = wording.plural(len(rows), "slide") + (f", of which {wording.whole(failed)} failed" if failed else "")
    lede += f", {wording.whole(waiting)} waiting" if waiting else ""
    return views.DonorPage(
        row=_on_scale([head], scale)[0],
        scale=scale,
        lede=lede,
        status_meaning=wording.STATUS_MEANINGS[item.call.status],
        slides=_on_scale(rows, scale),
        show_dose=any(row.dose for row in rows),
        gallery=gallery,
        provenance=provenance.shared_provenance([slide.record for slide in item.slides]),
        lines=donor_lines(item),
        micronuclei=micronuclei_view(item.call.mn, item.call.mn_reason),
        review=review_view(item.review, gallery_href),
        signed=sign_view(item),
        dose=dose_view(item.dose) if item.dose else None,
        controls=item.controls.sentence,
        first=first_screen(item),
        place=place,
    )


def donor_sheet(item: DonorItem) -> SheetView:
    """The physician's page of one donor."""
    done = [slide.record for slide in item.done]
    samples = [slide.sample for slide in item.slides]
    background = item.statistics.background if item.statistics else None
    no_background = item.statistics.no_background if item.statistics else ""
    return sheet_view(
        SheetSource(
            call=item.call,
            done=done,
            samples=samples,
            review=item.review,
            dose=item.dose,
            warnings=item.warnings,
            background=background,
            signatures=sheet_signatures(item.signatures),
            no_background=no_background,
            headline=item.headline,
            fields=item.fields,
            controls=item.controls.sentence,
            laboratory=item.laboratory,
        )
    )


def index_page(
    slides: Sequence[SlideItem],
    donors: Sequence[DonorItem],
    copies: Sequence[views.CopyView],
    controls: BatchControls = NO_CONTROLS,
    place: views.Place = views.NOWHERE,
) -> views.IndexPage:
    """The page of the whole batch; donors with the highest class and dose come first."""
    slide_rows = [slide_row(item, "") for item in slides]
    donor_rows = sorted((donor_row(item, "") for item in donors), key=_urgency)
    scale = views.scale_of([*slide_rows, *donor_rows])
    records = [item.record for item in slides]
    models = provenance.models_used(records)
    warnings = (*_chance_warning(donors), *_index_warnings(slide_rows, donor_rows, models))
    failures = tuple(row for row in slide_rows if row.status == "failed")
    waiting = tuple(row for row in slide_rows if row.status == "waiting")
    return views.IndexPage(
        lede=_index_lede(records, donors),
        failures_text=f"{wording.plural(len(failures), 'slide')} failed",
        failures=failures,
        failures_open=FAILURES_OPEN,
        waiting_text=f"{wording.plural(len(waiting), 'slide')} waiting to be scored",
        waiting=waiting,
        warnings_text=wording.plural(len(warnings), "warning"),
        warnings=warnings,
        facts=_index_facts(slides, donors),
        scale=scale,
        place=place,
        show_estimate=any(row.estimate is not None for row in donor_rows),
        lights_text=_lights_text(donor_rows),
        donors=_on_scale(donor_rows, scale),
        slides=_on_scale(slide_rows, scale),
        show_dose=any(row.dose for row in slide_rows),
        copies=tuple(copies),
        controls=controls.sentence,
        control_samples=tuple(
            views.ControlView(one.name, one.kind, one.wanted, one.found, one.verdict) for one in controls.samples
        ),
        models=models,
        provenance=provenance.batch_provenance(records),
    )


def _urgency(row: RowView) -> tuple[int, float]:
    """Highest triage class first, then dose; those without a dose keep their order at the end."""
    rank = CLASSES.index(row.triage) if row.triage in CLASSES else -1
    return -rank, -(row.estimate if row.estimate is not None else -1.0)


def _lights_text(rows: Sequence[RowView]) -> str:
    """How many donors have which light, the worst first."""
    lights = [row.light for row in rows if row.light]
    counted = {colour: [one for one in lights if one.colour == colour] for colour in ("red", "amber", "green")}
    return ", ".join(f"{len(found)} {colour} ({found[0].word})" for colour, found in counted.items() if found)


def _on_scale(rows: Iterable[RowView], scale: charts.Scale) -> tuple[RowView, ...]:
    marked = []
    for row in rows:
        place, spoken = views.mark(row.headline, scale)
        marked.append(replace(row, mark=place, spoken=spoken))
    return tuple(marked)


def _slide_facts(call: SlideCall, cells: int) -> tuple[tuple[str, str, str], ...]:
    f = call.frequency
    counted = cells - call.excluded_cells
    facts = [("Cells found", wording.whole(cells), "")]
    if f is not None:
        facts.append(("BN cells counted", wording.whole(f.bn_cells), ""))
    excluded_share = wording.percent(call.excluded_cells, cells) + " of all"
    flagged_share = wording.percent(call.flagged_cells, counted) + " of the counted"
    facts.append(("Excluded", wording.whole(call.excluded_cells), excluded_share))
    if f is not None:
        facts.append(("Flagged", wording.whole(call.flagged_cells), flagged_share))
    return tuple(facts)


def _index_facts(slides: Sequence[SlideItem], donors: Sequence[DonorItem]) -> tuple[tuple[str, str, str], ...]:
    calls = [item.call for item in slides]
    done = [call for call in calls if call.frequency is not None]
    bn_cells = sum(call.frequency.bn_cells for call in done if call.frequency)
    mnbn = sum(call.frequency.mnbn_cells for call in done if call.frequency)
    excluded = sum(call.excluded_cells for call in calls)
    flagged = sum(call.flagged_cells for call in done)
    waiting = sum(call.status == "waiting" for call in calls)
    failed = len(calls) - len(done) - waiting
    states = f"{wording.whole(len(done))} done, {wording.whole(failed)} failed"
    states += f", {wording.whole(waiting)} waiting" if waiting else ""
    facts = [("Slides", wording.whole(len(calls)), states)]
    if donors:
        short = sum(item.call.status != "done" for item in donors)
        facts.append(
            (
                "Donors",
                wording.whole(len(donors)),
                f"{wording.whole(short)} not complete" if short else "all complete",
            )
        )
    if done:
        facts += [
            ("BN cells", wording.whole(bn_cells), "counted"),
            ("MNBN", wording.whole(mnbn), "called MN"),
            ("MN counted", *_batch_micronuclei(done)),
            ("Flagged", wording.whole(flagged), wording.percent(flagged, bn_cells) + " of the counted"),
        ]
    facts.append(("Excluded", wording.whole(excluded), "unreadable or copies"))
    return tuple(facts)


def _batch_micronuclei(done: Sequence[SlideCall]) -> tuple[str, str]:
    """Micronuclei that the model counted on all slides together, or that there are none."""
    counted = [call.mn for call in done if call.mn is not None]
    if not counted:
        return short_text(None, done[0].mn_reason), "the model gives yes or no only"
    if len(counted) < len(done):
        return (
            "not available",
            f"{wording.whole(len(done) - len(counted))} of {wording.plural(len(done), 'slide')} without counts",
        )
    return wording.whole(MnFrequency.pooled(counted).micronuclei), "by the model"


def _index_lede(records: Sequence[SlideRecord], donors: Sequence[DonorItem]) -> str:
    parts = [wording.plural(len(records), "slide")]
    if donors:
        parts[0] += f" of {wording.plural(len(donors), 'donor')}"
    span = provenance.scored_span(records)
    return ", ".join([*parts, f"scored {span}"] if span else parts)


def _index_warnings(
    slides: Sequence[RowView], donors: Sequence[RowView], models: Sequence[views.ModelView]
) -> tuple[views.WarningView, ...]:
    warnings = []
    if len({(model.digest, model.threshold) for model in models}) > 1:
        warnings.append(
            views.WarningView(
                "Not all slides were scored by the same model at the same threshold: do not compare them."
            )
        )
    for row in [*donors, *slides]:
        # A failed row is shown above with all its facts; a donor's warnings repeat why it is partial or
        # insufficient.
        if row.status not in ("failed", "waiting"):
            warnings += [views.WarningView(text, row.name, row.href) for text in row.warnings]
    return tuple(warnings)


def _chance_warning(donors: Sequence[DonorItem]) -> tuple[views.WarningView, ...]:
    """How many donors have disagreeing slides, and how many would by chance."""
    compared = sum(donor.heterogeneity is not None for donor in donors)
    odd = sum(bool(donor.disagreeing) for donor in donors)
    if not odd:
        return ()
    text = (
        f"In {wording.plural(odd, 'donor')} of {wording.whole(compared)} with several slides, slides disagree. By "
        f"chance it would be at most {LEVEL * compared:.2g} of them on average if all slides of a donor are alike."
    )
    return (views.WarningView(text),)


def _sample_pairs(sample: Mapping[str, str], *, details: bool) -> tuple[tuple[str, str], ...]:
    """What the sample sheet says of a slide: what its count is read with, or the particulars of a report."""
    return tuple(
        (SAMPLE_LABELS.get(name, name.replace("_", " ")), wording.sex(value) if name == "sex" else value)
        for name, value in sample.items()
        if value and (name in DETAILS) == details
    )


def _histogram_text(scores: Sequence[float], threshold: float) -> str:
    called = sum(p >= threshold for p in scores)
    return (
        f"Histogram of the scores of {len(scores)} cells; {called} at or above {threshold:g}. "
        "The scores themselves are in cells.csv."
    )

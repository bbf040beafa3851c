"""From slides and donors to the rows of slides.csv and donors.csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mnbatch.assay.field_records import FieldCounts
from mnbatch.report import statistics, tables
from mnbatch.report.dose_report import NO_DOSE
from mnbatch.report.items import DonorItem, SlideItem


def slide_rows(items: Sequence[SlideItem], donors: Sequence[DonorItem]) -> list[tables.SlideRow]:
    """Rows of slides.csv, in the order of the slides; `donors` say how a slide compares with its donor's others."""
    against = _against_others(donors)
    return [_slide_row(item, against) for item in items]


def donor_rows(donors: Sequence[DonorItem]) -> list[tables.DonorRow]:
    """Rows of donors.csv, in the order of the donors."""
    return [_donor_row(donor) for donor in donors]


def _against_others(donors: Sequence[DonorItem]) -> dict[str, float]:
    """slide_id -> p against the donor's other slides."""
    return {
        slide.record.slide_id: p
        for donor in donors
        if donor.heterogeneity
        for slide, p in zip(donor.done, donor.heterogeneity.against_others, strict=True)
    }


def _slide_row(item: SlideItem, against: Mapping[str, float]) -> tables.SlideRow:
    record, call = item.record, item.call
    counts = tables.CountRow(
        status=call.status,
        reason=call.reason,
        frequency=call.frequency,
        excluded_cells=item.excluded_cells,
        flagged_cells=call.flagged_cells,
        model=f"{record.model.name} {record.model.version}" if record.model else "",
        model_digest=record.model.digest if record.model else "",
        threshold=f"{record.call.threshold:g}" if record.call else "",
        warnings=item.warnings,
        mn=call.mn,
        mn_reason=call.mn_reason,
    )
    beside = statistics.slide_fields(item.statistics, against.get(record.slide_id))
    names = (record.slide_id, item.donor or "", record.name)
    return tables.SlideRow(*names, counts, item.sample, item.review, beside, record.input, item.fields)


def _donor_row(donor: DonorItem) -> tables.DonorRow:
    call = donor.call
    slides = [_slide_row(item, {}).counts for item in donor.slides]
    counts = tables.CountRow(
        status=call.status,
        reason=call.reason,
        frequency=call.frequency,
        excluded_cells=donor.excluded_cells,
        flagged_cells=call.flagged_cells,
        model=_each_once(row.model for row in slides),
        model_digest=_each_once(row.model_digest for row in slides),
        threshold=_each_once(row.threshold for row in slides),
        warnings=donor.warnings,
        mn=call.mn,
        mn_reason=call.mn_reason,
    )
    odd = [slide.record.slide_id for slide in donor.disagreeing]
    beside = statistics.donor_fields(donor.statistics, donor.heterogeneity, odd)
    dose = donor.dose.fields() if donor.dose else NO_DOSE
    numbers = (len(call.slide_ids), len(call.failed_slide_ids))
    known = [slide.fields for slide in donor.slides if slide.fields is not None]
    fields = FieldCounts.pooled(known) if known else None
    return tables.DonorRow(call.donor, counts, *numbers, donor.review, beside, dose, fields, donor.signatures)


def _each_once(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(value for value in values if value))

"""The physician's page: one donor on one A4 page, with everything that the dose rests on; particulars on a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mnbatch.assay.calls import DonorCall
from mnbatch.assay.field_records import FieldCounts
from mnbatch.assay.laboratory import NO_LABORATORY, Laboratory
from mnbatch.dosimetry.detection_limits import HUMN_MEDIAN, HUMN_QUARTILES, Background
from mnbatch.report import provenance, wording
from mnbatch.report.dose_report import METHOD_WORDS, DonorDose, dose_pairs, dose_sentence, dose_warnings
from mnbatch.report.headline import Headline
from mnbatch.report.sheet_particulars import Particulars, ParticularsSource, particulars
from mnbatch.results.records import SlideRecord
from mnbatch.review.review_status import SlideReview

MOST_FLAGS = 8
MOST_SIGNATURES = 2
LONGEST_SIGNED = 220
LONGEST = 260
"""Characters of a flag; a page that must hold on one sheet cannot print lists of file names."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SheetView:
    """All that the page shows; texts are for the template to place."""

    donor: str
    status: str
    status_meaning: str
    headline: str
    sub: str
    who: Pairs
    scored: Pairs
    frequency: Pairs
    dose: Pairs
    figure: Markup | None
    flags: tuple[str, ...]
    flags_left: int
    review: str
    signatures: tuple[str, ...]
    provenance: Pairs
    particulars: Particulars
    controls: str = ""
    laboratory: str = ""


@dataclass(frozen=True, slots=True)
class SheetSource:
    """What the page is made from.

    Attributes:
        done: records of the slides that were counted.
        samples: rows of the sample sheet of all slides.
        no_background: why the frequency is compared with nothing; "" where it is.
        headline: None where nothing was counted; fields: what the slides' fields held; None for crops.
        controls: what is wrong with the batch's control samples; "" for nothing.
    """

    call: DonorCall
    done: Sequence[SlideRecord]
    samples: Sequence[Mapping[str, str]]
    review: SlideReview
    dose: DonorDose | None
    warnings: Sequence[str]
    background: Background | None = None
    signatures: tuple[str, ...] = ()
    no_background: str = ""
    headline: Headline | None = None
    fields: FieldCounts | None = None
    controls: str = ""
    laboratory: Laboratory = NO_LABORATORY


def sheet_view(source: SheetSource) -> SheetView:
    """The page of one donor."""
    call, dose = source.call, source.dose
    result = dose.result if dose else None
    refused = result is not None and result.status != "ok"
    reasons = dose_warnings(dose) if dose and not refused else ()
    flags = [*_unreviewed(source), *source.warnings, *reasons]
    # Both tell how many are left out; the page must hold on one sheet.
    most = MOST_FLAGS - len(source.signatures[-MOST_SIGNATURES:])
    return SheetView(
        donor=call.donor,
        status=call.status,
        status_meaning=wording.STATUS_MEANINGS[call.status],
        headline=dose_sentence(result) if result else "no dose: no calibration curve was given",
        sub=_sub(dose),
        who=_who(source),
        scored=_scored(source),
        frequency=_frequency(source),
        dose=dose_pairs(dose) if dose else (),
        figure=dose.figure if dose and not refused else None,
        flags=tuple(flag if len(flag) <= LONGEST else f"{flag[:LONGEST]} ..." for flag in flags[:most]),
        flags_left=max(0, len(flags) - most),
        review=_review(source.review),
        signatures=_signatures(source.signatures),
        provenance=_provenance(source),
        particulars=particulars(
            ParticularsSource(
                laboratory=source.laboratory,
                samples=source.samples,
                done=source.done,
                review=source.review,
                dose=dose,
                headline=source.headline,
            )
        ),
        controls=source.controls,
        laboratory=source.laboratory.text("laboratory.name"),
    )


def _unreviewed(source: SheetSource) -> list[str]:
    """No sheet of unreviewed calls is without a flag."""
    if source.review.status == "complete" and (source.review.mode == "confirm" or source.review.number is not None):
        return []
    if source.call.frequency is None:
        return []
    none = source.review.status == "none"
    return ["the calls were not reviewed by a person" if none else "the review of the calls is not complete"]


def _sub(dose: DonorDose | None) -> str:
    if dose is None:
        return "Give a calibration curve with `mnbatch dose OUT --curve curve.json`."
    r = dose.result
    if r.status != "ok":
        return "; ".join(dose_warnings(dose))
    interval = "" if r.lower is None else f"{100 * r.level:g} % interval ({METHOD_WORDS[r.method]})"
    if r.below_detection and r.limits is not None:
        unit = "micronuclei" if dose.curve.endpoint == "mn" else "cells with micronuclei"
        interval += (
            f"; {r.x} {unit} in {r.n} cells, and the curve's background explains up to {r.limits.decision_threshold}. "
            f"A dose of {r.detection_dose:.2f} Gy would be seen in 9 of 10 cases"
        )
    return interval


def _who(source: SheetSource) -> Pairs:
    def known(name: str) -> str:
        return ", ".join(dict.fromkeys(sample[name] for sample in source.samples if sample.get(name)))

    sexes = ", ".join(map(wording.sex, known("sex").split(", ")))
    pairs = [("Donor", source.call.donor), ("Sex", sexes), ("Age", known("age")), ("Culture", known("culture"))]
    return tuple((label, value) for label, value in pairs if value)


def _scored(source: SheetSource) -> Pairs:
    call, f = source.call, source.call.frequency
    names = ", ".join(record.name for record in source.done)
    slides = f"{len(source.done)} of {len(call.slide_ids)} counted"
    pairs = [("Slides", slides + (f" ({names})" if names and len(names) < 60 else ""))]
    pairs.append(("Cells", f"{wording.whole(f.bn_cells if f else None)} binucleated cells"))

    excluded = None if call.excluded_cells is None else wording.plural(call.excluded_cells, "cell")
    flagged = None if call.flagged_cells is None else wording.plural(call.flagged_cells, "counted cell")
    pairs.append(("Excluded", f"{excluded or wording.NOT_KNOWN}; {flagged or wording.NOT_KNOWN} with a quality flag"))
    division = source.fields.division() if source.fields else None
    if division is not None and division.ndi is not None and division.cbpi is not None:
        pairs.append(
            ("Division", f"NDI {division.ndi:.2f}, CBPI {division.cbpi:.2f} of {wording.whole(division.cells)} cells")
        )
    models = dict.fromkeys(f"{r.model.name} {r.model.version}" for r in source.done if r.model)
    thresholds = dict.fromkeys(f"{r.call.threshold:g}" for r in source.done if r.call)
    pairs.append(
        ("Scored by", f"{', '.join(models) or wording.NOT_KNOWN}, automatically, threshold {', '.join(thresholds)}")
    )
    return (*pairs, ("Scored", provenance.scored_span(source.done) or wording.NOT_KNOWN))


def _frequency(source: SheetSource) -> Pairs:
    call, f = source.call, source.call.frequency
    if f is None:
        return (("MNBN", f"no frequency: {call.reason}"),)
    head = source.headline
    pairs = [("MNBN", head.sentence)] if head else []
    if head is not None:
        pairs.append(("How far to trust it", head.trust))
    called = f"{f.mnbn_cells} of {f.bn_cells} cells"
    if call.mn is not None:
        called += f", with {wording.plural(call.mn.micronuclei, 'micronucleus', 'micronuclei')}"
    pairs.append(("The model called", called))
    pairs.append(("Background", _background(source)))
    if source.dose:
        c = 1000 * source.dose.curve.background
        unit = "MNBN" if source.dose.curve.endpoint == "mnbn" else "MN"
        pairs.append(("Curve at 0 Gy", f"{wording.rate(c)} {unit} per 1000, for this scoring"))
    return tuple(pairs)


def _background(source: SheetSource) -> str:
    """What the count was compared with; cells of the literature were scored by eye, a model's count is not compared."""
    found = source.background
    if found is None:
        return source.no_background or wording.NOT_KNOWN
    position = "above it" if found.above else "not different from it"
    if found.by_age:
        of = f"{wording.rate(found.per_1000)} calls per 1000 are expected"
        return f"{found.basis}, scored in the same way: {of}; the count is {position}"
    if found.source == "control":
        of = f"{wording.rate(found.per_1000)} calls per 1000"
        return f"{found.basis}; {of}, scored in the same way: the count is {position}"
    low, high = HUMN_QUARTILES
    return (
        f"general population: median {HUMN_MEDIAN:g} MNBN per 1000, quartiles {low:g} and {high:g}, scored by eye "
        f"(HUMN 2001): the reviewed frequency is {position}, counting error only"
    )


def _review(review: SlideReview) -> str:
    if review.status == "none":
        return "not reviewed by a person"
    people = ", ".join(state.reviewer for state in review.reviewers)
    what = f"{review.status} (called cells confirmed)" if review.mode == "confirm" else review.status
    text = f"{what}: {wording.plural(review.looked, 'cell')} reviewed by {people or wording.NOT_KNOWN}"
    return f"{text}; {review.reason}" if review.reason else text


def _signatures(lines: Sequence[str]) -> tuple[str, ...]:
    """The latest ones; the page must hold on one sheet."""
    shown = [
        line if len(line) <= LONGEST_SIGNED else f"{line[:LONGEST_SIGNED]} ..." for line in lines[-MOST_SIGNATURES:]
    ]
    left = len(lines) - len(shown)
    return (*shown, f"and {left} earlier, on the donor's page") if left else tuple(shown)


def _provenance(source: SheetSource) -> Pairs:
    shared = dict(provenance.shared_provenance(source.done))
    pairs: list[tuple[str, str]] = [(label, shared[label]) for label in ("Model digest", "Versions") if label in shared]
    if source.dose:
        curve, settings = source.dose.dosing.curve, source.dose.dosing.settings
        span = f", {curve.dose_range[0]:g} to {curve.dose_range[1]:g} Gy" if curve.dose_range else ""
        pairs.append(("Curve", f"{curve.about.get('name') or settings.source}: {curve.shape}, {curve.endpoint}{span}"))
        pairs.append(("Curve scored", _curve_scoring(curve.scoring) or "not stated"))
    return tuple(pairs)


def _curve_scoring(scoring: Mapping[str, Any]) -> str:
    """How the curve's slides were scored; a digest by its first digits; the curve's file has all of them."""
    known = {key: str(value) for key, value in scoring.items() if value not in (None, "")}
    if "model_digest" in known:
        known["model_digest"] = known["model_digest"][:12]
    return ", ".join(f"{key.replace('_', ' ')} {value[:60]}" for key, value in known.items())

"""Donors' doses from the curve in force: their cases, results, columns and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from mnbatch.assay.calls import DonorCall
from mnbatch.assay.count_kinds import PLURAL, CountKind, kind_of, mode_of
from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.dose_estimation import Case, DoseResult, assess, counts_of
from mnbatch.dosimetry.dose_intervals import yield_limits
from mnbatch.dosimetry.triage import CLASSES, Triage, triage
from mnbatch.report.charts import CaseMark, figure
from mnbatch.results.dosing_settings import Dosing, scoring_mode
from mnbatch.results.records import SlideRecord
from mnbatch.review.person_counts import best_kind, person_counts, why_no_counts
from mnbatch.review.review_status import NO_REVIEW, SlideReview


@dataclass(frozen=True, slots=True)
class DonorDose:
    """A donor's dose with the curve that it was read from (as the scorer sees it).

    Attributes:
        counts: whose counts it is made from; counts_note: why, and what would change it.
    """

    result: DoseResult
    triage: Triage | None
    curve: Curve
    dosing: Dosing
    counts: CountKind = "automatic"
    counts_note: str = ""

    @property
    def figure(self) -> Markup:
        """Case on curve; our own markup, of numbers alone."""
        return Markup(figure(self.curve, self.result.level, self._mark(), self.dosing.options.g))

    def _mark(self) -> CaseMark | None:
        r = self.result
        if r.estimate is None or r.lower is None or r.yield_ is None:
            return None
        low, high = yield_limits(self.curve, counts_of([r], self.curve), r.level)
        return CaseMark(
            dose=r.estimate, lower=r.lower, upper=r.upper, y=r.yield_, y_low=float(low[0]), y_high=float(high[0])
        )


@dataclass(frozen=True, slots=True)
class CountedDonor:
    """A donor's counts: the pooled call, the slides that are done with the cells of each, and what people decided."""

    call: DonorCall
    records: tuple[SlideRecord, ...]
    slide_cells: tuple[int, ...] = ()
    review: SlideReview = NO_REVIEW


def donor_doses(dosing: Dosing, donors: Sequence[CountedDonor]) -> list[DonorDose]:
    """A result for each donor, in their order."""
    seen, options = dosing.seen, dosing.options
    kinds = [_counts_used(donor.review, dosing) for donor in donors]
    results = assess([_case_of(donor, dosing, kind) for donor, kind in zip(donors, kinds, strict=True)], seen, options)
    classes = triage(results, seen, options.g)
    return [
        DonorDose(result, found, seen, dosing, kind, _counts_note(donor, dosing, kind))
        for result, found, kind, donor in zip(results, classes, kinds, donors, strict=True)
    ]


def _counts_used(review: SlideReview, dosing: Dosing) -> CountKind:
    """Whose counts a dose is made from: those of the curve's kind; the best there are for a curve that says none."""
    wanted = kind_of(dosing.curve.scoring)
    if wanted is None:
        seen = person_counts(review, "reviewed")
        usable = seen is not None and (dosing.curve.endpoint == "mnbn" or bool(seen.classes))
        return "reviewed" if usable else "automatic"
    return wanted if person_counts(review, wanted) is not None else "automatic"


def _counts_note(donor: CountedDonor, dosing: Dosing, used: CountKind) -> str:
    """Which count the dose is from, and what would change it."""
    wanted, best = kind_of(dosing.curve.scoring), best_kind(donor.review)
    person = person_counts(donor.review, used)
    if person is not None:
        same = ", as the curve is" if wanted is not None else ""
        return f"made from {PLURAL[used]}{same}" + (f"; {person.note}" if person.note else "")
    seen = person_counts(donor.review, best)
    f = donor.call.frequency
    calls = f"{f.mnbn_cells} of {f.bn_cells} cells" if f else "no cell"
    if seen is not None and wanted == "automatic":
        return (
            f"made from the model's calls ({calls}), because the curve is made of automatic counts; a person found "
            f"{seen.mnbn} of {seen.cells}. A curve of {best} counts (mnbatch curve fit OUT --from {best}) would give "
            "the dose from what the person saw"
        )
    if wanted in ("confirmed", "reviewed"):
        why = why_no_counts(donor.review, wanted)
        return f"no dose from the model's calls ({calls}), because the curve is made of {PLURAL[wanted]}; {why}"
    return ""


def _case_of(donor: CountedDonor, dosing: Dosing, kind: CountKind) -> Case:
    """The case of the counts that are used."""
    automatic = donor_case(donor.call, donor.records, dosing, donor.slide_cells)
    person = person_counts(donor.review, kind)
    if person is None or automatic.problem or automatic.counts is None:
        return automatic
    scoring = {**automatic.scoring, "mode": mode_of(kind, automatic.scoring["mode"]), "endpoint": "mnbn"}
    note = "; ".join(filter(None, [automatic.note, person.note]))
    counts = CaseCounts(person.cells, person.mnbn)
    if dosing.curve.endpoint == "mn" and person.classes:
        scoring["endpoint"] = "mn"
        counts = CaseCounts(person.cells, person.micronuclei, person.classes)
    elif dosing.curve.endpoint == "mn":
        return replace(automatic, counts=counts, problem=f"the curve counts micronuclei, and {person.no_classes}")
    return replace(automatic, counts=counts, scoring=scoring, note=note)


def donor_case(
    call: DonorCall, records: Sequence[SlideRecord], dosing: Dosing, slide_cells: Sequence[int] = ()
) -> Case:
    """The donor's pooled automatic counts on the curve's endpoint, with how they were scored."""
    if call.frequency is None or not call.frequency.bn_cells:
        return Case(call.donor, None, call.reason or "no cell was counted")
    ways = {
        (r.model.digest if r.model else "", f"{r.call.threshold:g}" if r.call else "", scoring_mode(r)) for r in records
    }
    if len(ways) > 1:
        counts = CaseCounts(call.frequency.bn_cells, call.frequency.mnbn_cells)
        return Case(
            call.donor,
            counts,
            "its slides were scored by different models, at different thresholds or with and without --cells all",
        )
    digest, threshold, mode = ways.pop()
    sizes = tuple(slide_cells)
    scoring = {"mode": mode, "model_digest": digest, "threshold": threshold, "endpoint": "mnbn"}
    note = unstated(dosing)
    if dosing.curve.endpoint == "mn" and call.mn is not None:
        cells = call.mn.cells
        scoring["endpoint"] = "mn"
        return Case(
            id=call.donor,
            counts=CaseCounts(call.mn.bn_cells, call.mn.micronuclei, cells),
            problem="",
            scoring=scoring,
            note=note,
            slide_cells=sizes,
        )
    return Case(
        id=call.donor,
        counts=CaseCounts(call.frequency.bn_cells, call.frequency.mnbn_cells),
        problem="",
        scoring=scoring,
        note=note,
        slide_cells=sizes,
    )


def unstated(dosing: Dosing) -> str:
    """What the curve leaves open of its scoring; "" where it names model and threshold."""
    missing = [name.replace("_", " ") for name in ("model_digest", "threshold") if not dosing.curve.scoring.get(name)]
    if not missing:
        return ""
    if dosing.corrected and not dosing.options.allow_mismatch:
        return (
            "the curve was not made with this model, and a sensitivity and a specificity of all cells together do not "
            "make it so: errors differ from slide to slide"
        )
    return f"the curve does not state which {' and '.join(missing)} its slides were scored with"


def mismatch(dosing: Dosing, records: Sequence[SlideRecord]) -> str:
    """Why no slide of these goes with the curve; "" where at least one does, or where it was allowed."""
    scored = [r for r in records if r.model and r.call]
    curve = dosing.curve
    counted = any(r.model and r.model.mean_3plus is not None for r in scored)
    counted = counted or kind_of(curve.scoring) in ("confirmed", "reviewed")
    if curve.endpoint == "mn" and scored and not counted:
        return "the curve counts micronuclei (endpoint mn); the model gives yes or no for each cell (endpoint mnbn)"
    if dosing.options.allow_mismatch or not scored:
        return ""
    if unstated(dosing):
        return unstated(dosing)
    digest, threshold = str(curve.scoring["model_digest"]), float(curve.scoring["threshold"])
    if not any(r.model and r.model.digest == digest for r in scored):
        return f"the curve's slides were scored by another model (digest {digest[:12]})"
    if not any(r.call and abs(r.call.threshold - threshold) < 1e-9 for r in scored):
        return f"the curve's slides were called at the threshold {threshold:g}, these at another"
    return ""


@dataclass(frozen=True, slots=True)
class DoseView:
    """The dose on a donor's page; `figure` is None where no dose could be read, for the reason in `warnings`."""

    headline: str
    pairs: tuple[tuple[str, str], ...]
    figure: Markup | None
    warnings: tuple[str, ...]


def dose_view(dose: DonorDose) -> DoseView:
    """What a donor's page shows of the dose."""
    given = dose.result.status == "ok"
    figure = dose.figure if given else None
    return DoseView(dose_sentence(dose.result), dose_pairs(dose), figure, dose_warnings(dose))


def dose_warnings(dose: DonorDose) -> tuple[str, ...]:
    """What to know before the dose is used, with which count it is from where that is not what a person saw."""
    own = (dose.counts_note,) if dose.counts == "automatic" and dose.counts_note else ()
    return (*own, *dose.result.warnings)


def dose_pairs(dose: DonorDose) -> tuple[tuple[str, str], ...]:
    """Label and value of everything about a dose that is a number; empty where there is none."""
    r, s = dose.result, dose.dosing.settings
    if r.status != "ok":
        return ()
    upper = "not bounded" if r.upper is None else f"{r.upper:.2f}"
    pairs = [("Estimate", f"{r.estimate:.2f} Gy"), (f"{100 * r.level:g} % interval", f"{r.lower:.2f} to {upper} Gy")]
    if dose.counts != "automatic":
        pairs.append(("Counts", f"{r.x} of {r.n}, {dose.counts_note}"))
    pairs.append(("Method", f"{METHOD_WORDS[r.method]}{', scorer corrected' if dose.dosing.corrected else ''}"))
    if r.limits is not None:
        unit = "micronuclei" if dose.curve.endpoint == "mn" else "MNBN cells"
        threshold = f"{r.limits.decision_threshold} {unit} in {r.n} cells; counted {r.x}"
        pairs.append(("Decision threshold", threshold))
    pairs.append(("Detection limit", f"{r.detection_dose:.2f} Gy with {r.n} cells"))
    pairs.append(("Exposure", f"over {s.exposure_hours:g} h" if s.exposure_hours else "taken as acute, whole body"))
    if dose.triage:
        one, two = dose.triage.above
        pairs.append(("1 Gy", f"{dose.triage.verdict}; P(dose above 1 Gy) {_percent(one)}, above 2 Gy {_percent(two)}"))
        pairs.append(("Class", f"{dose.triage.category}; {probabilities_text(dose.triage)}"))
        pairs.append(("Prior", dose.triage.prior))
    return tuple(pairs)


METHOD_WORDS: Mapping[str, str] = {
    "profile": "profile likelihood",
    "components": "profile likelihood with components of variance",
    "merkle": "Merkle's envelope of two intervals",
    "delta": "delta method",
}
"""Of the dose's interval, as pages name it; docs/statistics.md describes each."""


def dose_sentence(result: DoseResult) -> str:
    """The dose in words, never a zero where it only cannot be told from none."""
    if result.estimate is None or result.lower is None:
        return "no dose"
    upper = "not bounded" if result.upper is None else f"{result.upper:.2f} Gy"
    if result.below_detection:
        return f"not above the decision threshold: {result.lower:.2f} to {upper}"
    highest = "above the curve's range, extrapolated: " if result.above_range else ""
    return f"{highest}{result.estimate:.2f} Gy ({result.lower:.2f} to {upper})"


def dose_number(result: DoseResult) -> str:
    """The estimate alone, for a row of a table, never a zero where it only cannot be told from none."""
    if result.estimate is None:
        return ""
    return "none shown" if result.below_detection else f"{result.estimate:.2f}"


def dose_limits(result: DoseResult) -> str:
    """The interval alone, for a row of a table."""
    if result.lower is None:
        return ""
    return f"{result.lower:.2f} to " + ("not bounded" if result.upper is None else f"{result.upper:.2f}")


def probabilities_text(found: Triage | None) -> str:
    """All classes with their probabilities."""
    if found is None:
        return ""
    return ", ".join(f"{name} {_percent(p)}" for name, p in zip(CLASSES, found.probabilities, strict=True))


def _percent(p: float) -> str:
    """Never a certainty that was not reached."""
    return "> 99 %" if p > 0.995 else "< 1 %" if p < 0.005 else f"{100 * p:.0f} %"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

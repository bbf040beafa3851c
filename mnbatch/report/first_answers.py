"""The first screen of a donor's page: exposed or not, how much, how sure, reviewed by whom; dose next to frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import PER
from mnbatch.report import charts, wording
from mnbatch.report.dose_report import DonorDose, dose_sentence
from mnbatch.report.items import DonorItem
from mnbatch.report.trust_light import TrustLight, donor_light

UNKNOWN = "Cannot be said"
THRESHOLD = "decision threshold"


@dataclass(frozen=True, slots=True)
class Answer:
    """One question with its answer, and the numbers that it rests on."""

    question: str
    answer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """A line across the scale: place in percent, what it is, and the row of its label, 0 below 1."""

    x: float
    label: str
    row: int


@dataclass(frozen=True, slots=True)
class DoseScale:
    """Dose, Gy, and under it what the curve has there, per 1000 cells.

    Attributes:
        ticks: (place in percent, dose, yield per 1000 cells on the curve).
        mark: the estimate with its interval.
        pointed: whether the estimate is drawn: not where it cannot be told from none.
        spoken: the same in words.
        unit: of the second row.
        thresholds: decision threshold, 1 Gy, 2 Gy.
    """

    ticks: tuple[tuple[float, str, str], ...]
    mark: charts.Interval
    pointed: bool
    spoken: str
    unit: str
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What a physician reads first.

    Attributes:
        dose: None where there is none; the page then shows the frequency on its own scale.
    """

    exposed: Answer
    amount: Answer
    light: TrustLight
    reviewed: Answer
    dose: DoseScale | None


def first_screen(item: DonorItem) -> FirstScreen:
    """The first screen of a donor."""
    dose = item.dose if item.dose is not None and item.dose.result.status == "ok" else None
    light = donor_light(item)
    answer, detail = _exposed(item, dose)
    if light.colour == "red" and answer not in (UNKNOWN, f"A {_control_kind(item)} control"):
        # What must not be used yet is not said without that.
        answer = f"By the count alone: {answer[0].lower()}{answer[1:]}"
    return FirstScreen(
        exposed=Answer("Exposed?", answer, detail),
        amount=Answer("How much?", *_how_much(item, dose)),
        light=light,
        reviewed=Answer("Reviewed by whom?", *_reviewed(item)),
        dose=_dose_scale(dose) if dose else None,
    )


def _exposed(item: DonorItem, dose: DonorDose | None) -> tuple[str, str]:
    kind = _control_kind(item)
    if kind:
        return f"A {kind} control", "It shows whether the batch went well; it is no person who is examined."
    if dose is not None and dose.result.limits is not None:
        r, most = dose.result, dose.result.limits.decision_threshold
        what = "micronuclei" if dose.curve.endpoint == "mn" else "cells with micronuclei"
        counted = f"{r.x} {what} in {r.n} cells; without exposure up to {most} are to be expected."
        if r.below_detection:
            return "No exposure is shown", f"{counted} A dose below {r.detection_dose:.2f} Gy could be missed."
        return (
            "Yes, more than without exposure",
            f"{counted} One of 20 unexposed people has more by chance, and other causes raise the number, too.",
        )
    background = item.statistics.background if item.statistics else None
    if background is not None:
        of = "own controls" if background.source == "control" else "the general population"
        of += " of this age and sex" if background.by_age else ""
        rate = wording.rate(background.per_1000)
        if background.above:
            return (
                "Above the background",
                f"More than {of} explain ({rate} per 1000). Other causes than radiation count.",
            )
        return "Not above the background", f"No more than {of} explain ({rate} per 1000); a low dose could be missed."
    reason = item.statistics.no_background if item.statistics else item.call.reason
    return UNKNOWN, f"{reason[:1].upper()}{reason[1:]}." if reason else ""


def _control_kind(item: DonorItem) -> str:
    marks = {slide.sample.get("control", "") for slide in item.slides} - {""}
    return "" if not marks else "positive" if marks == {"positive"} else "negative"


def _how_much(item: DonorItem, dose: DonorDose | None) -> tuple[str, str]:
    head = item.headline
    frequency = "" if head is None else f"Frequency: {head.sentence}."
    if head is not None and head.per_1000 is None:
        frequency = f"{head.sentence[:1].upper()}{head.sentence[1:]}."
    if dose is None:
        if head is None:
            return "Not known", item.call.reason
        return head.number + (" per 1000 cells" if head.per_1000 is not None else " cells called MN"), head.unit
    answer = dose_sentence(dose.result)
    triage = f"{dose.triage.category}, {dose.triage.verdict}. " if dose.triage else ""
    return f"{answer[:1].upper()}{answer[1:]}", f"{triage}{100 * dose.result.level:g} % interval. {frequency}"


def _reviewed(item: DonorItem) -> tuple[str, str]:
    review = item.review
    people = ", ".join(state.reviewer for state in review.reviewers)
    signed = [one.signature.name for one in item.signatures if one.valid]
    outdated = any(not one.valid for one in item.signatures)
    sign = f"Signed by {', '.join(signed)}." if signed else "Signature outdated." if outdated else "Not signed."
    if not people:
        return "By nobody", f"A program called the cells. {sign}"
    looked = wording.plural(review.looked, "cell")
    state = "complete" if review.status == "complete" else f"{review.status}: {review.reason}"
    return people, f"{looked} looked at, review {state}. {sign}"


def _dose_scale(dose: DonorDose) -> DoseScale | None:
    r = dose.result
    if r.estimate is None or r.lower is None:
        return None
    high = r.estimate if r.upper is None else r.upper
    axis = charts.nice_axis(max(2.5, high, r.estimate * 1.1))
    scale = charts.Scale(axis[-1], axis)
    per_1000 = PER * dose.curve.yields(list(axis), dose.dosing.options.g)
    ticks = [(scale.x(d), f"{d:g}", wording.rate(float(y))) for d, y in zip(axis, per_1000, strict=True)]
    mark = charts.interval(scale, r.estimate, r.lower, scale.top * 1.01 if r.upper is None else r.upper)
    lines = [("1 Gy", 1.0), ("2 Gy", 2.0)]
    if r.decision_dose is not None:
        lines.insert(0, (THRESHOLD, r.decision_dose))
    unit = "MN" if dose.curve.endpoint == "mn" else "MNBN"
    return DoseScale(tuple(ticks), mark, not r.below_detection, dose_sentence(r), unit, _placed(scale, lines))


def _placed(scale: charts.Scale, lines: Sequence[tuple[str, float]]) -> tuple[Threshold, ...]:
    """The decision threshold's label is a row above those of the round doses, which may be next to it."""
    return tuple(Threshold(scale.x(dose), label, int(label == THRESHOLD)) for label, dose in lines)

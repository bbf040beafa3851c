"""How far a slide's or donor's result can be used, as a light with its reasons in plain words.

Green: nothing speaks against it. Amber: usable with what the reasons say. Red: not to be used as it is. The rules are
fixed and in this order; a light sums up what the page says and changes no number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mnbatch.assay.intervals import TIERS
from mnbatch.report import wording
from mnbatch.report.dose_report import DonorDose
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.statistics import person_of

Colour = Literal["green", "amber", "red"]
Reasons = list[tuple[Colour, str]]
WORDS: dict[Colour, str] = {"green": "can be used", "amber": "use with care", "red": "do not use yet"}
FEWEST = TIERS[0]
"""Cells below which even a triage is uncertain."""


@dataclass(frozen=True, slots=True)
class TrustLight:
    """Colour, the same in two or three words, and why.

    Attributes:
        stated: which background was taken; it speaks neither for nor against the result. "" for nothing to state.
    """

    colour: Colour
    word: str
    reasons: tuple[str, ...]
    stated: str = ""

    @property
    def rank(self) -> int:
        """Order of urgency for sorting: red 2, amber 1, green 0."""
        return {"green": 0, "amber": 1, "red": 2}[self.colour]


def donor_light(item: DonorItem) -> TrustLight:
    """The light of a donor."""
    reasons = _common(item, item.call.status, item.call.reason)
    frequency = item.call.frequency
    if frequency is not None:
        dosed = item.dose is not None and item.dose.result.status == "ok"
        reasons += _review(item, item.dose if dosed else None)
        if item.dose is not None and not dosed:
            reasons.append(("red", f"no dose can be given: {'; '.join(item.dose.result.warnings)}"))
        if dosed and item.dose is not None and item.dose.result.above_range:
            reasons.append(("amber", "the dose is beyond the doses that the curve was measured at"))
        if item.statistics is not None and item.statistics.estimates.shifted:
            reasons.append(_shifted(item))
        if certain := [one.column for one in item.contradictions if one.certain]:
            said = f"the sample sheet contradicts itself on {', '.join(certain)}"
            reasons.append(("amber", f"{said}: its slides may be of two people or samples, or it has a typing slip"))
        reasons += [("amber", one.light) for one in item.doubts if one.light]
        if item.disagreeing:
            names = ", ".join(slide.record.name for slide in item.disagreeing)
            reasons.append(("amber", f"the slides disagree: {names} differs from the others"))
        if item.call.status == "partial":
            reasons.append(("amber", f"not all was counted: {item.call.reason}"))
        reasons += _cells(frequency.bn_cells, item.call.status == "insufficient")
    return _light([*reasons, *_left_open(item)], _background(item))


def slide_light(item: SlideItem) -> TrustLight:
    """The light of a slide; a slide with few cells is amber only where no triage is possible."""
    reasons = _common(item, item.call.status, item.call.reason)
    if item.call.frequency is not None:
        reasons += _review(item, None)
        if item.estimates.shifted:
            reasons.append(_shifted(item))
        reasons += _cells(item.call.frequency.bn_cells, False)
    return _light([*reasons, *_left_open(item)], _background(item))


def _common(item: DonorItem | SlideItem, status: str, reason: str) -> Reasons:
    found: Reasons = []
    if item.call.frequency is None:
        found.append(("red", f"{'waits to be scored' if status == 'waiting' else 'nothing was counted'}: {reason}"))
    elif item.behind:
        found += [("amber", said) for said in item.behind]
    if item.controls.flagged:
        found.append(("red", "the control samples of this batch are out of their range, or could not be judged"))
    return found


def _shifted(item: DonorItem | SlideItem) -> tuple[Colour, str]:
    text = "the scores are unlike those that the model was tested on"
    # What a person decided does not rest on the scores' meaning.
    return ("red", text) if item.review.number is None else ("amber", f"{text}; the frequency is a person's")


def _review(item: DonorItem | SlideItem, dose: DonorDose | None) -> Reasons:
    """What a missing review means: without any frequency and dose there is nothing to use."""
    review, head = item.review, item.headline
    if review.number is not None or (head is not None and head.kind not in ("estimated", "none")):
        overlooked = dose is not None and dose.counts == "automatic"
        return [("amber", "the dose rests on the model's calls, not on what a person saw")] if overlooked else []
    what = {
        "none": "no person has reviewed the calls",
        "unfinished": "the review is not finished",
        "outdated": "the review is of an earlier result",
        "complete": "a person confirmed the called cells, and how many the model missed is not known",
    }.get(review.status, f"the review is {review.status}")
    if head is not None and head.per_1000 is not None:
        known = "; the model's errors are known from simulated slides alone" if head.from_simulated else ""
        return [("amber", f"{what}: the frequency is {head.kind}{known}")]
    if dose is not None and dose.counts != "automatic":
        return [("amber", f"{what}: there is a dose and no frequency")]
    if dose is not None:
        return [("amber", f"{what}: the dose rests on the model's calls alone")]
    return [("red", f"{what}: only a count of calls is known, no frequency")]


def _left_open(item: DonorItem | SlideItem) -> Reasons:
    """Cells that two people decided differently count as unsure, until a third one decides."""
    cells = sum(not one.settled for one in item.review.disagreements)
    if not cells:
        return []
    return [("amber", f"reviewers differ on {wording.plural(cells, 'cell')}: have a third person decide")]


def _cells(cells: int, insufficient: bool) -> Reasons:
    if cells < FEWEST or insufficient:
        least = f"; at least {FEWEST} are needed for triage" if cells < FEWEST else ""
        return [("amber", f"few cells: {wording.whole(cells)}{least}")]
    return []


def _background(item: DonorItem | SlideItem) -> str:
    """Which background was taken, of a donor whose age and sex the sheet states; it has no colour."""
    slides = item.slides if isinstance(item, DonorItem) else (item,)
    found = item.statistics.background if item.statistics else None
    if found is None or person_of(slide.sample for slide in slides) is None:
        return ""
    return f"background: {found.basis}"


def _light(reasons: Iterable[tuple[Colour, str]], stated: str = "") -> TrustLight:
    """The worst reason decides."""
    found = sorted(reasons, key=lambda pair: pair[0] != "red")
    colour: Colour = found[0][0] if found else "green"
    texts = [text for _, text in found] or ["Reviewed, enough cells, and nothing speaks against it."]
    return TrustLight(colour, WORDS[colour], tuple(map(_sentence, texts)), _sentence(stated) if stated else "")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}" + ("" if text[-1] in ".!?" else ".")

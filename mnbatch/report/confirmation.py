"""The frequency of a slide or donor whose called cells a person confirmed, and what its interval holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import PER
from mnbatch.assay.confirmed_frequency import confirmed_fraction, why_no_confirmed
from mnbatch.assay.estimates import SHIFTED_NOTE, Estimates
from mnbatch.assay.own_cells import Validation
from mnbatch.assay.reader_slips import FEWEST_DOUBLE, NO_SLIPS, Slips
from mnbatch.assay.slide_errors import too_few
from mnbatch.report import wording
from mnbatch.review.person_counts import seen_slides
from mnbatch.review.review_status import SlideReview

OTHER_MODELS = "its slides were not scored by one model at one threshold"


@dataclass(frozen=True, slots=True)
class ConfirmedFrequency:
    """What a confirmation says, MNBN per 1000 BN cells.

    Attributes:
        per_1000, low, high: 95 % interval of the true frequency; None where `note` says why there is none.
        called, confirmed: cells that the model called, and those of them that a person confirmed.
        looked, found: random negatives that a person looked at, and cells with micronuclei among them.
        note: what the interval holds, or why there is no frequency.
    """

    per_1000: float | None
    low: float | None
    high: float | None
    called: int
    confirmed: int
    looked: int
    found: int
    note: str


def confirmed_frequency(
    reviews: Sequence[SlideReview],
    validations: Sequence[Validation],
    estimates: Estimates,
    slips: Slips | None = None,
) -> ConfirmedFrequency | None:
    """The frequency from the confirmations of a slide or of one donor's slides; None where they are not all complete.

    Args:
        reviews, validations: of each counted slide; estimates: of all of them together, for the test of the scores.
        slips: what double readings in OUT say; None for a slide, whose interval does not hold them.
    """
    if not reviews or any(r.status != "complete" or r.mode != "confirm" for r in reviews):
        return None
    seen = seen_slides(reviews)
    same = all(other == validations[0] for other in validations[1:])
    slides = validations[0].slides if same and not estimates.shifted else ()
    unknown = OTHER_MODELS if not same else SHIFTED_NOTE if estimates.shifted else too_few(slides)
    counts = {
        "called": sum(s.called for s in seen),
        "confirmed": int(sum(s.confirmed for s in seen)),
        "looked": sum(s.looked for s in seen),
        "found": int(sum(s.found for s in seen)),
    }
    reason = why_no_confirmed(seen, slides)
    if reason:
        return ConfirmedFrequency(None, None, None, **counts, note=f"No frequency from the confirmed cells: {reason}.")
    found = confirmed_fraction(seen, slides, slips or NO_SLIPS)
    note = _note(counts, unknown, found.se_slides, slips, len(reviews))
    rates = (PER * found.value, PER * found.low, PER * found.high)
    return ConfirmedFrequency(*rates, **counts, note=note)


def _note(counts: dict[str, int], unknown: str, se_slides: int, slips: Slips | None, slides: int) -> str:
    negatives = wording.plural(counts["looked"], "random negative")
    held = f"how much the sensitivity differs between {wording.plural(se_slides, 'validation slide')}"
    if unknown:
        held = f"what the random negatives leave open (the sensitivity is not taken from validation slides: {unknown})"
    one = "" if slips is None or slides > 1 else " One slide: whether another slide of this donor agrees is not known."
    return (
        f"A person confirmed {counts['confirmed']} of {wording.plural(counts['called'], 'called cell')} and found "
        f"{counts['found']} in {negatives}; the interval holds the counting error and {held}. {slips_note(slips)}{one}"
    )


def slips_note(slips: Slips | None) -> str:
    """Whether an interval holds the reviewers' slips; None for a slide's."""
    if slips is None:
        return "The reviewers' slips are in the donor's interval alone, where they are known."
    if slips.known:
        return "The slips of the reviewers, as cells that two people decided show them, are in it."
    which = "called cells" if slips.called.known else "cells that were not called" if slips.others.known else ""
    if which:
        return (
            f"The reviewers' slips are in it for {which} alone: of the others fewer than {FEWEST_DOUBLE} were decided "
            "by two people."
        )
    return f"The reviewers' own slips are not in it: fewer than {FEWEST_DOUBLE} cells were decided by two people."

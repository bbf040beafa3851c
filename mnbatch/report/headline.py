"""The number that a page prints large: the best that is known of a frequency, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mnbatch.assay.calls import Frequency
from mnbatch.assay.estimates import Estimates
from mnbatch.assay.reader_slips import NO_SLIPS, Slips
from mnbatch.report import wording
from mnbatch.report.confirmation import ConfirmedFrequency, slips_note
from mnbatch.review.review_status import SlideReview

Kind = Literal["reviewed", "confirmed", "estimated", "none"]

KIND_WORDS = {
    "reviewed": "reviewed by a person",
    "confirmed": "called cells confirmed by a person",
    "estimated": "estimated from the model's calls",
    "none": "no frequency",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """A frequency for the top of a page, MNBN per 1000 BN cells.

    Attributes:
        kind: `reviewed` before `confirmed` before `estimated`; `none` where only the model's calls are known.
        per_1000, low, high: with its 95 % interval; None for `none`.
        trust: a sentence: what the interval holds, or why there is no frequency and what would give one.
        called, cells: the calls that it comes from.
        from_simulated: what is known of the model's errors comes from simulated slides; no real slide was among them.
    """

    kind: Kind
    per_1000: float | None
    low: float | None
    high: float | None
    trust: str
    called: int
    cells: int
    from_simulated: bool = False

    @property
    def number(self) -> str:
        """The number, or the count of calls."""
        if self.per_1000 is None:
            return f"{wording.whole(self.called)} of {wording.whole(self.cells)}"
        return wording.rate(self.per_1000)

    @property
    def unit(self) -> str:
        """What the number is."""
        if self.per_1000 is None:
            return "cells called MN by the model: not a frequency"
        return f"MNBN per 1000 BN cells, {KIND_WORDS[self.kind]}"

    @property
    def interval(self) -> str:
        """The interval in words; "" where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"{wording.rate(self.low)} to {wording.rate(self.high)}"

    @property
    def sentence(self) -> str:
        """Number, interval and kind for a line of text."""
        if self.per_1000 is None:
            return f"no frequency: the model called {self.number} cells MN"
        return f"{self.number} per 1000 ({self.interval}), {KIND_WORDS[self.kind]}"


def headline_of(
    frequency: Frequency | None,
    estimates: Estimates | None,
    review: SlideReview,
    confirmed: ConfirmedFrequency | None = None,
    slips: Slips = NO_SLIPS,
) -> Headline | None:
    """The headline of a slide or donor; None where nothing was counted.

    A complete review goes before confirmed calls, and these before the estimate from the calls. An
    estimate needs to know how the model's errors differ from slide to slide, and cells like those that this is known
    of.
    """
    if frequency is None or not frequency.bn_cells:
        return None
    counts = (frequency.mnbn_cells, frequency.bn_cells)
    e = review.number
    if e is not None:
        looks = wording.plural(review.looked, "cell")
        trust = (
            f"A person reviewed {looks}; the interval holds the counting error and the cells that were not reviewed."
        )
        trust += f" {slips_note(slips)}" if slips.any_known else ""
        return Headline("reviewed", e.per_1000, e.ci_low, e.ci_high, trust, *counts)
    if confirmed is not None and confirmed.per_1000 is not None:
        return Headline("confirmed", confirmed.per_1000, confirmed.low, confirmed.high, confirmed.note, *counts)
    if estimates is not None and estimates.corrected is not None and estimates.corrected_low is not None:
        slides = wording.plural(estimates.validation_slides, "validation slide")
        trust = (
            "Automatic, not reviewed. The interval holds the counting error, the model's errors and how much they "
            f"differ between {slides} ({estimates.rates_data}). It holds for slides like those."
        )
        simulated = "simulated" in estimates.rates_data
        if simulated:
            trust += " They were simulated: how the model errs on real slides is not measured."
        head = Headline(
            "estimated", estimates.corrected, estimates.corrected_low, estimates.corrected_high, trust, *counts
        )
        return replace(head, from_simulated=simulated)
    why = _why_none(estimates, review) if confirmed is None else confirmed.note
    return Headline("none", None, None, None, why, *counts)


def _why_none(estimates: Estimates | None, review: SlideReview) -> str:
    note = estimates.correction_note if estimates is not None else ""
    why = f"{note[0].upper()}{note[1:]}. " if note else ""
    if review.status in ("unfinished", "outdated"):
        return f"{why}The review is {review.status}: {review.reason}."
    looks = wording.plural(review.to_review, "cell")
    needed = f"A review of {looks} gives a frequency (mnbatch review serve)." if review.to_review else ""
    return f"{why}A model calls cells without a micronucleus too, and how many differs between slides. {needed}".strip()

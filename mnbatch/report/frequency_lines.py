"""Statistics, micronuclei and reviews as lines of a slide's or donor's page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mnbatch.assay.calls import PER, Frequency
from mnbatch.assay.heterogeneity import LEVEL
from mnbatch.assay.mn_counts import CLASSES, MnFrequency
from mnbatch.report import wording
from mnbatch.report.items import DonorItem, SlideItem
from mnbatch.report.statistics import Statistics, disagreement, interval_text
from mnbatch.review.review_status import SlideReview

# What pages say of the number of micronuclei: frequency and distribution, or that there is none.


@dataclass(frozen=True, slots=True)
class MicronucleiView:
    """MN frequency and distribution of a slide, a donor or a batch.

    Attributes:
        rate, interval, total: "" where there are none; `reason` says why then.
        classes: (number of micronuclei, cells, share of the cells).
        spread: dispersion index and u in words; "" where they are not defined.
    """

    reason: str
    rate: str = ""
    interval: str = ""
    total: str = ""
    classes: tuple[tuple[str, int, str], ...] = ()
    spread: str = ""


def micronuclei_view(mn: MnFrequency | None, reason: str) -> MicronucleiView | None:
    """The view of a slide's or donor's counts; None for one that failed, whose page says why already."""
    if mn is None:
        return MicronucleiView(reason) if reason else None
    return MicronucleiView(
        reason="",
        rate=wording.rate(mn.per_1000),
        interval=f"{wording.rate(mn.ci_low)} to {wording.rate(mn.ci_high)}",
        total=f"{wording.plural(mn.micronuclei, 'micronucleus', 'micronuclei')} in "
        f"{wording.plural(mn.bn_cells, 'cell')}",
        classes=tuple(
            (name, number, wording.percent(number, mn.bn_cells)) for name, number in zip(CLASSES, mn.cells, strict=True)
        ),
        spread=_spread(mn),
    )


def short_text(mn: MnFrequency | None, reason: str) -> str:
    """For a list of facts: the frequency, or "not available"."""
    if mn is not None:
        return wording.rate(mn.per_1000)
    return "not available" if reason else wording.NOT_KNOWN


def _spread(mn: MnFrequency) -> str:
    index, u = mn.distribution.dispersion_index, mn.distribution.u()
    if index is None or u is None:
        return ""
    return f"dispersion index {index:.2f}, u {u:.2f}: {mn.distribution.verdict}"


# The review as slide and donor pages show it.


MOST_DIFFERENCES = 50

TEXTS = {
    "none": "These calls are not reviewed yet: the numbers above are automatic.",
    "unfinished": "The review is not finished",
    "complete": "Every cell of the review's queue was decided.",
    "outdated": "The review is outdated and is not used",
}


@dataclass(frozen=True, slots=True)
class Person:
    """One reviewer's part as a row; `span` says from when to when."""

    reviewer: str
    looked: int
    missing: int
    outside: int
    span: str


@dataclass(frozen=True, slots=True)
class ReviewView:
    """The section on the review.

    Attributes:
        gallery: link to the gallery page; "" where no pictures are kept.
        facts: label, value, detail: numbers only of a complete review.
    """

    text: str
    gallery: str
    complete: bool
    facts: tuple[tuple[str, str, str], ...]
    people: tuple[Person, ...]
    agreements: tuple[str, ...]
    differences: tuple[str, ...]
    differences_text: str


def review_view(review: SlideReview, gallery: str) -> ReviewView:
    """What a page says of a review; numbers only where it is complete."""
    text = TEXTS[review.status] + (f": {review.reason}." if review.reason else "")
    if review.torn:
        text += f" {wording.plural(review.torn, 'line')} of its trail cannot be read."
    if review.ahead:
        text += f" {wording.plural(review.ahead, 'decision')} with a time later than the time of saving."
    text += _planned(review) + _cytome(review)
    people = tuple(
        Person(s.reviewer, s.looked, s.missing, s.outside, wording.span(s.first, s.last)) for s in review.reviewers
    )
    shown = review.disagreements[:MOST_DIFFERENCES]
    return ReviewView(
        text=text,
        gallery=gallery,
        complete=review.number is not None,
        facts=_facts(review),
        people=people,
        agreements=tuple(
            f"{a.first} and {a.second}: {a.agreed} of {wording.plural(a.cells, 'cell')} decided alike, Cohen's kappa "
            + ("not defined" if a.kappa is None else f"{a.kappa:.2f}")
            for a in review.agreements
        ),
        differences=tuple(
            f"{d.cell_id}: "
            + ", ".join(f"{who}: {word.replace('_', ' ')}" for who, word in d.decisions)
            + (f"; {d.by_third}" if d.by_third else "")
            for d in shown
        ),
        differences_text=f"{wording.plural(len(review.disagreements), 'cell')} decided differently"
        + (f", the first {MOST_DIFFERENCES}" if len(review.disagreements) > MOST_DIFFERENCES else ""),
    )


def _planned(review: SlideReview) -> str:
    """What the plan asks for beyond a review of the usual kind, and what was decided under another one."""
    found = []
    if review.mode == "confirm":
        found.append("The plan confirms: every called cell, and a random sample of the others.")
    if review.other_plan:
        found.append(
            f"{wording.plural(review.other_plan, 'decision')} of another plan: used where the present plan draws the "
            "cell."
        )
    if review.double_open:
        found.append(
            f"{wording.plural(review.double_open, 'cell')} of the double-read sample wait for a second person."
        )
    return "".join(f" {text}" for text in found)


CYTOME_WORDS = ("with a nucleoplasmic bridge", "with a nuclear bud", "apoptotic", "necrotic", "multinucleated")
"""Of `mnbatch.review.decisions.CLASSES`."""


def _cytome(review: SlideReview) -> str:
    """What reviewers noted in addition to micronuclei; "" where nobody noted any."""
    if not review.cytome:
        return ""
    seen = ", ".join(f"{n} {words}" for n, words in zip(review.cytome, CYTOME_WORDS, strict=True) if n)
    return (
        f" Noted with the decisions (cytome), cells: {seen}. These are counts of cells that were reviewed, and no "
        "frequencies: called cells were reviewed first."
    )


def short_review(review: SlideReview) -> str:
    """For a row of a table: the reviewed frequency (interval with counting error), or the status of the review."""
    e = review.number
    if e is not None:
        return f"reviewed {wording.rate(e.per_1000)} ({wording.rate(e.ci_low)}–{wording.rate(e.ci_high)})"
    if review.mode == "confirm" and review.status == "complete":
        return "called cells confirmed"
    return "" if review.status == "none" else f"review {review.status}"


def _facts(review: SlideReview) -> tuple[tuple[str, str, str], ...]:
    e = review.number
    if review.mode == "confirm" and review.status == "complete":
        return _confirmed_facts(review)
    if e is None:
        return ()
    return (
        ("Reviewed frequency", wording.rate(e.per_1000), "MNBN per 1000 scorable BN cells"),
        ("These cells", f"{wording.rate(e.low)}–{wording.rate(e.high)}", "95 % limits"),
        ("With counting error", f"{wording.rate(e.ci_low)}–{wording.rate(e.ci_high)}", "95 % interval"),
        (
            "Reviewed cells",
            wording.whole(review.looked),
            wording.percent(review.looked, _cells(review)) + " of the cells",
        ),
    )


def _confirmed_facts(review: SlideReview) -> tuple[tuple[str, str, str], ...]:
    called, others = [t for t in review.tallies if t.called], [t for t in review.tallies if not t.called]
    looked = sum(t.looked for t in others)
    return (
        (
            "Confirmed",
            wording.whole(sum(t.mn for t in called)),
            f"of {wording.plural(sum(t.size for t in called), 'called cell')}",
        ),
        ("Found besides", wording.whole(sum(t.mn for t in others)), f"in {wording.plural(looked, 'random negative')}"),
    )


def _cells(review: SlideReview) -> int:
    return sum(tally.size for tally in review.tallies)


# The statistics that accompany a counted frequency, as lines of a slide's or donor's page.


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page's table: `value` and `interval` as text, per 1000 cells; `note` says where they come from."""

    label: str
    value: str
    interval: str
    note: str


def slide_lines(item: SlideItem) -> tuple[Line, ...]:
    """The lines of a slide's page; none for a slide without a frequency."""
    return _frequency_lines(item.call.frequency, item.statistics)


def donor_lines(item: DonorItem) -> tuple[Line, ...]:
    """The lines of a donor's page: those of its frequency, then `DONOR_STATISTICS`."""
    own = (statistic(item) for statistic in DONOR_STATISTICS)
    return (*_frequency_lines(item.call.frequency, item.statistics), *(line for line in own if line is not None))


def _frequency_lines(frequency: Frequency | None, found: Statistics | None) -> tuple[Line, ...]:
    if frequency is None or found is None:
        return ()
    return tuple(statistic(frequency, found) for statistic in FREQUENCY_STATISTICS)


def _counted_line(frequency: Frequency, _: Statistics) -> Line:
    return Line(
        "Cells the model called",
        wording.rate(frequency.per_1000),
        interval_text(frequency.ci_low, frequency.ci_high),
        f"{wording.whole(frequency.mnbn_cells)} of {wording.whole(frequency.bn_cells)} BN cells called MN, right or "
        "wrong. The interval (Clopper-Pearson) covers the counting error only: it is not one of the true frequency.",
    )


def _slides_line(item: DonorItem) -> Line | None:
    """Whether a donor's slides agree; None where there are no two to compare."""
    slides, compared = item.heterogeneity, len(item.done)
    if slides is None:
        return None
    names = [slide.record.name for slide in item.disagreeing]
    note = f"{slides.method[0].upper()}{slides.method[1:]} over {wording.plural(compared, 'slide')}."
    if slides.spread_known:
        note += " How much the model differs between slides is in the test."
    if not names:
        note += (
            " No slide differs from the others (Fisher's exact test for each slide, p times the number of slides, "
            f"level {LEVEL:g})."
        )
        return Line("The slides agree", f"p {_p_text(slides.p_value)}", "", note)
    said = disagreement(names, compared, slides.spread_known)
    return Line("The slides differ", f"p {_p_text(slides.p_value)}", "", f"{note} {said[0].upper()}{said[1:]}.")


def _corrected_line(_: Frequency, found: Statistics) -> Line:
    e = found.estimates
    label = "Corrected for classifier error"
    if e.sensitivity is None or e.specificity is None:
        return Line(label, wording.NOT_KNOWN, "", f"Not available: {e.correction_note}.")
    label += f" (Se {e.sensitivity[0]}/{e.sensitivity[1]}, Sp {e.specificity[0]}/{e.specificity[1]}, {e.rates_data})"
    note = (
        "From the calls and the errors that are to be expected of a new slide; the interval holds how much they differ "
        f"between {wording.plural(e.validation_slides, 'validation slide')}."
    )
    if e.correction_note:
        note = f"{e.correction_note[0].upper()}{e.correction_note[1:]}."
    if e.corrected_raw is not None and e.corrected_raw != e.corrected:
        note += f" Before limiting to 0..1000: {e.corrected_raw:.1f}."
    return Line(label, wording.rate(e.corrected), interval_text(e.corrected_low, e.corrected_high), note)


def _expected_line(_: Frequency, found: Statistics) -> Line:
    e = found.estimates
    label = "Expected from all scores"
    if e.expected is None or e.shift_p is None:
        return Line(label, wording.NOT_KNOWN, "", f"Not available: {e.expected_note}.")
    fit = "do not fit" if e.shifted else "fit"
    note = (
        f"The best-fitting mixture of the scores of {e.expected_data}; the share of MN cells among those does not "
        f"matter. The scores {fit} such a mixture (p {_p_text(e.shift_p)})."
    )
    return Line(label, wording.rate(e.expected), interval_text(e.expected_low, e.expected_high), note)


def _background_line(_: Frequency, found: Statistics) -> Line:
    b = found.background
    if b is None:
        return Line("Background", wording.NOT_KNOWN, "", f"{found.no_background[0].upper()}{found.no_background[1:]}.")
    c = found.control
    where = "literature: general population, scored by eye (HUMN); not your own control"
    if b.by_age and b.low_per_1000 is not None and b.high_per_1000 is not None:
        where = f"{b.basis}; 95 of 100 unexposed ones have {interval_text(b.low_per_1000, b.high_per_1000)} per 1000"
    elif c is not None and b.source == "control":
        spread = f", {wording.rate(c.low)} to {wording.rate(c.high)} a donor" if c.donors > 1 else ""
        where = f"own control: {wording.plural(c.slides, 'slide')} of {wording.plural(c.donors, 'donor')}{spread}"
    position = "is above the background" if b.above else "does not differ from the background"
    what = "The reviewed frequency"
    covered = (
        "Counting error only: donors differ as well. The literature's figures are of all ages and both sexes and are "
    )
    covered += "not adjusted to this donor: frequencies rise with age, and women have 19 % more than men (HUMN 2001)."
    if b.source == "control":
        what, covered = (
            "The model's count",
            f"How much the control slides differ is in the test. {b.basis[:1].upper()}{b.basis[1:]}.",
        )
    if b.by_age:
        covered = "How much people of one age and sex differ, and the uncertainty of the fit, are in the test."
    note = (
        f"{where[0].upper()}{where[1:]}. {what} {position}: one-sided p {_p_text(b.p_greater)}; "
        f"above it from {wording.plural(b.limits.decision_threshold + 1, 'MNBN cell')} on; detection limit "
        f"{wording.rate(b.detection_limit_per_1000)} per 1000. {covered}"
    )
    return Line("Background", wording.rate(b.per_1000), "", note)


def _width_line(_: Frequency, found: Statistics) -> Line:
    p = found.precision
    tier = "fewer than the 200 needed for triage" if p.tier is None else f"at least {wording.whole(p.tier)}"
    note = f"{wording.whole(p.cells)} BN cells ({tier}): width of the interval as counted."
    if p.next_cells is not None and p.next_width is not None:
        note += f" {wording.whole(p.next_cells)} cells would give a width of {wording.rate(PER * p.next_width)}."
    return Line("Width of the interval", wording.rate(PER * p.width), "", note)


FREQUENCY_STATISTICS: tuple[Callable[[Frequency, Statistics], Line], ...] = (
    _counted_line,
    _corrected_line,
    _expected_line,
    _background_line,
    _width_line,
)
"""Lines of slide and donor pages, in this order. A new one is a function above and its name here."""

DONOR_STATISTICS: tuple[Callable[[DonorItem], Line | None], ...] = (_slides_line,)
"""Further lines of donor pages alone, likewise."""


def _p_text(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}"

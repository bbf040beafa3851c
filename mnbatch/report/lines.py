"""The statistics beside a counted frequency, as lines of a slide's or donor's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import PER, Frequency
from mnbatch.assay.estimates import Estimates
from mnbatch.assay.heterogeneity import LEVEL, Heterogeneity
from mnbatch.report import words
from mnbatch.report.statistics import Statistics, disagreement, interval_text


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page's table: `value` and `interval` as text, per 1000 cells; `note` says where they come from."""

    label: str
    value: str
    interval: str
    note: str


def lines(frequency: Frequency, found: Statistics) -> tuple[Line, ...]:
    """The lines of a page, the counted frequency first."""
    counted = Line(
        "As counted",
        words.rate(frequency.per_1000),
        interval_text(frequency.ci_low, frequency.ci_high),
        f"{words.whole(frequency.mnbn_cells)} of {words.whole(frequency.bn_cells)} BN cells called MN; the interval "
        "(Clopper-Pearson) is counting error only.",
    )
    return (
        counted,
        _corrected_line(found.estimates),
        _expected_line(found.estimates),
        _background(found),
        _cells(found),
    )


def slides_line(slides: Heterogeneity, names: Sequence[str], compared: int) -> Line:
    """Whether a donor's slides agree."""
    note = f"{slides.method[0].upper()}{slides.method[1:]} over {words.plural(compared, 'slide')}."
    if not names:
        note += f" No slide differs from the others (Fisher's exact test each, times the slides, at {LEVEL:g})."
        return Line("The slides agree", f"p {_p_text(slides.p_value)}", "", note)
    said = disagreement(names, compared)
    return Line("The slides differ", f"p {_p_text(slides.p_value)}", "", f"{note} {said[0].upper()}{said[1:]}.")


def _corrected_line(e: Estimates) -> Line:
    label = "Corrected for classifier error"
    if e.sensitivity is None or e.specificity is None:
        return Line(label, words.NOT_KNOWN, "", f"Not available: {e.correction_note}.")
    label += f" (Se {e.sensitivity[0]}/{e.sensitivity[1]}, Sp {e.specificity[0]}/{e.specificity[1]}, {e.rates_data})"
    note = (
        "Rogan-Gladen; the interval (Lang-Reiczigel) holds the counting error of both rates, not that they differ from "
        "slide to slide."
    )
    if e.correction_note:
        note = f"{e.correction_note[0].upper()}{e.correction_note[1:]}."
    if e.corrected_raw is not None and e.corrected_raw != e.corrected:
        note += f" Before it was clipped: {e.corrected_raw:.1f}."
    return Line(label, words.rate(e.corrected), interval_text(e.corrected_low, e.corrected_high), note)


def _expected_line(e: Estimates) -> Line:
    label = "Expected from all scores"
    if e.expected is None or e.shift_p is None:
        return Line(label, words.NOT_KNOWN, "", f"Not available: {e.expected_note}.")
    fit = "do not fit" if e.shifted else "fit"
    note = (
        f"A mixture of the scores of {e.expected_data}, at the proportion that fits best, whatever the share of MN "
        f"among those. The scores {fit} such a mixture (p {_p_text(e.shift_p)})."
    )
    return Line(label, words.rate(e.expected), interval_text(e.expected_low, e.expected_high), note)


def _background(found: Statistics) -> Line:
    b = found.background
    if b is None:
        return Line("Background", words.NOT_KNOWN, "", f"{found.no_background[0].upper()}{found.no_background[1:]}.")
    c = found.control
    where = "literature: general population, scored by eye (HUMN); not your own control"
    if c is not None:
        spread = f", {words.rate(c.low)} to {words.rate(c.high)} a donor" if c.donors > 1 else ""
        where = f"own control: {words.plural(c.slides, 'slide')} of {words.plural(c.donors, 'donor')}{spread}"
    standing = "lies above it" if b.above else "cannot be told from it"
    note = (
        f"{where[0].upper()}{where[1:]}. The counted frequency {standing}: one-sided p {_p_text(b.p_greater)}; "
        f"above from {words.whole(b.limits.decision_threshold + 1)} MNBN cells on; detection limit "
        f"{words.rate(b.detection_limit_per_1000)} per 1000. Counting error only: people differ as well."
    )
    return Line("Background", words.rate(b.per_1000), "", note)


def _cells(found: Statistics) -> Line:
    p = found.precision
    tier = "fewer than the 200 of triage" if p.tier is None else f"{words.whole(p.tier)} are reached"
    note = f"{words.whole(p.cells)} BN cells: {tier}; the interval as counted is this wide."
    if p.next_cells is not None and p.next_width is not None:
        note += f" {words.whole(p.next_cells)} cells would make it {words.rate(PER * p.next_width)}."
    return Line("Width of the interval", words.rate(PER * p.width), "", note)


def _p_text(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}"

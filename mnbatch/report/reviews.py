"""The review as slide and donor pages tell it."""

from __future__ import annotations

from dataclasses import dataclass

from mnbatch.report import words
from mnbatch.review.standing import SlideReview

MOST_DIFFERENCES = 50

TEXTS = {
    "none": "Nobody has reviewed these calls yet: the numbers above are the machine's.",
    "unfinished": "The review is not finished",
    "complete": "Everything in the review's queue was decided.",
    "outdated": "The review is outdated and counts for nothing",
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
        text += f" {words.plural(review.torn, 'line')} of its trail cannot be read."
    if review.ahead:
        text += f" {words.plural(review.ahead, 'decision')} say a time later than that at which they were saved."
    people = tuple(
        Person(s.reviewer, s.looked, s.missing, s.outside, f"{words.moment(s.first)} to {words.moment(s.last)}")
        for s in review.reviewers
    )
    shown = review.disagreements[:MOST_DIFFERENCES]
    return ReviewView(
        text=text,
        gallery=gallery,
        complete=review.number is not None,
        facts=_facts(review),
        people=people,
        agreements=tuple(
            f"{a.first} and {a.second}: {a.agreed} of {a.cells} cells alike, Cohen's kappa "
            + ("not defined" if a.kappa is None else f"{a.kappa:.2f}")
            for a in review.agreements
        ),
        differences=tuple(
            f"{d.cell_id}: " + ", ".join(f"{who}: {word.replace('_', ' ')}" for who, word in d.decisions) for d in shown
        ),
        differences_text=f"{words.plural(len(review.disagreements), 'cell')} decided differently"
        + (f", the first {MOST_DIFFERENCES}" if len(review.disagreements) > MOST_DIFFERENCES else ""),
    )


def short_review(review: SlideReview) -> str:
    """For a row of a table: the reviewed frequency (interval with counting error), or that it is not to be had."""
    e = review.number
    if e is not None:
        return f"reviewed {words.rate(e.per_1000)} ({words.rate(e.ci_low)}–{words.rate(e.ci_high)})"
    return "" if review.status == "none" else f"review {review.status}"


def _facts(review: SlideReview) -> tuple[tuple[str, str, str], ...]:
    e = review.number
    if e is None:
        return ()
    return (
        ("Reviewed frequency", words.rate(e.per_1000), "MNBN per 1000 scorable BN cells"),
        ("These cells", f"{words.rate(e.low)}–{words.rate(e.high)}", "95 % limits"),
        ("With counting error", f"{words.rate(e.ci_low)}–{words.rate(e.ci_high)}", "95 % interval"),
        ("Looked at", words.whole(review.looked), words.percent(review.looked, _cells(review)) + " of the cells"),
    )


def _cells(review: SlideReview) -> int:
    return sum(tally.size for tally in review.tallies)

"""The counts that a person made, for calibration curves and doses: confirmed calls, or a complete review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mnbatch.assay.confirmed_frequency import SeenSlide
from mnbatch.assay.count_kinds import CountKind
from mnbatch.review.estimate import Tally
from mnbatch.review.review_status import SlideReview

# confirmed: the called cells that a person confirmed, of all scorable cells. What the model missed is not among them,
# on the slides of a curve and of a case alike, so that the curve holds it. Random negatives take no part.
#
# reviewed: the totals that a complete review estimates, rounded to whole cells.
#
# A called cell on which a person was unsure, or two differ, counts as the model called it, and is named.


@dataclass(frozen=True, slots=True)
class PersonCounts:
    """Cells and events as a person counted them.

    Attributes:
        mnbn: cells with at least one micronucleus.
        classes: C0, C1, ... as typed; () where they were not, for the reason in `no_classes`.
        unsure: called cells on which a person was unsure or two differ: counted as called.
    """

    kind: CountKind
    cells: int
    mnbn: int
    classes: tuple[int, ...] = ()
    no_classes: str = ""
    unsure: int = 0

    @property
    def micronuclei(self) -> int:
        """Sum over the classes."""
        return sum(k * number for k, number in enumerate(self.classes))

    @property
    def note(self) -> str:
        """What is to be said of them; "" for nothing."""
        if not self.unsure:
            return ""
        if self.unsure == 1:
            return "1 called cell is unsure, or two people differ on it: counted as the model called it"
        return f"{self.unsure} called cells are unsure, or two people differ on them: counted as the model called them"


def person_counts(review: SlideReview, kind: CountKind) -> PersonCounts | None:
    """The counts of a slide or donor; None where they are not complete (`why_no_counts`)."""
    if kind == "automatic" or why_no_counts(review, kind):
        return None
    return _confirmed(review.tallies) if kind == "confirmed" else _reviewed(review)


def why_no_counts(review: SlideReview, kind: CountKind) -> str:
    """Why there are no such counts; "" where there are."""
    what = "confirmation of the called cells" if kind == "confirmed" else "review"
    if review.status != "complete":
        state = "has not begun" if review.status == "none" else f"is {review.status}"
        return f"the {what} {state}{f' ({review.reason})' if review.reason else ''}"
    if kind == "reviewed" and review.mode != "complete":
        return "its called cells were confirmed (plan of the mode confirm), and that is no complete review"
    if kind == "reviewed" and review.estimate is None:
        return "the review gives no number: no cell can be scored"
    return ""


def best_kind(review: SlideReview) -> CountKind:
    """The best count there is: of a complete review before a confirmation before the model's."""
    if not why_no_counts(review, "reviewed"):
        return "reviewed"
    return "confirmed" if not why_no_counts(review, "confirmed") else "automatic"


def seen_slides(reviews: Sequence[SlideReview]) -> list[SeenSlide]:
    """What a person saw of each slide, for `confirmed_fraction`; of reviews that are complete, in the mode confirm."""
    return [_seen(review.tallies) for review in reviews]


def _seen(tallies: Sequence[Tally]) -> SeenSlide:
    called, others = [t for t in tallies if t.called], [t for t in tallies if not t.called]
    return SeenSlide(
        called=sum(t.size for t in called),
        negatives=sum(t.size for t in others),
        confirmed=sum(t.mn for t in called),
        looked=sum(t.looked for t in others),
        found=sum(t.mn for t in others),
        called_unsure=sum(t.unsure for t in called),
        called_unscorable=sum(t.not_scorable for t in called),
        unsure=sum(t.unsure for t in others),
        unscorable=sum(t.not_scorable for t in others),
        called_twice=sum(t.twice for t in called),
        twice=sum(t.twice for t in others),
    )


def _confirmed(tallies: Sequence[Tally]) -> PersonCounts:
    called = [t for t in tallies if t.called]
    unsure = sum(t.unsure for t in called)
    events = sum(t.mn for t in called) + unsure
    cells = sum(t.size for t in tallies) - sum(t.not_scorable for t in called)
    reason = _why_untyped(called)
    typed = _add([(t.typed, 1.0) for t in called])
    classes = () if reason else _classes(cells, typed)
    return PersonCounts("confirmed", cells, events, classes, reason, unsure)


def _reviewed(review: SlideReview) -> PersonCounts:
    e, reason = review.estimate, _why_untyped(review.tallies)
    assert e is not None
    cells = max(1, round(e.bn_cells))
    typed = _add([(t.typed, t.size / t.looked) for t in review.tallies if t.looked])
    unsure = sum(t.unsure for t in review.tallies if t.called)
    classes = () if reason else _classes(cells, typed)
    return PersonCounts("reviewed", cells, min(cells, round(e.mnbn)), classes, reason, unsure)


def _why_untyped(tallies: Sequence[Tally]) -> str:
    untyped, differ = sum(t.untyped for t in tallies), sum(t.counts_differ for t in tallies)
    unsure = sum(t.unsure for t in tallies if t.called)
    if untyped:
        return f"of {_cells(untyped)} decided MN no number of micronuclei was typed (keys 1 to 9)"
    if differ:
        return f"two people typed different numbers of micronuclei for {_cells(differ)}: decide them again"
    if unsure:
        return f"{_cells(unsure)} called MN are unsure, or two people differ: they have no number of micronuclei"
    return ""


def _add(parts: Sequence[tuple[tuple[int, ...], float]]) -> list[float]:
    """Cells with 1, 2, ... micronuclei, each stratum with its weight."""
    longest = max((len(typed) for typed, _ in parts), default=0)
    return [sum(weight * typed[k] for typed, weight in parts if k < len(typed)) for k in range(longest)]


def _classes(cells: int, typed: Sequence[float]) -> tuple[int, ...]:
    whole = [round(number) for number in typed] or [0]
    return (max(0, cells - sum(whole)), *whole)


def _cells(number: int) -> str:
    return f"{number} cell{'s' * (number != 1)}"

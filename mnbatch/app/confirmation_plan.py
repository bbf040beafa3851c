"""How many random negatives a confirmation needs, from what is known of the sensitivity, and how slides share them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mnbatch.assay.calls import PER
from mnbatch.assay.confirmed_frequency import Proposal, propose_negatives
from mnbatch.assay.own_cells import Validation
from mnbatch.assay.reader_slips import FEWEST_DOUBLE
from mnbatch.results.annotations import load_samples
from mnbatch.results.model_errors import load_validation, validation_of
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, quotas
from mnbatch.review.review_import import queues_of
from mnbatch.review.review_status import slide_review
from mnbatch.review.trail import read_trail

DOUBLE_WANTED = 2 * FEWEST_DOUBLE
"""Cells of each group (called, others) in OUT that the double-read sample is made for."""


@dataclass(frozen=True, slots=True)
class LaidPlan:
    """A plan of the mode confirm, and what is to be said of it."""

    plan: ReviewPlan
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Donor:
    """A donor's slides: id -> (called, negatives), and what is known of their model."""

    slides: dict[str, tuple[int, int]]
    validation: Validation

    @property
    def cells(self) -> int:
        return sum(called + negatives for called, negatives in self.slides.values())


def plan_confirmation(store: Store, plan: ReviewPlan, negatives: int | None, double: float | None) -> LaidPlan:
    """Lay down how many negatives of each slide are drawn.

    A slide of which no donor is known is planned alone.

    Args:
        negatives: random negatives of each donor; None: as many as what is known of the sensitivity asks for.
        double: share of the queue to be decided by two people; None: so many that the slips of OUT's readers are known.
    """
    donors = _donors(store)
    shares: dict[str, int] = {}
    proposals: dict[tuple[object, ...], Proposal] = {}
    most = negatives if negatives is not None else plan.negatives
    for donor in donors.values():
        # The proposal hardly depends on the number of cells: to the nearest 500 it is computed once.
        key = (donor.validation.slides, max(1, round(donor.cells / 500)) * 500)
        if key not in proposals:
            proposals[key] = propose_negatives(donor.validation.slides, key[1])
        number = proposals[key].negatives if negatives is None else negatives
        most = max(most, number)
        shares |= quotas(number, {slide: sizes[1] for slide, sizes in donor.slides.items()})
    called = sum(sizes[0] for donor in donors.values() for sizes in donor.slides.values())
    share = _double_share(called, sum(shares.values())) if double is None else double
    laid = replace(plan, negatives=most, quotas=shares, double=share)
    notes = [line for proposal in proposals.values() for line in _said(proposal, negatives)]
    notes.append(
        f"to be read twice: {share:.0%} of the queue, by two people who do not know of each other (--double). Without "
        f"{FEWEST_DOUBLE} such cells called and {FEWEST_DOUBLE} others in OUT no interval holds the readers' slips"
    )
    return LaidPlan(laid, tuple(dict.fromkeys(notes)))


def changed_halfway(store: Store, before: ReviewPlan, plan: ReviewPlan) -> tuple[str, ...]:
    """That decisions were taken under the plan before; they are kept, and used where the new plan draws the cell."""
    if before == plan:
        return ()
    roster = open_roster(store)
    found = unfinished = 0
    for slide_id, queue in queues_of(store, {r.slide_id: None for r in roster.records}, roster=roster).items():
        review = None if queue is None else slide_review(queue, read_trail(store.paths, slide_id))
        if review is not None and review.reviewers:
            found += sum(one.looked + one.outside for one in review.reviewers)
            unfinished += review.status != "complete"
    if not found:
        return ()
    return (
        f"the plan was changed after {found} decisions: they are kept, used on cells that this plan draws, and "
        f"{unfinished} slide{'s' * (unfinished != 1)} that {'was' if unfinished == 1 else 'were'} begun "
        f"{'is' if unfinished == 1 else 'are'} not complete under it",
    )


def _donors(store: Store) -> dict[str, _Donor]:
    roster, samples, own = open_roster(store), load_samples(store.paths), load_validation(store.paths)
    found: dict[str, _Donor] = {}
    for record in roster.records:
        call, _ = roster.call(record)
        if call.frequency is None:
            continue
        name = samples.get(record.slide_id, {}).get("donor") or record.donor
        key = f"donor {name}" if name else f"slide {record.slide_id}"
        f = call.frequency
        known = found.setdefault(key, _Donor({}, validation_of(record, own)))
        known.slides[record.slide_id] = (f.mnbn_cells, f.bn_cells - f.mnbn_cells)
    return found


def _double_share(called: int, others: int) -> float:
    smaller = min((size for size in (called, others) if size), default=DOUBLE_WANTED)
    return min(1.0, max(0.05, round(DOUBLE_WANTED / smaller, 2)))


def _said(proposal: Proposal, typed: int | None) -> list[str]:
    """What the number follows from."""
    if proposal.se is None:
        known = f"{proposal.reason}: what was missed is bounded by the random negatives alone"
    else:
        se, low, high = proposal.se
        known = f"sensitivity of a new slide {se:.2f} ({low:.2f} to {high:.2f})"
    widths = ", ".join(f"{size}: {PER * width:.0f}" for size, width in proposal.widths)
    head = f"proposed for donors of about {proposal.cells} cells: {proposal.negatives} random negatives"
    lines = [f"{head} ({known}); width per 1000 at 60 per 1000 by number of negatives: {widths}"]
    if typed is not None and typed < proposal.negatives:
        lines.append(f"{typed} were asked for, fewer than proposed: intervals are wider, or there is no frequency")
    return lines

"""The state of the review of a slide or donor: decided, missing, the reviewed frequency, and who disagrees."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Literal

from mnbatch.review.adjudication import Standing, follow
from mnbatch.review.decisions import ADJUDICATION, CLASSES, FAULTS_SHOWN, Decision
from mnbatch.review.estimate import (
    COUNT,
    Agreement,
    Disagreement,
    Estimate,
    Tally,
    agreements,
    disagreements,
    estimate,
    majority,
)
from mnbatch.review.queue import STRATA, Mode, Queue
from mnbatch.review.trail import Trail

Status = Literal["none", "unfinished", "complete", "outdated"]
SAME_PROBABILITY = 1e-4
"""Of an inclusion probability as a file spells it."""
RESTORE = "restore it from a copy, or move it away and import the reviews again"
STRATUM_WORDS = {"called": "called MN", "band": "near the threshold", "rest": "of the random sample"}


@dataclass(frozen=True, slots=True)
class ReviewerState:
    """One reviewer's part: cells of the queue reviewed and missing, cells outside of it, first and last decision."""

    reviewer: str
    looked: int
    missing: int
    outside: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class SlideReview:
    """The review of one slide, all reviewers together and each apart.

    Attributes:
        reason: what is missing, or why the review no longer counts; "" for none and complete.
        tallies: of all reviewers together; where they differ, the cell is unsure.
        estimate: None until every stratum was reviewed.
        outdated: decisions on results that are no longer those of the slide; kept, and not counted.
        torn: lines of the trail that cannot be read.
        ahead: valid decisions with a time later than when they were saved.
        to_review: cells that the queue holds, reviewed or not.
        result_key: of the present result; "" where there is none.
        decisions: digest over the valid decisions; "" without any.
        mode: of the plan: only a review of the mode `complete` has a reviewed frequency.
        double_open: cells of the plan's double-read sample that fewer than two people decided.
        other_plan: valid decisions that were taken under another plan or mode; those on cells that the present plan
            draws are used, as part of its sample.
        cytome: cells that people noted each of `CLASSES` of, in its order; () where nobody noted any. A cell counts
            where the adjudicator noted it, else where any reviewer did; cells outside of the queue count, too.
    """

    status: Status
    reason: str
    tallies: tuple[Tally, ...] = ()
    estimate: Estimate | None = None
    reviewers: tuple[ReviewerState, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    outdated: int = 0
    torn: int = 0
    result_key: str = ""
    decisions: str = ""
    ahead: int = 0
    to_review: int = 0
    mode: Mode = "complete"
    double_open: int = 0
    other_plan: int = 0
    cytome: tuple[int, ...] = ()

    @property
    def looked(self) -> int:
        """Cells of the queue that any person reviewed."""
        return sum(tally.looked for tally in self.tallies)

    @property
    def number(self) -> Estimate | None:
        """The reviewed frequency as tables give it: only of a review that is complete."""
        return self.estimate if self.status == "complete" and self.mode == "complete" else None


NO_REVIEW = SlideReview("none", "")


def latest(entries: Sequence[Decision], key: str) -> dict[str, dict[str, Decision]]:
    """reviewer -> cell_id -> the valid decision, among those on the result `key`.

    The one that was saved last is valid, whatever its time: a clock that was wrong once must not decide for ever.
    Withdrawn ones are left out. An adjudication by one of the readers is not used, and one where fewer than two others
    had decided is a look as any other (see `mnbatch.review.adjudication`).
    """
    standing: Standing = {}
    people: dict[str, dict[str, Decision]] = {}
    for entry in entries:
        if entry.result_key == key:
            people.setdefault(entry.reviewer, {})
            follow(standing, entry)
    for cell_id, on_cell in standing.items():
        for who, decision in on_cell.items():
            people[who][cell_id] = decision
    return {who: said for who, said in people.items() if said}


def combined(by_reviewer: Mapping[str, Mapping[str, Decision]]) -> dict[str, str]:
    """cell_id -> decision of all reviewers together.

    Where they differ, the decision of a third person who adjudicated is valid, else that of more than half of three or
    more, else it is `unsure`. Adjudicators who differ among themselves are reviewers who differ.
    """
    by_cell: dict[str, list[Decision]] = {}
    for decisions in by_reviewer.values():
        for cell_id, decision in decisions.items():
            by_cell.setdefault(cell_id, []).append(decision)
    return {cell_id: _together(decisions) for cell_id, decisions in by_cell.items()}


def _together(decisions: Sequence[Decision]) -> str:
    final = [d.decision for d in decisions if d.look == ADJUDICATION] or [d.decision for d in decisions]
    return majority(final) or "unsure"


def differences(by_reviewer: Mapping[str, Mapping[str, Decision]]) -> tuple[Disagreement, ...]:
    """Where first and second looks differ, and what those who adjudicated decided."""
    words = {
        who: {cell: _word(d) for cell, d in said.items() if d.look != ADJUDICATION} for who, said in by_reviewer.items()
    }
    third: dict[str, list[str]] = {}
    for who in sorted(by_reviewer):
        for cell, d in by_reviewer[who].items():
            if d.look == ADJUDICATION:
                third.setdefault(cell, []).append(_word(d))
    return disagreements(words, third)


def _word(decision: Decision) -> str:
    return decision.decision + (f"{COUNT}{decision.count}" if decision.decision == "mn" and decision.count else "")


def saved_decisions(queue: Queue, trail: Trail) -> dict[str, dict[str, list[Any]]]:
    """reviewer -> place of the cell -> decision, count, time, look, classes, comment: valid ones on this result."""
    at = {place.cell_id: number for number, place in enumerate(queue.places)}
    return {
        reviewer: {
            str(at[c]): [d.decision, d.count, d.time, d.look, list(d.classes), d.comment]
            for c, d in said.items()
            if c in at
        }
        for reviewer, said in latest(trail.entries, queue.result_key).items()
    }


def tally(
    queue: Queue, decided: Mapping[str, str], by_reviewer: Mapping[str, Mapping[str, Decision]] | None = None
) -> tuple[Tally, ...]:
    """Count decisions (cell_id -> decision) by stratum; cells outside of the queue do not enter.

    Args:
        by_reviewer: whose decisions these are, for double readings and numbers of micronuclei.
    """
    tallies = []
    said_of = _by_cell(by_reviewer or {})
    declared = {p.cell_id for p in queue.places if p.double} if queue.double else None
    for stratum in STRATA:
        drawn = [place.cell_id for place in queue.places if place.stratum == stratum]
        said = [decided[cell_id] for cell_id in drawn if cell_id in decided]
        number: dict[str, Any] = {word: said.count(word) for word in ("mn", "unsure", "not_scorable")}
        tallies.append(
            Tally(
                stratum=stratum,
                size=queue.sizes[stratum],
                drawn=len(drawn),
                looked=len(said),
                called=stratum == "called",
                **number,
                **_readings([said_of[c] for c in drawn if c in said_of and (declared is None or c in declared)]),
                **_typed([said_of[c] for c in drawn if decided.get(c) == "mn" and c in said_of]),
            )
        )
    return tuple(tallies)


def _by_cell(by_reviewer: Mapping[str, Mapping[str, Decision]]) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    for decisions in by_reviewer.values():
        for cell_id, decision in decisions.items():
            found.setdefault(cell_id, []).append(decision)
    return found


def _readings(cells: Sequence[Sequence[Decision]]) -> dict[str, Any]:
    """Cells that two people decided MN or not, and those of them on which they differ.

    Unsure is no reading, and an adjudicator knew what the others had decided.
    """
    words = [[d.decision for d in said if d.decision in ("mn", "not_mn") and d.look != ADJUDICATION] for said in cells]
    twice = [said for said in words if len(said) > 1]
    return {"twice": len(twice), "differing": sum(len(set(said)) > 1 for said in twice)}


def _typed(cells: Sequence[Sequence[Decision]]) -> dict[str, Any]:
    """Numbers of micronuclei that people typed for cells decided MN; two different ones are of nobody.

    Where a third person adjudicated, theirs is valid.
    """
    final = [[d for d in said if d.look == ADJUDICATION] or said for said in cells]
    numbers = [{d.count for d in said if d.count is not None} for said in final]
    known = [one for found in numbers if len(found) == 1 for one in found]
    by_number = tuple(known.count(k) for k in range(1, max(known, default=0) + 1))
    return {
        "typed": by_number,
        "untyped": sum(not found for found in numbers),
        "counts_differ": sum(len(found) > 1 for found in numbers),
    }


def slide_review(queue: Queue, trail: Trail) -> SlideReview:
    """The state of the review of a slide, from its queue and its trail."""
    if trail.altered:
        return altered_review(trail, queue.result_key)
    by_reviewer = latest(trail.entries, queue.result_key)
    outdated = len({(e.reviewer, e.cell_id) for e in trail.entries if e.result_key != queue.result_key})
    # A slide without a called cell, of which no negative is drawn, has nothing to be decided.
    nothing_to_do = queue.mode == "confirm" and not queue.drawn and not outdated
    if not by_reviewer and not nothing_to_do:
        reason = f"decisions on an earlier result of this slide: {outdated}" if outdated else ""
        return SlideReview(
            "outdated" if outdated else "none",
            reason,
            outdated=outdated,
            torn=trail.torn,
            result_key=queue.result_key,
            to_review=queue.drawn,
            mode=queue.mode,
        )
    tallies = tally(queue, combined(by_reviewer), by_reviewer)
    words = {
        who: {cell: d.decision for cell, d in said.items() if d.look != ADJUDICATION}
        for who, said in by_reviewer.items()
    }
    missing = "; ".join(
        f"{t.missing} of {t.drawn} cell{'s' * (t.drawn != 1)} {STRATUM_WORDS[t.stratum]} not decided"
        for t in tallies
        if t.missing
    )
    return SlideReview(
        status="unfinished" if missing else "complete",
        reason=missing,
        tallies=tallies,
        estimate=estimate(tallies),
        reviewers=tuple(_state(queue, who, said) for who, said in sorted(by_reviewer.items())),
        agreements=agreements(words),
        disagreements=differences(by_reviewer),
        outdated=outdated,
        torn=trail.torn,
        result_key=queue.result_key,
        decisions=_digest(by_reviewer),
        ahead=_ahead(by_reviewer, trail),
        to_review=queue.drawn,
        mode=queue.mode,
        double_open=_double_open(queue, by_reviewer),
        other_plan=_of_another_plan(queue, by_reviewer),
        cytome=_cytome(by_reviewer),
    )


def _double_open(queue: Queue, by_reviewer: Mapping[str, Mapping[str, Decision]]) -> int:
    """Cells of the double-read sample without two readings; an adjudicator's look is none."""
    said_of = _by_cell(by_reviewer)
    asked = [place.cell_id for place in queue.places if place.double]
    return sum(sum(d.look != ADJUDICATION for d in said_of.get(cell, ())) < 2 for cell in asked)


def _cytome(by_reviewer: Mapping[str, Mapping[str, Decision]]) -> tuple[int, ...]:
    """Cells with each class; () where nobody noted any."""
    noted: Counter[str] = Counter()
    for said in _by_cell(by_reviewer).values():
        final = [d for d in said if d.look == ADJUDICATION] or said
        noted.update({name for d in final for name in d.classes})
    return tuple(noted[name] for name in CLASSES) if noted else ()


def _of_another_plan(queue: Queue, by_reviewer: Mapping[str, Mapping[str, Decision]]) -> int:
    """Decisions that say another stratum or probability than the cell has now."""
    now = {place.cell_id: (place.stratum, place.inclusion_probability) for place in queue.places}
    return sum(
        cell in now and not _same_place((d.stratum, d.inclusion_probability), now[cell])
        for said in by_reviewer.values()
        for cell, d in said.items()
    )


def _same_place(one: tuple[str, float | None], other: tuple[str, float | None]) -> bool:
    if one[0] != other[0] or one[1] is None or other[1] is None:
        return one == other
    return abs(one[1] - other[1]) <= SAME_PROBABILITY


def altered_review(trail: Trail, result_key: str = "") -> SlideReview:
    """Of a trail that is not what was written: its decisions are not used until it is restored."""
    reason = f"its trail was changed by hand ({'; '.join(trail.altered[:FAULTS_SHOWN])}): {RESTORE}"
    digest = hashlib.sha256(json.dumps(trail.altered).encode()).hexdigest()[:16]
    number = len(trail.entries)
    return SlideReview("outdated", reason, outdated=number, torn=trail.torn, result_key=result_key, decisions=digest)


def review_without_result(trail: Trail) -> SlideReview:
    """Of a slide that is not counted: its decisions are kept, but not used."""
    if trail.altered:
        return altered_review(trail)
    old = len(trail.entries)
    reason = "the slide has no result now; its decisions are kept" if old else ""
    return SlideReview("outdated" if old else "none", reason, outdated=old, torn=trail.torn)


def pool(reviews: Sequence[SlideReview]) -> SlideReview:
    """The review of a donor from those of the slides that are done."""
    to_review = sum(review.to_review for review in reviews)
    if not reviews or all(review.status == "none" for review in reviews):
        return replace(NO_REVIEW, to_review=to_review, mode=_mode(reviews))
    complete = [review for review in reviews if review.status == "complete"]
    ahead = sum(review.ahead for review in reviews)
    if len(complete) == len(reviews):
        tallies = tuple(tally for review in reviews for tally in review.tallies)
        number, people = estimate(tallies), _people(reviews)
        return SlideReview(
            "complete", "", tallies, number, people, ahead=ahead, to_review=to_review, **_planned(reviews)
        )
    open_slides = len(reviews) - len(complete)
    old = sum(review.status == "outdated" for review in reviews)
    note = f", {old} of them outdated" if old else ""
    reason = f"the review of {open_slides} of {len(reviews)} slide{'s' * (len(reviews) != 1)} is not complete{note}"
    tallies = tuple(tally for review in reviews for tally in review.tallies)
    people = _people(reviews)
    return SlideReview(
        "unfinished", reason, tallies, None, people, ahead=ahead, to_review=to_review, **_planned(reviews)
    )


def _mode(reviews: Sequence[SlideReview]) -> Mode:
    return "confirm" if any(review.mode == "confirm" for review in reviews) else "complete"


def _planned(reviews: Sequence[SlideReview]) -> dict[str, Any]:
    return {
        "mode": _mode(reviews),
        "double_open": sum(review.double_open for review in reviews),
        "other_plan": sum(review.other_plan for review in reviews),
        "disagreements": tuple(one for review in reviews for one in review.disagreements),
        "cytome": tuple(map(sum, zip(*(review.cytome for review in reviews if review.cytome), strict=True))),
    }


def _digest(by_reviewer: Mapping[str, Mapping[str, Decision]]) -> str:
    """16 hex digits over who decided what on which cell."""
    said = [
        [who, c, d.decision, d.count, *([d.look] if d.look == ADJUDICATION else [])]
        for who in sorted(by_reviewer)
        for c, d in sorted(by_reviewer[who].items())
    ]
    return hashlib.sha256(json.dumps(said, ensure_ascii=True).encode()).hexdigest()[:16]


def _ahead(by_reviewer: Mapping[str, Mapping[str, Decision]], trail: Trail) -> int:
    # Of an adjudication that is taken as another look the trail has the look as it was saved.
    ahead = {replace(decision, look="") for decision in trail.ahead}
    valid = {replace(d, look="") for decisions in by_reviewer.values() for d in decisions.values()} if ahead else set()
    return len(valid & ahead)


def _people(reviews: Sequence[SlideReview]) -> tuple[ReviewerState, ...]:
    found: dict[str, ReviewerState] = {}
    for state in (state for review in reviews for state in review.reviewers):
        old = found.get(state.reviewer)
        found[state.reviewer] = state if old is None else _sum(old, state)
    return tuple(found[name] for name in sorted(found))


def _sum(a: ReviewerState, b: ReviewerState) -> ReviewerState:
    looked, missing, outside = a.looked + b.looked, a.missing + b.missing, a.outside + b.outside
    return ReviewerState(
        reviewer=a.reviewer,
        looked=looked,
        missing=missing,
        outside=outside,
        first=min(a.first, b.first),
        last=max(a.last, b.last),
    )


def _state(queue: Queue, reviewer: str, said: Mapping[str, Decision]) -> ReviewerState:
    drawn = {place.cell_id for place in queue.places if place.rank is not None}
    looked = len(drawn & said.keys())
    times = sorted(decision.moment.astimezone(UTC) for decision in said.values())
    first, last = (moment.isoformat() for moment in (times[0], times[-1]))
    return ReviewerState(
        reviewer=reviewer,
        looked=looked,
        missing=len(drawn) - looked,
        outside=len(said) - looked,
        first=first,
        last=last,
    )

"""A review file into the trail: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnbatch.assay.alike_names import alike_names, spelled
from mnbatch.errors import MismatchError, NoInputError, UsageError
from mnbatch.results.manifest import now
from mnbatch.results.paths import OutPaths
from mnbatch.results.roster import Roster, open_roster
from mnbatch.results.store import Store
from mnbatch.review import trail
from mnbatch.review.adjudication import adjudication_faults, adjudications_last
from mnbatch.review.decisions import ADJUDICATION, FAULTS_SHOWN, Decision, read_review, told_faults
from mnbatch.review.queue import Queue, ReviewPlan, draw_queue, load_plan
from mnbatch.review.review_status import SAME_PROBABILITY, latest


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        added: decisions that are new in the trail.
        known: decisions that it had already.
        outdated: of those added, decisions on an earlier result.
        ahead: of all, decisions that say a time which is still to come.
        replaced: of those added, decisions that take the place of another one of the same person on the same cell.
        overruled: of those known, decisions that do not hold: the same person saved another, later one.
    """

    added: int
    known: int
    outdated: int
    slide_ids: tuple[str, ...]
    reviewers: tuple[str, ...]
    ahead: int = 0
    replaced: int = 0
    overruled: int = 0


def import_review(store: Store, path: Path, *, keep_outdated: bool = False, replace_newer: bool = False) -> Imported:
    """Check that a review belongs to the results in OUT and append it to the trail.

    A decision that the trail has, and that an older one took the place of, is added again: it holds then.

    Args:
        keep_outdated: also keep decisions on an earlier result of a slide; they are not used.
        replace_newer: take decisions that are older than those which hold, and differ from them.

    Raises:
        UsageError: broken rows, a reviewer whose name reads the same as another one's, an adjudication by one who
            may not adjudicate the cell, or older decisions in place of newer ones.
        MismatchError: slides or cells that are not in OUT, another model, plan or result.
        LockHeldError: another import did not end in time.
    """
    decisions = read_review(path)
    return save_decisions(
        store, decisions, path.name, keep_outdated=keep_outdated, where=str(path), replace_newer=replace_newer
    )


def save_decisions(
    store: Store,
    decisions: Sequence[Decision],
    source: str,
    *,
    keep_outdated: bool = False,
    where: str = "The review",
    queues: Mapping[str, Queue | None] | None = None,
    names_asked: bool = False,
    replace_newer: bool | None = None,
) -> Imported:
    """As `import_review`, for decisions at hand (the local server's), with the slides' queues where they are known.

    Args:
        replace_newer: see `import_review`. None: who decides now decides last, whatever the clock of the browser says,
            and nothing is compared.
        names_asked: a person was asked whether a name that reads the same as a known one is theirs (by the gallery).
    """
    by_slide: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_slide.setdefault(decision.slide_id, []).append(decision)
    by_slide = {slide_id: adjudications_last(said) for slide_id, said in by_slide.items()}
    queues = queues_of(store, by_slide, where) if queues is None else queues
    faults = [fault for slide_id, said in by_slide.items() for fault in _faults(queues[slide_id], said, keep_outdated)]
    if faults:
        raise MismatchError(
            f"{where} does not belong to these results: {told_faults(faults)}.",
            "Nothing of it was imported. Review the present pages again; --keep-outdated keeps decisions on an earlier "
            "result in the trail, where they are not used.",
        )
    with trail.writing(store.paths):
        if not names_asked:
            _refuse_alike(store.paths, by_slide, where)
        _refuse_adjudications(store.paths, by_slide, where)
        changes = _Changes() if replace_newer is None else _changes(store.paths, by_slide)
        if changes.older and not replace_newer:
            raise _older_than_what_holds(changes.older, where)
        added = trail.append_all(store.paths, by_slide, source, again=changes.again)
    old = sum(d.result_key != queue.result_key for s, queue in queues.items() if queue for d in by_slide[s])
    old += sum(len(by_slide[slide_id]) for slide_id, queue in queues.items() if queue is None)
    return Imported(
        added=added,
        known=len(decisions) - added,
        outdated=old,
        slide_ids=tuple(sorted(by_slide)),
        reviewers=tuple(sorted({decision.reviewer for decision in decisions})),
        ahead=sum(trail.is_ahead(decision, now()) for decision in decisions),
        replaced=changes.replaced,
        overruled=changes.overruled,
    )


@dataclass(slots=True)
class _Changes:
    """What decisions would change of those that hold.

    Attributes:
        older: decisions that are new in the trail, and older than the one that holds, with it.
        again: decisions that the trail has, and that an older one took the place of.
        replaced, overruled: see `Imported`.
    """

    older: list[tuple[Decision, Decision]] = field(default_factory=list)
    again: set[Decision] = field(default_factory=set)
    replaced: int = 0
    overruled: int = 0


def _changes(paths: OutPaths, by_slide: Mapping[str, Sequence[Decision]]) -> _Changes:
    """Of one person on one cell, in the same look; comments and classes change nothing that is counted."""
    changes = _Changes()
    for slide_id, said in by_slide.items():
        entries = trail.read_trail(paths, slide_id).entries
        known, holding = set(entries), {key: latest(entries, key) for key in {one.result_key for one in said}}
        for one in said:
            holds = holding[one.result_key].get(one.reviewer, {}).get(one.cell_id)
            if holds is None or holds.look != one.look or (holds.decision, holds.count) == (one.decision, one.count):
                continue
            if one in known and one.moment <= holds.moment:
                changes.overruled += 1
                continue
            changes.replaced += 1
            if one in known:
                changes.again.add(one)
            elif one.moment + trail.TOLERANCE < holds.moment:
                changes.older.append((one, holds))
    return changes


def _older_than_what_holds(older: Sequence[tuple[Decision, Decision]], where: str) -> UsageError:
    first, holds = older[0]
    return UsageError(
        f"{where} is an earlier save: {len(older)} of its decisions differ from later ones of the same person, such as "
        f"cell {first.cell_id} of slide {first.slide_id}: {first.decision} of {first.time}, where {first.reviewer} "
        f"decided {holds.decision} at {holds.time}.",
        "Nothing of it was imported, and the later decisions hold. Import the latest save; if the earlier decisions "
        "are the right ones, or a clock was wrong, give --replace-newer.",
    )


def _refuse_alike(paths: OutPaths, by_slide: Mapping[str, Sequence[Decision]], where: str) -> None:
    """One person under two names would be two readers, whose agreement says nothing.

    A name that is in OUT is taken as it is: whoever gave it first was asked, or imported it by an earlier version.
    """
    new = dict.fromkeys(decision.reviewer for said in by_slide.values() for decision in said)
    ids = trail.reviewed_slides(paths)
    known = dict.fromkeys(one.reviewer for slide_id in ids for one in trail.read_trail(paths, slide_id).entries)
    for first, *others in alike_names([*known, *new]):
        fresh = [name for name in others if name not in known]
        if fresh:
            there = "has decided in OUT already" if first in known else "is in it, too"
            raise UsageError(
                f"{where}: the reviewer {spelled(fresh[0])} reads the same as {spelled(first)}, who {there}: two names "
                "would count as two people.",
                f"Nothing of it was imported. If they are one person, write {spelled(first)} as the reviewer; if "
                "they are two, give them names that differ in more than case, blanks, dashes or letters that look "
                "alike.",
            )


def _refuse_adjudications(paths: OutPaths, by_slide: Mapping[str, Sequence[Decision]], where: str) -> None:
    """One of two readers who differ cannot settle it: their difference would be in no statistic any more."""
    faults = [
        fault
        for slide_id, said in by_slide.items()
        if any(decision.look == ADJUDICATION for decision in said)
        for fault in adjudication_faults(trail.read_trail(paths, slide_id).entries, said)
    ]
    if faults:
        raise UsageError(
            f"{where} has adjudications by one who may not adjudicate: {told_faults(faults)}.",
            "Nothing of it was imported. A third person adjudicates a cell that two others decided: import the reviews "
            "of those two first; where it is a reader's own first or second look, leave the column look empty.",
        )


def queues_of(
    store: Store,
    slide_ids: Mapping[str, object],
    where: str = "OUT",
    roster: Roster | None = None,
    plan: ReviewPlan | None = None,
) -> dict[str, Queue | None]:
    """The queue of each slide as the present results and plan have it; None for a slide that has no result now.

    Args:
        roster: which slides count, where that is known already.
        plan: None takes the one in force.

    Raises:
        MismatchError: a slide that is not in OUT at all.
    """
    roster = open_roster(store) if roster is None else roster
    unknown = sorted(set(slide_ids) - {record.slide_id for record in (*roster.records, *roster.copied)})
    if unknown:
        raise MismatchError(
            f"{where} names slides that are not in {store.paths.root}: {', '.join(unknown[:FAULTS_SHOWN])}.",
            "It is the review of another batch; give the OUT that it was made from.",
        )
    plan = load_plan(store.paths) if plan is None else plan
    return {slide_id: _queue_of(roster, slide_id, plan) for slide_id in slide_ids}


def _queue_of(roster: Roster, slide_id: str, plan: ReviewPlan) -> Queue | None:
    """The queue of one slide; None where it is not counted."""
    record = roster.record(slide_id)
    call = roster.call(record)[0] if record is not None else None
    if record is None or call is None or call.frequency is None:
        return None
    return draw_queue(record, call.cells, plan)


def check_out(paths: OutPaths, out: Path) -> None:
    """Whether OUT holds results.

    Raises:
        NoInputError: it does not.
    """
    if not paths.slides.is_dir():
        raise NoInputError(f"{out} holds no results of mnbatch.", "Give the --out directory of a run.")


def _faults(queue: Queue | None, decisions: Sequence[Decision], keep_outdated: bool) -> list[str]:
    if queue is None:
        return [] if keep_outdated else [f"slide {decisions[0].slide_id} has no result now"]
    places = {place.cell_id: place for place in queue.places}
    faults = []
    for decision in decisions:
        if decision.result_key != queue.result_key:
            if not keep_outdated:
                key = decision.result_key[:20]
                faults.append(f"slide {decision.slide_id} was reviewed on an earlier result ({key})")
                break
            continue
        place = places.get(decision.cell_id)
        expected = (place.stratum, place.inclusion_probability) if place else ("", None)
        if place is None:
            faults.append(f"cell {decision.cell_id} is not a counted cell of slide {decision.slide_id}")
        elif decision.model_digest != queue.model_digest:
            faults.append(f"cell {decision.cell_id} was scored by another model ({decision.model_digest[:12]})")
        elif decision.stratum != expected[0] or not _alike(decision.inclusion_probability, expected[1]):
            faults.append(_other_plan(decision, queue))
    return faults


def _other_plan(decision: Decision, queue: Queue) -> str:
    if queue.mode == "confirm" and decision.stratum == "band":
        return (
            f"cell {decision.cell_id} was drawn by a plan of the mode complete, and the plan is confirm now "
            "(`mnbatch review plan OUT --mode complete` takes it back)"
        )
    return f"cell {decision.cell_id} is in another stratum or was drawn by another plan"


def _alike(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME_PROBABILITY

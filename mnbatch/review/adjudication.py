"""Who may adjudicate a cell, and which decisions stand: no reader settles a difference of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mnbatch.review.decisions import ADJUDICATION, WITHDRAWN, Decision

FEWEST_READERS = 2
"""People, other than the adjudicator, who decided the cell: with fewer there is no difference to settle."""

Standing = dict[str, dict[str, Decision]]
"""cell_id -> reviewer -> the decision that is valid, withdrawn ones left out."""


def follow(standing: Standing, entry: Decision) -> Decision | None:
    """Let a decision follow those that were saved before it; says as what it is taken, None where it is not used.

    Trails of earlier versions hold adjudications by one of the readers, or where nobody else had decided.
    """
    on_cell = standing.setdefault(entry.cell_id, {})
    taken = _as_taken(entry, on_cell)
    if taken is None:
        return None
    if taken.decision == WITHDRAWN:
        on_cell.pop(entry.reviewer, None)
    else:
        on_cell[entry.reviewer] = taken
    return taken


def _as_taken(entry: Decision, on_cell: Mapping[str, Decision]) -> Decision | None:
    if not _adjudicates(entry):
        return entry
    own, others = on_cell.get(entry.reviewer), _readers(on_cell, entry.reviewer)
    if own is not None and own.look == ADJUDICATION:
        return entry
    if own is not None and others:
        # The other's decision may have been known by then: as a later look it would make the difference vanish.
        return None
    # Nobody had decided enough to differ: it is a look of this person as any other.
    return entry if others >= FEWEST_READERS else replace(entry, look="")


def _adjudicates(decision: Decision) -> bool:
    """An adjudication that is taken back needs nobody else."""
    return decision.look == ADJUDICATION and decision.decision != WITHDRAWN


def _readers(on_cell: Mapping[str, Decision], but: str) -> int:
    """People other than `but` who decided a cell, adjudicators left out."""
    return sum(who != but and decision.look != ADJUDICATION for who, decision in on_cell.items())


def adjudications_last(decisions: Sequence[Decision]) -> list[Decision]:
    """The same decisions with those of adjudicators after those of readers; of one person on one cell in their order.

    A file may name the adjudicator first.
    """
    first: dict[tuple[str, str], str] = {}
    for decision in decisions:
        first.setdefault((decision.cell_id, decision.reviewer), decision.look)
    return sorted(decisions, key=lambda d: first[d.cell_id, d.reviewer] == ADJUDICATION)


def adjudication_faults(entries: Iterable[Decision], decisions: Sequence[Decision]) -> list[str]:
    """Why decisions of one slide cannot follow those of its trail, in words.

    Args:
        entries: of the trail, in its order; decisions: new ones, as `adjudications_last` gives them.
    """
    by_result: dict[str, Standing] = {}
    known: dict[Decision, bool] = {}
    for entry in entries:
        taken = follow(by_result.setdefault(entry.result_key, {}), entry)
        known[entry] = taken is not None and taken.look == entry.look
    faults = []
    for decision in decisions:
        standing = by_result.setdefault(decision.result_key, {})
        on_cell = dict(standing.get(decision.cell_id, {}))
        if decision in known:
            stands = known[decision]
        else:
            taken = follow(standing, decision)
            stands = taken is not None and taken.look == decision.look
        if _adjudicates(decision) and not stands:
            faults.append(_why(decision, on_cell))
    return faults


def _why(decision: Decision, on_cell: Mapping[str, Decision]) -> str:
    own = on_cell.get(decision.reviewer)
    if own is not None and own.look != ADJUDICATION:
        return f"{decision.reviewer} decided cell {decision.cell_id} before, as a reader"
    number = _readers(on_cell, decision.reviewer)
    found = "nobody else" if not number else f"only {number} other person"
    return f"{found} decided cell {decision.cell_id}, which {decision.reviewer} adjudicates"

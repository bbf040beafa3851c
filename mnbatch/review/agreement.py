"""Where reviewers of the same cells differ, and Cohen's kappa."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two reviewers agree.

    Attributes:
        cells: decided by both.
        agreed: of these, decided alike.
        kappa: Cohen's (Educ Psychol Meas 20:37, 1960) over the four decisions; None where chance alone would agree.
    """

    first: str
    second: str
    cells: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A cell that reviewers decided differently: (reviewer, decision) of each."""

    cell_id: str
    decisions: tuple[tuple[str, str], ...]


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement beyond chance of paired decisions, at most 1; None without cells or when only one word was used."""
    if not pairs:
        return None
    total = len(pairs)
    observed = sum(a == b for a, b in pairs) / total
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(first[word] * second[word] for word in first) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def agreements(by_reviewer: Mapping[str, Mapping[str, str]]) -> tuple[Agreement, ...]:
    """Every pair of reviewers who share cells; `by_reviewer`: reviewer -> cell_id -> decision."""
    found = []
    for one, other in combinations(sorted(by_reviewer), 2):
        shared = by_reviewer[one].keys() & by_reviewer[other].keys()
        pairs = [(by_reviewer[one][cell], by_reviewer[other][cell]) for cell in sorted(shared)]
        if pairs:
            found.append(Agreement(one, other, len(pairs), sum(a == b for a, b in pairs), cohens_kappa(pairs)))
    return tuple(found)


def disagreements(by_reviewer: Mapping[str, Mapping[str, str]]) -> tuple[Disagreement, ...]:
    """Cells that were decided differently, in the order of their ids."""
    by_cell: dict[str, list[tuple[str, str]]] = {}
    for reviewer in sorted(by_reviewer):
        for cell_id, decision in by_reviewer[reviewer].items():
            by_cell.setdefault(cell_id, []).append((reviewer, decision))
    return tuple(
        Disagreement(cell_id, tuple(said))
        for cell_id, said in sorted(by_cell.items())
        if len({decision for _, decision in said}) > 1
    )

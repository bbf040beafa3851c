"""Outcomes of several seeds seen as one row of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mnbatch.training.comparison.measure import Outcome
from mnbatch.training.comparison.protocols import Protocol
from mnbatch.training.comparison.settings import METHOD, Start
from mnbatch.training.evaluation.paired import delong


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with its ends: the range over seeds, or the 95 % interval of a single seed's figure.

    Attributes:
        seeds: how many figures the mean is of.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class Row:
    """All finished seeds of one system.

    Attributes:
        name: of the system, see `TableCell.name`.
    """

    name: str
    start: Start
    protocol: Protocol
    outcomes: tuple[Outcome, ...]

    def figure(self, name: str) -> Spread | None:
        """A figure of the test part; None where no seed has it."""
        found = [outcome.figures[name] for outcome in self.outcomes if name in outcome.figures]
        values = [figure.value for figure in found if figure.value is not None]
        if len(values) == 1:
            only = next(figure for figure in found if figure.value is not None)
            return Spread(values[0], only.low, only.high, 1)
        return Spread(float(np.mean(values)), min(values), max(values), len(values)) if values else None

    def confusion(self, name: str) -> int:
        """Cells of this kind, summed over the seeds' test parts."""
        return sum(outcome.confusion[name] for outcome in self.outcomes)

    def mean(self, name: str) -> float:
        """Mean over the seeds of a number of `Outcome`, such as `train_seconds`."""
        return float(np.mean([getattr(outcome, name) for outcome in self.outcomes]))

    @property
    def milliseconds(self) -> tuple[float, float]:
        """Time a cell in training (forward, backward, step) and in testing."""
        training = 1000 * self.mean("train_seconds") / self.mean("trained_cells")
        return training, 1000 * self.mean("test_seconds") / self.mean("tested_cells")


def grouped(outcomes: Iterable[Outcome]) -> list[Row]:
    """Rows of finished outcomes, in the order in which their systems first come."""
    found: dict[tuple[str, Start, Protocol], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "done":
            found.setdefault((outcome.cell.name, outcome.start, outcome.protocol), []).append(outcome)
    return [Row(name, start, protocol, tuple(group)) for (name, start, protocol), group in found.items()]


def difference_from_method(row: Row, rows: Sequence[Row]) -> Spread | None:
    """AUC of a system minus that of the method from the same start, on the same test cells, seed by seed.

    For one seed the ends are those of DeLong's 95 % interval, else the smallest and largest difference.

    Returns:
        None for the method itself, and where it has no seed in common.
    """
    method = next((r for r in rows if (r.name, r.start, r.protocol) == (METHOD, row.start, row.protocol)), None)
    if method is None or method is row:
        return None
    by_seed = {outcome.seed: outcome for outcome in method.outcomes}
    pairs = [(outcome, by_seed[outcome.seed]) for outcome in row.outcomes if outcome.seed in by_seed]
    tests = [delong(np.array(own.scores), np.array(its.scores), np.array(own.labels)) for own, its in pairs]
    if not tests:
        return None
    values = [test.difference for test in tests]
    if len(tests) == 1:
        return Spread(values[0], tests[0].low, tests[0].high, 1)
    return Spread(float(np.mean(values)), min(values), max(values), len(values))

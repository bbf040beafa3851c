"""Outcomes of several seeds seen as one row of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mnbatch.training.comparison.measure import RESAMPLES, THRESHOLD, Outcome
from mnbatch.training.comparison.protocols import Protocol
from mnbatch.training.comparison.settings import Start
from mnbatch.training.evaluation.ranking import Bools, Floats, Ranking, area_under_roc, average_precision, f1_of
from mnbatch.training.evaluation.resampling import Units, percentile_interval, resampled_weights


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with its ends: the range over seeds, or a 95 % interval (of one seed's figure, of a difference).

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


def find_row(rows: Sequence[Row], name: str, start: Start, protocol: Protocol) -> Row | None:
    """The row of a system, if any seed of it is finished."""
    return next((row for row in rows if (row.name, row.start, row.protocol) == (name, start, protocol)), None)


def difference(first: Row | None, second: Row | None, figure: str) -> Spread | None:
    """A figure of the first row minus that of the second, on the same test cells, seed by seed.

    The ends are those of a 95 % interval: of a paired bootstrap for one seed, Student's over the seeds' differences
    for several. Splits of the same data overlap, so the latter is somewhat too narrow (Nadeau and Bengio 2003).

    Args:
        figure: "average_precision", "f1" or "auc".

    Returns:
        None where the rows have no seed in common, or the figure is undefined.
    """
    if first is None or second is None:
        return None
    by_seed = {outcome.seed: outcome for outcome in second.outcomes}
    pairs = [(outcome, by_seed[outcome.seed]) for outcome in first.outcomes if outcome.seed in by_seed]
    values = [float(_differences(*pair, figure, None)[0]) for pair in pairs]
    if not values or not np.isfinite(values).all():
        return None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
        mean = float(np.mean(values))
        return Spread(mean, mean - half, mean + half, len(values))
    low, high = percentile_interval(_differences(*pairs[0], figure, RESAMPLES)) or (None, None)
    return Spread(values[0], low, high, 1)


def _differences(first: Outcome, second: Outcome, figure: str, resamples: int | None) -> Floats:
    """The difference in each of the resamples, (resamples,); without resamples that of the data, (1,)."""
    labels = np.array(first.labels)
    if resamples is None:
        blocks = iter([np.ones((1, len(labels)))])
    else:
        index = np.array(first.clusters, dtype=np.intp) if first.clusters else None
        units = Units("cluster", index, len(labels) if index is None else int(index.max()) + 1)
        blocks = resampled_weights(labels, units, resamples, seed=1)
    found = []
    for weights in blocks:
        values = [_value(np.array(outcome.scores), labels, weights, figure) for outcome in (first, second)]
        found.append(values[0] - values[1])
    return np.concatenate(found)


def _value(scores: Floats, labels: Bools, weights: Floats, figure: str) -> Floats:
    """A figure under each row of weights, (m, n) -> (m,)."""
    if figure == "f1":
        called = scores >= THRESHOLD
        return f1_of(weights @ (called & labels), weights @ (called & ~labels), weights @ labels)
    counts = Ranking.of(scores, labels).counts(weights)
    return area_under_roc(*counts) if figure == "auc" else average_precision(*counts)

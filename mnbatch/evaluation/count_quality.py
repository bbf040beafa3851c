"""How good a counting model's numbers of micronuclei are, on cells that a person counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.evaluation.cell_scoring import ScoredCells
from mnbatch.evaluation.count_figures import Counted, called_counts, confusion, weighted_figures
from mnbatch.evaluation.evaluation_set import LabelledSet
from mnbatch.evaluation.performance import Figure, Floats, Integers, percentile_interval, resampled_weights


@dataclass(frozen=True, slots=True)
class CountsMeasured:
    """Counts against truth; 3 means 3 or more in both.

    Attributes:
        cells: cells with a true number that a counting model scored.
        confusion: by true number (rows, 0 to 3 or more) and number called (columns).
        figures: `count_error` (mean absolute error, micronuclei a cell), `mn_per_1000` (called), `true_mn_per_1000` and
            `mn_ratio` (called over true), with bootstrap intervals.
    """

    cells: int
    confusion: tuple[tuple[int, ...], ...]
    figures: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        """The figure of this name."""
        return next(figure for figure in self.figures if figure.name == name)


def measure_counts(
    data: LabelledSet, scored: ScoredCells, group_by: str | None, resamples: int, seed: int
) -> CountsMeasured | None:
    """Measure the counts; None where the labels have no numbers or the model answers yes or no."""
    known = np.array([cell.n_mn is not None for cell in data.cells])
    some = any(cell.n_mn for cell in data.cells)
    places = np.flatnonzero(known & ~np.isnan(scored.ratios).any(axis=1))
    if not some or not len(places):
        return None
    true = [data.cells[place].n_mn or 0 for place in places]
    counted = Counted.of(true, called_counts(scored.called[places], scored.ratios[places]))
    units = data.units(group_by, places.tolist())
    values = weighted_figures(counted, np.ones((1, len(places))))
    blocks = [weighted_figures(counted, w) for w in resampled_weights(counted.true > 0, units, resamples, seed)]
    figures = []
    for name, value in values.items():
        over = np.concatenate([block[name] for block in blocks]) if blocks else np.zeros(0)
        figures.append(_figure(name, float(value[0]), over, units.method))
    rows = tuple(tuple(int(number) for number in row) for row in confusion(counted))
    return CountsMeasured(len(places), rows, tuple(figures))


def counts_of(scored: ScoredCells, place: int) -> int | None:
    """Micronuclei of a cell as called; None from a yes/no model and for a cell that was not scored."""
    ratios = scored.ratios[place : place + 1]
    if np.isnan(ratios).any():
        return None
    return int(called_counts(scored.called[place : place + 1], ratios)[0])


def counts_note(measured: CountsMeasured | None, kept: Integers) -> str:
    """What a reader must know of the cells that are not in the counts' figures; "" where there is nothing."""
    lost = len(kept) - measured.cells if measured is not None else 0
    return f"{lost} of {len(kept)} scored cells lack a true or a called number of micronuclei." if lost else ""


def _figure(name: str, value: float, over: Floats, method: str) -> Figure:
    if np.isnan(value):
        return Figure(name, None, None, None, "")
    interval = percentile_interval(over)
    low, high = interval or (None, None)
    return Figure(name, value, low, high, method if interval else "")

"""How good a counting model's numbers of micronuclei are, on cells that a person counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.evaluation.cell_scoring import ScoredCells
from mnbatch.evaluation.count_figures import Counted, called_counts, confusion, weighted_confusion, weighted_figures
from mnbatch.evaluation.evaluation_set import LabelledSet
from mnbatch.evaluation.performance import Figure, Floats, Integers, Sample, bootstrap_figure, weighted_figure


@dataclass(frozen=True, slots=True)
class CountsMeasured:
    """Counts against truth; 3 means 3 or more in both.

    Attributes:
        cells: cells with a true number that a counting model scored.
        confusion: by true number (rows, 0 to 3 or more) and number called (columns).
        stood_for: likewise, cells for which drawn ones stand (sums of weights); None where each stands for itself.
        figures: `count_error` (mean absolute error, micronuclei a cell), `mn_per_1000` (called), `true_mn_per_1000` and
            `mn_ratio` (called over true), with bootstrap intervals.
    """

    cells: int
    confusion: tuple[tuple[int, ...], ...]
    figures: tuple[Figure, ...]
    stood_for: tuple[tuple[float, ...], ...] | None = None

    def __getitem__(self, name: str) -> Figure:
        """The figure of this name."""
        return next(figure for figure in self.figures if figure.name == name)


def measure_counts(
    data: LabelledSet,
    scored: ScoredCells,
    group_by: str | None,
    resamples: int,
    seed: int,
    weights: Floats | None = None,
) -> CountsMeasured | None:
    """Measure the counts; None where the labels have no numbers or the model answers yes or no.

    Args:
        weights: how many cells each one stands for, (n,); None where each stands for itself.
    """
    known = np.array([cell.n_mn is not None for cell in data.cells])
    some = any(cell.n_mn for cell in data.cells)
    places = np.flatnonzero(known & ~np.isnan(scored.ratios).any(axis=1))
    if not some or not len(places):
        return None
    true = [data.cells[place].n_mn or 0 for place in places]
    counted = Counted.of(true, called_counts(scored.called[places], scored.ratios[places]))
    units = data.units(group_by, places.tolist())
    has_mn = np.asarray(counted.true > 0)
    sample = Sample(
        scored.scores[places], has_mn, scored.called[places], units, None if weights is None else weights[places]
    )
    values = weighted_figures(counted, sample.base)
    blocks = [weighted_figures(counted, drawn) for drawn in sample.resampled(resamples, seed)]
    made = bootstrap_figure if weights is None else weighted_figure
    figures = []
    for name, value in values.items():
        over = np.concatenate([block[name] for block in blocks]) if blocks else np.zeros(0)
        figures.append(made((name, None), float(value[0]), over, sample.method))
    rows = tuple(tuple(int(number) for number in row) for row in confusion(counted))
    stood_for = None if sample.weights is None else weighted_confusion(counted, sample.weights)
    return CountsMeasured(len(places), rows, tuple(figures), stood_for)


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

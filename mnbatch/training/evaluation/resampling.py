"""Bootstrap resamples as weights, over cells within their class or over whole clusters (donors, slides)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mnbatch.training.evaluation.ranking import Bools, Floats, Integers

_VALUES_AT_ONCE = 2_000_000
FEW_CLUSTERS = 10
"""Below this many clusters an interval of a cluster bootstrap is usually too narrow, and that is said."""


@dataclass(frozen=True, slots=True)
class Units:
    """What is drawn in a resample.

    Attributes:
        name: "cell", or what a cluster is: "donor", "slide", or a group column.
        index: cluster number of each cell, (n,); None where cells are drawn.
        count: number of clusters, or of cells.
    """

    name: str
    index: Integers | None
    count: int

    @property
    def method(self) -> str:
        """How intervals were made, for tables and pages."""
        if self.index is None:
            return "bootstrap over cells, stratified by class"
        return f"bootstrap over {self.count} clusters ({self.name})"

    @property
    def warning(self) -> str:
        """Why the intervals should not be trusted too much, or ""."""
        if self.index is None or self.count >= FEW_CLUSTERS:
            return ""
        return f"Intervals come from only {self.count} clusters ({self.name}); they are probably too narrow."


def units_of(names: Sequence[str], what: str) -> Units:
    """Clusters by name; cells without a name are clusters of their own. One cluster or none: cells are drawn."""
    keys = [name or f"\0{number}" for number, name in enumerate(names)]
    distinct, index = np.unique(np.array(keys, dtype=object), return_inverse=True)
    if not any(names) or len(distinct) < 2:
        return Units("cell", None, len(names))
    return Units(what, index.astype(np.intp), len(distinct))


def resampled_weights(labels: Bools, units: Units, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each cell was drawn, in blocks of rows, (m, n); `resamples` rows in all.

    Cells are drawn with replacement within their class, so that every resample has both classes in the numbers of
    the data (stratified). Clusters are drawn with replacement as wholes (Davison and Hinkley, Bootstrap Methods,
    1997, section 3.8): cells of one donor or slide resemble each other, and drawing them singly would make
    intervals too narrow. A resample of clusters may then lack a class; figures that need it are NaN there.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, min(resamples, _VALUES_AT_ONCE // max(1, len(labels))))
    for first in range(0, resamples, rows):
        yield _drawn(rng, labels, units, min(rows, resamples - first))


def _drawn(rng: np.random.Generator, labels: Bools, units: Units, rows: int) -> Floats:
    if units.index is not None:
        return _multinomial(rng, units.count, rows)[:, units.index]
    weights = np.zeros((rows, len(labels)))
    for members in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        if len(members):
            weights[:, members] = _multinomial(rng, len(members), rows)
    return weights


def _multinomial(rng: np.random.Generator, count: int, rows: int) -> Floats:
    """How often each of `count` things comes up in `count` draws; (rows, count)."""
    drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def percentile_interval(values: Floats) -> tuple[float, float] | None:
    """The 2.5 and 97.5 % quantiles of a figure over the resamples.

    Resamples in which it is undefined are left out; None where that is more than half of them, or where there are
    none.
    """
    defined = values[~np.isnan(values)]
    if not len(values) or len(defined) * 2 < len(values):
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)

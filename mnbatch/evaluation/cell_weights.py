"""Cells of a review that were drawn with a known probability: how many cells each of them stands for."""

from __future__ import annotations

import numpy as np

from mnbatch.evaluation.evaluation_set import LabelledSet
from mnbatch.evaluation.performance import Floats, Integers

PROBABILITY, STRATUM = "inclusion_probability", "stratum"
_CALLED, _REST, _NOT_DRAWN = "called", "rest", "outside"
"""Strata as `mnbatch review export` writes them: cells that the model called, those drawn from the others, and those
that were picked to be learnt from (`mnbatch.review.queue`)."""


def weights_of(data: LabelledSet) -> Floats | None:
    """1 / inclusion probability of each cell, (n,); None where all probabilities are 1, or there are none.

    A cell that was drawn with probability p stands for 1 / p cells (Horvitz and Thompson, J. Am. Stat. Assoc. 47:663,
    1952). A cell whose line has no probability stands for itself.
    """
    chances = np.array([cell.chance for cell in data.cells])
    return 1 / chances if (chances < 1).any() else None


def not_drawn(data: LabelledSet) -> dict[int, str]:
    """Why cells that were picked, and not drawn, are in no figure of drawn cells: place to reason.

    They are of those for which the drawn cells stand: counted themselves, they would be in the figures twice. Without
    a probability below 1 nothing is left out.
    """
    if weights_of(data) is None or STRATUM not in data.columns:
        return {}
    pairs = zip(data.columns[STRATUM], data.columns[PROBABILITY], strict=True)
    why = "it was picked for its score, not drawn (stratum outside); the cells that were drawn stand for it"
    return {place: why for place, (stratum, chance) in enumerate(pairs) if stratum == _NOT_DRAWN and not chance}


def weights_note(data: LabelledSet, kept: Integers) -> str:
    """What a reader must know of cells that a review chose; "" where there is nothing to say."""
    weights = weights_of(data)
    if weights is None:
        return _no_rest(data)
    used = weights[kept]
    drawn = used[used > 1]
    without = sum(not data.columns[PROBABILITY][place] for place in kept)
    parts = [
        f"The cells were chosen by their scores ({PROBABILITY}): {len(used)} scored cells stand for {used.sum():.0f}, "
        f"{len(drawn)} of them, which were drawn at random, for {drawn.sum():.0f}.",
        "Every figure counts a cell 1 / its probability times, and its interval is that of the bootstrap.",
    ]
    if without:
        parts.append(f"{without} cells without a probability stand for themselves alone.")
    return " ".join(parts)


def _no_rest(data: LabelledSet) -> str:
    """A word where a review took only cells that a model called, or nearly: what it missed is not among them."""
    strata = set(data.columns.get(STRATUM, ()))
    if _CALLED not in strata or _REST in strata:
        return ""
    return (
        "The cells are those that a model called and those near its threshold (stratum); none is from the rest of its "
        "slide. If there was a rest, micronuclei that were missed in it are in no figure: sensitivity and counts are "
        "not those of slides."
    )

"""Which cells teach a model most: uncertain ones, unlike each other and unlike those reviewed anyway."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RANDOM_SHARE = 0.2
"""Of the chosen cells, drawn at random: a model may be wrong where it is sure."""
WIDTH = 2.0
"""Logits from the threshold at which a cell's uncertainty has fallen to 1 / e."""

Floats = npt.NDArray[np.float64]


def choose_cells(
    features: Floats,
    p_mn: Floats,
    threshold: Floats | float,
    taken: npt.NDArray[np.bool_],
    chances: Sequence[bytes],
    number: int,
    random_share: float = RANDOM_SHARE,
) -> list[int]:
    """Places of the cells to be decided, in the order in which they were chosen.

    A share is random. Then the cell with the largest product of uncertainty, exp(-|logit(p) - logit(threshold)| /
    `WIDTH`), and squared distance to the nearest cell that is taken or chosen already, again and again (the
    farthest-first traversal of Sener and Savarese, "Active learning for convolutional neural networks: a core-set
    approach", 2018, weighted by uncertainty).

    Args:
        features: (n, d), as the network sees the cells; p_mn: (n,); threshold: of the calls, one or (n,).
        taken: (n,), cells that are in the review anyway, or decided.
        chances: (n,), a permanent random number of each cell.
        number: cells to choose; fewer are given where there are no more.
    """
    free = [place for place in range(len(taken)) if not taken[place]]
    number = min(number, len(free))
    at_random = sorted(free, key=chances.__getitem__)[: round(random_share * number)]
    chosen = list(at_random)
    scaled = features / np.maximum(features.std(axis=0), 1e-9)
    nearest = np.full(len(taken), np.inf)
    for place in [*np.flatnonzero(taken).tolist(), *chosen]:
        nearest = np.minimum(nearest, _squared(scaled, place))
    uncertain = np.exp(-np.abs(_logit(p_mn) - _logit(np.atleast_1d(np.asarray(threshold, np.float64)))) / WIDTH)
    closed = taken.copy()
    closed[chosen] = True
    while len(chosen) < number:
        gain = uncertain * np.where(np.isinf(nearest), 1.0, nearest)
        gain[closed] = -1.0
        place = int(np.argmax(gain))
        chosen.append(place)
        closed[place] = True
        nearest = np.minimum(nearest, _squared(scaled, place))
    return chosen


def _squared(features: Floats, place: int) -> Floats:
    return np.asarray(((features - features[place]) ** 2).sum(axis=1), np.float64)


def _logit(p: Floats) -> Floats:
    clipped = p.clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)

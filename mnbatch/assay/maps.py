"""How an evidence map is shown: one definition for the pages and for the figures about it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spread(evidence: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Evidence (..., H, W) spread by one grid step (3 x 3 binomial kernel, mirrored edges); its sum is unchanged.

    Evidence is credited to single positions, but a receptive field is several grid steps wide: what is seen at a
    position lies somewhere round it. Spread by one step, the strongest point of the map is more often on the
    micronucleus (docs/models.md has the figures).
    """
    edges = [(0, 0)] * (evidence.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(evidence.astype(np.float64), edges, mode="symmetric")
    rows = (padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]) / 4
    spread_both: npt.NDArray[np.float64] = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    return spread_both

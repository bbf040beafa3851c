"""Smooth random fields that any window of a slide of any size can be cut from, without seams."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from mnbatch.simulate.shapes import FloatArray

_NODES = 96
# Standard deviation of white noise after cubic B-spline smoothing in both directions: the mean of the squared
# weights over the phase is 151/315 in each.
_SPREAD = 151 / 315


class SmoothField:
    """Gaussian noise, mean 0, standard deviation about 1, with bumps about `scale` px apart.

    A cubic B-spline over a grid of 96 x 96 random nodes, `scale` px apart, that repeats beyond.
    """

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self._grid = (rng.standard_normal((_NODES, _NODES)) / _SPREAD).astype(np.float32)
        self._scale = max(1.0, scale)
        self._shift = rng.uniform(0, _NODES, 2)

    def window(self, left: int, top: int, width: int, height: int) -> FloatArray:
        """Values of the pixels of a window, (height, width)."""
        rows = self._weights(np.arange(top, top + height), self._shift[0])
        columns = self._weights(np.arange(left, left + width), self._shift[1])
        return np.asarray(rows @ self._grid @ columns.T, dtype=np.float32)

    def at(self, x: float, y: float) -> float:
        """Value at one position, px."""
        row, column = self._weights(np.array([y]), self._shift[0]), self._weights(np.array([x]), self._shift[1])
        return float((row @ self._grid @ column.T)[0, 0])

    def _weights(self, positions: npt.NDArray[Any], shift: float) -> FloatArray:
        place = np.asarray(positions, dtype=np.float64) / self._scale + shift
        node = np.floor(place).astype(np.int64)
        t = place - node
        parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        weights = np.zeros((len(place), _NODES), dtype=np.float32)
        index = np.arange(len(place))
        for offset, part in enumerate(parts):
            weights[index, (node + offset - 1) % _NODES] += (part / 6).astype(np.float32)
        return weights


class FocusMap:
    """Patches of the slide that lie out of focus, by position; `share` of the area."""

    def __init__(self, rng: np.random.Generator, share: float, patch_px: float) -> None:
        self._field = SmoothField(rng, patch_px)
        self._level = NormalDist().inv_cdf(1 - share) if share > 0 else float("inf")

    def share_of(self, left: float, top: float, right: float, bottom: float) -> float:
        """Share of a rectangle that lies in such patches, from 20 x 20 positions."""
        if self._level == float("inf"):
            return 0.0
        xs, ys = np.linspace(left, right, 20), np.linspace(top, bottom, 20)
        return float(np.mean([self.blurred(float(x), float(y)) for x in xs for y in ys]))

    def blurred(self, x: float, y: float) -> bool:
        """Whether this position lies in such a patch."""
        return self._level < float("inf") and self._field.at(x, y) > self._level

"""Smooth random fields that any window of a slide of any size can be cut from, without seams."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from mnbatch.simulate.shapes import FloatArray

_NODES = 96
_FOUR = np.arange(4)
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
        row, down = _spline(y / self._scale + self._shift[0])
        column, across = _spline(x / self._scale + self._shift[1])
        nodes = self._grid[np.ix_((row + _FOUR) % _NODES, (column + _FOUR) % _NODES)]
        return float(down @ nodes @ across)

    def _weights(self, positions: npt.NDArray[Any], shift: float) -> FloatArray:
        place = np.asarray(positions, dtype=np.float64) / self._scale + shift
        node = np.floor(place).astype(np.int64)
        weights = np.zeros((len(place), _NODES), dtype=np.float32)
        index = np.arange(len(place))
        for offset, part in enumerate(_parts(place - node)):
            weights[index, (node + offset - 1) % _NODES] += part.astype(np.float32)
        return weights


def _spline(place: float) -> tuple[int, npt.NDArray[Any]]:
    """The first of the four nodes around a place, in nodes, and their weights."""
    node = math.floor(place)
    return node - 1, np.array(_parts(place - node))


def _parts(t: Any) -> tuple[Any, Any, Any, Any]:
    """Weights of the four nodes of a cubic B-spline, `t` (0..1) after the second of them."""
    return (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6


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

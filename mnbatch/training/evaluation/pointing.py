"""The pointing game: does the strongest point of a map lie on a micronucleus?

After Zhang et al., Int J Comput Vision 126:1084 (2018): a hit where the map's strongest point lies on the object or
within a tolerance of it. Position i of the 13 x 13 grid is centred at pixel 15 + 16 i of the 224-pixel input; the
tolerance is 8 pixels, half a step of that grid, measured from the point to the nearest pixel of a micronucleus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from mnbatch.assay.intervals import clopper_pearson
from mnbatch.training.evaluation.masks import Mask

ORIGIN, STEP, GRID = 15, 16, 13
TOLERANCE = 8.0
CENTRES = ORIGIN + STEP * np.arange(GRID)


@dataclass(frozen=True, slots=True)
class Pointing:
    """How often one map points at a micronucleus.

    Attributes:
        name: of the map; "random" for the expected share of a point drawn at random from the grid, "reachable" for
            the share of cells where any position of the grid would hit.
        target: "any": a micronucleus of any cell in the crop; "own": one of the crop's own cell.
        hits: of `cells`; None for "random", which is an expectation.
        low, high: Clopper-Pearson 95 % interval; for "random" None.
    """

    name: str
    target: str
    share: float
    cells: int
    hits: int | None = None
    low: float | None = None
    high: float | None = None


def hit_grid(mask: Mask) -> npt.NDArray[np.bool_]:
    """Positions of the grid that lie on or within the tolerance of a micronucleus, (13, 13).

    Args:
        mask: (224, 224); no micronucleus gives no hit anywhere.
    """
    if not mask.any():
        return np.zeros((GRID, GRID), bool)
    distance = distance_transform_edt(~mask)
    return np.asarray(distance[np.ix_(CENTRES, CENTRES)] <= TOLERANCE)


def strongest(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Row and column of each map's largest value, (n, 2); the first in reading order where several are equal."""
    flat = maps.reshape(len(maps), -1).argmax(axis=1)
    return np.stack(np.unravel_index(flat, maps.shape[1:]), axis=1)


def play(maps: Mapping[str, npt.NDArray[np.float32]], masks: Sequence[Mask], target: str) -> list[Pointing]:
    """Play the game for every map on cells that have at least one micronucleus in their mask.

    Args:
        maps: (n, 13, 13) each, by name; masks: n masks of 224 x 224.
    """
    grids = np.stack([hit_grid(mask) for mask in masks])
    found = []
    for name, values in maps.items():
        rows, columns = strongest(values).T
        found.append(_share(name, target, int(grids[np.arange(len(grids)), rows, columns].sum()), len(grids)))
    found.append(Pointing("random", target, float(grids.mean()), len(grids)))
    found.append(_share("reachable", target, int(grids.any(axis=(1, 2)).sum()), len(grids)))
    return found


def _share(name: str, target: str, hits: int, cells: int) -> Pointing:
    return Pointing(name, target, hits / cells, cells, hits, *clopper_pearson(hits, cells))

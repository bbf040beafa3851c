"""Whole cells: the cytoplasm round the nuclei, where the stain shows any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.segmentation import watershed

from mnbatch.imaging.segmentation.found import Labels
from mnbatch.imaging.segmentation.regions import depth_of, without_holes, without_small
from mnbatch.imaging.segmentation.signal import FloatImage, StainSignal

BoolArray = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.int32, np.bool_)

_WORKING_DIAMETER = 20.0
"""Bodies are sought at this many pixels across a nucleus: their edges are softer than those of nuclei."""

_RING = (0.06, 0.16)
_OUTER_RING = (0.2, 0.3)
"""Cytoplasm is looked for at these distances from nuclei, in nucleus diameters."""

_FAR = 0.8
_REACH = 1.2
"""Cytoplasm ends at this distance from the cell's nuclei, in nucleus diameters."""

_CLEAR = 4.0
_PLATEAU = 0.4
"""Glare falls off with the distance from a nucleus, cytoplasm does not: what the outer ring has of the inner one's."""

_BLUR = 0.04
_INLET = 0.1
_TONGUE = 0.15
_HOLE = 0.3
"""Half widths of inlets that are closed and of tongues that are cut off; holes filled, in squares of a diameter."""

_EDGE = 0.4
"""Where a cell ends: this share of its cytoplasm above the ground."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyMask:
    """Where there is cytoplasm or nucleus, on a grid `factor` times coarser than the field.

    Attributes:
        mask: (ceil(h / factor), ceil(w / factor)).
        stain: the same grid, stain of any kind.
        depth: the same grid, distance to where there is neither.
    """

    mask: BoolArray
    stain: FloatImage
    depth: FloatImage
    factor: int

    def divided(self, markers: Labels) -> Labels:
        """Divide the bodies among markers, on the coarse grid; parts without a marker are left out.

        Args:
            markers: (h, w), nuclei.
        """
        coarse = coarse_labels(markers, self.factor)
        return np.asarray(watershed(-self.depth, coarse, mask=self.mask | (coarse > 0)), dtype=np.int32)

    def bodies(self, markers: Labels) -> Labels:
        """(h, w): the bodies of the cells whose nuclei the markers are."""
        height, width = markers.shape
        full = np.repeat(np.repeat(self.divided(markers), self.factor, axis=0), self.factor, axis=1)
        return np.where(markers > 0, markers, full[:height, :width])


def coarse_labels(labels: npt.NDArray[Number], factor: int) -> npt.NDArray[Number]:
    """The largest label in each block of factor x factor pixels."""
    if factor == 1:
        return labels
    height, width = labels.shape
    padded = np.pad(labels, ((0, -height % factor), (0, -width % factor)))
    rows = padded[::factor].copy()
    for offset in range(1, factor):
        np.maximum(rows, padded[offset::factor], out=rows)
    columns = rows[:, ::factor].copy()
    for offset in range(1, factor):
        np.maximum(columns, rows[:, offset::factor], out=columns)
    return columns


def body_mask(signal: StainSignal, nuclear: BoolArray, diameter: float) -> BodyMask | None:
    """Where there is cytoplasm or nucleus, or None where no cytoplasm stands out of the ground.

    The cytoplasm's level is the median of a ring round the nuclei; part of it, seen from the ground, is its edge. In
    fluorescence the glare round bright nuclei is told from cytoplasm by a second ring.

    Args:
        nuclear: (h, w), nuclei and small bodies.
        diameter: of a nucleus, px.
    """
    factor = max(1, round(diameter / _WORKING_DIAMETER))
    stain = np.asarray(Image.fromarray(signal.total).reduce(factor), dtype=np.float32)
    inner = coarse_labels(nuclear, factor)
    size = diameter / factor
    smooth = ndimage.gaussian_filter(stain, max(0.6, _BLUR * size), truncate=3)
    away = ndimage.distance_transform_edt(~inner).astype(np.float32) / np.float32(size)
    level = _level(smooth, away, signal.ground == "fluorescence")
    if level is None:
        return None
    mask = (smooth > level) & (away <= _REACH) | inner
    mask = _evened(mask, size) | inner
    return BodyMask(mask, stain, depth_of(mask), factor)


def _evened(mask: BoolArray, size: float) -> BoolArray:
    """The mask without specks, inlets and holes (pale places of a cytoplasm), and tongues (ground's texture).

    Args:
        size: nucleus diameter on this grid, px.
    """
    width = max(1, round(_INLET * size))
    # What lies outside the field counts as what lies at its edge, or the edge would eat into cells.
    padded = np.pad(without_small(mask, 0.2 * size**2), width, mode="edge")
    closed = without_holes(ndimage.binary_closing(padded, iterations=width), _HOLE * size**2)
    opened = ndimage.binary_opening(closed, iterations=max(1, round(_TONGUE * size)))
    return np.asarray(opened[width:-width, width:-width])


def _level(smooth: FloatImage, away: FloatImage, glare: bool) -> float | None:
    """Stain at the edge of cells, or None."""
    ring, far = smooth[(away > _RING[0]) & (away <= _RING[1])], smooth[away > _FAR]
    if not ring.size or not far.size:
        return None
    ground = float(np.median(far))
    spread = 1.4826 * float(np.median(np.abs(far - ground)))
    step = float(np.median(ring)) - ground
    if step < _CLEAR * max(spread, 1e-6):
        return None
    outer = smooth[(away > _OUTER_RING[0]) & (away <= _OUTER_RING[1])]
    if glare and (not outer.size or float(np.median(outer)) - ground < _PLATEAU * step):
        return None
    return ground + _EDGE * step

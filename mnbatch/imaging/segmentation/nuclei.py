"""From stain to nuclei: where there is nuclear stain, how large a nucleus is here, and which are one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from mnbatch.imaging.segmentation.found import Labels
from mnbatch.imaging.segmentation.regions import relabelled, without_holes, without_small
from mnbatch.imaging.segmentation.signal import FloatImage, StainSignal
from mnbatch.imaging.segmentation.splitting import SplitRule, split_touching

BoolArray = npt.NDArray[np.bool_]

_NOISE_FACTOR = 5.0
_LEAST_AREA = 12
_HALF = 0.45
_DISC_TO_NUCLEUS = 1.17


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """Nuclei of a field.

    Attributes:
        main: labels of main nuclei.
        small: labels of smaller bodies.
        diameter: median of the main nuclei, px; 0.0 without any.
    """

    main: Labels
    small: Labels
    diameter: float


def find_nuclei(signal: StainSignal, small_body: float, hint: float | None = None) -> Nuclei:
    """Find and tell apart the nuclei of a field.

    Args:
        small_body: smaller than this share of the median diameter is no main nucleus.
        hint: median diameter where it is known.
    """
    smooth = np.asarray(ndimage.gaussian_filter(signal.nuclear, 0.7, truncate=3), dtype=np.float32)
    mask = foreground(smooth, signal.noise)
    if not mask.any():
        nothing = np.zeros(mask.shape, np.int32)
        return Nuclei(nothing, nothing, 0.0)
    diameter = hint or typical_diameter(mask)
    mask = without_holes(mask, 0.2 * diameter**2)
    labels = split_touching(mask, smooth, diameter, SplitRule())
    labels = trimmed(labels, smooth)
    return by_size(labels, small_body, hint)


def foreground(smooth: FloatImage, noise: float) -> BoolArray:
    """Stained or not: Otsu on the square root, so that bright nuclei do not hide faint ones, but above the noise."""
    rooted = np.sqrt(np.maximum(smooth[::2, ::2], 0))
    threshold = float(threshold_otsu(rooted)) ** 2 if rooted.size and rooted.max() > rooted.min() else np.inf
    return np.asarray(without_small(smooth > max(threshold, _NOISE_FACTOR * noise), _LEAST_AREA))


def typical_diameter(mask: BoolArray) -> float:
    """First guess of a nucleus's diameter from the widest discs that fit into each component, px; 0.0 without any.

    Clusters of nuclei hold discs no wider than single nuclei do; a nucleus as usual is a sixth wider than its disc.
    The median goes by area, so that specks count little.
    """
    labels, count = ndimage.label(mask)
    if not count:
        return 0.0
    index = np.arange(1, count + 1)
    widest = 2 * np.asarray(ndimage.maximum(ndimage.distance_transform_edt(mask), labels, index))
    weights = np.bincount(labels.ravel())[1:]
    order = np.argsort(widest)
    total = np.cumsum(weights[order])
    return float(_DISC_TO_NUCLEUS * widest[order][np.searchsorted(total, total[-1] / 2)])


def trimmed(labels: Labels, smooth: FloatImage) -> Labels:
    """Each nucleus ends where its stain falls below about half of its own, so that bright ones do not grow a halo."""
    count = int(labels.max())
    flat = labels.ravel()
    area = np.maximum(np.bincount(flat, minlength=count + 1), 1)
    values = smooth.ravel().astype(np.float64)
    weight = np.bincount(flat, weights=values, minlength=count + 1)
    level = np.bincount(flat, weights=values * values, minlength=count + 1) / np.maximum(weight, 1e-9)
    level[0] = np.inf
    del area
    kept = np.where(smooth > (_HALF * level).astype(np.float32)[labels], labels, 0)
    return np.asarray(kept, dtype=np.int32)


def by_size(labels: Labels, small_body: float, hint: float | None) -> Nuclei:
    """Tell main nuclei from small bodies by area; arguments as of `find_nuclei`."""
    area = np.bincount(labels.ravel()).astype(np.float64)
    area[0] = 0
    if not area.any():
        return Nuclei(labels, labels, 0.0)
    middle = (np.pi / 4 * hint**2) if hint else _middle_area(area[area > 0])
    main = area >= middle * small_body**2
    small = (area >= _LEAST_AREA) & ~main
    median = float(np.median(area[main])) if main.any() else 0.0
    return Nuclei(relabelled(labels, main), relabelled(labels, small), 2 * (median / np.pi) ** 0.5)


def _middle_area(area: npt.NDArray[np.float64]) -> float:
    """Area of the object in which the middle pixel of all lies: specks by the hundred do not shift it."""
    ordered = np.sort(area)
    weights = np.cumsum(ordered)
    return float(ordered[np.searchsorted(weights, weights[-1] / 2)])

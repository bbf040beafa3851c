"""From stain to nuclei: where there is nuclear stain, how large a nucleus is here, and which are one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from mnbatch.imaging.segmentation.hazy_nuclei import nuclei_in_haze
from mnbatch.imaging.segmentation.object_measures import largest_within, relabelled, without_holes, without_small
from mnbatch.imaging.segmentation.segmentation_settings import Labels
from mnbatch.imaging.segmentation.stain_signal import FloatImage, StainSignal
from mnbatch.imaging.segmentation.touching_nuclei import SplitRule, split_touching

BoolArray = npt.NDArray[np.bool_]

_NOISE_FACTOR = 5.0
_LEAST_AREA = 12
_LARGE = 400_000
_HALF = 0.45
_HALF_STAINED = 0.5
_DARKEST = 0.8
"""A cell's nuclear stain is read at this share of its pixels in order of their stain."""
_PALEST = 0.5
_NUCLEAR_EDGE = 0.35
"""A stained nucleus ends at this share of the way from its cytoplasm's stain to its own."""
_CYTOPLASM = 0.62
"""Mean stain of cytoplasm is below this share of the nuclei's; the texture within nuclei stays above."""

_DISC_TO_NUCLEUS = 1.17
_BLUR = 0.05
"""Chromatin is lumpy: what the edge of a stained nucleus is read from is smoothed by this share of its diameter."""


@dataclass(frozen=True, slots=True, eq=False)
class Nuclei:
    """Nuclei of a field.

    Attributes:
        main: labels of main nuclei.
        small: labels of smaller bodies.
        diameter: median of the main nuclei, px; 0.0 without any.
        hazy: the field's cytoplasm shows, so that each nucleus was found by its own contrast.
    """

    main: Labels
    small: Labels
    diameter: float
    hazy: bool = False


def find_nuclei(signal: StainSignal, small_body: float, hint: float | None = None) -> Nuclei:
    """Find and tell apart the nuclei of a field.

    Args:
        small_body: smaller than this share of the median diameter is no main nucleus.
        hint: median diameter where it is known.
    """
    smooth = np.asarray(ndimage.gaussian_filter(signal.nuclear, 0.7, truncate=3), dtype=np.float32)
    stained = signal.stain == "giemsa"
    mask = foreground(smooth, signal.noise, cytoplasm=stained)
    if not mask.any():
        nothing = np.zeros(mask.shape, np.int32)
        return Nuclei(nothing, nothing, 0.0)
    diameter = hint or typical_diameter(mask)
    hazy = None if stained else nuclei_in_haze(smooth, signal.noise, mask, diameter, known=hint is not None)
    divided_by, is_hazy = smooth, hazy is not None and bool(hazy.mask.any())
    if hazy is not None and is_hazy:
        mask, divided_by = hazy.mask, hazy.relative
        diameter = hint or typical_diameter(mask)
    mask = without_holes(mask, 0.2 * diameter**2)
    labels = split_touching(mask, divided_by, diameter, SplitRule())
    if stained:
        blurred = ndimage.gaussian_filter(signal.nuclear, _BLUR * diameter, truncate=2)
        labels = trimmed(labels, blurred, _HALF_STAINED)
    else:
        labels = trimmed(labels, smooth, _HALF)
    return replace(by_size(labels, small_body, hint), hazy=is_hazy)


def foreground(smooth: FloatImage, noise: float, *, cytoplasm: bool) -> BoolArray:
    """Where nuclear stain is.

    Otsu's threshold (1979) on the square root, so that bright nuclei do not hide faint ones, but above the noise. Where
    cytoplasm may be stained too, what is above holds cells; Otsu's threshold among their pixels then tells nucleus
    from cytoplasm, if the two differ by more than the texture of nuclei does.
    """
    sample = smooth[::2, ::2]
    threshold = max(_otsu(np.sqrt(np.maximum(sample, 0))) ** 2, _NOISE_FACTOR * noise)
    if cytoplasm:
        cells = sample[sample > threshold]
        inner = _otsu(cells)
        faint, strong = cells[cells <= inner], cells[cells > inner]
        if faint.size and strong.size and faint.mean() < _CYTOPLASM * strong.mean():
            inner = float(faint.mean() + _NUCLEAR_EDGE * (strong.mean() - faint.mean()))
            return _above_own(smooth, threshold, max(threshold, inner), inner / float(strong.mean()))
    return np.asarray(without_small(smooth > threshold, _LEAST_AREA))


def _above_own(smooth: FloatImage, cells: float, nuclei: float, share: float) -> BoolArray:
    """Pixels that are nucleus by their own cell's stain: a pale cell's nuclei have a lower threshold.

    Args:
        cells, nuclei: thresholds of cells and of nuclei for the field as a whole.
        share: the latter relative to the nuclei's mean.
    """
    labels, count = ndimage.label(without_small(smooth > cells, _LEAST_AREA))
    rows, columns = np.nonzero(labels[::2, ::2])
    owner, stain = labels[2 * rows, 2 * columns], smooth[2 * rows, 2 * columns]
    order = np.lexsort((stain, owner))
    ends = np.searchsorted(owner[order], np.arange(count + 1), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    darkest = np.zeros(count + 1, np.float32)
    held = ends > starts
    darkest[held] = stain[order][(starts + _DARKEST * (ends - 1 - starts)).astype(np.intp)[held]]
    own = np.clip(share * darkest, max(cells, _PALEST * nuclei), nuclei).astype(np.float32)
    return np.asarray(without_small((labels > 0) & (smooth > own[labels]), _LEAST_AREA))


def _otsu(values: npt.NDArray[np.float32]) -> float:
    if not values.size or values.max() <= values.min():
        return float("inf")
    return float(threshold_otsu(values))


def typical_diameter(mask: BoolArray) -> float:
    """First guess of a nucleus's diameter from the widest discs that fit into each component, px; 0.0 without any.

    Clusters of nuclei hold discs no wider than single nuclei do; a nucleus as usual is a sixth wider than its disc.
    The median goes by area, so that specks count little.
    """
    step = 2 if mask.size > _LARGE else 1
    labels, count = ndimage.label(mask[::step, ::step])
    if not count:
        return 0.0
    widest = 2 * step * largest_within(labels, ndimage.distance_transform_edt(labels), count)
    weights = np.bincount(labels.ravel())[1:]
    order = np.argsort(widest)
    total = np.cumsum(weights[order])
    return float(_DISC_TO_NUCLEUS * widest[order][np.searchsorted(total, total[-1] / 2)])


def trimmed(labels: Labels, smooth: FloatImage, share: float) -> Labels:
    """Each nucleus ends where its stain falls below a share of its own, so that bright ones do not grow a halo."""
    inside = np.flatnonzero(labels > 0)
    owner = labels.ravel()[inside]
    values = smooth.ravel()[inside].astype(np.float64)
    weight = np.bincount(owner, weights=values)
    level = np.bincount(owner, weights=values * values) / np.maximum(weight, 1e-9)
    stays = values > (share * level).astype(np.float32)[owner]
    kept = np.zeros(labels.size, np.int32)
    kept[inside[stays]] = owner[stays]
    return kept.reshape(labels.shape)


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
    """Area of the object in which the middle pixel of all is: specks by the hundred do not shift it."""
    ordered = np.sort(area)
    weights = np.cumsum(ordered)
    return float(ordered[np.searchsorted(weights, weights[-1] / 2)])

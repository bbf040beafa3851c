"""Whether two pictures of a file show the same scene: another focal plane, another stain, a smaller version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.imaging.formats.pixels import Decoded

_COARSE = 32
"""Pixels a side to which pictures are reduced: noise is averaged away, nuclei are kept."""

FINE_SIDE = 128
"""Pixels a side of the details of a field."""

_SMALLER = 0.85
"""A reduced version has at most this share of the width of what it shows."""

_SAME_FORM = 0.02
_OTHER = 1.06
"""Focal planes and stains differ by more than this factor in contrast or steepness; noise makes less than 0.01."""

_TOO_FEW, _OTHER_KIND = 3, 1.3

SAME_CELL = 0.95
"""Correlation of two crops. Of simulated cells, focal planes of one reach 0.96, one after the other 0.85 at most."""

SAME_LEVEL = 0.93
"""Correlation of a picture and its reduced version; every second or third pixel gives at least 0.95."""

SAME_FIELD = 0.25
"""Correlation of two fields without what varies slowly. Stains of one field reach 0.4, two fields less than 0.1."""


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """What is kept of a picture to compare it: little, so that many can be.

    Attributes:
        coarse: (32, 32); fine: (128, 128), without what varies slowly.
        contrast: standard deviation; steepness: of its edges, as a share of the contrast.
        level: median value.
    """

    coarse: npt.NDArray[np.float64]
    fine: npt.NDArray[np.float64]
    contrast: float
    steepness: float
    level: float


def glimpse(picture: Decoded) -> Glimpse:
    """Of a picture (height, width) or (height, width, channels)."""
    from scipy import ndimage

    grey = picture.astype(np.float64)
    grey = np.nan_to_num(grey.mean(axis=2) if grey.ndim == 3 else grey, posinf=0, neginf=0)
    smooth = ndimage.gaussian_filter(grey, 1)
    contrast = max(float(smooth.std()), 1e-9)
    slope = float(np.sqrt(sum(float(np.square(slope).mean()) for slope in np.gradient(smooth))))
    details = _details(grey)
    level = max(float(np.median(grey)), 1e-9)
    return Glimpse(_reduced(grey, _COARSE), details, contrast, max(slope / contrast, 1e-9), level)


def details_of(picture: Decoded) -> npt.NDArray[np.float16]:
    """Details of a field (height, width) or (height, width, channels) without what varies slowly, as a unit vector.

    The product of two of them is the correlation of `likeness_of_fields`.
    """
    grey = picture.astype(np.float64)
    details = _details(np.nan_to_num(grey.mean(axis=2) if grey.ndim == 3 else grey, posinf=0, neginf=0))
    details -= details.mean()
    return np.asarray((details / max(float(np.linalg.norm(details)), 1e-9)).ravel(), np.float16)


def _details(grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy import ndimage

    fine = np.arcsinh(_standard(_reduced(grey, FINE_SIDE)))
    return np.asarray(fine - ndimage.gaussian_filter(fine, 6))


def may_be_level(small: tuple[int, int], large: tuple[int, int]) -> bool:
    """Whether a picture of (height, width) can be a reduced version of a larger one: the same form, within a pixel."""
    if not 0 < small[1] <= _SMALLER * large[1] or not 0 < small[0] <= _SMALLER * large[0]:
        return False
    scale = small[1] / large[1]
    return abs(small[0] - large[0] * scale) <= max(1.5, _SAME_FORM * small[0])


def likeness(one: Glimpse, other: Glimpse) -> float:
    """Correlation, -1..1, of two crops of whatever sizes."""
    return _correlation(one.coarse, other.coarse)


def in_turn(pictures: Sequence[Glimpse]) -> int:
    """Stains (or planes) that follow each other in turn, page by page, 2 to 4 of them; 0 for pages of one kind.

    Every second (third, fourth) page then differs from all others in level, contrast or steepness by more than pages of
    one kind differ among themselves. Two or three pages are a turn when they differ by more than cells of a slide do.
    Of galleries of 4 simulated cells that is so of 1 in 6 by chance, of 12 of 1 in 300.
    """
    measures = np.array([(picture.level, picture.contrast, picture.steepness) for picture in pictures])
    if len(pictures) <= _TOO_FEW:
        return len(pictures) if (measures.max(axis=0) > _OTHER_KIND * measures.min(axis=0)).any() else 0
    for period in (2, 3, 4):
        if len(pictures) % period:
            continue
        own = np.arange(len(pictures)) % period
        if any(_stands_apart(measures[own == i], measures[own != i]) for i in range(period)):
            return period
    return 0


def _stands_apart(some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> bool:
    """Whether in one measure all of some lie on one side of all others, further off than either reaches."""
    spread = np.maximum(np.ptp(some, axis=0), np.ptp(others, axis=0))
    gap = np.maximum(some.min(axis=0) - others.max(axis=0), others.min(axis=0) - some.max(axis=0))
    least = np.maximum(spread, (_OTHER - 1) * np.minimum(some.min(axis=0), others.min(axis=0)))
    return bool((gap > least).any())


def likeness_of_fields(one: Glimpse, other: Glimpse) -> float:
    """Correlation of the details of two fields, -1..1; uneven light is taken out."""
    return _correlation(one.fine, other.fine)


def other_focus(pictures: Sequence[Glimpse]) -> bool:
    """Whether pictures of one scene differ in focus or contrast, as planes and stains do; copies of a cell do not."""
    measures = np.array([(picture.contrast, picture.steepness) for picture in pictures])
    return bool((measures.max(axis=0) > _OTHER * measures.min(axis=0)).any())


def _reduced(grey: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    from scipy import ndimage

    rows, columns = (np.linspace(0, length, min(side, length) + 1).astype(int)[:-1] for length in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, grey.shape[0]]), np.diff([*columns, grey.shape[1]]))
    means = np.asarray(sums / counts)
    if means.shape == (side, side):
        return means
    return np.asarray(ndimage.zoom(means, (side / means.shape[0], side / means.shape[1]), order=1))


def _standard(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return np.asarray((values - middle) / max(high - low, 1e-9))


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0

"""Touching nuclei come apart: too many pieces first, then those are joined that are parts of one nucleus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.segmentation import watershed

from mnbatch.imaging.segmentation.object_measures import depth_of
from mnbatch.imaging.segmentation.segmentation_settings import Labels

# Seams: where two objects of a label image meet, how long the line between them is, and how much stain is on it.


Pair = tuple[int, int]
"""Two labels, the smaller first."""

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seam:
    """The line between two objects.

    A seam's pixel pairs across columns and across rows are its extents in y and x; the root of their squares is its
    length if it is straight.

    Attributes:
        across, down: pixel pairs across columns and across rows.
        stain: mean of the signal over those pixels.
    """

    across: float
    down: float
    stain: float

    @property
    def length(self) -> float:
        """In pixels."""
        return float(np.hypot(self.across, self.down))

    def with_another(self, other: Seam) -> Seam:
        """Both seams as one."""
        own, new = self.across + self.down, other.across + other.down
        stain = (self.stain * own + other.stain * new) / (own + new)
        return Seam(self.across + other.across, self.down + other.down, stain)


def seams_between(labels: Labels, signal: FloatImage) -> dict[Pair, Seam]:
    """The seam between each two objects that touch, in order of their labels."""
    count = int(labels.max()) if labels.size else 0
    across = _meeting(labels[:, :-1], labels[:, 1:], signal[:, :-1], signal[:, 1:], count)
    down = _meeting(labels[:-1], labels[1:], signal[:-1], signal[1:], count)
    seams: dict[Pair, Seam] = {}
    for key in sorted(across.keys() | down.keys()):
        (pairs_across, stain_across), (pairs_down, stain_down) = across.get(key, (0, 0.0)), down.get(key, (0, 0.0))
        stain = (stain_across + stain_down) / (pairs_across + pairs_down)
        a, b = divmod(key, count + 1)
        seams[(a, b)] = Seam(pairs_across, pairs_down, stain)
    return seams


def _meeting(
    first: Labels, second: Labels, stain: FloatImage, stain_beside: FloatImage, count: int
) -> dict[int, tuple[int, float]]:
    """Number and summed stain of neighbouring pixels of each two labels, under smaller * (count + 1) + larger."""
    meet = (first != second) & (first > 0) & (second > 0)
    a, b = first[meet].astype(np.int64), second[meet].astype(np.int64)
    keys, where = np.unique(np.minimum(a, b) * (count + 1) + np.maximum(a, b), return_inverse=True)
    lengths = np.bincount(where, minlength=len(keys))
    stains = np.bincount(where, (stain[meet] + stain_beside[meet]) / 2, minlength=len(keys))
    return dict(zip(keys.tolist(), zip(lengths.tolist(), stains.tolist(), strict=True), strict=True))


# Touching nuclei come apart: too many pieces first, then those are joined that are parts of one nucleus.
#
# A watershed on the distance from the outline and on the stain gives pieces. Whether two pieces that meet are one
# nucleus is weighed from the seam between them: length relative to the smaller piece's diameter, how much fainter the
# stain is on it, how much the stain of the pieces differs, and how large both would be together relative to the field's
# typical nucleus. Where the weights come from is told in docs/segmentation.md.


FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_WORKING_DIAMETER = 21.0
"""Pixels across a nucleus at which pieces are sought: enough to see a neck, and no slower on a finer camera."""

_SAME_DIAMETER = 0.12


@dataclass(frozen=True, slots=True)
class SplitRule:
    """Seeds, and the weights of the evidence that two pieces are one nucleus.

    Attributes:
        seed: least distance between seeds, in nucleus diameters.
        smoothing: of the distance from the outline before seeds are sought, in nucleus diameters.
        brightness: weight of the stain relative to the distance from the outline.
        smoothing_stain: of the stain in that, in nucleus diameters; surroundings: what it is compared with.
        gap: stain below this share of its surroundings' is no nucleus.
        constant: evidence without any of the following.
        neck: natural logarithm of the seam's length in diameters of the smaller piece.
        dip: natural logarithm of the stain on the seam / stain of the fainter piece, 0 where it is no fainter (nuclei
            that are on one another).
        step: natural logarithm of the ratio of the pieces' stains.
        union: diameter of both together, in nucleus diameters.
    """

    seed: float = 0.3
    smoothing: float = 0.04
    brightness: float = 0.5
    smoothing_stain: float = 0.1
    surroundings: float = 0.5
    gap: float = 0.55
    constant: float = 6.5
    neck: float = 3.0
    dip: float = 5.8
    step: float = -7.0
    union: float = -4.5


@dataclass(slots=True)
class _Pieces:
    """Area and summed stain of each piece; entry 0 is the background."""

    area: FloatArray
    stain: FloatArray
    parent: list[int]


def split_touching(mask: BoolArray, signal: FloatImage, diameter: float, rule: SplitRule) -> Labels:
    """Label the nuclei of a mask.

    Args:
        diameter: typical diameter of a nucleus, px.
    """
    factor = max(1, round(diameter / _WORKING_DIAMETER))
    if factor == 1:
        return _split(mask, signal, diameter, rule)
    coarse_mask = _reduced(mask.astype(np.float32), factor) > 0.5
    coarse = _split(coarse_mask, _reduced(signal, factor), diameter / factor, rule)
    return _refined(coarse, mask, factor)


def _split(mask: BoolArray, signal: FloatImage, diameter: float, rule: SplitRule) -> Labels:
    first = joined(_pieces(mask, signal, diameter, rule), signal, diameter, rule)
    measured = _measured_diameter(first, diameter)
    if abs(measured - diameter) < _SAME_DIAMETER * diameter:
        return first
    # Where most nuclei touch, the guess came from clusters; what they fell into gives the better scale.
    return joined(_pieces(mask, signal, measured, rule), signal, measured, rule)


def _pieces(mask: BoolArray, signal: FloatImage, diameter: float, rule: SplitRule) -> Labels:
    landscape, mask = _landscape(mask, signal, diameter, rule)
    reach = max(3, 2 * round(rule.seed * diameter / 2) + 1)
    peaks = (landscape >= ndimage.maximum_filter(landscape, size=reach)) & mask
    seeds, _ = ndimage.label(peaks, np.ones((3, 3), np.int8))
    return np.asarray(watershed(-landscape, seeds, mask=mask), dtype=np.int32)


def _landscape(mask: BoolArray, signal: FloatImage, diameter: float, rule: SplitRule) -> tuple[FloatImage, BoolArray]:
    """What the watershed floods: how far from the outline, and how bright relative to the surroundings; and the mask
    without the gaps, which are much fainter than the nuclei round them."""
    stained = np.where(mask, signal, 0).astype(np.float32)
    near, far = rule.smoothing_stain * diameter, rule.surroundings * diameter
    level = ndimage.gaussian_filter(stained, far, truncate=2)
    share = ndimage.gaussian_filter(mask.astype(np.float32), far, truncate=2)
    brightness = ndimage.gaussian_filter(stained, near, truncate=3) * share / np.maximum(level, 1e-6)
    mask = mask & (signal * share > rule.gap * level)
    depth = ndimage.gaussian_filter(depth_of(mask), max(0.5, rule.smoothing * diameter), truncate=3) / (diameter / 2)
    return np.asarray(depth + rule.brightness * np.minimum(brightness, 1.5), dtype=np.float32), mask


def _measured_diameter(labels: Labels, guess: float) -> float:
    """Median diameter of what was found, small bodies left out; the guess where nothing was."""
    area = np.bincount(labels.ravel())[1:]
    large = area[area > (guess / 3) ** 2 * np.pi / 4]
    return _diameter(float(np.median(large))) if len(large) else guess


def _reduced(image: FloatImage, factor: int) -> FloatImage:
    return np.asarray(Image.fromarray(image).reduce(factor), dtype=np.float32)


def _refined(coarse: Labels, mask: BoolArray, factor: int) -> Labels:
    """Coarse labels on the full mask; parts too small to have one get labels of their own."""
    grown = np.where(coarse > 0, coarse, ndimage.maximum_filter(coarse, size=3))
    height, width = mask.shape
    full = np.repeat(np.repeat(grown, factor, axis=0), factor, axis=1)[:height, :width]
    full = np.where(mask, full, 0)
    left = mask & (full == 0)
    if left.any():
        rest, _ = ndimage.label(left)
        full = np.where(rest > 0, rest + int(coarse.max()), full)
    return np.asarray(full, dtype=np.int32)


def joined(labels: Labels, signal: FloatImage, diameter: float, rule: SplitRule) -> Labels:
    """Join pieces that are one nucleus, the clearest case first, until none is left; labels become 1..n."""
    count = int(labels.max()) if labels.size else 0
    area = np.bincount(labels.ravel(), minlength=count + 1)
    stain = np.bincount(labels.ravel(), signal.ravel(), minlength=count + 1)
    pieces = _Pieces(np.asarray(area, np.float64), np.asarray(stain, np.float64), list(range(count + 1)))
    seams = seams_between(labels, signal)
    scores = {pair: _evidence(pair, seam, pieces, diameter, rule) for pair, seam in seams.items()}
    while scores:
        best = max(scores, key=scores.__getitem__)
        if scores[best] < 0:
            break
        for pair in _join(best, seams, pieces):
            scores.pop(pair, None)
        scores.update((pair, _evidence(pair, seams[pair], pieces, diameter, rule)) for pair in seams if best[0] in pair)
    return _numbered(labels, pieces.parent)


def _evidence(pair: Pair, seam: Seam, pieces: _Pieces, diameter: float, rule: SplitRule) -> float:
    """Logit that two pieces are one nucleus."""
    a, b = pair
    smaller, together = min(pieces.area[a], pieces.area[b]), pieces.area[a] + pieces.area[b]
    first, second = pieces.stain[a] / pieces.area[a], pieces.stain[b] / pieces.area[b]
    faint, strong = max(min(first, second), 1e-6), max(first, second, 1e-6)
    return float(
        rule.constant
        + rule.neck * np.log(seam.length / _diameter(smaller))
        + rule.dip * np.log(min(max(seam.stain / faint, 0.2), 1.0))
        + rule.step * np.log(strong / faint)
        + rule.union * _diameter(together) / diameter
    )


def _diameter(area: float) -> float:
    return float(2 * (area / np.pi) ** 0.5)


def _join(pair: Pair, seams: dict[Pair, Seam], pieces: _Pieces) -> list[Pair]:
    """Join the second piece to the first; returns the pairs that are no more."""
    kept, gone = pair
    pieces.parent[gone] = kept
    pieces.area[kept] += pieces.area[gone]
    pieces.stain[kept] += pieces.stain[gone]
    former = [key for key in seams if gone in key]
    for key in former:
        seam = seams.pop(key)
        other = key[0] if key[1] == gone else key[1]
        if other != kept:
            new = (min(kept, other), max(kept, other))
            seams[new] = seams[new].with_another(seam) if new in seams else seam
    return former


def _numbered(labels: Labels, parent: list[int]) -> Labels:
    for label in range(len(parent)):
        root = label
        while parent[root] != root:
            root = parent[root]
        parent[label] = root
    roots = np.array(parent)
    is_root = roots == np.arange(len(parent))
    is_root[0] = False
    number = np.cumsum(is_root).astype(np.int32)
    number[0] = 0
    return np.asarray(number[roots].take(labels), dtype=np.int32)

"""Touching nuclei come apart: too many pieces first, then those are joined that have no neck between them.

A watershed on the distance from the outline gives pieces; where two of them meet, the length of the seam is compared
with the diameter of the smaller piece. Two discs that overlap a little share a short seam (a neck); the two halves of
one long or bean-shaped nucleus share one about as long as they are wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

from mnbatch.imaging.segmentation.found import Labels
from mnbatch.imaging.segmentation.seams import Pair, seam_lengths

FloatArray = npt.NDArray[np.float64]
FloatImage = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """When two pieces are one nucleus.

    Attributes:
        seed: least distance between seeds, shares of the nucleus diameter.
        neck: joined where seam / diameter of the smaller piece is at least this.
        stain_step: pieces whose stain differs by at least this factor are joined only from `neck_stained` on.
    """

    seed: float = 0.3
    neck: float = 0.72
    stain_step: float = 1.35
    neck_stained: float = 1.1


def split_touching(mask: BoolArray, signal: FloatImage, diameter: float, rule: SplitRule) -> Labels:
    """Label the nuclei of a mask.

    Args:
        diameter: typical diameter of a nucleus, px.
    """
    distance = ndimage.distance_transform_edt(mask).astype(np.float32)
    smooth = ndimage.gaussian_filter(distance, max(0.5, 0.04 * diameter))
    reach = max(3, 2 * round(rule.seed * diameter / 2) + 1)
    peaks = (smooth >= ndimage.maximum_filter(smooth, size=reach)) & mask
    seeds, _ = ndimage.label(peaks, np.ones((3, 3), np.int8))
    pieces = np.asarray(watershed(-smooth, seeds, mask=mask), dtype=np.int32)
    return joined(pieces, signal, rule)


def joined(pieces: Labels, signal: FloatImage, rule: SplitRule) -> Labels:
    """Join pieces across seams that are no necks, the longest seam first."""
    count = int(pieces.max()) if pieces.size else 0
    area = np.asarray(np.bincount(pieces.ravel(), minlength=count + 1), dtype=np.float64)
    stain = np.asarray(np.bincount(pieces.ravel(), signal.ravel(), minlength=count + 1), dtype=np.float64)
    seams = seam_lengths(pieces)
    parent = list(range(count + 1))
    while seams:
        best, value = None, 0.0
        for (a, b), length in seams.items():
            score = _joining(a, b, length, area, stain, rule)
            if score > value:
                best, value = (a, b), score
        if best is None or value < 1:
            break
        _merge(best, seams, area, stain, parent)
    table = np.array([_root(parent, label) for label in range(count + 1)], np.int32)
    used, compact = np.unique(table, return_inverse=True)
    if used[0] != 0:
        compact = compact + 1
    return np.asarray(compact.astype(np.int32)[pieces])


def _joining(a: int, b: int, length: float, area: FloatArray, stain: FloatArray, rule: SplitRule) -> float:
    """At least 1 where two pieces are one nucleus."""
    smaller = min(area[a], area[b])
    ratio = length / (2 * (smaller / np.pi) ** 0.5)
    mean_a, mean_b = stain[a] / area[a], stain[b] / area[b]
    step = max(mean_a, mean_b) / max(min(mean_a, mean_b), 1e-9)
    return float(ratio / (rule.neck_stained if step >= rule.stain_step else rule.neck))


def _merge(pair: Pair, seams: dict[Pair, float], area: FloatArray, stain: FloatArray, parent: list[int]) -> None:
    kept, gone = pair
    parent[gone] = kept
    area[kept] += area[gone]
    stain[kept] += stain[gone]
    del seams[pair]
    for (a, b), length in [(key, value) for key, value in seams.items() if gone in key]:
        del seams[(a, b)]
        other = b if a == gone else a
        key = (min(kept, other), max(kept, other))
        seams[key] = seams.get(key, 0.0) + length


def _root(parent: list[int], label: int) -> int:
    while parent[label] != label:
        label = parent[label]
    return label

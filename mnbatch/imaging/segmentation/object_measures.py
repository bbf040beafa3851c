"""Measures of all objects of a label image at once, without a loop over labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mnbatch.imaging.segmentation.segmentation_settings import Labels

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]
FloatImage = npt.NDArray[np.float32]

_CALL = 2000
"""What a call for one component costs in addition to its pixels, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Objects 1..n of a label image; every array has n entries, entry i for label i + 1.

    Attributes:
        area: pixels.
        x, y: centroid, px.
        stain: mean of the signal.
        boxes: (n, 4), x0, y0, x1, y1.
        at_border: touches the edge of the image.
    """

    area: FloatArray
    x: FloatArray
    y: FloatArray
    stain: FloatArray
    boxes: IntArray
    at_border: BoolArray

    @property
    def diameter(self) -> FloatArray:
        """Of a disc as large, px."""
        return np.asarray(2 * np.sqrt(self.area / np.pi))


def measure_regions(labels: Labels, signal: npt.NDArray[np.float32]) -> Regions:
    """Measure every object; labels must be 1..n without gaps."""
    rows, columns = np.divmod(np.flatnonzero(labels > 0), labels.shape[1])
    owner = labels[rows, columns]
    count = int(labels.max()) if labels.size else 0
    area = np.bincount(owner, minlength=count + 1)[1:].astype(np.float64)
    safe = np.maximum(area, 1)

    def mean(values: npt.NDArray[np.generic]) -> FloatArray:
        return np.asarray(np.bincount(owner, weights=values.astype(np.float64), minlength=count + 1)[1:] / safe)

    boxes = areas_and_boxes(labels)[1]
    height, width = labels.shape
    edge = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2] == width) | (boxes[:, 3] == height)
    return Regions(
        area=area, x=mean(columns), y=mean(rows), stain=mean(signal[rows, columns]), boxes=boxes, at_border=edge
    )


def relabelled(labels: Labels, keep: BoolArray) -> Labels:
    """Only the objects to keep, numbered 1..n in the old order.

    Args:
        keep: (n + 1,), entry i for label i; entry 0 is ignored.
    """
    table = np.zeros(len(keep), np.int32)
    keep = keep.copy()
    keep[0] = False
    table[keep] = np.arange(1, int(keep.sum()) + 1, dtype=np.int32)
    return table.take(labels)


def largest_within(labels: npt.NDArray[np.integer], values: npt.NDArray[np.generic], count: int) -> FloatArray:
    """Largest value within each of the objects 1..count, (count,)."""
    inside = labels > 0
    found = np.full(count + 1, -np.inf)
    np.maximum.at(found, labels[inside], values[inside])
    return found[1:]


def depth_of(mask: BoolArray) -> FloatImage:
    """Distance of each pixel of a mask to the nearest one outside it, as `ndimage.distance_transform_edt` has it.

    Where the mask is sparse each component is measured in its own box: between two components that do not touch, also
    not at a corner, there is a pixel of neither, so the nearest one outside is in the box or next to it.
    """
    labels, count = ndimage.label(mask, np.ones((3, 3), np.int8))
    grown = [tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box) for box in ndimage.find_objects(labels)]
    work = sum((box[0].stop - box[0].start) * (box[1].stop - box[1].start) + _CALL for box in grown)
    if not count or work > mask.size:
        return np.asarray(ndimage.distance_transform_edt(mask), dtype=np.float32)
    depth = np.zeros(mask.shape, np.float32)
    for label, box in enumerate(grown, start=1):
        own = labels[box] == label
        depth[box][own] = ndimage.distance_transform_edt(mask[box])[own]
    return depth


def areas_and_boxes(labels: Labels) -> tuple[IntArray, IntArray]:
    """Pixels (n,) and boxes (n, 4) of every object 1..n, zeros for a number that no object has."""
    area = np.bincount(labels.ravel(), minlength=1)[1:]
    slices = ndimage.find_objects(labels, len(area))
    boxes = np.array([(s[1].start, s[0].start, s[1].stop, s[0].stop) if s else (0, 0, 0, 0) for s in slices], np.intp)
    return area, boxes.reshape(len(area), 4)


def without_small(mask: BoolArray, least: float) -> BoolArray:
    """The mask without components of fewer than `least` pixels."""
    labels, count = ndimage.label(mask)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    keep = area >= least
    keep[0] = False
    return np.asarray(keep.take(labels))


def without_holes(mask: BoolArray, largest: float) -> BoolArray:
    """The mask with its enclosed holes of at most `largest` pixels filled."""
    holes, count = ndimage.label(~mask)
    area = np.bincount(holes.ravel(), minlength=count + 1)
    fill = area <= largest
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        fill[edge] = False
    fill[0] = True
    return np.asarray(fill.take(holes))

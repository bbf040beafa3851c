"""Bring your own segmentation: a label image in place of our own nuclei or cells."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mnbatch.assay.reasons import say
from mnbatch.imaging.segmentation.cells import cells_of_groups
from mnbatch.imaging.segmentation.field import Image, check_shape, with_cells, without_cells
from mnbatch.imaging.segmentation.found import Labels, SegmentedField
from mnbatch.imaging.segmentation.nuclei import Nuclei, by_size, find_nuclei
from mnbatch.imaging.segmentation.pairing import Group, group_within_body
from mnbatch.imaging.segmentation.problems import problem_of_pixels
from mnbatch.imaging.segmentation.regions import Regions, measure_regions, relabelled
from mnbatch.imaging.segmentation.settings import SegmentationSettings
from mnbatch.imaging.segmentation.signal import FieldGround, StainSignal, recognise_ground, stain_signal

LabelsOf = Literal["nuclei", "cells"]

_MOSTLY_NUCLEUS = 0.75
"""Labels of which the middle one is nucleus to this share are taken for nuclei."""


def segment_from_labels(
    image: Image,
    labels: npt.NDArray[Any],
    settings: SegmentationSettings,
    ground: FieldGround | None = None,
    labels_of: LabelsOf | None = None,
) -> SegmentedField:
    """Find the cells of a field by a label image that another program or a person made.

    Args:
        image: (h, w) or (h, w, 3).
        labels: (h, w), whole numbers; 0 is nothing, one number each object; numbers may have gaps. A mask that only
            says yes or no (two values) is split into its connected parts.
        labels_of: what was labelled. None: nuclei where most of each labelled area is nuclear stain, else cells.
            Nuclei are paired as our own are; in cells the nuclei are found, and their number is the cell's class.

    Raises:
        ValueError: a label image of another size, or one that holds no whole numbers.
    """
    check_shape(image)
    given = _compact(labels, image.shape[:2])
    look = ground or recognise_ground(image)
    problem = problem_of_pixels(image, look) or ("" if given.any() else say("mask-empty"))
    if problem:
        return without_cells(image, look, problem)
    signal = stain_signal(image, look)
    own = find_nuclei(signal, settings.small_body, settings.nucleus_diameter)
    kind = labels_of or _recognise(given, own)
    if kind == "nuclei":
        nuclei = by_size(given, settings.small_body, settings.nucleus_diameter)
        return with_cells(signal, nuclei, settings)
    return _within_bodies(signal, given, own, settings)


def _compact(labels: npt.NDArray[Any], shape: tuple[int, ...]) -> Labels:
    """Labels 1..n without gaps, in the order of the old ones."""
    if labels.shape != shape:
        raise ValueError(f"the label image has (rows, columns) {labels.shape} and the field {shape}: not the same")
    if labels.dtype.kind not in "uib" and not (labels.dtype.kind == "f" and np.array_equal(labels, np.round(labels))):
        raise ValueError(f"a label image holds whole numbers, not {labels.dtype}")
    values, compact = np.unique(labels, return_inverse=True)
    if len(values) == 2 and values[0] == 0:
        return np.asarray(ndimage.label(labels)[0], dtype=np.int32)
    table = np.cumsum(values != 0).astype(np.int32)
    table[values == 0] = 0
    return table[compact.reshape(shape)]


def _recognise(given: Labels, own: Nuclei) -> LabelsOf:
    area = np.bincount(given.ravel())[1:]
    nuclear = np.bincount(given.ravel(), weights=((own.main > 0) | (own.small > 0)).ravel())[1:]
    return "nuclei" if float(np.median(nuclear / area)) >= _MOSTLY_NUCLEUS else "cells"


def _within_bodies(signal: StainSignal, bodies: Labels, own: Nuclei, settings: SegmentationSettings) -> SegmentedField:
    """Cells as given, with our nuclei in them; a body without a nucleus is left out."""
    regions = measure_regions(own.main, signal.nuclear)
    body_of = _body_of_nuclei(regions, bodies)
    groups: list[Group] = []
    keep = np.zeros(int(bodies.max()) + 1, np.bool_)
    for body in np.unique(body_of[body_of > 0]):
        members = tuple(int(label) + 1 for label in np.flatnonzero(body_of == body))
        groups.append(group_within_body(members, regions, settings))
        keep[body] = True
    if not groups:
        return without_cells(signal.nuclear, signal.ground, "no labelled cell holds a nucleus")
    kept = relabelled(bodies, keep)
    cells = cells_of_groups(groups, regions, kept, own, settings)
    return SegmentedField(own.main, own.small, kept, cells, own.diameter, signal.ground)


def _body_of_nuclei(regions: Regions, bodies: Labels) -> npt.NDArray[np.int32]:
    """Body under the centroid of each nucleus, (n,)."""
    rows = np.clip(np.round(regions.y).astype(np.intp), 0, bodies.shape[0] - 1)
    columns = np.clip(np.round(regions.x).astype(np.intp), 0, bodies.shape[1] - 1)
    return bodies[rows, columns]

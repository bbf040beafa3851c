"""A field from pixels, or from a label image, to its cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mnbatch.imaging.segmentation.bodies import BodyMask, body_mask
from mnbatch.imaging.segmentation.cells import cells_of_groups
from mnbatch.imaging.segmentation.found import Box, FoundCell, Labels, SegmentedField
from mnbatch.imaging.segmentation.nuclei import Nuclei, find_nuclei
from mnbatch.imaging.segmentation.pairing import Group, group_nuclei, outline_gaps
from mnbatch.imaging.segmentation.problems import problem_of_pixels, problem_of_signal
from mnbatch.imaging.segmentation.regions import Regions, measure_regions
from mnbatch.imaging.segmentation.seams import Pair, seams_between
from mnbatch.imaging.segmentation.settings import SegmentationSettings
from mnbatch.imaging.segmentation.signal import FieldGround, StainSignal, recognise_ground, stain_signal

Image = npt.NDArray[Any]


def segment_field(
    image: Image,
    settings: SegmentationSettings,
    ground: FieldGround | None = None,
    pixel_um: float | None = None,
) -> SegmentedField:
    """Find the nuclei and the cells of one field (or tile).

    Args:
        image: (h, w) or (h, w, 3), uint8 or uint16 (floating point is taken too).
        ground: the look; None recognises it. A whole slide should decide once, for all of its fields.
        pixel_um: micrometres a pixel, where known: bounds the size of what may be a nucleus.

    Returns:
        The field; one of which nothing can be said has a `problem` and no cells.

    Raises:
        ValueError: an array of another shape.
    """
    check_shape(image)
    look = ground or recognise_ground(image)
    problem = problem_of_pixels(image, look)
    if problem:
        return without_cells(image, look, problem)
    signal = stain_signal(image, look)
    nuclei = find_nuclei(signal, settings.small_body, settings.nucleus_diameter)
    problem = problem_of_signal(signal, nuclei, pixel_um, settings)
    if problem:
        return without_cells(image, look, problem)
    return with_cells(signal, nuclei, settings)


def segment_tile(
    image: Image,
    core: Box,
    settings: SegmentationSettings,
    ground: FieldGround | None = None,
    pixel_um: float | None = None,
) -> SegmentedField:
    """Segment one of several overlapping tiles and keep the cells whose centre lies in its core.

    The overlap must be larger than a cell. Cores that tile the plane without overlap find each cell once, but for one
    whose centre comes out on either side of a seam in two tiles: drop those by distance.

    Args:
        core: x0, y0, x1, y1 in pixels of the tile; x1 and y1 lie just outside.
    """
    found = segment_field(image, settings, ground, pixel_um)
    return replace(found, cells=cells_in_core(found.cells, core))


def cells_in_core(cells: tuple[FoundCell, ...], core: Box) -> tuple[FoundCell, ...]:
    """The cells whose centre lies in x0 <= x < x1, y0 <= y < y1."""
    x0, y0, x1, y1 = core
    return tuple(cell for cell in cells if x0 <= cell.x < x1 and y0 <= cell.y < y1)


def check_shape(image: Image) -> None:
    """Refuse what is no field.

    Raises:
        ValueError: not (h, w) or (h, w, 3), or empty.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ValueError(f"a field is (h, w) or (h, w, 3), not {image.shape}")


def with_cells(signal: StainSignal, nuclei: Nuclei, settings: SegmentationSettings) -> SegmentedField:
    """Group a field's nuclei into cells."""
    regions = measure_regions(nuclei.main, signal.nuclear)
    mask = body_mask(signal, (nuclei.main > 0) | (nuclei.small > 0), nuclei.diameter)
    if settings.cells == "all":
        groups = [Group((label,), "mononucleated") for label in range(1, len(regions.area) + 1)]
    else:
        groups = group_nuclei(regions, *_neighbours(nuclei, regions, mask, settings), nuclei.diameter, settings)
    bodies = None if mask is None else mask.bodies(_markers(groups, nuclei.main, len(regions.area)))
    cells = cells_of_groups(groups, regions, bodies, nuclei, settings)
    return SegmentedField(nuclei.main, nuclei.small, bodies, cells, nuclei.diameter, signal.ground)


def _neighbours(
    nuclei: Nuclei, regions: Regions, mask: BodyMask | None, settings: SegmentationSettings
) -> tuple[dict[Pair, float], dict[Pair, float] | None]:
    """Gaps between the outlines of nuclei, and lengths of the lines that divide their common bodies."""
    if mask is None:
        return outline_gaps(nuclei.main, regions, settings.pair_gap * nuclei.diameter), None
    seams = seams_between(mask.divided(nuclei.main), mask.stain)
    gaps = outline_gaps(nuclei.main, regions, settings.pair_gap_in_body * nuclei.diameter)
    return gaps, {pair: mask.factor * seam.length for pair, seam in seams.items()}


def _markers(groups: list[Group], main: Labels, count: int) -> Labels:
    table = np.zeros(count + 1, np.int32)
    for label, group in enumerate(groups, start=1):
        table[list(group.nuclei)] = label
    return table[main]


def without_cells(image: Image, ground: str, problem: str) -> SegmentedField:
    """A field of which nothing can be said."""
    nothing = np.zeros(image.shape[:2], np.int32)
    return SegmentedField(nothing, nothing, None, (), 0.0, ground, problem)

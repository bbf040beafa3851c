"""A field from pixels, or from a label image, to its cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.assay.cells import KnownStain
from mnbatch.assay.field_records import CellClass
from mnbatch.assay.reasons import say
from mnbatch.imaging.segmentation.cytoplasm import (
    REASONS,
    BodyMask,
    BodyRule,
    Group,
    Seams,
    body_mask,
    group_nuclei,
    group_within_body,
    outline_gaps,
)
from mnbatch.imaging.segmentation.nuclei import Nuclei, by_size, find_nuclei
from mnbatch.imaging.segmentation.object_measures import IntArray, Regions, areas_and_boxes, measure_regions, relabelled
from mnbatch.imaging.segmentation.segmentation_settings import (
    Box,
    FoundCell,
    Labels,
    SegmentationSettings,
    SegmentedField,
)
from mnbatch.imaging.segmentation.stain_signal import (
    FloatImage,
    StainSignal,
    median,
    recognise_field_stain,
    stain_signal,
)
from mnbatch.imaging.segmentation.touching_nuclei import Pair, seams_between

# Fields of which nothing can be said: each with the reason that the report gives.


_STEP = 4
_MOST_SATURATED = 0.3
_LEAST_PROMINENCE = 4.5
"""Noise cut at any threshold stays below 3.5, however coarse its grain; the faintest annotated fields reach 6.9."""


def problem_of_pixels(image: npt.NDArray[Any], stain: str) -> str:
    """Why a field's pixels cannot be segmented, or ""."""
    grid = image[::_STEP, ::_STEP]
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        return say("not-numbers")
    low, high = float(grid.min()), float(grid.max())
    if low == high and float(image.min()) == float(image.max()):
        return say("empty-value", value=low)
    top = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1.0
    end = grid >= top if stain == "fluorescence" else grid <= 0
    share = float(end.all(axis=2).mean() if grid.ndim == 3 else end.mean())
    if share > _MOST_SATURATED:
        return say("saturated", share=share)
    return ""


def problem_of_signal(
    signal: StainSignal, nuclei: Nuclei, pixel_um: float | None, settings: SegmentationSettings
) -> str:
    """Why what was found cannot be nuclei, or ""."""
    if not nuclei.diameter:
        return say("nothing-stands-out")
    if prominence(signal.nuclear, nuclei) < _LEAST_PROMINENCE:
        return say("only-background")
    if pixel_um is not None:
        low, high = settings.range_um
        size = nuclei.diameter * pixel_um
        if not low <= size <= high:
            return say("objects-size", size=size, pixel=pixel_um, low=low, high=high)
    return ""


def prominence(stain: FloatImage, nuclei: Nuclei) -> float:
    """Distance of the nuclei's mean stain from the background's middle, in robust standard deviations of the latter."""
    halved = np.asarray(Image.fromarray(stain).reduce(2))
    rows, columns = halved.shape
    main, small = nuclei.main[::2, ::2][:rows, :columns] > 0, nuclei.small[::2, ::2][:rows, :columns] > 0
    inside, stain = halved[main], halved[~main & ~small]
    if not inside.size or not stain.size:
        return float("inf")
    middle = median(stain)
    spread = 1.4826 * median(np.abs(stain - middle))
    return (float(inside.mean()) - middle) / max(spread, 1e-6)


# Bring your own segmentation: a label image in place of our own nuclei or cells.


LabelsOf = Literal["nuclei", "cells"]

_MOSTLY_NUCLEUS = 0.75
"""Labels of which the middle one is nucleus to this share are taken for nuclei."""


def segment_from_labels(
    image: FieldImage,
    labels: npt.NDArray[Any],
    settings: SegmentationSettings,
    stain: KnownStain | None = None,
    labels_of: LabelsOf | None = None,
    cytoplasm: FieldImage | None = None,
) -> SegmentedField:
    """Find the cells of a field by a label image that another program or a person made.

    Args:
        image: (h, w) or (h, w, 3).
        labels: (h, w), whole numbers; 0 is nothing, one number each object; numbers may have gaps. A mask that only
            says yes or no (two values) is split into its connected parts.
        labels_of: what was labelled. None: nuclei where most of each labelled area is nuclear stain, else cells.
            Nuclei are paired as our own are; in cells the nuclei are found, and their number is the cell's class.
        cytoplasm: as of `segment_field`; labelled cells need none.

    Raises:
        ValueError: a label image or cytoplasm of another size, or labels that are no whole numbers.
    """
    check_shape(image, cytoplasm)
    given = _compact(labels, image.shape[:2])
    stain = stain or recognise_field_stain(image)
    problem = problem_of_pixels(image, stain) or ("" if given.any() else say("mask-empty"))
    if problem:
        return without_cells(image, stain, problem)
    signal = stain_signal(image, stain)
    own = find_nuclei(signal, settings.small_body, settings.nucleus_diameter)
    kind = labels_of or _recognise(given, own)
    if kind == "nuclei":
        nuclei = by_size(given, settings.small_body, settings.nucleus_diameter)
        return with_cells(signal, nuclei, settings, cytoplasm)
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
        return without_cells(signal.nuclear, signal.stain, "no labelled cell holds a nucleus")
    kept = relabelled(bodies, keep)
    cells = cells_of_groups(groups, regions, kept, own, settings)
    return SegmentedField(
        nuclei=own.main,
        small_bodies=own.small,
        bodies=kept,
        cells=cells,
        nucleus_diameter=own.diameter,
        stain=signal.stain,
    )


def _body_of_nuclei(regions: Regions, bodies: Labels) -> npt.NDArray[np.int32]:
    """Body under the centroid of each nucleus, (n,)."""
    rows = np.clip(np.round(regions.y).astype(np.intp), 0, bodies.shape[0] - 1)
    columns = np.clip(np.round(regions.x).astype(np.intp), 0, bodies.shape[1] - 1)
    return bodies[rows, columns]


# Groups of nuclei become cells with a place, a class and a reason.


_CUT = 0.5
"""A body that is along the edge for less than this many nucleus diameters is whole: of one about two diameters wide
the edge takes less than 0.03 of a diameter, half of the smallest micronucleus."""


def cells_of_groups(
    groups: list[Group], regions: Regions, bodies: Labels | None, nuclei: Nuclei, settings: SegmentationSettings
) -> tuple[FoundCell, ...]:
    """One cell a group, label i + 1 for group i, then the small bodies that are in no cell."""
    bodied = None if bodies is None else areas_and_boxes(bodies)
    cut = _cut_lengths(bodies, len(groups)) > _CUT * nuclei.diameter
    owners = _owners_of_small(nuclei, bodies, groups)
    held = np.bincount(owners, minlength=len(groups) + 1)
    cells = [
        _cell(
            label=label,
            group=group,
            regions=regions,
            bodied=bodied,
            cut=bool(cut[label]),
            small=int(held[label]),
            settings=settings,
        )
        for label, group in enumerate(groups, start=1)
    ]
    return tuple(cells)


def _cell(
    label: int,
    group: Group,
    regions: Regions,
    bodied: tuple[IntArray, IntArray] | None,
    cut: bool,
    small: int,
    settings: SegmentationSettings,
) -> FoundCell:
    index = np.array(group.nuclei) - 1
    nuclear = _around(regions.boxes[index])
    has_body = bodied is not None and label <= len(bodied[0]) and bodied[0][label - 1] > 0
    box, area, border = nuclear, None, bool(regions.at_border[index].any())
    if bodied is not None and has_body:
        box = _around(np.stack([np.array(nuclear), bodied[1][label - 1]]))
        area, border = int(bodied[0][label - 1]), border or cut
    kind: CellClass = "border" if border and settings.cells == "binucleated" else group.cell_class
    wanted = settings.cells == "all" or kind == "binucleated"
    return FoundCell(
        label=label,
        x=(nuclear[0] + nuclear[2] - 1) / 2,
        y=(nuclear[1] + nuclear[3] - 1) / 2,
        box=box,
        cell_class=kind,
        reason="" if wanted else REASONS[kind],
        nuclei=group.nuclei,
        nucleus_areas=tuple(int(area) for area in regions.area[index]),
        cell_area=area,
        at_border=border,
        small_bodies=small,
    )


def _cut_lengths(bodies: Labels | None, count: int) -> IntArray:
    """Pixels of each body on the edge of the field, entry i for label i."""
    if bodies is None:
        return np.zeros(count + 1, np.intp)
    edge = np.concatenate([bodies[0], bodies[-1], bodies[:, 0], bodies[:, -1]])
    return np.asarray(np.bincount(edge, minlength=count + 1), dtype=np.intp)


def _around(boxes: IntArray) -> Box:
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _owners_of_small(nuclei: Nuclei, bodies: Labels | None, groups: list[Group]) -> IntArray:
    """Cell in whose body each small body is, 0 for none: the label under its first pixel."""
    inside = np.flatnonzero(nuclei.small > 0)
    if bodies is None or not len(inside):
        return np.zeros(0, np.intp)
    first = inside[np.unique(nuclei.small.ravel()[inside], return_index=True)[1]]
    return bodies.ravel()[first].astype(np.intp)


# A field from pixels, or from a label image, to its cells.


FieldImage = npt.NDArray[Any]


def segment_field(
    image: FieldImage,
    settings: SegmentationSettings,
    stain: KnownStain | None = None,
    pixel_um: float | None = None,
    *,
    cytoplasm: FieldImage | None = None,
) -> SegmentedField:
    """Find the nuclei and the cells of one field (or tile).

    Args:
        image: (h, w) or (h, w, 3), uint8 or uint16 (floating point is taken too).
        background: the stain; None recognises it. A whole slide should decide once, for all of its fields.
        pixel_um: micrometres a pixel, where known: bounds the size of what may be a nucleus.
        cytoplasm: (h, w) or (h, w, 3), a second channel of the same field in which the cytoplasm is stained; nuclei are
            then paired by it. Its background is that of the nuclear channel: dark in fluorescence, else light.

    Returns:
        The field; one of which nothing can be said has a `problem` and no cells.

    Raises:
        ValueError: an array of another shape.
    """
    check_shape(image, cytoplasm)
    stain = stain or recognise_field_stain(image)
    problem = problem_of_pixels(image, stain)
    if problem:
        return without_cells(image, stain, problem)
    signal = stain_signal(image, stain)
    nuclei = find_nuclei(signal, settings.small_body, settings.nucleus_diameter)
    problem = problem_of_signal(signal, nuclei, pixel_um, settings)
    if problem:
        return without_cells(image, stain, problem)
    return with_cells(signal, nuclei, settings, cytoplasm)


def segment_tile(
    image: FieldImage,
    core: Box,
    settings: SegmentationSettings,
    stain: KnownStain | None = None,
    pixel_um: float | None = None,
) -> SegmentedField:
    """Segment one of several overlapping tiles and keep the cells whose centre is in its core.

    The overlap must be larger than a cell. Cores that tile the plane without overlap find each cell once, but for one
    whose centre comes out on either side of a seam in two tiles: drop those by distance.

    Args:
        core: x0, y0, x1, y1 in pixels of the tile; x1 and y1 are just outside.
    """
    found = segment_field(image, settings, stain, pixel_um)
    return replace(found, cells=cells_in_core(found.cells, core))


def cells_in_core(cells: tuple[FoundCell, ...], core: Box) -> tuple[FoundCell, ...]:
    """The cells whose centre is in x0 <= x < x1, y0 <= y < y1."""
    x0, y0, x1, y1 = core
    return tuple(cell for cell in cells if x0 <= cell.x < x1 and y0 <= cell.y < y1)


def check_shape(image: FieldImage, cytoplasm: FieldImage | None = None) -> None:
    """Refuse what is no field.

    Raises:
        ValueError: not (h, w) or (h, w, 3), or empty; a cytoplasm channel of another height or width.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ValueError(f"a field is (h, w) or (h, w, 3), not {image.shape}")
    if cytoplasm is None:
        return
    check_shape(cytoplasm)
    if cytoplasm.shape[:2] != image.shape[:2]:
        own, other = image.shape[:2], cytoplasm.shape[:2]
        raise ValueError(f"the cytoplasm channel has (rows, columns) {other} and the field {own}: not the same")


def with_cells(
    signal: StainSignal, nuclei: Nuclei, settings: SegmentationSettings, cytoplasm: FieldImage | None = None
) -> SegmentedField:
    """Group a field's nuclei into cells, by the cytoplasm's own channel where there is one."""
    regions = measure_regions(nuclei.main, signal.nuclear)
    mask = _bodies(signal, nuclei, cytoplasm)
    if mask is None and cytoplasm is not None:
        return without_cells(cytoplasm, signal.stain, say("cytoplasm-nothing"))
    if settings.cells == "all":
        groups = [Group((label,), "mononucleated") for label in range(1, len(regions.area) + 1)]
    else:
        gaps, seams = _neighbours(nuclei, regions, mask, settings)
        faint = _faint_seams(signal, nuclei) if nuclei.hazy and cytoplasm is None and mask is not None else {}
        groups = group_nuclei(regions, gaps, Seams(seams, faint), nuclei.diameter, settings)
    bodies = None if mask is None else mask.bodies(_markers(groups, nuclei.main, len(regions.area)))
    cells = cells_of_groups(groups, regions, bodies, nuclei, settings)
    return SegmentedField(
        nuclei=nuclei.main,
        small_bodies=nuclei.small,
        bodies=bodies,
        cells=cells,
        nucleus_diameter=nuclei.diameter,
        stain=signal.stain,
    )


def _bodies(signal: StainSignal, nuclei: Nuclei, cytoplasm: FieldImage | None) -> BodyMask | None:
    """Where there is cytoplasm, or None where none can be seen."""
    nuclear = (nuclei.main > 0) | (nuclei.small > 0)
    if cytoplasm is None:
        return body_mask(signal.total, nuclear, nuclei.diameter, BodyRule(glare=signal.stain == "fluorescence"))
    # Of a dye that only cytoplasm takes up there is no glare of the nuclei, and each cell takes up its own share.
    total = stain_signal(cytoplasm, signal.stain).total
    return body_mask(total, nuclear, nuclei.diameter, BodyRule(glare=False, lower=True, higher=True))


def _faint_seams(signal: StainSignal, nuclei: Nuclei) -> dict[Pair, float]:
    """Lengths of the lines between nuclei where bodies end by each cell's own cytoplasm, which may be a dim one."""
    nuclear = (nuclei.main > 0) | (nuclei.small > 0)
    mask = body_mask(signal.total, nuclear, nuclei.diameter, BodyRule(glare=True, lower=True))
    if mask is None:
        return {}
    seams = seams_between(mask.divided(nuclei.main), mask.stain)
    return {pair: mask.factor * seam.length for pair, seam in seams.items()}


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


def without_cells(image: FieldImage, stain: str, problem: str) -> SegmentedField:
    """A field of which nothing can be said."""
    nothing = np.zeros(image.shape[:2], np.int32)
    return SegmentedField(
        nuclei=nothing, small_bodies=nothing, bodies=None, cells=(), nucleus_diameter=0.0, stain=stain, problem=problem
    )

"""One field to its cells: segmented, or read from the label image beside it; a field that cannot be used says why."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mnbatch.assay.fields import FoundAt
from mnbatch.assay.reasons import say
from mnbatch.imaging.decoding import Decoded
from mnbatch.imaging.fields.cutting import outline_of
from mnbatch.imaging.fields.images import FieldImage
from mnbatch.imaging.fields.options import FieldOptions
from mnbatch.imaging.fields.survey import Seen, SlideTraits
from mnbatch.imaging.segmentation import (
    FoundCell,
    SegmentationSettings,
    SegmentedField,
    problem_of_pixels,
    recognise_ground,
    segment_field,
    segment_from_labels,
)

_NOTHING = ("no nuclei", "empty: ")
"""How the problems begin of a field with nothing in it: that is no fault of the field. A file whose every pixel has one
value is at fault: a camera's picture of an empty field has noise."""

_NO_MAIN_NUCLEI = ("border", "small_body", "apoptotic", "overlapping")
_CLEARLY = 3.0
"""A field is of another stain than its slide when its values reach this many times further to the other side."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundField:
    """What was found in a field.

    Attributes:
        cells: in full-resolution pixels of the file.
        segmented: label images, in pixels of the field's image; None for a field with a problem.
        problem: why it is set aside; "" for a field that was used.
        empty: nothing is in it, and nothing is wrong with it.
    """

    cells: tuple[FoundAt, ...] = ()
    segmented: SegmentedField | None = None
    problem: str = ""
    empty: bool = False


def look_at(image: FieldImage, labels: Decoded | None, options: FieldOptions) -> Seen:
    """What a field tells of its slide: diameters of its main nuclei, and its stain."""
    if image.pixels is None:
        return Seen()
    settings = SegmentationSettings(cells=options.cells)
    segmented = _segmented(image.pixels, labels, settings, options.ground, None)
    inside = [cell for cell in segmented.cells if cell.cell_class not in _NO_MAIN_NUCLEI]
    areas = [area for cell in inside for area in cell.nucleus_areas]
    return Seen(tuple(2 * math.sqrt(area / math.pi) for area in areas), segmented.ground)


def find_cells(
    image: FieldImage, labels: Decoded | None, options: FieldOptions, traits: SlideTraits, um: float | None
) -> FoundField:
    """Find the cells of a field.

    Args:
        image: the field.
        labels: its label image, which is used in place of segmentation.
        options: what a person chose.
        traits: what the slide's fields have in common.
        um: micrometres a pixel, where known.
    """
    pixels = image.pixels
    if pixels is None:
        return FoundField(problem=image.problem, empty=image.problem.startswith(_NOTHING))
    ground = options.ground or (None if traits.ground == "unknown" else traits.ground)
    # A saturated field looks like one of the other stain: what is wrong with its pixels is said first.
    other = ("" if ground is None else problem_of_pixels(pixels, ground)) or _other_stain(pixels, ground)
    if other:
        return FoundField(problem=other, empty=other.startswith(_NOTHING))
    diameter = traits.nucleus_diameter if traits.nucleus_diameter and traits.nucleus_diameter > 2 else None
    settings = SegmentationSettings(cells=options.cells, nucleus_diameter=diameter)
    segmented = _segmented(pixels, labels, settings, ground, um)
    if segmented.problem:
        return FoundField(problem=segmented.problem, empty=segmented.problem.startswith(_NOTHING))
    cells = tuple(
        _in_file(image, _found_at(cell, segmented, um)) for cell in segmented.cells if _in_core(image, cell.x, cell.y)
    )
    return FoundField(cells, segmented, empty=not cells)


def _segmented(
    pixels: Decoded, labels: Decoded | None, settings: SegmentationSettings, ground: str | None, um: float | None
) -> SegmentedField:
    if labels is not None:
        return segment_from_labels(pixels, labels, settings)
    return segment_field(pixels, settings, ground, um)  # type: ignore[arg-type]


def _other_stain(pixels: Decoded, ground: str | None) -> str:
    """Whether a field is clearly of another stain (or channel) than its slide."""
    if ground is None or recognise_ground(pixels) == ground:
        return ""
    grid = pixels[::4, ::4]
    grey = grid.mean(axis=2) if grid.ndim == 3 else grid
    low, middle, high = np.percentile(grey, (0.5, 50, 99.5))
    if pixels.dtype.kind == "u" and middle == np.iinfo(pixels.dtype).max and ground == "fluorescence":
        return ""  # overexposed: segmentation says so
    up, down = float(high - middle), float(middle - low)
    reach, other = (up, down) if ground == "fluorescence" else (down, up)
    if other < _CLEARLY * max(reach, 1e-9):
        return ""
    shows = "dark objects on light ground" if ground == "fluorescence" else "bright objects on dark ground"
    return say("other-stain", shows=shows, ground=ground)


def _in_core(image: FieldImage, x: float, y: float) -> bool:
    if image.core is None:
        return True
    x0, y0, x1, y1 = image.core
    return x0 <= x + image.left < x1 and y0 <= y + image.top < y1


def _found_at(cell: FoundCell, segmented: SegmentedField, um: float | None) -> FoundAt:
    x0, y0, x1, y1 = cell.box
    inside = slice(y0, y1), slice(x0, x1)
    if segmented.bodies is not None and cell.cell_area is not None:
        mask = segmented.bodies[inside] == cell.label
    else:
        mask = np.isin(segmented.nuclei[inside], cell.nuclei)
    return FoundAt(
        x=round(cell.x, 2),
        y=round(cell.y, 2),
        left=x0,
        top=y0,
        width=x1 - x0,
        height=y1 - y0,
        cell_class=cell.cell_class,
        reason=cell.reason,
        nuclei=len(cell.nuclei),
        nucleus_area=sum(cell.nucleus_areas),
        cell_area=cell.cell_area,
        at_border=cell.at_border,
        um_per_pixel=um,
        outline=outline_of(mask, x0, y0),
    )


def _in_file(image: FieldImage, cell: FoundAt) -> FoundAt:
    """A cell of a region, in pixels of the whole file."""
    if not image.left and not image.top:
        return cell
    left, top = image.left, image.top
    outline = tuple(value + (top if index % 2 else left) for index, value in enumerate(cell.outline))
    moved = {"x": cell.x + left, "y": cell.y + top, "left": cell.left + left, "top": cell.top + top}
    return replace(cell, **moved, outline=outline)  # type: ignore[arg-type]

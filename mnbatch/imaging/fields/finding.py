"""One field to its cells: segmented, or read from the label image next to it; crops, outlines and overviews."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.spatial import ConvexHull, QhullError
from skimage.measure import approximate_polygon, find_contours

from mnbatch.assay.field_records import FoundAt
from mnbatch.assay.reasons import say
from mnbatch.imaging.fields.field_images import FieldImage
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_survey import Seen, SlideTraits
from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.preparation import percentile_range
from mnbatch.imaging.segmentation import (
    FoundCell,
    SegmentationSettings,
    SegmentedField,
    problem_of_pixels,
    recognise_field_stain,
    segment_field,
    segment_from_labels,
)

# Crops, outlines and overviews cut from a field.


OVERVIEW_SIDE = 768
"""Pixels of the longer side of a field's small picture."""

_OVERVIEW_QUALITY = 78
_TOLERANCE = 0.7
_THINNED = 8


def cut_crop(
    pixels: Decoded, x: float, y: float, width: int, background: Callable[[], Decoded] | None = None
) -> tuple[Decoded, bool]:
    """A square of `width` pixels round (x, y), and whether it is wholly inside the field.

    What is outside is filled with the field's median colour: its background, unless nuclei cover half of it.

    Args:
        background: gives that colour where many crops are cut from one field; asked only when it is needed.
    """
    left, top = math.floor(x - width / 2 + 0.5), math.floor(y - width / 2 + 0.5)
    height, across = pixels.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(across, left + width), min(height, top + width)
    inside = pixels[y0:y1, x0:x1]
    if inside.shape[:2] == (width, width):
        return np.ascontiguousarray(inside), True
    filled = np.empty((width, width, *pixels.shape[2:]), pixels.dtype)
    filled[...] = median_colour(pixels) if background is None else background()
    filled[y0 - top : y1 - top, x0 - left : x1 - left] = inside
    return filled, False


def outline_of(mask: npt.NDArray[np.bool_], left: int, top: int) -> tuple[int, ...]:
    """Polygon round the true pixels of a small mask, as x and y in turn; of several parts their convex hull.

    Its points are corners of pixels: pixel 0 reaches from 0 to 1.

    Args:
        mask: (height, width), the cell's box.
        left, top: where the box is.
    """
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    if not contours:
        return ()
    if len(contours) == 1 or max(map(len, contours)) >= 0.9 * sum(map(len, contours)):
        points = approximate_polygon(max(contours, key=len), _TOLERANCE)[:-1]
    else:
        points = _hull(np.concatenate(contours))
    shifted = np.rint(points[:, ::-1] - 0.5).astype(int) + np.array([left, top])
    return tuple(shifted.ravel().tolist())


def overview_jpeg(pixels: Decoded) -> bytes:
    """Small picture of a field, its longer side at most 768 pixels."""
    step = max(1, max(pixels.shape[:2]) // (2 * OVERVIEW_SIDE))
    thin = pixels[::step, ::step]
    low, high = (0.0, 255.0) if thin.ndim == 3 and thin.dtype == np.uint8 else percentile_range(thin, 0.5, 99.8)
    scaled = (thin.astype(np.float32) - low) * (255 / max(high - low, 1e-9)) + 0.5
    image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    longest = max(pixels.shape[:2])
    share = min(1.0, OVERVIEW_SIDE / longest)
    size = (max(1, round(pixels.shape[1] * share)), max(1, round(pixels.shape[0] * share)))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=_OVERVIEW_QUALITY)
    return buffer.getvalue()


def median_colour(pixels: Decoded) -> Decoded:
    """Median of each channel over a thinned field: () or (3,)."""
    thin = pixels[::_THINNED, ::_THINNED]
    return np.asarray(np.median(thin.reshape(-1, *pixels.shape[2:]), axis=0)).astype(pixels.dtype)


def _hull(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return points


# One field to its cells: segmented, or read from the label image next to it; a field that cannot be used says why.


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
        problem: why it is skipped; "" for a field that was used.
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
    segmented = _segmented(image, labels, settings, options.stain, None)
    inside = [cell for cell in segmented.cells if cell.cell_class not in _NO_MAIN_NUCLEI]
    areas = [area for cell in inside for area in cell.nucleus_areas]
    return Seen(tuple(2 * math.sqrt(area / math.pi) for area in areas), segmented.stain)


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
    stain = options.stain or (None if traits.stain == "unknown" else traits.stain)
    # A saturated field looks like one of the other stain: what is wrong with its pixels is reported first.
    other = ("" if stain is None else problem_of_pixels(pixels, stain)) or _other_stain(pixels, stain)
    if other:
        return FoundField(problem=other, empty=other.startswith(_NOTHING))
    diameter = traits.nucleus_diameter if traits.nucleus_diameter and traits.nucleus_diameter > 2 else None
    settings = SegmentationSettings(cells=options.cells, nucleus_diameter=diameter)
    segmented = _segmented(image, labels, settings, stain, um)
    if segmented.problem:
        return FoundField(problem=segmented.problem, empty=segmented.problem.startswith(_NOTHING))
    cells = tuple(
        _in_file(image, _found_at(cell, segmented, um)) for cell in segmented.cells if _in_core(image, cell.x, cell.y)
    )
    return FoundField(cells, segmented, empty=not cells)


def _segmented(
    image: FieldImage, labels: Decoded | None, settings: SegmentationSettings, stain: str | None, um: float | None
) -> SegmentedField:
    pixels, cytoplasm = image.pixels, image.cytoplasm
    assert pixels is not None
    if labels is not None:
        return segment_from_labels(pixels, labels, settings, cytoplasm=cytoplasm)
    return segment_field(pixels, settings, stain, um, cytoplasm=cytoplasm)  # type: ignore[arg-type]


def _other_stain(pixels: Decoded, stain: str | None) -> str:
    """Whether a field is clearly of another stain (or channel) than its slide."""
    if stain is None or recognise_field_stain(pixels) == stain:
        return ""
    grid = pixels[::4, ::4]
    grey = grid.mean(axis=2) if grid.ndim == 3 else grid
    low, middle, high = np.percentile(grey, (0.5, 50, 99.5))
    if pixels.dtype.kind == "u" and middle == np.iinfo(pixels.dtype).max and stain == "fluorescence":
        return ""  # overexposed: segmentation says so
    up, down = float(high - middle), float(middle - low)
    reach, other = (up, down) if stain == "fluorescence" else (down, up)
    if other < _CLEARLY * max(reach, 1e-9):
        return ""
    shows = "dark objects on light background" if stain == "fluorescence" else "bright objects on dark background"
    return say("other-stain", shows=shows, stain=stain)


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

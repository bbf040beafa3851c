"""Nuclei where cytoplasm, haze and cells out of focus are stained, too: each by its own contrast and edge.

One level a field cannot do it: above the cytoplasm of a bright cell it is above a dim cell's nucleus as well. So the
field is cut at many levels. What is above each of them falls into parts, and parts of a higher level are within parts
of a lower one: a tree. Along one branch a nucleus is the part whose outline runs over a steep edge and whose inside is
even; a cell (its outline is steep, too) holds two brightnesses, a lump of chromatin or of cytoplasm has no edge, and a
nucleus far out of focus has a slow one. The best parts that do not hold one another are chosen (the idea of stable
regions: Matas 2004, doi 10.1016/j.imavis.2004.02.006; of the choice in the tree: Arteta 2012, doi
10.1007/978-3-642-33415-3_43; the measures are our own).

All measures are ratios, so that neither exposure nor a cell's brightness matters, and lengths are shares of a nucleus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from mnbatch.imaging.segmentation.object_measures import largest_within, relabelled, without_small
from mnbatch.imaging.segmentation.segmentation_settings import Labels
from mnbatch.imaging.segmentation.stain_signal import FloatImage

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_WORKING_DIAMETER = 22.0
"""Parts are sought at about this many pixels across; the cut itself is made on the full picture."""

_STEP = 1.15
"""Ratio of two levels: cytoplasm of 0.4 is seven levels below its nucleus."""
_DARKEST = 0.01
_BRIGHTEST = 0.998
_NOISE_FACTOR = 5.0
"""The lowest level: this share of the brightest pixels (a share of all), and this many standard deviations of noise."""

_REACH = 0.1
_FAR_REACH = 3
"""How far around a pixel its contrast is measured: share of a diameter, and how many times that for the whole step."""

_LEAST_EDGE = 0.4
_FULL_EDGE = 0.6
"""Mean fall of the stain over an outline, as a share of its height: less is no nucleus, more is no better one.
The edge of a cell is a fall to nothing, so without the upper end it would beat the nucleus within."""

_UNEVEN = 0.89
_EVEN = 0.96
"""Squared mean / mean square of the inside: 1 is even. A nucleus with cytoplasm of 0.2 round it has 0.6; chromatin
and a soft edge leave 0.93."""

_SIZE_POWER = 0.7
"""Between 0 (many small parts win) and 1 (one large part wins)."""

_SLOW = 0.55
_SLOWER_THAN_OTHERS = 0.75
"""Out of focus: this share of the whole step at most is within the near reach, and this share of the field's median.
Where all nuclei are soft it is the field, and none is left out."""

_WEAK_EDGE = 0.15
_WEAK_EVEN = 0.95
_USUAL_AREA = (0.3, 2.6)
_COMPACT = 0.5
"""The second choice, among what holds no chosen part: the least fall over the outline (a dim nucleus in the light of a
neighbour or of its own cytoplasm), evenness, area in medians of the chosen ones (two nuclei that touch are divided
later), and radius of the widest disc within relative to that of a disc as large (two discs that touch have 0.7, a
crescent of cytoplasm below 0.4)."""

_COMPARED = 0.3
_LEAST_PIXELS = 6
_LEAST_AREA = 12

_DIM = 0.62
_FLAT = 0.3
_PLATEAU = 0.06
_PLATEAU_SMALL = 0.1
_SMALL = 24.0
_WITHOUT_NUCLEUS = 0.1
"""When a field counts as hazy: shares of what one level takes for nuclei that are dim (relative to the nucleus next to
it) and flat, or that are parts without any nucleus. The slope of a soft nucleus is dim, but not flat; few pixels across
a nucleus leave no room to tell. Other fields are cut at one level, as ever."""

_MAY_BE = 0.03
_NEXT_TO = 0.6
_SOFT = 0.5
"""The quick look: share of what one level takes for nuclei, how far a nucleus may be from its cytoplasm (diameters),
and the fall over an outline that is soft."""

_AGAIN = 0.75
"""The first guess of the diameter may be that of cells; below this share of it the search is made again."""


@dataclass(frozen=True, slots=True, eq=False)
class HazyNuclei:
    """Where nuclei are in a hazy field.

    Attributes:
        mask: (h, w), nuclei, each cut halfway from its surroundings to its own stain.
        relative: (h, w), stain relative to the nucleus's own, so that dim ones are divided as bright ones are.
    """

    mask: BoolArray
    relative: FloatImage


@dataclass(frozen=True, slots=True, eq=False)
class _Coarse:
    """The field at working resolution.

    Attributes:
        stain, low, high: (h, w), and its extremes within `reach` px.
        noise: from pixel to pixel.
        factor: field pixels a pixel.
    """

    stain: FloatImage
    low: FloatImage
    high: FloatImage
    noise: float
    factor: int
    reach: int


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """Parts above one level: entry i for part i, entry 0 unused.

    Attributes:
        labels: part of each foreground pixel.
        worth: how good a nucleus each part is, by its size.
        parent: part of the next lower level that holds it.
        area, edge, evenness: what the worth is made of: pixels, fall over the outline, squared mean / mean square.
    """

    labels: Labels
    worth: FloatArray
    parent: IntArray
    area: FloatArray
    edge: FloatArray
    evenness: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Chosen parts: labels (h, w) at working resolution; each one's own stain and that of its surroundings."""

    labels: Labels
    own: FloatArray
    around: FloatArray


def nuclei_in_haze(
    smooth: FloatImage, noise: float, mask: BoolArray, diameter: float, *, known: bool
) -> HazyNuclei | None:
    """Find nuclei by their own contrast, or None where one level does as well (most fields).

    Args:
        smooth: (h, w), stain, 0 on the background.
        noise: standard deviation from pixel to pixel before smoothing.
        mask: (h, w), what one level takes for nuclei.
        diameter: of a nucleus, px; a guess from the mask unless `known`.
    """
    coarse = _coarse(smooth, noise, diameter)
    if not _may_be_hazy(coarse, mask, diameter):
        return None
    parts = _sharp_parts(coarse)
    found = _diameter_of(parts.labels) * coarse.factor
    if not known and 3 * coarse.factor < found < _AGAIN * diameter:
        diameter = found
        coarse = _coarse(smooth, noise, diameter)
        parts = _sharp_parts(coarse)
    if not parts.labels.any() or not _is_hazy(coarse, parts, mask, diameter):
        return None
    return _cut_out(smooth, parts, coarse.factor)


def _coarse(smooth: FloatImage, noise: float, diameter: float) -> _Coarse:
    factor = max(1, round(diameter / _WORKING_DIAMETER))
    stain = np.asarray(Image.fromarray(smooth).reduce(factor), dtype=np.float32)
    reach = max(1, round(_REACH * diameter / factor))
    high, low = _extremes(stain, reach)
    return _Coarse(stain=stain, low=low, high=high, noise=0.6 * noise / factor, factor=factor, reach=reach)


def _extremes(stain: FloatImage, reach: int) -> tuple[FloatImage, FloatImage]:
    """Largest and smallest stain within `reach` px; below 0 is background."""
    high = ndimage.maximum_filter(stain, size=2 * reach + 1)
    low = ndimage.minimum_filter(stain, size=2 * reach + 1)
    return high, np.maximum(low, 0)


# The tree of parts, and the choice of those that are nuclei.


def _sharp_parts(coarse: _Coarse) -> _Parts:
    """The parts with the best outlines, without slivers and without those out of focus."""
    stain = coarse.stain
    top = float(np.quantile(stain[::2, ::2], _BRIGHTEST))
    lowest = max(_NOISE_FACTOR * coarse.noise * coarse.factor / 0.6, _DARKEST * top, 1e-6)
    count = max(2, int(np.ceil(np.log(max(top / lowest, 1.01)) / np.log(_STEP))))
    cuts = np.asarray(lowest * _STEP ** np.arange(count), np.float64)
    inside = np.flatnonzero(stain.ravel() > lowest)
    levels = _tree(coarse, cuts, inside)
    chosen = np.zeros(stain.size, np.int32)
    chosen[inside] = first = _chosen(levels)
    if first.any():
        chosen[inside] = _with_weak(first, levels, coarse, inside)
    return _in_focus(coarse, chosen.reshape(stain.shape))


def _tree(coarse: _Coarse, cuts: FloatArray, inside: IntArray) -> list[_Level]:
    """Parts above each cut, the lowest first, with their worth."""
    values = coarse.stain.ravel()[inside].astype(np.float64)
    fall = np.maximum(0, coarse.high - coarse.low - 3 * coarse.noise) / np.maximum(coarse.high, 1e-6)
    edges = np.minimum(_FULL_EDGE, fall).ravel()[inside]
    bands = np.searchsorted(cuts, values) - 1
    levels: list[_Level] = []
    for number, cut in enumerate(cuts):
        labels, count = ndimage.label(coarse.stain > cut)
        own = np.asarray(labels, np.int32).ravel()[inside]
        # The pixels that the next two cuts take away are the outline, and all that is flat there.
        outline = (bands == number) | (bands == number + 1)
        held = np.bincount(own[outline], minlength=count + 1)
        edge = np.bincount(own[outline], edges[outline], minlength=count + 1) / np.maximum(held, 1)
        parent = np.zeros(count + 1, np.intp)
        if levels:
            parent[own] = levels[-1].labels
            parent[0] = 0
        evenness = _evenness(own, count, values, coarse.noise)
        area = np.bincount(own, minlength=count + 1).astype(np.float64)
        levels.append(_Level(own, _worth(area, edge, evenness), parent, area=area, edge=edge, evenness=evenness))
    return levels


def _evenness(own: Labels, count: int, values: FloatArray, noise: float) -> FloatArray:
    area = np.bincount(own, minlength=count + 1).astype(np.float64)
    total = np.bincount(own, values, minlength=count + 1)
    squares = np.bincount(own, values * values, minlength=count + 1) - area * noise**2
    return np.asarray(total**2 / np.maximum(area, 1) / np.maximum(squares, 1e-9))


def _worth(area: FloatArray, edge: FloatArray, evenness: FloatArray) -> FloatArray:
    worth = np.maximum(0, edge - _LEAST_EDGE) * np.clip((evenness - _UNEVEN) / (_EVEN - _UNEVEN), 0, 1)
    worth[area < _LEAST_PIXELS] = 0
    worth[0] = 0
    return np.asarray(worth * area**_SIZE_POWER)


def _with_weak(first: Labels, levels: list[_Level], coarse: _Coarse, inside: IntArray) -> Labels:
    """The chosen parts, and those with a weaker outline that hold none of them and have a nucleus's size and form.

    A chosen part too small for a nucleus (a lump of chromatin) gives way to a weaker one that holds it.
    """
    areas = np.bincount(first).astype(np.float64)
    ordered = np.sort(areas[1:])
    usual = float(ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)])
    low, high = max(_USUAL_AREA[0] * usual, _LEAST_PIXELS), _USUAL_AREA[1] * usual
    taken = (first > 0) & (areas >= low)[first]
    second = _chosen([_weakly(level, taken, low, high) for level in levels])
    placed = np.zeros(coarse.stain.size, np.int32)
    placed[inside] = second
    deep = ndimage.distance_transform_edt(placed.reshape(coarse.stain.shape) > 0).ravel()[inside]
    area = np.bincount(second, minlength=1)
    widest = largest_within(second, deep, len(area) - 1)
    keep = np.concatenate([[False], widest >= _COMPACT * np.sqrt(area[1:] / np.pi)])
    kept = relabelled(second, keep)
    return np.asarray(np.where(kept > 0, kept + int(first.max()), first), dtype=np.int32)


def _weakly(level: _Level, taken: BoolArray, low: float, high: float) -> _Level:
    """The level with the worth of the second choice."""
    free = np.bincount(level.labels, taken, minlength=len(level.area)) == 0
    fits = free & (level.area >= low) & (level.area <= high) & (level.evenness >= _WEAK_EVEN)
    worth = np.where(fits, np.maximum(0, level.edge - _WEAK_EDGE), 0) * level.area**_SIZE_POWER
    worth[0] = 0
    return replace(level, worth=np.asarray(worth))


def _chosen(levels: list[_Level]) -> Labels:
    """Labels of the foreground pixels: parts that are worth more than all the best parts within them, from the root."""
    taken: list[BoolArray] = []
    best = np.zeros(0)
    for number in range(len(levels) - 1, -1, -1):
        worth = levels[number].worth
        within = np.zeros(len(worth))
        if number + 1 < len(levels):
            within = np.asarray(np.bincount(levels[number + 1].parent, best, minlength=len(worth)), np.float64)
            within[0] = 0
        taken.append((worth >= within) & (worth > 0))
        best = np.maximum(worth, within)
    taken.reverse()
    labels = np.zeros(len(levels[0].labels), np.int32)
    free, numbered = np.ones(0, np.bool_), 0
    for number, level in enumerate(levels):
        free = np.ones(len(level.worth), np.bool_) if number == 0 else free[level.parent]
        free[0] = False
        here = free & taken[number]
        names = np.zeros(len(here), np.int32)
        names[here] = np.arange(numbered + 1, numbered + 1 + int(here.sum()))
        numbered += int(here.sum())
        named = names[level.labels]
        labels = np.where(named > 0, named, labels)
        free = free & ~taken[number]
    return labels


def _in_focus(coarse: _Coarse, labels: Labels) -> _Parts:
    """The parts without slivers (edges of cytoplasm) and without those far softer than the field's other ones."""
    flat, stain = labels.ravel(), coarse.stain.ravel()
    inside = np.flatnonzero(flat > 0)
    owner, values = flat[inside], stain[inside].astype(np.float64)
    area = np.bincount(owner, minlength=1)
    own = np.bincount(owner, values * values) / np.maximum(np.bincount(owner, values), 1e-9)
    outline = np.flatnonzero(((labels > 0) & (ndimage.minimum_filter(labels, size=3) != labels)).ravel())
    there = flat[outline]
    high, low = _extremes(coarse.stain, _FAR_REACH * coarse.reach)
    near_fall = np.bincount(there, (coarse.high - coarse.low).ravel()[outline], minlength=len(area))
    far_fall = np.bincount(there, (high - low).ravel()[outline], minlength=len(area))
    held = np.maximum(np.bincount(there, minlength=len(area)), 1)
    around = np.bincount(there, coarse.low.ravel()[outline], minlength=len(area)) / held
    deep = ndimage.distance_transform_cdt(labels > 0) > coarse.reach
    keep = np.zeros(len(area), np.bool_)
    keep[labels[deep]] = True
    keep[0] = False
    if keep.any():
        sharpness = near_fall / np.maximum(far_fall, 1e-9)
        usual = float(np.median(sharpness[keep & (area >= _COMPARED * np.median(area[keep]))]))
        keep &= sharpness >= min(_SLOW, _SLOWER_THAN_OTHERS * usual)
    return _Parts(np.asarray(labels * keep[labels], dtype=np.int32), own, around)


def _diameter_of(labels: Labels) -> float:
    """Median diameter by area of the parts, px; 0.0 without any."""
    area = np.sort(np.bincount(labels.ravel())[1:])
    if not area.any():
        return 0.0
    weights = np.cumsum(area)
    return float(2 * (area[np.searchsorted(weights, weights[-1] / 2)] / np.pi) ** 0.5)


# Whether the field is hazy, and the cut.


def _may_be_hazy(coarse: _Coarse, mask: BoolArray, diameter: float) -> bool:
    """A quick look that saves most fields the search: dim and flat next to something brighter, or a soft outline."""
    taken = _reduced(mask, coarse.factor)
    near = ndimage.maximum_filter(coarse.stain, size=1 + 2 * round(_NEXT_TO * diameter / coarse.factor))
    dim = taken & (coarse.stain < _DIM * near)
    high, low = _extremes(coarse.stain, 1)
    if int((dim & (high - low < _FLAT * high)).sum()) >= _MAY_BE * int(taken.sum()):
        return True
    pieces, count = ndimage.label(taken)
    outline = np.flatnonzero((taken & (ndimage.minimum_filter(taken, size=3) == 0)).ravel())
    owner = pieces.ravel()[outline]
    fall = ((coarse.high - coarse.low) / np.maximum(coarse.high, 1e-6)).ravel()[outline]
    mean = np.bincount(owner, fall, minlength=count + 1) / np.maximum(np.bincount(owner, minlength=count + 1), 1)
    soft = int((mean < _SOFT)[pieces[taken]].sum())
    return soft >= _MAY_BE * int(taken.sum())


def _reduced(mask: BoolArray, factor: int) -> BoolArray:
    return np.asarray(np.asarray(Image.fromarray(mask.astype(np.float32)).reduce(factor)) > _COMPARED)


def _is_hazy(coarse: _Coarse, parts: _Parts, mask: BoolArray, diameter: float) -> bool:
    """Whether one level takes much for nuclei that is cytoplasm or has no nucleus."""
    taken = _reduced(mask, coarse.factor)
    pieces, count = ndimage.label(taken)
    nucleated = np.zeros(count + 1, np.bool_)
    nucleated[pieces[parts.labels > 0]] = True
    nucleated[0] = False
    with_nucleus = nucleated[pieces]
    outside = with_nucleus & (ndimage.maximum_filter(parts.labels, size=2 * coarse.reach + 1) == 0)
    nearest = ndimage.distance_transform_edt(parts.labels == 0, return_distances=False, return_indices=True)
    dim = coarse.stain < _DIM * parts.own[parts.labels[tuple(nearest)]]
    high, low = _extremes(coarse.stain, 1)
    flat = high - low < _FLAT * high
    held = max(1, int(with_nucleus.sum()))
    plateau = int((outside & dim & flat).sum()) / held
    without = 1 - held / max(1, int(taken.sum()))
    return plateau >= (_PLATEAU if diameter >= _SMALL else _PLATEAU_SMALL) or without >= _WITHOUT_NUCLEUS


def _cut_out(smooth: FloatImage, parts: _Parts, factor: int) -> HazyNuclei:
    """The parts on the full picture, each cut halfway between its surroundings and its own stain."""
    height, width = smooth.shape
    grown = np.where(parts.labels > 0, parts.labels, ndimage.maximum_filter(parts.labels, size=3))
    full = np.repeat(np.repeat(grown, factor, axis=0), factor, axis=1)[:height, :width]
    cut = (parts.around + 0.5 * (parts.own - parts.around)).astype(np.float32)
    cut[0] = np.inf
    mask = without_small(smooth > cut[full], _LEAST_AREA)
    own = np.maximum(parts.own, 1e-6).astype(np.float32)
    # Also in holes, which are filled later.
    return HazyNuclei(mask, np.asarray(np.where(full > 0, smooth / own[full], 0), dtype=np.float32))

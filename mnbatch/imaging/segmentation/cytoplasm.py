"""Which main nuclei are within one cytoplasm, and what kind of cell that makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import watershed

from mnbatch.assay.field_records import CellClass, division_class
from mnbatch.imaging.segmentation.object_measures import Regions, depth_of, without_holes, without_small
from mnbatch.imaging.segmentation.segmentation_settings import Labels, SegmentationSettings
from mnbatch.imaging.segmentation.stain_signal import FloatImage
from mnbatch.imaging.segmentation.touching_nuclei import Pair

# Whole cells: the cytoplasm round the nuclei, where the stain shows any.


BoolArray = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.int32, np.bool_)

_WORKING_DIAMETER = 20.0
"""Bodies are sought at this many pixels across a nucleus: their edges are softer than those of nuclei."""

_RING = (0.06, 0.16)
_OUTER_RING = (0.2, 0.3)
"""Cytoplasm is looked for at these distances from nuclei, in nucleus diameters."""

_FAR = 0.8
_REACH = 1.2
"""Cytoplasm ends at this distance from the cell's nuclei, in nucleus diameters."""

_CLEAR = 4.0
_PLATEAU = 0.4
"""Glare falls off with the distance from a nucleus, cytoplasm does not: what the outer ring has of the inner one's."""

_BLUR = 0.04
_INLET = 0.1
_TONGUE = 0.15
_HOLE = 0.3
"""Half widths of inlets that are closed and of tongues that are cut off; holes filled, in squares of a diameter."""

_EDGE = 0.4
"""Where a cell ends: this share of its cytoplasm above the background."""

_FAINTEST = 0.15
"""A cell whose cytoplasm is dimmer than this share of the field's usual one does not lower its level any further."""

_DARK = 0.02
"""Where cells leave no place far from nuclei, the background is this quantile."""


@dataclass(frozen=True, slots=True)
class BodyRule:
    """How bodies are sought.

    Attributes:
        glare: light round a bright nucleus is told from cytoplasm by a second ring.
        lower: the level is each cell's own where its cytoplasm is dimmer than is usual in the field.
        higher: likewise where it is brighter.
    """

    glare: bool
    lower: bool = False
    higher: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BodyMask:
    """Where there is cytoplasm or nucleus, on a grid `factor` times coarser than the field.

    Attributes:
        mask: (ceil(h / factor), ceil(w / factor)).
        stain: the same grid, stain of any kind.
        depth: the same grid, distance to where there is neither.
    """

    mask: BoolArray
    stain: FloatImage
    depth: FloatImage
    factor: int

    def divided(self, markers: Labels) -> Labels:
        """Divide the bodies among markers, on the coarse grid; parts without a marker are left out.

        Args:
            markers: (h, w), nuclei.
        """
        coarse = coarse_labels(markers, self.factor)
        return np.asarray(watershed(-self.depth, coarse, mask=self.mask | (coarse > 0)), dtype=np.int32)

    def bodies(self, markers: Labels) -> Labels:
        """(h, w): the bodies of the cells whose nuclei the markers are."""
        height, width = markers.shape
        full = np.repeat(np.repeat(self.divided(markers), self.factor, axis=0), self.factor, axis=1)
        return np.where(markers > 0, markers, full[:height, :width])


def coarse_labels(labels: npt.NDArray[Number], factor: int) -> npt.NDArray[Number]:
    """The largest label in each block of factor x factor pixels."""
    if factor == 1:
        return labels
    height, width = labels.shape
    padded = np.pad(labels, ((0, -height % factor), (0, -width % factor)))
    rows = padded[::factor].copy()
    for offset in range(1, factor):
        np.maximum(rows, padded[offset::factor], out=rows)
    columns = rows[:, ::factor].copy()
    for offset in range(1, factor):
        np.maximum(columns, rows[:, offset::factor], out=columns)
    return columns


def body_mask(total: FloatImage, nuclear: BoolArray, diameter: float, rule: BodyRule) -> BodyMask | None:
    """Where there is cytoplasm or nucleus, or None where no cytoplasm differs from the background.

    The cytoplasm's level is the median of a ring round the nuclei; part of it above the background is its edge.

    Args:
        total: (h, w), stain of any kind; or of the cytoplasm alone, where it has a channel of its own.
        nuclear: (h, w), nuclei and small bodies.
        diameter: of a nucleus, px.
    """
    factor = max(1, round(diameter / _WORKING_DIAMETER))
    stain = np.asarray(Image.fromarray(total).reduce(factor), dtype=np.float32)
    inner = coarse_labels(nuclear, factor)
    size = diameter / factor
    smooth = ndimage.gaussian_filter(stain, max(0.6, _BLUR * size), truncate=3)
    away = ndimage.distance_transform_edt(~inner).astype(np.float32) / np.float32(size)
    found = _level(smooth, away, rule)
    if found is None:
        return None
    level = found.level if not (rule.lower or rule.higher) else _own_levels(smooth, away, inner, found, rule)
    mask = (smooth > level) & (away <= _REACH) | inner
    mask = _evened(mask, size) | inner
    return BodyMask(mask, stain, depth_of(mask), factor)


def _evened(mask: BoolArray, size: float) -> BoolArray:
    """The mask without specks, inlets and holes (pale places of a cytoplasm), and tongues (background's texture).

    Args:
        size: nucleus diameter on this grid, px.
    """
    width = max(1, round(_INLET * size))
    # What is outside the field counts as what is at its edge, or the edge would eat into cells.
    padded = np.pad(without_small(mask, 0.2 * size**2), width, mode="edge")
    closed = without_holes(ndimage.binary_closing(padded, iterations=width), _HOLE * size**2)
    opened = ndimage.binary_opening(closed, iterations=max(1, round(_TONGUE * size)))
    return np.asarray(opened[width:-width, width:-width])


@dataclass(frozen=True, slots=True)
class _Level:
    """Stain of the background and its spread, of the usual cytoplasm above it (step), and at the edge of cells."""

    background: float
    spread: float
    step: float

    @property
    def level(self) -> float:
        return self.background + _EDGE * self.step


def _level(smooth: FloatImage, away: FloatImage, rule: BodyRule) -> _Level | None:
    """Stain at the edge of cells, or None."""
    ring, far = smooth[(away > _RING[0]) & (away <= _RING[1])], smooth[away > _FAR]
    if rule.higher and ring.size and not far.size:
        far = smooth[smooth <= np.quantile(smooth, _DARK)]
    if not ring.size or not far.size:
        return None
    background = float(np.median(far))
    spread = 1.4826 * float(np.median(np.abs(far - background)))
    step = float(np.median(ring)) - background
    if step < _CLEAR * max(spread, 1e-6):
        return None
    outer = smooth[(away > _OUTER_RING[0]) & (away <= _OUTER_RING[1])]
    if rule.glare and (not outer.size or float(np.median(outer)) - background < _PLATEAU * step):
        return None
    return _Level(background, spread, step)


def _own_levels(smooth: FloatImage, away: FloatImage, inner: BoolArray, usual: _Level, rule: BodyRule) -> FloatImage:
    """Stain at the edge of each cell, (h, w): by the ring round the nuclei that are nearest to a pixel.

    Args:
        away: distance to the nuclei, nucleus diameters.
        inner: nuclei and small bodies.
        usual: of the field.
    """
    pieces, count = ndimage.label(inner, np.ones((3, 3), np.int8))
    rows, columns = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    owner = pieces[rows, columns]
    steps = _ring_medians(smooth, owner, count, (away > _RING[0]) & (away <= _RING[1])) - usual.background
    if rule.glare:
        outer = _ring_medians(smooth, owner, count, (away > _OUTER_RING[0]) & (away <= _OUTER_RING[1]))
        steps = np.where(outer - usual.background < _PLATEAU * steps, usual.step, steps)
    steps = np.where(np.isfinite(steps), steps, usual.step)
    least = max(_CLEAR * usual.spread, _FAINTEST * usual.step)
    lowest, highest = least if rule.lower else usual.step, np.inf if rule.higher else usual.step
    own = usual.background + _EDGE * np.clip(steps, min(lowest, usual.step), highest)
    return np.asarray(own.astype(np.float32)[owner])


def _ring_medians(
    smooth: FloatImage, owner: npt.NDArray[np.int32], count: int, ring: BoolArray
) -> npt.NDArray[np.float64]:
    """Median over the ring of each of the pieces 1..count, entry i for piece i; NaN for one without a ring."""
    found = np.full(count + 1, np.nan)
    present = np.unique(owner[ring])
    if present.size:
        found[present] = ndimage.median(smooth[ring], owner[ring], present)
    return found


# From nuclei to cells: which main nuclei are within one cytoplasm, and what kind of cell that makes.
#
# The criteria are those of the HUMN project for cells that may be scored (Fenech 2003, doi
# 10.1016/S1383-5718(02)00249-8; Fenech 2007, doi 10.1038/nprot.2007.77): two nuclei within the same cytoplasmic
# boundary, of about the same size, staining pattern and intensity, which may touch but whose boundaries can be told
# apart, and a cytoplasm that can be told from the neighbours'.


_MOST_NUCLEI = 6
"""More nuclei than this in one group are a clump of cells."""

_BODY_NECK = ((0.3, 0.5), (0.45, 0.8), (0.6, 1.3), (0.7, 1.4))
"""Two nuclei this far apart share a cytoplasm if the line that divides it is at least this long: gap between the
nuclei in median diameters, length in diameters of the smaller nucleus. Nuclei of two cells that touch have the
cytoplasm of both between them, so close ones are rarely of two cells, and distant ones need a broad common body."""

_ENOUGH = 8
_CONDENSED = ((1.3, 0.7), (1.45, 1.0))
"""Apoptotic from this stain on and up to this mean area of the pieces, in medians of the field."""

_USUAL_SPREAD = 0.3
"""Of the logarithm of the stain between the nuclei of a field: robust standard deviation."""

REASONS: dict[CellClass, str] = {
    "mononucleated": "one main nucleus",
    "binucleated": "",
    "trinucleated": "three main nuclei",
    "multinucleated": "four or more main nuclei",
    "apoptotic": "condensed or broken up like an apoptotic nucleus",
    "overlapping": "nuclei or cytoplasm overlap with a neighbour's",
    "border": "cut by the edge of the field",
    "small_body": "too small for a main nucleus",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Main nuclei (labels) of one cell, and what the cell is."""

    nuclei: tuple[int, ...]
    cell_class: CellClass


@dataclass(frozen=True, slots=True)
class Seams:
    """Lengths of the lines that divide the bodies of two nuclei, px.

    Attributes:
        usual: by the field's level; None where no cytoplasm can be seen.
        faint: by levels that follow dim cells down; they pair what is single otherwise. Empty outside hazy fields.
    """

    usual: dict[Pair, float] | None
    faint: dict[Pair, float]


def outline_gaps(labels: Labels, regions: Regions, largest: float) -> dict[Pair, float]:
    """Distance between the outlines of each two nuclei that are at most `largest` px apart; 0 where they touch."""
    # What is beyond the edge is no nucleus, so pixels on the edge belong to the outline.
    flat, width = np.pad(labels, 1).ravel(), labels.shape[1] + 2
    inside = np.flatnonzero(flat > 0)
    owner = flat[inside]
    inner = (owner == flat[inside - width]) & (owner == flat[inside + width])
    inner &= (owner == flat[inside - 1]) & (owner == flat[inside + 1])
    rows, columns = np.divmod(inside[~inner], width)
    rows, columns, owner = rows - 1, columns - 1, owner[~inner]
    order = np.argsort(owner, kind="stable")
    points = np.stack([columns, rows], axis=1)[order].astype(np.float64)
    starts = np.searchsorted(owner[order], np.arange(1, len(regions.area) + 2))
    outlines = [points[starts[i] : starts[i + 1]] for i in range(len(regions.area))]
    gaps: dict[Pair, float] = {}
    for a, b in _near(regions, largest):
        distance = float(np.min(cKDTree(outlines[a]).query(outlines[b])[0]))
        if distance - 1 <= largest:
            gaps[(a + 1, b + 1)] = max(0.0, distance - 1)
    return gaps


def _near(regions: Regions, largest: float) -> list[tuple[int, int]]:
    """Pairs whose boxes are at most `largest` apart."""
    if len(regions.area) < 2:
        return []
    reach = float((regions.boxes[:, 2:] - regions.boxes[:, :2]).max()) + largest
    pairs = cKDTree(np.stack([regions.x, regions.y], axis=1)).query_pairs(reach * 2**0.5, output_type="ndarray")
    a, b = regions.boxes[pairs[:, 0]], regions.boxes[pairs[:, 1]]
    apart = np.maximum(np.maximum(a[:, :2], b[:, :2]) - np.minimum(a[:, 2:], b[:, 2:]), 0).max(axis=1)
    return sorted((int(i), int(j)) for i, j in pairs[apart <= largest + 1])


def group_nuclei(
    regions: Regions,
    gaps: dict[Pair, float],
    seams: Seams,
    diameter: float,
    settings: SegmentationSettings,
) -> list[Group]:
    """Group nuclei into cells.

    Args:
        gaps: distance between the outlines of two nuclei, px.
    """
    if seams.usual is None:
        links = _links_by_distance(gaps, settings.pair_gap_close * diameter)
    else:
        usual = seams.usual
        links = [pair for pair in sorted(gaps) if _one_body(pair, gaps[pair] / diameter, usual, regions)]
        linked = {label for pair in links for label in pair}
        faint = [pair for pair in sorted(gaps) if _one_body(pair, gaps[pair] / diameter, seams.faint, regions)]
        links += [pair for pair in _alone(faint) if not linked & set(pair) and alike(pair, regions, settings)]
    return [group_within_body(members, regions, settings) for members in _connected(len(regions.area), links)]


def _alone(pairs: list[Pair]) -> list[Pair]:
    """The pairs of which neither is in another one."""
    labels = [label for pair in pairs for label in pair]
    return [pair for pair in pairs if labels.count(pair[0]) == labels.count(pair[1]) == 1]


def _links_by_distance(gaps: dict[Pair, float], close: float) -> list[Pair]:
    """Where no cytoplasm can be seen: close nuclei, and pairs further apart that are each other's nearest."""
    linked = {label for pair, gap in gaps.items() if gap <= close for label in pair}
    nearest: dict[int, Pair] = {}
    for pair in sorted(gaps, key=lambda pair: (gaps[pair], pair)):
        for label in pair:
            nearest.setdefault(label, pair)
    return [
        pair
        for pair in sorted(gaps)
        if gaps[pair] <= close or (not linked & set(pair) and all(nearest[label] == pair for label in pair))
    ]


def _one_body(pair: Pair, gap: float, seams: dict[Pair, float], regions: Regions) -> bool:
    smaller = float(min(regions.diameter[pair[0] - 1], regions.diameter[pair[1] - 1]))
    gaps, lengths = zip(*_BODY_NECK, strict=True)
    least = float(np.interp(gap, np.array(gaps), np.array(lengths)))
    return seams.get(pair, 0.0) >= least * smaller


def group_within_body(members: tuple[int, ...], regions: Regions, settings: SegmentationSettings) -> Group:
    """The cell that these nuclei make if they are within one cytoplasm."""
    if condensed(members, regions):
        return Group(members, "apoptotic")
    if len(members) > _MOST_NUCLEI:
        return Group(members, "overlapping")
    if len(members) == 2 and not alike(members, regions, settings):
        return Group(members, "overlapping")
    return Group(members, division_class(len(members)))


def condensed(members: Iterable[int], regions: Regions) -> bool:
    """Whether nuclei are far denser than the field's and smaller, as those of apoptotic cells (Fenech 2007).

    Said only where the field has enough nuclei to compare with. Where nuclei differ much in brightness anyway, a dense
    one has to differ by more.
    """
    if len(regions.area) < _ENOUGH:
        return False
    index: npt.NDArray[np.intp] = np.array(list(members), np.intp) - 1
    area = float(regions.area[index].mean() / np.median(regions.area))
    stain = float(np.average(regions.stain[index], weights=regions.area[index]) / np.median(regions.stain))
    logarithms = np.log(np.maximum(regions.stain, 1e-6))
    spread = 1.4826 * float(np.median(np.abs(logarithms - np.median(logarithms))))
    power = max(1.0, spread / _USUAL_SPREAD)
    return any(stain >= least**power and area <= most for least, most in _CONDENSED)


def alike(members: Iterable[int], regions: Regions, settings: SegmentationSettings) -> bool:
    """Whether nuclei are about equal in size and in stain."""
    index: npt.NDArray[np.intp] = np.array(list(members), np.intp) - 1
    area, stain = regions.area[index], regions.stain[index]
    return bool(
        area.min() >= settings.pair_size_ratio * area.max() and stain.min() >= settings.pair_stain_ratio * stain.max()
    )


def _connected(count: int, links: list[Pair]) -> list[tuple[int, ...]]:
    """Labels 1..count in groups joined by links, in order of their smallest label."""
    root = list(range(count + 1))

    def find(label: int) -> int:
        while root[label] != label:
            label = root[label]
        return label

    for a, b in links:
        first, second = sorted((find(a), find(b)))
        root[second] = first
    groups: dict[int, list[int]] = {}
    for label in range(1, count + 1):
        groups.setdefault(find(label), []).append(label)
    return [tuple(group) for group in groups.values()]

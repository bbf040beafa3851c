"""Masks of micronuclei, and the pointing game: is the strongest point of a map on one?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import distance_transform_edt

from mnbatch.assay.intervals import clopper_pearson
from mnbatch.assay.map_grid import ORIGIN, STEP, positions
from mnbatch.errors import TrainingError
from mnbatch.evaluation.evaluation_set import LabelledSet
from mnbatch.evaluation.labelled_cells import read_label_table
from mnbatch.imaging.litter import is_system_litter
from mnbatch.intake import reason

# Where the micronuclei of a crop are: a mask for each crop, or a cut from the mask of its field.
#
# A mask is an image in which micronuclei are not 0 (not transparent, where it has an alpha channel). Fields whose
# masks give each cell a colour of its own also tell which micronuclei are the cell's own.


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MaskPlace:
    """Which part of which mask belongs to a crop.

    Attributes:
        path: the mask image.
        box: left, top and side in pixels of the mask; None for the whole image.
        colour: 0xRRGGBB of the cell's own micronuclei; None where the mask does not tell cells apart.
    """

    path: Path
    box: tuple[int, int, int] | None = None
    colour: int | None = None


@dataclass(frozen=True, slots=True)
class Masks:
    """Masks of crops.

    Attributes:
        by_path: by the crop's path without its suffix, as the list or the folder spells it.
        by_name: by its bare name, where only one crop has it.
    """

    by_path: Mapping[str, MaskPlace]
    by_name: Mapping[str, MaskPlace]

    @classmethod
    def keyed(cls, places: Iterable[tuple[str, MaskPlace]]) -> Masks:
        """Masks by the paths of their crops' files."""
        by_path = {str(PurePosixPath(file).with_suffix("")): place for file, place in places}
        names = Counter(PurePosixPath(path).name for path in by_path)
        by_name = {name: by_path[path] for path in by_path if names[name := PurePosixPath(path).name] == 1}
        return cls(by_path, by_name)

    def of(self, file: str) -> MaskPlace | None:
        """The mask of a crop: under its whole path, else the only one under its bare name, else None."""
        path = PurePosixPath(file).with_suffix("")
        return self.by_path.get(str(path)) or self.by_name.get(path.name)


def find_masks(masks: Path) -> Masks:
    """Masks of crops.

    Args:
        masks: a folder of masks that are named like their crops (the suffix may differ); or a CSV with `file` and
            either `mask` (path relative to the CSV) or `split`, `dataset` and `field` (mnfinder: the mask is
            `fields/<split>/<dataset>/mn_masks/<field>.png`), and, for field masks, x, y, window: left, top and side
            of the crop in the field, and optionally `colour` (RRGGBB).

    Raises:
        TrainingError: neither of the two, or a row that cannot be understood.
    """
    if masks.is_dir():
        files = [path for path in sorted(masks.rglob("*")) if path.is_file() and not _is_litter(path, masks)]
        return Masks.keyed((path.relative_to(masks).as_posix(), MaskPlace(path)) for path in files)
    if not masks.exists():
        raise TrainingError(f"There are no masks at {masks}.", "Give a folder of masks, or a CSV that places crops.")
    try:
        table = read_label_table(masks)
    except OSError as error:
        raise TrainingError(f"{masks} cannot be read: {reason(error)}.", "Check the path and its rights.") from error
    columns = set(table.columns)
    if "file" not in columns or not (columns >= {"mask"} or columns >= {"split", "dataset", "field"}):
        raise TrainingError(
            f"{masks} needs the columns file and mask (or split, dataset, field).", "Add them to its first line."
        )
    numbered = list(table.dicts())
    return Masks.keyed((row["file"], _place(row, masks, number)) for number, row in numbered if row["file"])


def _is_litter(path: Path, masks: Path) -> bool:
    return any(is_system_litter(part) for part in path.relative_to(masks).parts)


def _place(row: dict[str, str], masks: Path, line: int) -> MaskPlace:
    mnfinder = not row.get("mask")
    try:
        if mnfinder:
            folder = masks.parent / "fields" / row["split"] / row["dataset"] / "mn_masks"
            path, colour = folder / f"{Path(row['field']).stem}.png", _mnfinder_colour(row["file"])
        else:
            path, colour = masks.parent / row["mask"], int(row["colour"], 16) if row.get("colour") else None
        box = (int(row["x"]), int(row["y"]), int(row["window"])) if row.get("window") else None
    except ValueError as error:
        raise TrainingError(f"{masks}, line {line}: {reason(error)}.", "x, y and window are whole pixels.") from error
    return MaskPlace(path, box, colour)


def _mnfinder_colour(file: str) -> int | None:
    """The cell's colour in mnfinder's masks: the crop's name ends in `__RRGGBB`, one above it."""
    tail = Path(file).stem.rsplit("__", 1)[-1]
    return int(tail, 16) - 1 if len(tail) == 6 else None


def crop_masks(place: MaskPlace, size: int) -> tuple[Mask, Mask | None]:
    """Micronuclei in a crop of `size` pixels: of all cells, and the cell's own where colours tell.

    Nearest-pixel resizing about pixel centres, as the crop's own resizing is centred.

    Raises:
        TrainingError: the mask cannot be read, or the crop is outside it.
    """
    colours = _read(place.path)
    if place.box is not None:
        left, top, side = place.box
        height, width = colours.shape
        if left < 0 or top < 0 or side < 1 or left + side > width or top + side > height:
            raise TrainingError(
                f"A crop at {left}, {top} of side {side} is outside {place.path} ({width} x {height}).",
                "Correct x, y and window.",
            )
        colours = colours[top : top + side, left : left + side]
    colours = _square(colours)
    rows, columns = (((np.arange(size) + 0.5) * n / size).astype(int) for n in colours.shape)
    cut = colours[np.ix_(rows, columns)]
    return cut != 0, None if place.colour is None else cut == place.colour


def shown_part(mask: Mask, zoom: float) -> Mask:
    """The middle of a crop's mask as a zoomed crop shows it, in the mask's own size (nearest pixels).

    Args:
        mask: (size, size); zoom: see `CellCrop`.
    """
    size = len(mask)
    places = ((np.arange(size) + 0.5 - size / 2) / zoom + size / 2).astype(int)
    return np.asarray(mask[np.ix_(places, places)])


def _square(colours: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Padded on both sides like a crop that is not square."""
    height, width = colours.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(colours, ((top, side - height - top), (left, side - width - left)))


@dataclass(frozen=True, slots=True)
class MaskedCells:
    """Cells with micronuclei whose masks show one.

    Attributes:
        places: in the labelled set; wanted: all cells with micronuclei there.
        of_any: micronuclei of all cells in the crop; of_own: the crop's own cell's, None where not known.
    """

    places: tuple[int, ...]
    wanted: int
    of_any: tuple[Mask, ...]
    of_own: tuple[Mask | None, ...]


def masked_cells(data: LabelledSet, masks: Path, size: int) -> MaskedCells:
    """Find and cut the masks of all cells that are labelled as having micronuclei.

    Raises:
        TrainingError: as `find_masks` and `crop_masks`, or there is none for any of the cells.
    """
    found = find_masks(masks)
    wanted = [place for place, cell in enumerate(data.cells) if cell.has_mn]
    cut = []
    for place in wanted:
        where = found.of(data.files[place])
        pair = crop_masks(where, size) if where else None
        if pair is not None and pair[0].any():
            cut.append((place, *pair))
    if not cut:
        raise TrainingError(
            f"None of the {len(wanted)} cells with micronuclei has a mask in {masks} that shows one.",
            "Masks are found by the crop's file name; see docs/evaluation.md.",
        )
    places, of_any, of_own = zip(*cut, strict=True)
    return MaskedCells(places, len(wanted), of_any, of_own)


@lru_cache(maxsize=8)
def _read(path: Path) -> npt.NDArray[np.int64]:
    """A mask as one number a pixel: 0 for none, else its colour 0xRRGGBB (or its grey value)."""
    try:
        with Image.open(path) as image:
            values = np.asarray(image).astype(np.int64)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise TrainingError(f"The mask {path} cannot be read: {error}.", "Repair it or take it out.") from error
    if values.ndim == 2:
        return values
    if values.shape[2] == 2:
        return np.asarray(np.where(values[..., 1] > 0, values[..., 0], 0))
    colour = (values[..., 0] << 16) | (values[..., 1] << 8) | values[..., 2]
    return np.asarray(np.where(values[..., 3] > 0, colour, 0) if values.shape[2] == 4 else colour)


# The pointing game: is the strongest point of a map on a micronucleus?
#
# After Zhang et al., Int J Comput Vision 126:1084 (2018): a hit where the map's strongest point lies on the object or
# within a tolerance of it. Positions lie as `mnbatch.assay.map_grid` says; the tolerance is 8 of 224 pixels, whatever
# the network's input, measured from the point to the nearest pixel of a micronucleus.


TOLERANCE = 8.0 / 224
"""Share of the crop's width."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """How often one map points at a micronucleus.

    Attributes:
        name: of the map; "random" for the expected share of a point drawn at random from the grid, "reachable" for
            the share of cells where any position of the grid would hit.
        target: "any": a micronucleus of any cell in the crop; "own": one of the crop's own cell.
        hits: of `cells`; None for "random", which is an expectation.
        low, high: Clopper-Pearson 95 % interval; for "random" None.
    """

    name: str
    target: str
    share: float
    cells: int
    hits: int | None = None
    low: float | None = None
    high: float | None = None


def hit_grid(mask: Mask) -> npt.NDArray[np.bool_]:
    """Positions of the grid that lie on or within the tolerance of a micronucleus, (s, s).

    Args:
        mask: as large as the network's input; no micronucleus gives no hit anywhere.
    """
    size = len(mask)
    centres = ORIGIN + STEP * np.arange(positions(size))
    if not mask.any():
        return np.zeros((len(centres), len(centres)), bool)
    distance = distance_transform_edt(~mask)
    return np.asarray(distance[np.ix_(centres, centres)] <= TOLERANCE * size)


def strongest(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Row and column of each map's largest value, (n, 2); the first in reading order where several are equal."""
    flat = maps.reshape(len(maps), -1).argmax(axis=1)
    return np.stack(np.unravel_index(flat, maps.shape[1:]), axis=1)


def play(maps: Mapping[str, npt.NDArray[np.float32]], masks: Sequence[Mask], target: str) -> list[Pointing]:
    """Play the game for every map on cells that have at least one micronucleus in their mask.

    Args:
        maps: (n, s, s) each, by name; masks: n masks as large as the network's input.
    """
    grids = np.stack([hit_grid(mask) for mask in masks])
    found = []
    for name, values in maps.items():
        rows, columns = strongest(values).T
        found.append(_share(name, target, int(grids[np.arange(len(grids)), rows, columns].sum()), len(grids)))
    found.append(Pointing("random", target, float(grids.mean()), len(grids)))
    found.append(_share("reachable", target, int(grids.any(axis=(1, 2)).sum()), len(grids)))
    return found


def _share(name: str, target: str, hits: int, cells: int) -> Pointing:
    return Pointing(name, target, hits / cells, cells, hits, *clopper_pearson(hits, cells))

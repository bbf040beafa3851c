"""Found cells as label images (OME-TIFF), one an image: made from the stored outlines, tile by tile.

Labels are those of the column `mask_label` in cells.csv; cells that were found and not scored have numbers beyond its
last row. A label covers the outline that is stored of a cell: its body, or where no cytoplasm shows its main nuclei
(of nuclei apart the convex hull round them).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.fields import FoundAt
from mnbatch.files import replacing
from mnbatch.report.fields import called_by_key, key_of
from mnbatch.report.geojson import file_stem
from mnbatch.results.field_rows import StoredField
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

FOLDER = "masks"
TILE = 512

_MOST_16_BIT = 65535
_BIG = 1 << 31


@dataclass(slots=True)
class _Mask:
    """One image's cells with their labels, and the tiles that their boxes reach into."""

    width: int = 0
    height: int = 0
    um: float | None = None
    cells: list[tuple[int, FoundAt]] = field(default_factory=list)
    by_tile: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def cover(self, place: StoredField) -> None:
        self.width = max(self.width, place.left + place.width)
        self.height = max(self.height, place.top + place.height)

    def add(self, label: int, cell: FoundAt) -> None:
        self.um = self.um or cell.um_per_pixel
        for row in range(cell.top // TILE, (cell.top + cell.height) // TILE + 1):
            for column in range(cell.left // TILE, (cell.left + cell.width) // TILE + 1):
                self.by_tile.setdefault((row, column), []).append(len(self.cells))
        self.cells.append((label, cell))

    def tiles(self, dtype: npt.DTypeLike) -> Iterator[npt.NDArray[np.unsignedinteger]]:
        """In reading order, each TILE x TILE; where cells overlap the first one stays."""
        for row in range(-(-self.height // TILE)):
            for column in range(-(-self.width // TILE)):
                tile = np.zeros((TILE, TILE), dtype)
                for index in self.by_tile.get((row, column), ()):
                    label, cell = self.cells[index]
                    inside = _pixels_of(cell, column * TILE, row * TILE)
                    tile[inside] = np.where(tile[inside] == 0, label, tile[inside])
                yield tile


def write_label_masks(store: Store, record: SlideRecord, cells: Sequence[CalledCell], folder: Path) -> dict[str, int]:
    """Write the label images of a slide of fields; returns name (below the slide's folder) -> bytes.

    Args:
        cells: rows of cells.csv, in order.
        folder: exists; what a killed run left there is written over.
    """
    masks = _masks(store, record, cells)
    highest = max((label for mask in masks.values() for label, _ in mask.cells), default=0)
    dtype = np.uint16 if highest <= _MOST_16_BIT else np.uint32
    sizes = {}
    for position, ((source, page), mask) in enumerate(masks.items()):
        if mask.width and mask.height:
            path = folder / f"{file_stem(position, source, page)}_mask.ome.tif"
            _write(path, mask, dtype, uuid.uuid5(uuid.NAMESPACE_URL, f"{record.slide_id}/{path.name}"))
            sizes[f"{FOLDER}/{path.name}"] = path.stat().st_size
    return sizes


def _masks(store: Store, record: SlideRecord, cells: Sequence[CalledCell]) -> dict[tuple[str, int | None], _Mask]:
    called, fields = called_by_key(cells), store.fields(record)
    masks: dict[tuple[str, int | None], _Mask] = {}
    for place in fields:
        masks.setdefault((place.source, place.page), _Mask()).cover(place)
    beyond = len(cells)
    for number, cell in store.found(record):
        place = fields[number]
        known = called.get(key_of(place.source, place.page, cell))
        beyond += known is None
        masks[place.source, place.page].add(beyond if known is None else known[0] + 1, cell)
    return masks


def _write(path: Path, mask: _Mask, dtype: type[np.unsignedinteger], identity: uuid.UUID) -> None:
    size = {} if mask.um is None else {"PhysicalSizeX": mask.um, "PhysicalSizeY": mask.um}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"} if size else {}
    shape = (mask.height, mask.width)
    with (
        replacing(path) as staged,
        tifffile.TiffWriter(staged, ome=True, bigtiff=mask.height * mask.width * 4 > _BIG) as tiff,
    ):
        tiff.write(
            mask.tiles(dtype),
            shape=shape,
            dtype=dtype,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            # A random identity would make another file of the same cells.
            metadata={"axes": "YX", "UUID": f"urn:uuid:{identity}", **size, **units},
        )


def _pixels_of(cell: FoundAt, left: int, top: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of a cell in a tile that begins at (left, top)."""
    # scikit-image takes a second to load, which a report without label images need not spend.
    from skimage.draw import polygon

    x, y = np.array(cell.outline[::2]), np.array(cell.outline[1::2])
    if len(x) < 3:
        right, bottom = cell.left + cell.width, cell.top + cell.height
        x, y = np.array([cell.left, right, right, cell.left]), np.array([cell.top, cell.top, bottom, bottom])
    # Outlines are corners of pixels; a pixel belongs to the cell when its middle lies inside.
    rows, columns = polygon(y - 0.5 - top, x - 0.5 - left, (TILE, TILE))
    return rows, columns

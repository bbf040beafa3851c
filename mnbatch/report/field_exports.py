"""Found cells as GeoJSON for QuPath and as label images (OME-TIFF)."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.field_records import FoundAt
from mnbatch.files import replacing
from mnbatch.report.field_pictures import Key, called_by_key, key_of
from mnbatch.results.field_rows import StoredField
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

# Found cells as GeoJSON that QuPath opens: one file an image, because QuPath's objects belong to one image.
#
# Fields as QuPath's own reader takes them (qupath.lib.io.QuPathTypeAdapters, version 0.4 and later): a
# FeatureCollection of Features with an `id` (UUID), a Polygon in full-resolution pixels, and `properties` with
# `objectType`, `name`, `classification` (name and colour), `measurements` (an object of numbers) and `metadata`
# (texts).


FOLDER = "geojson"

_NAMESPACE = uuid.UUID("5a3f7c5e-0f0e-4c55-9d0c-6f9d4f0a2b11")
_COLOURS = {
    "MN": (208, 50, 30),
    "no MN": (20, 130, 120),
    "not counted": (150, 110, 30),
    "not scored": (120, 130, 140),
}


def geojson_files(store: Store, record: SlideRecord, cells: Sequence[CalledCell]) -> dict[str, bytes]:
    """Name (below the slide's folder) -> content, one for each image of a slide of fields.

    Every cell that was found is in it, also those that were not scored; the class says which.
    """
    called = called_by_key(cells)
    fields = store.fields(record)
    features: dict[tuple[str, int | None], list[dict[str, Any]]] = {(f.source, f.page): [] for f in fields}
    for number, cell in store.found(record):
        field = fields[number]
        features[field.source, field.page].append(_feature(record, field.source, field.page, cell, called))
    return {
        f"{FOLDER}/{file_stem(position, source, page)}.geojson": _document(listed)
        for position, ((source, page), listed) in enumerate(features.items())
    }


def _document(features: list[dict[str, Any]]) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":")).encode()


def file_stem(position: int, source: str, page: int | None) -> str:
    """Name of a file about one image of a slide, without its ending."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", PurePosixPath(source).stem)[:60]
    return f"{position:04d}-{stem}{'' if page is None else f'-{page}'}"


def _feature(
    record: SlideRecord,
    source: str,
    page: int | None,
    cell: FoundAt,
    called: Mapping[Key, tuple[int, CalledCell]],
) -> dict[str, Any]:
    entry = called.get(key_of(source, page, cell))
    call = None if entry is None else entry[1]
    name = f"{record.slide_id}:{source}{'' if page is None else f'#{page}'}{cell.mark}"
    kind = "not scored" if call is None else "not counted" if call.mn is None else "MN" if call.mn else "no MN"
    metadata = {"class": cell.cell_class, "cell_id": name}
    reason = cell.reason or (call.reason if call is not None else "")
    properties = {
        "objectType": "detection",
        "name": cell.mark[1:],
        "classification": {"name": f"{_words(cell)}: {kind}", "color": list(_COLOURS[kind])},
        "measurements": _measurements(cell, call),
        "metadata": metadata | ({"reason": reason} if reason else {}),
    }
    geometry = {"type": "Polygon", "coordinates": [_ring(cell)]}
    identity = str(uuid.uuid5(_NAMESPACE, name))
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": properties}


def _words(cell: FoundAt) -> str:
    # QuPath reads a colon as the start of a subclass, so "Binucleated: MN" is MN among the binucleated ones.
    return cell.cell_class.replace("_", " ").capitalize()


def _measurements(cell: FoundAt, call: CalledCell | None) -> dict[str, float]:
    measured: dict[str, float] = {"nuclei": cell.nuclei, "nucleus area px^2": cell.nucleus_area}
    if cell.cell_area is not None:
        measured["cell area px^2"] = cell.cell_area
    if cell.um_per_pixel is not None:
        measured["nucleus area um^2"] = round(cell.nucleus_area * cell.um_per_pixel**2, 3)
    if call is not None and call.p_mn is not None:
        measured["p(MN)"] = call.p_mn
    if call is not None and call.count is not None:
        measured["micronuclei"] = call.count.n
    return measured


def _ring(cell: FoundAt) -> list[list[int]]:
    """The outline as a closed ring; the box where there is no outline of at least three corners."""
    points = [list(pair) for pair in zip(cell.outline[::2], cell.outline[1::2], strict=True)]
    if len(points) < 3:
        right, bottom = cell.left + cell.width, cell.top + cell.height
        points = [[cell.left, cell.top], [right, cell.top], [right, bottom], [cell.left, bottom]]
    return [*points, points[0]]


# Found cells as label images (OME-TIFF), one an image: made from the stored outlines, tile by tile.
#
# Labels are those of the column `mask_label` in cells.csv; cells that were found and not scored have numbers beyond its
# last row. A label covers the outline that is stored of a cell: its body, or where no cytoplasm shows its main nuclei
# (of nuclei apart the convex hull round them).


MASKS_FOLDER = "masks"
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
            sizes[f"{MASKS_FOLDER}/{path.name}"] = path.stat().st_size
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
    import tifffile  # a report without label images need not load it

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
    # Outlines are corners of pixels; a pixel belongs to the cell when its centre is inside.
    rows, columns = polygon(y - 0.5 - top, x - 0.5 - left, (TILE, TILE))
    return rows, columns

"""Found cells as GeoJSON that QuPath opens: one file an image, because QuPath's objects belong to one image.

Fields as QuPath's own reader takes them (qupath.lib.io.QuPathTypeAdapters, version 0.4 and later): a
FeatureCollection of Features with an `id` (UUID), a Polygon in full-resolution pixels, and `properties` with
`objectType`, `name`, `classification` (name and colour), `measurements` (an object of numbers) and `metadata` (texts).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.fields import FoundAt
from mnbatch.report.fields import Key, called_by_key, key_of
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

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

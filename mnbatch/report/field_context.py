"""Where the cells of a gallery are: the field round each, and how wide its picture is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mnbatch.assay.calls import CalledCell
from mnbatch.report import wording
from mnbatch.report.field_exports import FOLDER as GEOJSON
from mnbatch.report.field_exports import file_stem
from mnbatch.report.field_pictures import key_of
from mnbatch.results.field_rows import StoredField
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a gallery shows round its cells.

    Attributes:
        fields: name, left, top, width and height (pixels of the file), picture and GeoJSON file of each field; the last
            is "" where none is made.
        places: row of cells.csv -> place of its field in `fields`, centre x and y, box left, top, width and height,
            pixels of the file.
        pictures: name in the gallery's folder -> small JPEG of a field.
    """

    fields: tuple[tuple[str, int, int, int, int, str, str], ...] = ()
    places: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def data(self, rows: Sequence[int]) -> dict[str, Any]:
        """For data.js, the cells in the order of `rows`; empty where no field is known."""
        if not self.fields:
            return {}
        return {"fields": self.fields, "place": [self.places.get(row) for row in rows]}


NOWHERE = Surroundings()


def surroundings(store: Store, record: SlideRecord, cells: Sequence[CalledCell], *, geojson: bool) -> Surroundings:
    """The fields of a slide's counted cells; nothing for crops, and for fields of which no picture was kept.

    Args:
        cells: rows of cells.csv.
        geojson: whether cells are written as GeoJSON, too.

    Raises:
        StorageError: the slide's generation is damaged.
    """
    if record.fields is None:
        return NOWHERE
    stored = store.fields(record)
    number_of = {key_of(stored[n].source, stored[n].page, found): n for n, found in store.found(record)}
    rows = {
        row: number_of[key]
        for row, cell in enumerate(cells)
        if cell.mn is not None and cell.found and (key := key_of(cell.source, cell.page, cell.found)) in number_of
    }
    shown = [number for number in sorted(set(rows.values())) if stored[number].overview is not None]
    places: dict[int, tuple[float, ...]] = {}
    at = {number: position for position, number in enumerate(shown)}
    for row, number in rows.items():
        found = cells[row].found
        if number in at and found is not None:
            box = (found.left, found.top, found.width, found.height)
            places[row] = (at[number], round(found.x, 1), round(found.y, 1), *box)
    stems = _stems(stored) if geojson else {}
    return Surroundings(
        tuple(_field(stored[number], stems) for number in shown),
        places,
        {_picture(stored[number]): store.overview(record, stored[number]) for number in shown},
    )


def _field(place: StoredField, stems: Mapping[tuple[str, int | None], str]) -> tuple[str, int, int, int, int, str, str]:
    stem = stems.get((place.source, place.page))
    drawn = f"{GEOJSON}/{stem}.geojson" if stem else ""
    name = wording.cell_label(place.source, place.page)
    return (name, place.left, place.top, place.width, place.height, _picture(place), drawn)


def _picture(place: StoredField) -> str:
    return f"f{place.number:05d}.jpg"


def _stems(fields: Sequence[StoredField]) -> dict[tuple[str, int | None], str]:
    images = dict.fromkeys((place.source, place.page) for place in fields)
    return {image: file_stem(position, *image) for position, image in enumerate(images)}

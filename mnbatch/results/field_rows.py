"""What is kept of the fields that a slide's cells come from: their places, all cells found, and small pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from mnbatch.assay.field_records import CellClass, FieldReport, FoundAt
from mnbatch.csvfile import CsvWriter, Value, read_stored
from mnbatch.intake import read_bytes
from mnbatch.results.checksums import HashedFile
from mnbatch.results.paths import GenerationPaths

FOUND_COLUMNS = (
    "x",
    "y",
    "left",
    "top",
    "width",
    "height",
    "cell_class",
    "main_nuclei",
    "nucleus_area",
    "cell_area",
    "at_border",
    "um_per_pixel",
)
"""What every cell of a field has, scored or not; in scores.csv they are empty for a crop that came as a file."""

_CELL_COLUMNS = ("field", *FOUND_COLUMNS, "reason", "outline")
_FIELD_COLUMNS = ("source", "page", "left", "top", "width", "height", "problem", "empty", "overview_bytes")


@dataclass(frozen=True, slots=True)
class StoredField:
    """One field of a slide as it was stored.

    Attributes:
        number: position in the slide, from 0.
        overview: (byte offset, length) of its picture, or None.
    """

    number: int
    source: str
    page: int | None
    left: int
    top: int
    width: int
    height: int
    problem: str
    empty: bool
    overview: tuple[int, int] | None


class FieldWriter:
    """Appends fields as they come.

    Args:
        staged: generation that is being written.

    Attributes:
        files: open files, for their owner to close.
        hashed: name -> the same files, which know their checksums once they are flushed.
    """

    def __init__(self, staged: GenerationPaths) -> None:
        self.hashed: dict[str, HashedFile] = {}
        self.hashed[staged.fields.name], fields = HashedFile.buffered(staged.fields)
        self.hashed[staged.found.name], found = HashedFile.buffered(staged.found)
        self.hashed[staged.overviews.name], self._overviews = HashedFile.buffered(staged.overviews)
        self._fields = CsvWriter(fields, _FIELD_COLUMNS)
        self._found = CsvWriter(found, _CELL_COLUMNS)
        self._number = 0
        self.files: tuple[IO[bytes], ...] = (fields, found, self._overviews)

    def add(self, report: FieldReport) -> None:
        """Append one field with its cells."""
        self._overviews.write(report.overview)
        place = (report.left, report.top, report.width, report.height)
        page = "" if report.page is None else report.page
        known = (readable(report.problem), int(report.empty), len(report.overview))
        self._fields.row([readable(report.source), page, *place, *known])
        for cell in report.cells:
            outline = " ".join(map(str, cell.outline))
            self._found.row([self._number, *found_fields(cell), readable(cell.reason), outline])
        self._number += 1


def found_fields(cell: FoundAt) -> tuple[Value, ...]:
    """Values in the order of `FOUND_COLUMNS`."""
    um = "" if cell.um_per_pixel is None else f"{cell.um_per_pixel:.6g}"
    area = "" if cell.cell_area is None else cell.cell_area
    box = (cell.left, cell.top, cell.width, cell.height)
    place = (f"{cell.x:.2f}", f"{cell.y:.2f}", *box)
    return (*place, cell.cell_class, cell.nuclei, cell.nucleus_area, area, int(cell.at_border), um)


def found_at(fields: Mapping[str, str]) -> FoundAt | None:
    """A cell from a row of scores.csv or found.csv; None for a crop that came as a file."""
    if not fields.get("x"):
        return None
    return FoundAt(
        x=float(fields["x"]),
        y=float(fields["y"]),
        left=int(fields["left"]),
        top=int(fields["top"]),
        width=int(fields["width"]),
        height=int(fields["height"]),
        cell_class=cast(CellClass, fields["cell_class"]),
        reason=fields.get("reason", ""),
        nuclei=int(fields["main_nuclei"]),
        nucleus_area=int(fields["nucleus_area"]),
        cell_area=int(fields["cell_area"]) if fields["cell_area"] else None,
        at_border=fields["at_border"] == "1",
        um_per_pixel=float(fields["um_per_pixel"]) if fields["um_per_pixel"] else None,
        outline=tuple(map(int, fields.get("outline", "").split())),
    )


def read_fields(generation: GenerationPaths) -> list[StoredField]:
    """The fields of a generation, in order; none for crops."""
    fields, offset = [], 0
    for number, row in enumerate(_rows(generation.fields, _FIELD_COLUMNS)):
        length = int(row["overview_bytes"])
        left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
        page = int(row["page"]) if row["page"] else None
        overview = (offset, length) if length else None
        known = (row["problem"], row["empty"] == "1", overview)
        fields.append(StoredField(number, row["source"], page, left, top, width, height, *known))
        offset += length
    return fields


def read_found(generation: GenerationPaths) -> Iterator[tuple[int, FoundAt]]:
    """Every cell that was found, with the number of its field."""
    for row in _rows(generation.found, _CELL_COLUMNS):
        cell = found_at(row)
        if cell is not None:
            yield int(row["field"]), cell


def readable(text: str) -> str:
    """A name from a file system as everything after the store has it: bytes that are no valid UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    if path.exists():
        yield from read_stored(read_bytes(path), columns)

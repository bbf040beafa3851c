"""A row of scores.csv as text: what a cell's score does not change is made where the cell is read."""

from __future__ import annotations

from mnbatch.assay.cells import CellCrop, CellScore, RowText, UnreadableCell
from mnbatch.csvfile import csv_line
from mnbatch.results.field_rows import FOUND_COLUMNS, found_fields, readable

COLUMNS = (
    "cell_id",
    "source",
    "page",
    "p_mn",
    "reason",
    "sharpness",
    "contrast",
    "saturated_fraction",
    "nuclei",
    "nucleus_fraction",
    "jpeg_bytes",
    "q_2",
    "q_3",
    "zoom",
    "stain",
    *FOUND_COLUMNS,
    "crop_px",
)
"""`crop_px`: longer side of the crop in its file, pixels."""
_NOT_FOUND = ("",) * len(FOUND_COLUMNS)
_MEASURED = 6
"""Columns from `sharpness` to `jpeg_bytes`."""


def row_text(crop: CellCrop, jpeg_bytes: int) -> RowText:
    """What a crop's row holds but its score.

    Args:
        jpeg_bytes: of the crop as it is kept; 0 where none is.
    """
    quality = crop.quality
    measured = (
        f"{quality.sharpness:.5g}",
        f"{quality.contrast:.5g}",
        f"{quality.saturated_fraction:.5g}",
        quality.nuclei,
        f"{quality.nucleus_fraction:.5g}",
        jpeg_bytes or "",
    )
    found = _NOT_FOUND if crop.found is None else found_fields(crop.found)
    shown = (f"{crop.zoom:.4g}", crop.stain, *found, "" if crop.size is None else max(crop.size))
    return _named(crop), csv_line(measured), csv_line(shown)


def score_row(item: CellScore, text: RowText) -> str:
    """The row of a scored cell, without the end of its line."""
    named, measured, shown = text
    ratios = "," if item.ratios is None else "{:.7g},{:.7g}".format(*item.ratios)
    return f"{named},{item.p_mn:.7g},,{measured},{ratios},{shown}"


def unreadable_row(cell: UnreadableCell) -> str:
    """The row of a cell that has no score, without the end of its line."""
    found = _NOT_FOUND if cell.found is None else found_fields(cell.found)
    rest = csv_line(["", readable(cell.reason), *[""] * (_MEASURED + 4), *found, ""])
    return f"{_named(cell)},{rest}"


def _named(cell: CellCrop | UnreadableCell) -> str:
    return csv_line([readable(cell.cell_id), readable(cell.source), "" if cell.page is None else cell.page])

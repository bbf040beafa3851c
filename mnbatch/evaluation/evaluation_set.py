"""Labelled cells with the columns that they may be grouped by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import StorageError, UsageError
from mnbatch.evaluation.labelled_cells import LabelledCell, distinct_cells, read_label_table, read_labels
from mnbatch.evaluation.performance import Units, units_of
from mnbatch.intake import reason


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Cells to evaluate on.

    Attributes:
        path: what was given: a folder or a CSV.
        files: each cell's name for tables, relative to `path` (to the CSV's folder).
        columns: further columns of the CSV, a value for each cell; slide and donor are among them.
        note: what was left out, for a person.
    """

    path: Path
    cells: tuple[LabelledCell, ...]
    files: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""

    def column(self, name: str) -> tuple[str, ...]:
        """Values to group by.

        Raises:
            UsageError: there is no such column.
        """
        if name in self.columns:
            return self.columns[name]
        there = ", ".join(sorted(self.columns)) or "none: a folder states only mn and nomn"
        raise UsageError(
            f"--group-by {name}: {self.path} has no such column (there: {there}).",
            "Give one of these, or list the cells in a CSV that has it.",
        )

    def units(self, group_by: str | None, kept: Sequence[int]) -> Units:
        """What a bootstrap over the cells `kept` draws.

        Donors where the labels name them, else slides, else the groups that were asked for, else cells: the largest
        thing within which cells are alike.
        """
        for name in ("donor", "slide", group_by):
            if name and any(self.columns.get(name, ())):
                values = self.columns[name]
                return units_of([values[place] for place in kept], name)
        return Units("cell", None, len(kept))


def read_labelled_set(data: Path, options: PageOptions = NO_OPTIONS) -> LabelledSet:
    """Cells of a folder with mn/ and nomn/, or of a CSV, as `mnbatch train` reads them; all columns are kept.

    Raises:
        TrainingError, SlideError: as `read_labels`; or the CSV is not text in UTF-8.
        StorageError: the path cannot be read.
    """
    try:
        cells = tuple(read_labels(data, options))
        if data.is_dir():
            all_of_it = LabelledSet(data, cells, tuple(cell.path.relative_to(data).as_posix() for cell in cells))
        else:
            all_of_it = LabelledSet(data, cells, *_columns(data))
        return _without_copies(all_of_it)
    except OSError as error:
        raise StorageError(f"{data} cannot be read: {reason(error)}.", "Check the path and its rights.") from error


def _without_copies(data: LabelledSet) -> LabelledSet:
    found = distinct_cells(data.cells, named=data.path.is_dir())
    return LabelledSet(
        path=data.path,
        cells=tuple(data.cells[place] for place in found.places),
        files=tuple(data.files[place] for place in found.places),
        columns={name: tuple(values[place] for place in found.places) for name, values in data.columns.items()},
        note=found.note,
    )


def _columns(data: Path) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    table = read_label_table(data)
    rows = [row for _, row in table.dicts()]
    values = {name: tuple(row[name].strip() for row in rows) for name in filter(None, table.columns)}
    return tuple(row["file"] for row in rows), {k: v for k, v in values.items() if k not in ("file", "label")}

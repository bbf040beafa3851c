"""Labelled cells with the columns that they may be grouped by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import StorageError, UsageError
from mnbatch.evaluation.labelled_cells import LabelledCell, distinct_cells, read_label_table, read_labels
from mnbatch.evaluation.people import People, people_of
from mnbatch.evaluation.performance import Units, units_of
from mnbatch.intake import reason


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Cells to evaluate on.

    Attributes:
        path: what was given: a folder or a CSV.
        files: each cell's name for tables, relative to `path` (to the CSV's folder).
        columns: further columns of the CSV, a value for each cell; slide and donor are among them.
        note: what was left out or taken for one, for a person.
        people: who the cells are of.
    """

    path: Path
    cells: tuple[LabelledCell, ...]
    files: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    people: People = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "people", people_of(self.cells))

    def column(self, name: str) -> tuple[str, ...]:
        """Values to group by: of slide and donor what `people_of` takes for one.

        Raises:
            UsageError: there is no such column.
        """
        if name in self.columns:
            formed = {"donor": self.people.donors, "slide": self.people.slides}
            return formed.get(name, self.columns[name])
        there = ", ".join(sorted(self.columns)) or "none: a folder states only mn and nomn"
        raise UsageError(
            f"--group-by {name}: {self.path} has no such column (there: {there}).",
            "Give one of these, or list the cells in a CSV that has it.",
        )

    def units(self, group_by: str | None, kept: Sequence[int]) -> Units:
        """What a bootstrap over the cells `kept` draws.

        People (donors where the labels name them, else slides), else the groups that were asked for, else cells: the
        largest thing within which cells are alike.
        """
        if self.people.kind:
            return units_of([self.people.names[place] for place in kept], self.people.kind)
        if group_by and any(self.columns.get(group_by, ())):
            return units_of([self.columns[group_by][place] for place in kept], group_by)
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
        return _with_people(_without_copies(all_of_it))
    except OSError as error:
        raise StorageError(f"{data} cannot be read: {reason(error)}.", "Check the path and its rights.") from error


def _without_copies(data: LabelledSet) -> LabelledSet:
    found = distinct_cells(data.cells, data.path if data.path.is_dir() else None)
    return LabelledSet(
        path=data.path,
        cells=tuple(data.cells[place] for place in found.places),
        files=tuple(data.files[place] for place in found.places),
        columns={name: tuple(values[place] for place in found.places) for name, values in data.columns.items()},
        note=found.note,
    )


def _with_people(data: LabelledSet) -> LabelledSet:
    """Each slide under a name of its own, so that its cells alone get their stain together, and a word on people."""
    slides, notes = data.people.slides, [*data.people.notes, *_nameless_note(data.people)]
    return replace(
        data,
        cells=tuple(replace(cell, slide=slide) for cell, slide in zip(data.cells, slides, strict=True)),
        note=" ".join(filter(None, [data.note, *notes])),
    )


def _nameless_note(people: People) -> list[str]:
    """A word on cells that are drawn singly beside whole people."""
    alone = sum(not name for name in people.names)
    if not people.kind or not alone:
        return []
    return [f"{alone} of {len(people.names)} cells have no donor or slide: each is a cluster of its own in intervals."]


def _columns(data: Path) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    table = read_label_table(data)
    rows = [row for _, row in table.dicts()]
    values = {name: tuple(row[name].strip() for row in rows) for name in filter(None, table.columns)}
    return tuple(row["file"] for row in rows), {k: v for k, v in values.items() if k not in ("file", "label")}

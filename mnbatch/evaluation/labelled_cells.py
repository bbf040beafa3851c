"""Labelled crops from folders `mn/` and `nomn/` or a CSV, each picture once, read as `run` reads them."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, ReadTask, SourceFile, UnreadableCell
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.csvfile import CsvError
from mnbatch.errors import StorageError, TrainingError
from mnbatch.evaluation.labelled_folders import cells_below, files_below
from mnbatch.evaluation.people import people_of
from mnbatch.handed_table import Table, column_key, needs, parse_table
from mnbatch.imaging.copied_names import copies_among
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_cells
from mnbatch.intake import is_there, read_bytes, reason, short
from mnbatch.spelled_numbers import SpellingError, count_of, decimal_of, spoiled_name

# Labelled crops from folders `mn/` and `nomn/` or a CSV: checked before time is spent, read as `run` reads them.


UInt8Array = npt.NDArray[np.uint8]

FOLDERS = {"mn": True, "nomn": False}
COUNTS = ("mn_count", "n_mn")
LEAST_PROBABILITY = 1e-6
"""Of drawing a cell: no slide has so many cells that it could be less."""

YES, NO = {"mn", "1", "true", "yes"}, {"nomn", "0", "false", "no"}


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """A crop whose truth is known.

    Attributes:
        path: the image file.
        has_mn: the cell has at least one micronucleus.
        n_mn: number of its micronuclei; None for a cell with MN where the labels do not say.
        slide, donor: "" where the labels do not say.
        chance: probability with which the cell was drawn for its review (column inclusion_probability); 1 where
            the labels do not say.
        planes: files that show it in other focal planes.
        options: what a person said of the pages of its file.
    """

    path: Path
    has_mn: bool
    slide: str = ""
    donor: str = ""
    n_mn: int | None = None
    chance: float = 1.0
    planes: tuple[Path, ...] = ()
    options: PageOptions = NO_OPTIONS

    @property
    def group(self) -> str:
        """What this cell's own labels say: the donor, else the slide, else "". Cells are divided by `people_of`."""
        return self.donor or self.slide


def read_labels(data: Path, options: PageOptions = NO_OPTIONS) -> list[LabelledCell]:
    """Cells of a folder with `mn/` and `nomn/`, or of a CSV with file, label or mn_count (or both), slide, donor.

    `n_mn` is another name of the column mn_count.

    Args:
        options: what a person said of channels, planes, times and pages; of folders also of the files' names. Each file
            that a CSV lists is a cell.

    Raises:
        TrainingError: neither of the two, a missing file, a label that is not one or contradicts the count, or a class
            without a cell.
        SlideError: which files of a folder are one cell, and which of them is read, has to be said by a person.
    """
    try:
        if data.is_dir():
            cells = _from_folders(data, options)
        elif is_there(data):
            cells = [replace(cell, options=options) for cell in _from_csv(data)]
        else:
            raise TrainingError(f"There is nothing at {data}.", "Give a folder with mn/ and nomn/, or a CSV of labels.")
    except OSError as error:
        raise TrainingError(f"{data} cannot be read: {reason(error)}.", "Check the path and its rights.") from error
    return checked_classes(cells, str(data))


def checked_classes(cells: list[LabelledCell], where: str) -> list[LabelledCell]:
    """The cells, if both classes are among them.

    Raises:
        TrainingError: a class without a cell.
    """
    for label, word in ((True, "with"), (False, "without")):
        if not any(cell.has_mn == label for cell in cells):
            raise TrainingError(
                f"{where} has no cell {word} micronuclei ({len(cells)} cells in all).",
                "Both classes are needed to train and to validate.",
            )
    return cells


def _from_folders(data: Path, options: PageOptions) -> list[LabelledCell]:
    missing = [name for name in FOLDERS if not (data / name).is_dir()]
    if missing:
        raise TrainingError(f"{data} has no folder {missing[0]}.", "Sort the crops into mn/ and nomn/, or give a CSV.")
    return [
        LabelledCell(file.path, label, n_mn=None if label else 0, planes=file.planes, options=file.options)
        for name, label in FOLDERS.items()
        for file in sorted(cells_below(data / name, options), key=lambda file: file.path)
    ]


def _from_csv(data: Path) -> list[LabelledCell]:
    table = read_label_table(data)
    columns = set(table.columns)
    if "file" not in columns or not columns & {"label", *COUNTS}:
        raise TrainingError(
            f"{data} needs the columns file and label (or mn_count); it has {short(', '.join(sorted(columns)))}.",
            "Add them to its first line.",
        )
    if len(columns & set(COUNTS)) > 1:
        raise TrainingError(f"{data} has both columns {' and '.join(COUNTS)}.", "Keep one of them.")
    cells, lines = [], dict[Path, int]()
    for line, row in table.dicts():
        cell = _from_row(row, data, line)
        first = lines.setdefault(cell.path, line)
        if first != line:
            raise TrainingError(
                f"{data}, line {line}: the file {short(str(cell.path))} is already in line {first}.",
                "Keep one line for each file.",
            )
        cells.append(cell)
    return cells


def read_label_table(data: Path) -> Table:
    """A person's table of crops; the columns that are read have their own names, in lower case.

    Raises:
        TrainingError: it is no CSV.
        OSError: it cannot be read.
    """
    needed = needs(
        "file", "label", *COUNTS, "slide", "donor", "inclusion_probability", "mask", "x", "y", "window", "colour"
    )
    try:
        table = parse_table(read_bytes(data), needed=needed)
    except CsvError as error:
        raise TrainingError(f"The table {data} cannot be used: {reason(error)}.", "Save it as CSV in UTF-8.") from error
    return replace(table, columns=tuple(column_key(name) if needed(name) else name for name in table.columns))


def _from_row(row: dict[str, str], data: Path, number: int) -> LabelledCell:
    path = data.parent / row["file"]
    if "\\" in row["file"] and not is_there(path):
        path = data.parent / row["file"].replace("\\", "/")  # a table that was written on Windows
    if not row["file"].strip() or not is_there(path):
        raise TrainingError(
            f"{data}, line {number}: there is no file {short(str(path))}.", "Correct the line or add the file."
        )
    has_mn, n_mn = _truth(row, data, number)
    slide, donor = (row.get("slide") or "").strip(), (row.get("donor") or "").strip()
    if spoiled_name(slide) or spoiled_name(donor):
        raise TrainingError(
            f"{data}, line {number}: {spoiled_name(slide) or spoiled_name(donor)}.", "Write slide and donor anew."
        )
    return LabelledCell(
        path=path,
        has_mn=has_mn,
        slide=slide,
        donor=donor,
        n_mn=n_mn if has_mn else 0,
        chance=_chance(row, data, number),
    )


def _chance(row: dict[str, str], data: Path, number: int) -> float:
    """The cell's inclusion probability; 1 where the line has none."""
    text = (row.get("inclusion_probability") or "").strip()
    try:
        # No probability has thousands, so a point or a comma is that of the decimals whatever the table's separator is.
        chance = decimal_of(text, ",", "inclusion_probability") if text else 1.0
    except SpellingError:
        chance = math.nan
    if not LEAST_PROBABILITY <= chance <= 1:
        raise TrainingError(
            f"{data}, line {number}: {short(text)!r} is not a probability.",
            "Leave inclusion_probability as `mnbatch review export` wrote it, or take the column out.",
        )
    return chance


def _truth(row: dict[str, str], data: Path, number: int) -> tuple[bool, int | None]:
    """Whether there is a micronucleus, and how many where the line says so."""
    word = (row.get("label") or "").strip().lower()
    count = next((text for name in COUNTS if (text := (row.get(name) or "").strip())), "")
    try:
        n_mn = count_of(count, "the count") if count else None
    except SpellingError as error:
        raise TrainingError(
            f"{data}, line {number}: {error}: {short(count)!r} is not a label.",
            "Write mn or nomn, or a count in mn_count.",
        ) from error
    if word not in YES | NO and (word or n_mn is None):
        raise TrainingError(
            f"{data}, line {number}: {short(word)!r} is not a label.", "Write mn or nomn, or a count in mn_count."
        )
    has_mn = word in YES if word else n_mn is not None and n_mn > 0
    if n_mn is not None and has_mn != (n_mn > 0):
        raise TrainingError(
            f"{data}, line {number}: the label {word} and the count {n_mn} contradict each other.", "Correct the line."
        )
    return has_mn, n_mn


def split_cells(
    cells: Sequence[LabelledCell], share: float, seed: int
) -> tuple[list[LabelledCell], list[LabelledCell]]:
    """Divide cells into training and validation, by person (`people_of`) where the labels say, else at random.

    Args:
        share: of the cells that go to validation, about.

    Raises:
        TrainingError: a side is left without one of the classes (only one slide, for example).
    """
    groups: dict[str, list[LabelledCell]] = defaultdict(list)
    for index, (cell, name) in enumerate(zip(cells, people_of(cells).names, strict=True)):
        groups[name or f"#{index}"].append(cell)
    names = sorted(groups)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    validation: list[LabelledCell] = []
    while order and len(validation) < share * len(cells):
        validation += groups[order.pop()]
    training = [cell for name in order for cell in groups[name]]
    if len(groups) == 1:
        raise only_one_person(len(cells), names[0])
    for part, word in ((training, "training"), (validation, "validation")):
        checked_classes(part, f"The {word} part ({len(groups)} donors or slides in all)")
    return training, validation


def only_one_person(cells: int, name: str) -> TrainingError:
    """What is said where nothing can be divided."""
    return TrainingError(
        f"All {cells} cells are of one person or slide ({short(name)}), which is never divided into parts.",
        "Add cells of other donors, or write the donor (else the slide) for every cell.",
    )


def load_crops(cells: Sequence[LabelledCell], preparation: Preparation) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    """Read and prepare every cell as `mnbatch run` does.

    Returns:
        Pixels (N, size, size, 3), uint8, and labels (N,).

    Raises:
        TrainingError: an image that cannot be read, or a file that is not one crop.
    """
    with ThreadPoolExecutor(4) as threads:
        pixels = list(threads.map(lambda cell: _crop(cell, preparation), cells))
    return np.stack(pixels), np.array([cell.has_mn for cell in cells])


def _crop(cell: LabelledCell, preparation: Preparation) -> UInt8Array:
    found = read_cells(task_of(cell), preparation)
    if len(found) == 1 and isinstance(found[0], CellCrop):
        return found[0].pixels
    raise TrainingError(
        f"The training image {cell.path} cannot be used: {why_no_cell(found)}.", "Repair it or take it out of the data."
    )


_OF_PAGES = (
    "if they are of one cell, give --pages channels (with --nuclear-channel) or --pages planes (with --planes), as for "
    "a run"
)


def task_of(cell: LabelledCell) -> ReadTask:
    """What is read of a labelled cell."""
    # Size and time serve the bookkeeping of a run; reading needs neither.
    root = cell.path.parent.absolute()
    file, *planes = (SourceFile(os.path.relpath(path, cell.path.parent), 0, 0) for path in (cell.path, *cell.planes))
    return ReadTask("labels", root, file, hash_file=False, options=cell.options, planes=tuple(planes))


def why_no_cell(found: Sequence[CellCrop | UnreadableCell]) -> str:
    """Why what was read of a file is not one crop."""
    if len(found) != 1:
        return f"{len(found)} images in one file: {_OF_PAGES}"
    return found[0].reason if isinstance(found[0], UnreadableCell) else ""


# One picture, one labelled cell: copies flatter a validation and weigh double in a training.


_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Distinct:
    """Labelled cells without copies.

    Attributes:
        places: of the cells that are kept, in their order.
        note: what was left out, for a person; "" where nothing was.
    """

    places: tuple[int, ...]
    note: str


def distinct_cells(cells: Sequence[LabelledCell], folder: Path | None) -> Distinct:
    """Leave out files that are named as copies of others next to them, and files of equal content but the first.

    Args:
        folder: in which a person sorted the crops: names are used, too, and its other files are told; None where each
            file was listed.

    Raises:
        TrainingError: one picture is labelled with and without micronuclei.
        StorageError: a file cannot be read.
    """
    by_name = _named_copies(cells) if folder is not None else set()
    others = "" if folder is None else told_files(files_not_taken(folder, cells))
    kept, copies = [], [place for place in range(len(cells)) if place in by_name]
    for place, other in enumerate(first_places(cells, [content_of(cell.path) for cell in cells])):
        if place in by_name:
            continue
        if other == place or other in by_name:
            kept.append(place)
        else:
            copies.append(place)
    note = _note([cells[place] for place in copies], len(cells))
    return Distinct(tuple(kept), " ".join(filter(None, [note, others])))


def files_not_taken(folder: Path, cells: Sequence[LabelledCell]) -> list[str]:
    """Files of a folder of sorted crops that are no cells, relative to it."""
    taken = {path for cell in cells for path in (cell.path, *cell.planes)}
    return [path.relative_to(folder).as_posix() for path in files_below(folder) if path not in taken]


def told_files(names: Sequence[str]) -> str:
    """A word on files that are no cells; "" where there are none."""
    if not names:
        return ""
    word = "1 file of the folder is" if len(names) == 1 else f"{len(names)} files of the folder are"
    return (
        f"{word} left out: {_short_list(names)} (formats that are not read, archives, second formats of a crop, "
        "previews and label images by their names, and what lies beside mn/ and nomn/)."
    )


def first_places(cells: Sequence[LabelledCell], contents: Sequence[str]) -> list[int]:
    """For each cell, the place of the first one with the same content.

    Args:
        contents: `content_of` each cell.

    Raises:
        TrainingError: one picture is labelled with and without micronuclei.
    """
    first: dict[str, int] = {}
    places = [first.setdefault(content, place) for place, content in enumerate(contents)]
    for cell, place in zip(cells, places, strict=True):
        if cells[place].has_mn != cell.has_mn:
            raise TrainingError(
                f"{cells[place].path} and {cell.path} are the same picture, once with and once without micronuclei.",
                "Decide which label is right and take the other out.",
            )
    return places


def told_cells(data: Path, say: Callable[[str], None], options: PageOptions = NO_OPTIONS) -> list[LabelledCell]:
    """Labelled cells of a folder or a CSV without copies; `say` is told what was left out.

    Raises:
        TrainingError, SlideError: as `read_labels` and `distinct_cells`.
    """
    cells = read_labels(data, options)
    found = distinct_cells(cells, data if data.is_dir() else None)
    if found.note:
        say(f"warning: {found.note}")
    return checked_classes([cells[place] for place in found.places], str(data))


def in_both(training: Sequence[LabelledCell], validation: Sequence[LabelledCell]) -> str:
    """What a person should know where validation cells are training cells, too; "" where none is."""
    known = {content_of(cell.path) for cell in training}
    shared = [cell for cell in validation if content_of(cell.path) in known]
    if not shared:
        return ""
    return (
        f"{len(shared)} of {len(validation)} validation cells are training cells, too ({_names(shared)}): "
        "validation figures are higher than on new cells."
    )


def people_in_both(training: Sequence[LabelledCell], validation: Sequence[LabelledCell]) -> str:
    """What a person should know where donors (else slides) of validation cells are trained on, too; "" where none."""
    names = people_of([*training, *validation]).names
    trained, validated = set(names[: len(training)]), names[len(training) :]
    shared = sorted(trained & set(validated) - {""})
    if not shared:
        return ""
    return (
        f"{sum(name in shared for name in validated)} of {len(validation)} validation cells are of donors or slides "
        f"that training cells are of, too ({_short_list(shared)}): validation figures are higher than on new ones."
    )


def content_of(path: Path) -> str:
    """Digest of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", "Check the file and its rights.") from error


def _named_copies(cells: Sequence[LabelledCell]) -> set[int]:
    folders: dict[Path, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, cell in enumerate(cells):
        folders[cell.path.parent][cell.path.stem].append(place)
    return {place for stems in folders.values() for copy in copies_among(stems) for place in stems[copy]}


def _note(copies: Sequence[LabelledCell], total: int) -> str:
    if not copies:
        return ""
    return f"{len(copies)} of {total} labelled files are copies of others and were left out: {_names(copies)}."


def _names(cells: Sequence[LabelledCell]) -> str:
    return _short_list([cell.path.name for cell in cells])


def _short_list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""Labelled crops from folders `mn/` and `nomn/` or a CSV: checked before time is spent, read as `run` reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellCrop, ReadTask, SourceFile
from mnbatch.csvfile import CsvError, Table, parse_table
from mnbatch.errors import TrainingError
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_cells
from mnbatch.intake import is_there, read_bytes, reason, short

UInt8Array = npt.NDArray[np.uint8]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
FOLDERS = {"mn": True, "nomn": False}
_MOST_DIGITS = 6
COUNTS = ("mn_count", "n_mn")
YES, NO = {"mn", "1", "true", "yes"}, {"nomn", "0", "false", "no"}


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """A crop whose truth is known.

    Attributes:
        path: the image file.
        has_mn: the cell has at least one micronucleus.
        n_mn: number of its micronuclei; None for a cell with MN where the labels do not say.
        slide, donor: "" where the labels do not say.
    """

    path: Path
    has_mn: bool
    slide: str = ""
    donor: str = ""
    n_mn: int | None = None

    @property
    def group(self) -> str:
        """What must not be divided between training and validation: the donor, else the slide, else ""."""
        return self.donor or self.slide


def read_labels(data: Path) -> list[LabelledCell]:
    """Cells of a folder with `mn/` and `nomn/`, or of a CSV with file, label or mn_count (or both), slide, donor.

    `n_mn` is another name of the column mn_count.

    Raises:
        TrainingError: neither of the two, a missing file, a label that is not one or contradicts the count, or a class
            without a cell.
    """
    try:
        if data.is_dir():
            cells = _from_folders(data)
        elif is_there(data):
            cells = _from_csv(data)
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


def _from_folders(data: Path) -> list[LabelledCell]:
    missing = [name for name in FOLDERS if not (data / name).is_dir()]
    if missing:
        raise TrainingError(f"{data} has no folder {missing[0]}.", "Sort the crops into mn/ and nomn/, or give a CSV.")
    return [
        LabelledCell(path, label, n_mn=None if label else 0)
        for name, label in FOLDERS.items()
        for path in sorted((data / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]


def _from_csv(data: Path) -> list[LabelledCell]:
    table = read_label_table(data)
    columns = set(table.columns)
    if "file" not in columns or not columns & {"label", *COUNTS}:
        raise TrainingError(
            f"{data} needs the columns file and label (or mn_count); it has {short(', '.join(sorted(columns)))}.",
            "Add them to its first line.",
        )
    return [_from_row(row, data, line) for line, row in table.dicts()]


def read_label_table(data: Path) -> Table:
    """A person's table of crops.

    Raises:
        TrainingError: it is no CSV.
        OSError: it cannot be read.
    """
    try:
        return parse_table(read_bytes(data))
    except CsvError as error:
        raise TrainingError(f"{data} is not a CSV in UTF-8: {reason(error)}.", "Save it as CSV in UTF-8.") from error


def _from_row(row: dict[str, str], data: Path, number: int) -> LabelledCell:
    path = data.parent / row["file"]
    if not is_there(path):
        raise TrainingError(
            f"{data}, line {number}: there is no file {short(str(path))}.", "Correct the line or add the file."
        )
    word = (row.get("label") or "").strip().lower()
    count = next((text for name in COUNTS if (text := (row.get(name) or "").strip())), "")
    n_mn = int(count) if count.isdecimal() and len(count) <= _MOST_DIGITS else None
    if word in YES | NO and (n_mn is not None or not count):
        has_mn = word in YES
    elif not word and n_mn is not None:
        has_mn = n_mn > 0
    else:
        raise TrainingError(
            f"{data}, line {number}: {short((count if n_mn is None else '') or word)!r} is not a label.",
            "Write mn or nomn, or a count in mn_count.",
        )
    if n_mn is not None and has_mn != (n_mn > 0):
        raise TrainingError(
            f"{data}, line {number}: the label {word} and the count {n_mn} contradict each other.", "Correct the line."
        )
    slide, donor = (row.get("slide") or "").strip(), (row.get("donor") or "").strip()
    return LabelledCell(path, has_mn, slide, donor, n_mn if has_mn else 0)


def split_cells(
    cells: Sequence[LabelledCell], share: float, seed: int
) -> tuple[list[LabelledCell], list[LabelledCell]]:
    """Divide cells into training and validation, by donor or slide where the labels have one, else at random.

    Args:
        share: of the cells that go to validation, about.

    Raises:
        TrainingError: a side is left without one of the classes (only one slide, for example).
    """
    groups: dict[str, list[LabelledCell]] = defaultdict(list)
    for index, cell in enumerate(cells):
        groups[cell.group or f"#{index}"].append(cell)
    names = sorted(groups)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    validation: list[LabelledCell] = []
    while order and len(validation) < share * len(cells):
        validation += groups[order.pop()]
    training = [cell for name in order for cell in groups[name]]
    for part, word in ((training, "training"), (validation, "validation")):
        checked_classes(part, f"The {word} part ({len(groups)} donors or slides in all)")
    return training, validation


def load_crops(cells: Sequence[LabelledCell], preparation: Preparation) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    """Read and prepare every cell as `mnbatch run` does.

    Returns:
        Pixels (N, size, size, 3), uint8, and labels (N,).

    Raises:
        TrainingError: an image that cannot be read, or a file that is not one crop.
    """
    with ThreadPoolExecutor(4) as threads:
        pixels = list(threads.map(lambda cell: _crop(cell.path, preparation), cells))
    return np.stack(pixels), np.array([cell.has_mn for cell in cells])


def _crop(path: Path, preparation: Preparation) -> UInt8Array:
    status = path.stat()
    file = SourceFile(path.name, status.st_size, status.st_mtime_ns)
    found = read_cells(ReadTask("training", path.parent, file, hash_file=False), preparation)
    if len(found) == 1 and isinstance(found[0], CellCrop):
        return found[0].pixels
    reason = f"{len(found)} images in one file" if len(found) != 1 else getattr(found[0], "reason", "")
    raise TrainingError(f"The training image {path} cannot be used: {reason}.", "Repair it or take it out of the data.")

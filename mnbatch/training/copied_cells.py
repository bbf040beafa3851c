"""One picture, one labelled cell: copies flatter a validation and weigh double in a training."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnbatch.errors import StorageError, TrainingError
from mnbatch.imaging.copied_names import copies_among
from mnbatch.training.data import LabelledCell, checked_classes, read_labels

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


def distinct_cells(cells: Sequence[LabelledCell], named: bool) -> Distinct:
    """Leave out files that are named as copies of others beside them, and files of equal content but the first.

    Args:
        named: look at names, too; not where a person listed each file.

    Raises:
        TrainingError: one picture is labelled with and without micronuclei.
        StorageError: a file cannot be read.
    """
    by_name = _named_copies(cells) if named else set()
    first: dict[str, int] = {}
    kept, copies = [], [place for place in range(len(cells)) if place in by_name]
    for place, cell in enumerate(cells):
        other = first.setdefault(content_of(cell.path), place)
        if cells[other].has_mn != cell.has_mn:
            raise TrainingError(
                f"{cells[other].path} and {cell.path} are the same picture, once with and once without micronuclei.",
                "Decide which label is right and take the other out.",
            )
        if place in by_name:
            continue
        if other == place or other in by_name:
            kept.append(place)
        else:
            copies.append(place)
    return Distinct(tuple(kept), _note([cells[place] for place in copies], len(cells)))


def told_cells(data: Path, say: Callable[[str], None]) -> list[LabelledCell]:
    """Labelled cells of a folder or a CSV without copies; `say` is told what was left out.

    Raises:
        TrainingError: as `read_labels` and `distinct_cells`.
    """
    cells = read_labels(data)
    found = distinct_cells(cells, named=data.is_dir())
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
    names = ", ".join(cell.path.name for cell in cells[:_SHOWN])
    return names if len(cells) <= _SHOWN else f"{names} and {len(cells) - _SHOWN} more"

"""The paper's 6:2:2 split of labelled cells, by donor or slide where the labels have one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import LabelledCell, content_of, distinct_cells, only_one_person, read_labels
from mnbatch.evaluation.people import People, people_of

Integers = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

PARTS = ("training", "validation", "test")
SHARES = (0.6, 0.2, 0.2)

_ORDERS, _NEAR_ENOUGH = 50, 0.1
"""Random orders that are tried until every part is within a tenth of its share of both classes."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Labelled cells with what must stay together.

    Attributes:
        cells: as `read_labels` gives them, each picture once.
        contents: SHA-256 of each file, hex.
        labels: the cell has a micronucleus, (n,).
        units: a name for each cell; cells of one name are never divided: its person (`people_of`), else its file's
            content.
        people: who the cells are of.
        note: which copies were left out, for a person; "" where none.
    """

    cells: tuple[LabelledCell, ...]
    contents: tuple[str, ...]
    labels: Bools
    units: tuple[str, ...]
    people: People
    note: str = ""

    @property
    def groups(self) -> int:
        """Number of people (else slides)."""
        return self.people.count

    @property
    def warning(self) -> str:
        """Why figures from a split of these cells flatter, or ""."""
        alone = self.people.names.count("")
        if alone == 0:
            return ""
        return (
            f"{alone} of {len(self.cells)} cells have no donor or slide and are split at random: cells of one slide "
            "are alike, so figures on the test part are higher than they would be on a new slide."
        )

    @property
    def digest(self) -> str:
        """Changes with any file's content, label or group, and not with the place of the data."""
        rows = (f"{c} {int(y)} {u}" for c, y, u in zip(self.contents, self.labels, self.units, strict=True))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:32]


def read_data(data: Path) -> Cells:
    """Labelled cells of `mn/` and `nomn/` folders or of a CSV; of copies the first is kept, as `mnbatch train` does.

    Raises:
        TrainingError: as `read_labels`; or one picture has both labels.
        StorageError: a file cannot be read.
    """
    labelled = read_labels(data)
    found = distinct_cells(labelled, data if data.is_dir() else None)
    cells = tuple(labelled[place] for place in found.places)
    contents = tuple(content_of(cell.path) for cell in cells)
    people = people_of(cells)
    units = tuple(f"group {name}" if name else content for name, content in zip(people.names, contents, strict=True))
    return Cells(cells, contents, np.array([cell.has_mn for cell in cells]), units, people, found.note)


def split_in_three(labels: Bools, units: Sequence[str], seed: int) -> tuple[Integers, Integers, Integers]:
    """Training, validation and test cells, about 6:2:2 of each class; no unit is divided.

    Units are taken in random order, and each goes where it is needed most: to the part with the largest sum, over the
    unit's cells, of the share of their class that the part still lacks. Where every cell is a unit this is a random
    split, stratified by class. Large units may leave a part too small; of some random orders the best is taken.

    Returns:
        Ascending places of the cells of each part.

    Raises:
        TrainingError: a part is left without one of the classes.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        members[unit].append(place)
    names = sorted(members)
    if len(names) == 1:
        raise only_one_person(len(units), names[0].removeprefix("group "))
    rng = np.random.default_rng([seed, 1])
    best: tuple[float, list[list[int]]] | None = None
    for _ in range(_ORDERS):
        order = [members[names[i]] for i in rng.permutation(len(names))]
        found = _dealt(order, labels)
        if best is None or found[0] < best[0]:
            best = found
        if best[0] < _NEAR_ENOUGH:
            break
    assert best is not None  # there is at least one order
    _check(best[1], labels, len(names))
    training, validation, test = (np.array(sorted(part), dtype=np.intp) for part in best[1])
    return training, validation, test


def _dealt(order: Sequence[Sequence[int]], labels: Bools) -> tuple[float, list[list[int]]]:
    """Deal units to the parts; also how far the worst part is from its share of a class, relative to that share."""
    wanted = np.outer(SHARES, [int(labels.sum()), int((~labels).sum())]).clip(min=1e-9)
    filled = np.zeros_like(wanted)
    parts: list[list[int]] = [[], [], []]
    for unit in order:
        with_mn = int(labels[list(unit)].sum())
        counts = np.array([with_mn, len(unit) - with_mn])
        part = int(np.argmax(((1 - filled / wanted) * counts).sum(axis=1)))
        filled[part] += counts
        parts[part].extend(unit)
    return float(np.abs(filled / wanted - 1).max()), parts


def _check(parts: Sequence[Sequence[int]], labels: Bools, units: int) -> None:
    for name, part in zip(PARTS, parts, strict=True):
        with_mn = int(labels[list(part)].sum()) if part else 0
        if not 0 < with_mn < len(part):
            raise TrainingError(
                f"Split 6:2:2, the {name} part has {with_mn} cells with and {len(part) - with_mn} without "
                f"micronuclei ({units} donors, slides or single cells in all).",
                "Add cells of both classes from more donors or slides.",
            )

"""The paper's protocols TAD and TVAD: which cells a part of the data holds, and how they are changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mnbatch.comparison.data_split import Bools, Cells, Integers, split_in_three

# The paper's changes of training cells: rotation, and flips or a change of scale of the rotated image.


Kind = Literal["none", "rotated", "flipped_horizontally", "flipped_vertically", "scaled"]
COPIES: tuple[Kind, ...] = ("rotated", "flipped_horizontally", "flipped_vertically", "scaled")
"""With the crop itself, five times as many: "images are first randomly rotated, then these rotated images are flipped
horizontally, flipped vertically and scaled randomly". That one copy of each kind is made is our reading."""

SCALES = (0.8, 1.25)
"""Range of the random scale; the paper states none."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a crop.

    Attributes:
        kind: "none" leaves every pixel as it is; all other kinds are rotated first.
        angle: radians; scale: above 1 the cell becomes larger.
    """

    kind: Kind = "none"
    angle: float = 0.0
    scale: float = 1.0


UNCHANGED = Change()


def draw_change(kind: Kind, rng: np.random.Generator) -> Change:
    """A change of this kind: any angle, scale log-uniform in `SCALES`."""
    angle = float(rng.uniform(0, 2 * math.pi))
    scale = float(np.exp(rng.uniform(*np.log(SCALES)))) if kind == "scaled" else 1.0
    return Change(kind, angle, scale)


def changed(cells: Tensor, changes: Sequence[Change]) -> Tensor:
    """Apply one change to each cell.

    Args:
        cells: (B, C, S, S), 0..1, on any device.

    Returns:
        The same shape; what comes in from outside a crop is the crop mirrored. Unchanged cells keep every bit.
    """
    moved = [place for place, change in enumerate(changes) if change.kind != "none"]
    if not moved:
        return cells
    matrices = torch.tensor([_matrix(changes[place]) for place in moved], dtype=cells.dtype, device=cells.device)
    grid = F.affine_grid(matrices, [len(moved), *cells.shape[1:]], align_corners=False)
    result = cells.clone()
    result[moved] = F.grid_sample(cells[moved], grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return result


def _matrix(change: Change) -> list[list[float]]:
    """Where a pixel of the result comes from, in coordinates -1..1 (x to the right, y down): rotation after mirror."""
    x = (-1.0 if change.kind == "flipped_horizontally" else 1.0) / change.scale
    y = (-1.0 if change.kind == "flipped_vertically" else 1.0) / change.scale
    cos, sin = math.cos(change.angle), math.sin(change.angle)
    return [[cos * x, -sin * y, 0.0], [sin * x, cos * y, 0.0]]


# TAD and TVAD: which cells a part of the data holds, and in which form.


Protocol = Literal["tad", "tvad"]
PROTOCOLS: dict[Protocol, str] = {
    "tad": "only the training part is augmented and balanced",
    "tvad": "the training and the validation part are augmented and balanced",
}
FOLD = 1 + len(COPIES)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of the data as a network sees it.

    Attributes:
        places: of the cells among all cells, (n,); a cell that is augmented is there several times.
        changes: what is done to each.
        labels: (n,).
    """

    places: Integers
    changes: tuple[Change, ...]
    labels: Bools

    def counts(self) -> tuple[int, int]:
        """Cells with and without micronuclei."""
        with_mn = int(self.labels.sum())
        return with_mn, len(self.labels) - with_mn


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The three parts under one protocol."""

    training: Part
    validation: Part
    test: Part


def make_plan(data: Cells, protocol: Protocol, seed: int, limit: int | None = None) -> Plan:
    """Split the cells and augment what the protocol says; for a seed the protocols differ in the validation part only.

    Args:
        limit: at most so many training cells after augmentation, and a third as many validation cells (6:2), drawn
            with the classes' shares; the test part is never cut.

    Raises:
        TrainingError: a part is left without one of the classes.
    """
    training, validation, test = split_in_three(data.labels, data.units, seed)
    # Two streams, so that a protocol that draws more for validation trains on the same cells.
    for_training, for_validation = (np.random.default_rng([seed, part]) for part in (2, 3))
    augmented, held_out = balanced(training, data.labels, for_training), as_it_is(validation, data.labels)
    if protocol == "tvad":
        held_out = balanced(validation, data.labels, for_validation)
    if limit is not None:
        augmented = cut(augmented, limit, for_training)
        held_out = cut(held_out, max(2, limit // 3), for_validation)
    return Plan(augmented, held_out, as_it_is(test, data.labels))


def as_it_is(places: Integers, labels: Bools) -> Part:
    """Every cell once, unchanged."""
    return Part(places, (UNCHANGED,) * len(places), labels[places])


def balanced(places: Integers, labels: Bools, rng: np.random.Generator) -> Part:
    """Five times the rarer class, and as many cells of the other.

    The paper's cells with micronuclei (6.5 %) become five times as many and those without are downsampled to their
    number. Where the other class has fewer than five times the rarer one's cells, or the class without micronuclei is
    the rarer, the paper has no rule; then the class that lacks cells is augmented in the same way. Every cell of a
    class that is augmented is there unchanged.
    """
    chosen = labels[places]
    target = FOLD * int(min(chosen.sum(), (~chosen).sum()))
    parts = [_to_number(places[chosen == label], target, rng) for label in (True, False)]
    found = np.concatenate([part for part, _ in parts])
    return Part(found, parts[0][1] + parts[1][1], labels[found])


def _to_number(places: Integers, target: int, rng: np.random.Generator) -> tuple[Integers, tuple[Change, ...]]:
    """`target` cells of one class: a random choice, or all of them and changed copies, one kind after the other."""
    if len(places) >= target:
        kept = np.sort(rng.permutation(places)[:target])
        return kept, (UNCHANGED,) * target
    found, changes = [places], [UNCHANGED] * len(places)
    for kind in COPIES:
        lacking = target - len(changes)
        copied = places if lacking >= len(places) else np.sort(rng.permutation(places)[: max(0, lacking)])
        found.append(copied)
        changes += [draw_change(kind, rng) for _ in copied]
    return np.concatenate(found), tuple(changes)


def cut(part: Part, limit: int, rng: np.random.Generator) -> Part:
    """At most `limit` cells, drawn at random with the classes' shares, at least one of each class."""
    if len(part.labels) <= limit:
        return part
    with_mn = min(limit - 1, max(1, round(limit * float(part.labels.mean()))))
    kept = [
        rng.permutation(np.flatnonzero(part.labels == label))[:number]
        for label, number in ((True, with_mn), (False, limit - with_mn))
    ]
    order = np.sort(np.concatenate(kept))
    return Part(part.places[order], tuple(part.changes[i] for i in order), part.labels[order])

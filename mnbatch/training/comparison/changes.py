"""The paper's changes of training cells: rotation, and flips or a change of scale of the rotated image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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

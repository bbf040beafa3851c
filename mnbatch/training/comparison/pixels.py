"""Prepared crops in memory, and network input made from them a minibatch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mnbatch.imaging.preparation import ContrastRule, Preparation
from mnbatch.training.comparison.changes import changed
from mnbatch.training.comparison.protocols import Part, Plan
from mnbatch.training.comparison.split import Cells
from mnbatch.training.data import load_crops
from mnbatch.training.recipe import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which every network of `mnbatch.networks` expects."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Prepared crops by their place among all cells.

    Attributes:
        rows: place -> row of `crops`, -1 where a cell was not read.
        crops: (n, S, S, 3), uint8.
    """

    rows: npt.NDArray[np.intp]
    crops: npt.NDArray[np.uint8]

    def inputs(self, part: Part, order: npt.NDArray[np.intp], device: torch.device) -> Tensor:
        """Cells of a part, changed and normalised: (B, 3, S, S), float32."""
        crops = torch.from_numpy(self.crops[self.rows[part.places[order]]]).to(device)
        cells = changed(crops.permute(0, 3, 1, 2).float() / 255, [part.changes[i] for i in order])
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        return ((cells - mean) / std).contiguous(memory_format=torch.channels_last)


def read_pixels(data: Cells, plans: Sequence[Plan], recipe: Recipe) -> Pixels:
    """Read the cells that any of the plans holds; 150 kB each.

    Raises:
        TrainingError: an image that cannot be read, or is not one crop.
    """
    parts = [part for plan in plans for part in (plan.training, plan.validation, plan.test)]
    places = np.unique(np.concatenate([part.places for part in parts]))
    preparation = Preparation(polarity=recipe.polarity, contrast=ContrastRule(rule=recipe.contrast))
    crops, _ = load_crops([data.cells[place] for place in places], preparation)
    rows = np.full(len(data.cells), -1, dtype=np.intp)
    rows[places] = np.arange(len(places))
    return Pixels(rows, crops)

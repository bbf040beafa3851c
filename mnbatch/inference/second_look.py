"""The second look: cells that may hold a micronucleus are shown to the network again, turned and zoomed.

Whether a small round spot is a micronucleus or a speck is decided on few pixels, and what a network says of them
changes with the way the cell lies and with its size. The logits (and the evidence) of all looks are averaged. For a
network that averages its features over positions this is the same as one look at the mean of the features, since its
last layer is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from scipy.special import logit
from torch import Tensor

from mnbatch.assay.map_grid import ORIGIN, STEP
from mnbatch.inference.card import ModelCard, View
from mnbatch.inference.network_scores import common_grid, evidence_columns
from mnbatch.networks.network import Stream, moved


def shown(cells: Tensor, view: View) -> Tensor:
    """Network inputs (n, C, S, S) as a view shows them, of the same size."""
    return torch.rot90(_zoomed(cells, view.zoom), view.quarter_turns, (2, 3))


def _window(size: int, zoom: float) -> tuple[int, int]:
    """First pixel and width of what a zoom shows of `size` pixels; outside of them where it is below 1."""
    margin = round(size * (1 - 1 / zoom) / 2)
    return margin, size - 2 * margin


def _zoomed(cells: Tensor, zoom: float) -> Tensor:
    first, _ = _window(cells.shape[3], zoom)
    if not first:
        return cells
    # A negative margin cuts.
    window = F.pad(cells, (-first,) * 4, mode="replicate" if first < 0 else "constant")
    return F.interpolate(window, size=cells.shape[2:], mode="bicubic", align_corners=False, antialias=True)


def put_back(evidence: Tensor, view: View, input_size: int) -> Tensor:
    """Evidence (n, s, s) of a view where it belongs in the first look, with the same sum."""
    upright = torch.rot90(evidence, -view.quarter_turns, (1, 2))
    first, width = _window(input_size, view.zoom)
    if not first:
        return upright
    scale = width / input_size
    seen = Stream("view", 0, upright.shape[-1], first + (ORIGIN + 0.5) * scale - 0.5, STEP * scale)
    return moved(upright, seen, common_grid(input_size))


class SecondLook:
    """What a card asks for (`mnbatch.inference.card.SecondLook`), done to minibatches.

    Args:
        card: states a second look.
        at_once: cells that are looked at again in one pass; a pass is always filled up to as many, so that a score
            does not depend on which other cells are looked at again.
    """

    def __init__(self, card: ModelCard, at_once: int = 1) -> None:
        assert card.second_look is not None
        self.views = card.second_look.views
        self.at_once = at_once
        self._input_size = card.preparation.size
        self._least = float(logit(card.second_look.from_score)) * card.temperature

    @classmethod
    def of(cls, card: ModelCard, at_once: int = 1) -> SecondLook | None:
        """That of a card; None where it asks for none."""
        return cls(card, at_once) if card.second_look else None

    def chosen(self, first: Tensor) -> Tensor:
        """Places of the cells to look at again.

        Args:
            first: rows of `packed`, or logits (n, 2), of the first look.
        """
        return torch.nonzero(first[:, 1].double() - first[:, 0].double() >= self._least)[:, 0]

    def shown(self, cells: Tensor) -> Tensor:
        """(n, C, S, S) -> (n * views, C, S, S): each cell in its views, one cell after the other."""
        looks = torch.stack([shown(cells, view) for view in self.views], dim=1)
        return looks.flatten(end_dim=1).contiguous(memory_format=torch.channels_last)

    def joined(self, first: Tensor, cells: Callable[[Tensor], Tensor], look: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows of `packed` after both looks; the attention maps stay those of the first.

        Args:
            first: rows of the first look.
            cells: places -> network inputs (n, 3, S, S) of these cells.
            look: network inputs -> rows of `packed`.
        """
        chosen = self.chosen(first)
        if not len(chosen):  # which `split` would make one empty part of
            return first
        values = first.clone()
        for some in torch.split(chosen, self.at_once):
            inputs = cells(some)
            if len(inputs) < self.at_once:
                inputs = torch.cat([inputs, inputs.new_zeros((self.at_once - len(inputs), *inputs.shape[1:]))])
            rows = look(self.shown(inputs))
            again = rows.view(self.at_once, len(self.views), rows.shape[1])[: len(some)]
            values[some] = self._mean(first[some], again)
        return values

    def _mean(self, first: Tensor, again: Tensor) -> Tensor:
        """(n, columns) of the first look and (n, views, columns) of the others -> (n, columns)."""
        evidence, side = evidence_columns(first.shape[1])
        looks = [first, *self._upright(again, evidence, side)]
        mean = torch.stack(looks).sum(dim=0) / len(looks)
        mean[:, 2 : evidence.start] = first[:, 2 : evidence.start]
        return mean

    def _upright(self, again: Tensor, evidence: slice, side: int) -> Iterator[Tensor]:
        for view, values in zip(self.views, again.unbind(dim=1), strict=True):
            seen = values[:, evidence].reshape(len(values), side, side)
            values[:, evidence] = put_back(seen, view, self._input_size).flatten(start_dim=1)
            yield values

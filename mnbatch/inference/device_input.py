"""`mnbatch.imaging.preparation.network_input` of many crops at once, on the device that holds them.

On a GPU the host would otherwise compute for longer than the network: 1 ms a cell on light background, 5 ms in the
channels of stains. Each step is that of `mnbatch.imaging.stain_recognition` and `mnbatch.imaging.stain_channels`, for
all crops of a minibatch and with no decision that would need a look at the values, so that a pass can be recorded
(`mnbatch.inference.recorded_pass`). No step mixes crops.

Tolerance, tested on the CPU: `density` is the same bit for bit; of `stains` a level in ten thousand may differ by
one, where a product of three numbers is rounded otherwise.

Squaring and resizing are not done here. What is scored is what was measured and what the gallery shows, and that is
made where the file is decoded.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mnbatch.imaging import stain_channels as stains
from mnbatch.imaging import stain_recognition as recognition
from mnbatch.imaging.preparation import Preparation

AT_ONCE = 32
"""Crops in one step: its numbers take some 30 times the memory of the crops."""


class DeviceInput:
    """Network inputs from prepared crops.

    Args:
        preparation: from the model's card.
        device: where the crops will be.
    """

    def __init__(self, preparation: Preparation, device: torch.device) -> None:
        self._polarity = preparation.polarity
        pixels = recognition.thinned(np.zeros((preparation.size, preparation.size), np.uint8)).shape[1]
        self._border = torch.from_numpy(recognition.border_indices(pixels)).to(device)
        self._logarithms = torch.from_numpy(recognition.LOGARITHMS).to(device)
        self._three = torch.tensor(3.0, device=device)  # on the device, where division by a constant is not exact
        self._grey = torch.from_numpy(stains.GREY).to(device)

    def __call__(self, crops: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> the same shape, uint8."""
        if self._polarity == "as_is":
            return crops
        return torch.cat([self._inputs(some) for some in torch.split(crops, AT_ONCE)])

    def _inputs(self, crops: Tensor) -> Tensor:
        step = recognition.STEP
        grid = crops[:, ::step, ::step].flatten(1, 2).transpose(1, 2).contiguous()  # (B, 3, pixels)
        colour, dark = self._background(grid)
        bright = self._signal(crops, grid, colour)
        stained = self._stains if self._polarity == "stains" else self._density
        return torch.where(dark[:, None, None, None], bright, stained(crops, grid, colour))

    def _background(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Of each crop its background's colour (B, 3) uint8, and whether nuclei are brighter; see `background_of`."""
        border = grid[:, :, self._border].sort(dim=2).values
        middle = border[:, :, border.shape[2] // 2]
        ordered = grid.sort(dim=2).values
        places = [int(share * (grid.shape[2] - 1)) for share in recognition.SHARES]
        low, dim, bright, high = (ordered[:, :, place] for place in places)
        lowest, highest = (end.sum(dim=1).double() / self._three for end in (low, high))
        level = (middle.sum(dim=1).float() / self._three).double()
        dark = highest - level >= level - lowest
        return torch.where(dark[:, None], torch.minimum(middle, dim), torch.maximum(middle, bright)), dark

    def _signal(self, crops: Tensor, grid: Tensor, colour: Tensor) -> Tensor:
        """On dark background: the brightest channel less the background."""
        level = colour.amax(dim=1).float()[:, None]
        tops = (grid.amax(dim=1).float() - level).clamp_(min=0).sort(dim=1).values
        scale = _scale(tops[:, _percentile(grid)].double())
        signal = (crops.amax(dim=3).float() - level[:, :, None]).clamp_(min=0)
        return _levels(signal * scale[:, None, None])[..., None].expand(crops.shape)

    def _density(self, crops: Tensor, grid: Tensor, colour: Tensor) -> Tensor:
        """On light background: optical density of each channel."""
        ordered = _sum(self._optical_of(grid, colour[:, :, None]), 1).sort(dim=1).values
        scale = _scale(ordered[:, _percentile(grid)].double() / self._three)
        return _levels(self._optical_of(crops, colour[:, None, None]) * scale[:, None, None, None])

    def _stains(self, crops: Tensor, grid: Tensor, colour: Tensor) -> Tensor:
        """On light background: the channels of `stain_channels`."""
        to_levels = self._to_levels(*self._vectors(self._optical_of(grid, colour[:, :, None])))
        optical = self._optical_of(crops, colour[:, None, None])
        lifts = (0.0, stains.ZERO_LEVEL, stains.ZERO_LEVEL)
        # Written out: a product of matrices may be computed with fewer digits on a GPU.
        planes = [
            _levels(_sum(optical * to_levels[:, None, None, :, channel], 3), lift) for channel, lift in enumerate(lifts)
        ]
        return torch.stack(planes, dim=3)

    def _optical_of(self, levels: Tensor, background: Tensor) -> Tensor:
        """Optical density of uint8 levels, of the same shape, float32; `_density_tables` without tables."""
        return (self._logarithm(background) - self._logarithm(levels)).clamp_(min=0)

    def _logarithm(self, levels: Tensor) -> Tensor:
        return self._logarithms.index_select(0, levels.flatten().int()).view(levels.shape)

    def _vectors(self, optical: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each crop, from (B, 3, pixels): nuclei (B, 3), absorbance (B,), unicolour (B,); see `stain_vectors`."""
        mean = _sum(optical, 1) / self._three
        top = _quantile(mean, stains.CLIP_SHARE)
        cut = torch.minimum(mean, top[:, None])
        least = torch.maximum(_otsu(cut), stains.BODY_SHARE * top.double()).float()
        body = cut > least[:, None]
        lengths = _sum(optical**2, 1).sqrt()
        directions = optical / lengths.clamp(min=1e-6)[:, None]
        direction = torch.stack([_median(directions[:, channel], body) for channel in range(3)], dim=1)
        direction = direction / _sum(direction**2, 1).sqrt()[:, None]
        nothing = ~body.any(dim=1) | (_median(lengths, body) <= 0)
        unicolour = nothing | (self._sine(direction) < stains.LEAST_SINE)
        nuclei = torch.where(unicolour[:, None], self._grey, direction)
        absorbance = _median(_sum(nuclei[:, :, None] * optical, 1), body).clamp(min=1e-3)
        return nuclei, torch.where(nothing, torch.ones_like(absorbance), absorbance), unicolour

    def _to_levels(self, nuclei: Tensor, absorbance: Tensor, unicolour: Tensor) -> Tensor:
        """(B, 3, 3): see `stain_channels._to_levels`."""
        sine = self._sine(nuclei)[:, None]
        along = _sum(nuclei * self._grey, 1)[:, None]
        across = (self._grey - along * nuclei) / sine
        rest = torch.linalg.cross(nuclei, self._grey.expand_as(nuclei)) / sine
        gain = (stains.COLOUR_GAIN / absorbance)[:, None]
        columns = [
            nuclei * (stains.NUCLEI_LEVEL / absorbance)[:, None],
            across * (gain / sine.clamp(min=stains.STEADY_SINE)),
            rest * gain,
        ]
        one_colour = unicolour[:, None]
        nothing = torch.zeros_like(nuclei)
        return torch.stack([columns[0], *(torch.where(one_colour, nothing, c) for c in columns[1:])], dim=2)

    def _sine(self, directions: Tensor) -> Tensor:
        return _sum(torch.linalg.cross(directions, self._grey.expand_as(directions)) ** 2, 1).sqrt()


def _sum(values: Tensor, dim: int) -> Tensor:
    """Of three, one after the other: a reduction may add them in another order."""
    first, second, third = values.unbind(dim)
    return first + second + third


def _percentile(grid: Tensor) -> int:
    return int(recognition.DENSITY_PERCENTILE / 100 * (grid.shape[2] - 1))


def _scale(top: Tensor) -> Tensor:
    return torch.where(top > 0, recognition.DENSITY_TOP / top, torch.zeros_like(top)).float()


def _levels(values: Tensor, lift: float = 0.0) -> Tensor:
    return (values + (lift + 0.5)).clamp_(0, 255).to(torch.uint8)


def _quantile(values: Tensor, share: float) -> Tensor:
    """Of each row, between two values as `np.quantile` takes it."""
    ordered = values.sort(dim=1).values
    place = share * (values.shape[1] - 1)
    low, high = ordered[:, int(place)].double(), ordered[:, min(int(place) + 1, values.shape[1] - 1)].double()
    return (low + (high - low) * (place - int(place))).float()


def _median(values: Tensor, chosen: Tensor) -> Tensor:
    """Of the chosen values of each row; some number where none is."""
    ordered = values.masked_fill(~chosen, torch.inf).sort(dim=1).values
    count = chosen.sum(dim=1, keepdim=True)
    low, high = ((count - 1).clamp(min=0) // 2, count // 2)
    return ((ordered.gather(1, low) + ordered.gather(1, high.clamp(max=values.shape[1] - 1))) / 2)[:, 0]


def _otsu(values: Tensor) -> Tensor:
    """Of each row, float64; see `stain_channels._otsu`."""
    bins = stains.OTSU_LEVELS
    ordered = values.sort(dim=1).values
    top = ordered[:, -1:].double()
    edges = (top / bins * torch.arange(1, bins, device=values.device)).float()
    all_of_them = torch.full_like(edges[:, :1], values.shape[1], dtype=torch.float64)
    below = torch.cat([torch.searchsorted(ordered, edges).double(), all_of_them], dim=1)
    counts = below.diff(dim=1, prepend=torch.zeros_like(all_of_them))
    weighted = (counts * torch.arange(bins, device=values.device)).cumsum(dim=1)
    product = below * (all_of_them - below)
    between = (weighted[:, -1:] * below / all_of_them - weighted) ** 2 / product.clamp(min=1)
    best = between.argmax(dim=1, keepdim=True)
    found = torch.cat([edges.double(), top], dim=1).gather(1, best)
    return torch.where(top > 0, found, torch.zeros_like(found))[:, 0]

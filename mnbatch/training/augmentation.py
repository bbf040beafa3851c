"""From prepared pixels to network input, and random changes of training cells that leave the label true."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mnbatch.imaging.stain_channels import ZERO_LEVEL
from mnbatch.networks.network import Network
from mnbatch.training.recipe import Augmentation

# From prepared pixels to network input, such that a mixture of colours can be tied into the first layer exactly.


Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Normalise:
    """(B, 1 or 3, S, S) in 0..1 -> (B, 3, S, S), (value - mean) / std for each channel.

    Attributes:
        mean, std: of red, green and blue.
    """

    mean: Triple
    std: Triple

    def __call__(self, cells: Tensor) -> Tensor:
        """Normalise a minibatch."""
        if len({*self.mean}) == len({*self.std}) == 1:
            return ((cells - self.mean[0]) / self.std[0]).expand(-1, 3, -1, -1)
        mean, std = (cells.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (cells.expand(-1, 3, -1, -1) - mean) / std


def normalise_for(network: nn.Module, coloured: bool = False) -> Normalise:
    """The normalisation with which a network's first convolution sees its three channels alike.

    Args:
        coloured: the network sees `mnbatch.imaging.stain_channels`, whose level of no colour becomes 0 in the
            channels of colour.
    """
    kind = type(network) if isinstance(network, Network) else Network
    if not coloured:
        return Normalise(kind.alike_mean, kind.alike_std)
    zero = round(ZERO_LEVEL / 255, 4)
    return Normalise((kind.alike_mean[0], zero, zero), kind.alike_std)


# Random changes of training cells that leave the label true; whole minibatches at a time, on tensors.


def augmented(cells: Tensor, settings: Augmentation, rng: np.random.Generator, coloured: bool = False) -> Tensor:
    """Change every cell of a minibatch by its own draw.

    Args:
        cells: (B, C, S, S) float32, 0..1.
        coloured: the channels are those of `mnbatch.imaging.stain_channels`, of which only the first is a brightness:
            the tone of it alone is changed, the others' distance from nothing by up to a quarter, and JPEG, which
            would take them for a picture, is left out (made cells went through it as pictures).

    Returns:
        The same shape and range.
    """
    if coloured and cells.shape[1] == 3:
        settings = settings.model_copy(update={"jpeg": 0.0})
        colours = cells[:, 1:]
        if bool((colours == ZERO_LEVEL / 255).all()):
            # Grey cells have no colour in use either, whatever their noise and blur.
            return torch.cat([augmented(cells[:, :1], settings, rng), colours], dim=1)
        cells = warped(cells, settings, rng)
        cells = torch.cat([toned(cells[:, :1], settings, rng), _tinted(cells[:, 1:], rng)], dim=1)
    else:
        cells = toned(warped(cells, settings, rng), settings, rng)
    return _worsened(cells, settings, rng)


def _worsened(cells: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Cells that are not spared, blurred, sampled down, noisy or compressed; in place."""
    worse = torch.from_numpy(np.flatnonzero(rng.uniform(size=len(cells)) >= settings.clean))
    if len(worse):
        changed = degraded(cells[worse], settings, rng)
        cells[worse] = compressed(changed, settings.jpeg, settings.jpeg_worst, rng)
    return cells


def warped(cells: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Rotate by any angle, flip, zoom and shift; what comes in from outside is the mirrored crop."""
    count = len(cells)
    zoom = np.exp(rng.uniform(math.log(settings.scale_low), math.log(settings.scale_high), count))
    angle = rng.uniform(0, 2 * np.pi, count)
    flip = rng.choice([-1.0, 1.0], count)
    shift = rng.uniform(-2 * settings.shift, 2 * settings.shift, (count, 2))
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    matrix = np.stack([flip * cos, -sin, shift[:, 0], flip * sin, cos, shift[:, 1]], axis=1).reshape(count, 2, 3)
    grid = F.affine_grid(torch.from_numpy(matrix.astype(np.float32)), list(cells.shape), align_corners=False)
    return F.grid_sample(cells, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _column(values: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).view(-1, 1, 1, 1)


def toned(cells: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Gamma, contrast about the middle, brightness."""
    count = len(cells)
    gamma = _column(np.exp(rng.uniform(-1, 1, count) * math.log(settings.gamma)))
    factor = _column(1 + rng.uniform(-settings.contrast, settings.contrast, count))
    offset = _column(rng.uniform(-settings.brightness, settings.brightness, count))
    toned_cells = cells.clamp(0, 1) ** gamma
    return ((toned_cells - 0.5) * factor + 0.5 + offset).clamp(0, 1)


def _tinted(colours: Tensor, rng: np.random.Generator) -> Tensor:
    """Channels of colour, strengthened or weakened about the level that means none."""
    strength = torch.from_numpy(rng.uniform(0.75, 1.25, (len(colours), colours.shape[1], 1, 1)).astype(np.float32))
    zero = ZERO_LEVEL / 255
    return ((colours - zero) * strength + zero).clamp(0, 1)


def degraded(cells: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Blur or coarser sampling for some cells, then camera noise for all."""
    size = cells.shape[-1]
    changed = []
    for cell in cells:
        kind = rng.uniform()
        if kind < settings.coarse:
            small = int(size * rng.uniform(settings.coarsest, max(0.9, settings.coarsest)))
            less = F.interpolate(cell[None], size=small, mode="bilinear", antialias=True, align_corners=False)
            cell = F.interpolate(less, size=size, mode="bilinear", align_corners=False)[0]
        elif kind < settings.coarse + 0.3 and settings.blur > 0:
            cell = _blurred(cell[None], rng.uniform(0.3, max(0.31, settings.blur)))[0]
        changed.append(cell)
    result = torch.stack(changed)
    spread = _column(rng.uniform(0, 1, len(cells)) ** 2 * settings.noise)
    grains = torch.from_numpy(rng.standard_normal((len(cells), 1, size, size), dtype=np.float32))
    return (result + spread * grains).clamp(0, 1)


def _blurred(cells: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur; (B, C, S, S)."""
    reach = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / sigma) ** 2)
    taps = (taps / taps.sum()).repeat(cells.shape[1], 1)
    padded = F.pad(cells, (reach,) * 4, mode="reflect")
    rows = F.conv2d(padded, taps[:, None, :, None], groups=cells.shape[1])
    return F.conv2d(rows, taps[:, None, None, :], groups=cells.shape[1])


def compressed(cells: Tensor, chance: float, worst: int, rng: np.random.Generator) -> Tensor:
    """JPEG for a share of the cells."""
    result = cells.clone()
    for index in np.flatnonzero(rng.uniform(size=len(cells)) < chance):
        pixels = (cells[index].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=int(rng.integers(worst, 96)))
        decoded = np.array(Image.open(buffer), dtype=np.float32) / 255
        result[index] = torch.from_numpy(decoded.reshape(pixels.shape)).permute(2, 0, 1)
    return result

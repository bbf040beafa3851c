"""A network with random weights of a trained network's size, a valid card, and cells to score."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from mnbatch.assay.cells import CellCrop, Quality, UInt8Array
from mnbatch.imaging.preparation import ContrastRule, Preparation
from mnbatch.networks.attention_alexnet import AttentionAlexNet


def random_network(seed: int = 7) -> AttentionAlexNet:
    """Weights that keep activations alive and spread p_mn over 0..1."""
    generator = torch.Generator().manual_seed(seed)
    network = AttentionAlexNet().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, generator=generator)
            else:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def card_fields(**changes: object) -> dict[str, Any]:
    """Fields of a valid card that `write_model_directory` does not fill in itself."""
    return {
        "name": "random-weights",
        "version": "1",
        "architecture": "attention-alexnet",
        "preparation": Preparation(contrast=ContrastRule(rule="none"), polarity="as_is"),
        "stains": ("fluorescence",),
        "threshold": 0.5,
        "threshold_rule": "none: random weights",
        "training_data": (),
        "recipe": {"epochs": 0},
        "metrics": (),
        "licence": "MIT",
        "intended_use": "tests",
        "limitations": "knows nothing",
        "how_to_train_own": "mnbatch train",
        **changes,
    }


def crops(count: int, seed: int = 3) -> UInt8Array:
    """Bright blobs on dark background, (n, 224, 224, 3); each crop has its own."""
    rng = np.random.default_rng(seed)
    grid = np.arange(224, dtype=np.float32)
    result = np.empty((count, 224, 224, 3), np.uint8)
    for index in range(count):
        image = np.full((224, 224), 20.0, np.float32)
        for _ in range(4):
            x, y, radius = rng.uniform(40, 184), rng.uniform(40, 184), rng.uniform(8, 40)
            image += 180 * np.exp(-((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) / radius**2)
        image += rng.normal(0, 4, image.shape).astype(np.float32)
        result[index] = np.clip(image, 0, 255).astype(np.uint8)[..., None]
    return result


def cell(slide_id: str, number: int, pixels: UInt8Array) -> CellCrop:
    """A cell with its identity; everything else of no consequence."""
    return CellCrop(
        slide_id=slide_id,
        cell_id=f"{slide_id}:{number}.png",
        source=f"{number}.png",
        page=None,
        pixels=pixels,
        digest=f"{number:032x}",
        stain="fluorescence",
        quality=Quality(1.0, 0.5, 0.0, 2, 0.3),
    )

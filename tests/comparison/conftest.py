"""Small labelled crops, and networks that take milliseconds."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.network import Network


class TinyNetwork(Network):
    """One convolution, two logits."""

    pretrained: ClassVar[str | None] = "tiny"

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 16, stride=16), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.classifier = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class WideNetwork(TinyNetwork):
    """Costs more, so it comes later; no weights fit it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 16, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.classifier = nn.Linear(128, 2)


class NaNNetwork(TinyNetwork):
    """Gives no numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


class HungryNetwork(TinyNetwork):
    """Wants more memory than there is, in training."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            torch.empty(1 << 56)
        return super().forward(x)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names `tiny`, `wide`, `nan` and `hungry` beside the real ones; one thread."""
    networks = {"tiny": TinyNetwork, "wide": WideNetwork, "nan": NaNNetwork, "hungry": HungryNetwork}
    for name, network in networks.items():
        monkeypatch.setitem(ARCHITECTURES, name, network)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A CSV of 60 crops from ten donors, a third of them with a micronucleus (a bright spot)."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for number in range(60):
        pixels = rng.normal(60, 8, (32, 32))
        pixels[10:22, 10:22] += 120
        if number % 3 == 0:
            pixels[2:6, 2:6] += 120
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append({"file": f"{number}.png", "label": "nomn" if number % 3 else "mn", "donor": f"d{number // 6}"})
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", "label", "donor"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "labels.csv"

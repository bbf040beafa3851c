"""A small labelled set with slides and donors, and models with random weights."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mnbatch.inference.model_directory import write_model_directory
from mnbatch.networks import ARCHITECTURES


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_cell(rng: np.random.Generator, with_mn: bool, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on dark background with a small one beside it or not, and the mask of the small one."""
    ys, xs = np.mgrid[0:size, 0:size]
    nucleus = np.hypot(ys - size / 2, xs - size / 2) < size / 6
    angle = rng.uniform(0, 2 * np.pi)
    y, x = size / 2 + size / 3.6 * np.array([np.sin(angle), np.cos(angle)])
    small = (np.hypot(ys - y, xs - x) < size / 14) & with_mn
    picture = 30 + 150 * (nucleus | small) + rng.normal(0, 4, (size, size))
    return picture.clip(0, 255).astype(np.uint8), small


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """labels.csv with 24 cells of 4 slides and 2 donors, their crops, and a folder of masks."""
    rng = np.random.default_rng(5)
    root = tmp_path / "set"
    (root / "crops").mkdir(parents=True)
    (root / "masks" / "crops").mkdir(parents=True)
    rows = []
    for number in range(24):
        has_mn, slide = number % 2 == 0, f"S{number % 4 // 2 + 2 * (number >= 12)}"
        picture, small = draw_cell(rng, has_mn)
        Image.fromarray(picture).save(root / "crops" / f"{number:02d}.png")
        if has_mn:
            Image.fromarray((small * 255).astype(np.uint8)).save(root / "masks" / "crops" / f"{number:02d}.tif")
        donor = "D1" if number < 12 else "D2"
        rows.append([f"crops/{number:02d}.png", "mn" if has_mn else "nomn", slide, donor, f"line{number % 3}"])
    with (root / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "label", "slide", "donor", "cell_line"], *rows])
    return root / "labels.csv"


@pytest.fixture(scope="session")
def model_directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models with random weights: two that serve fluorescence, one that serves Giemsa alone."""
    root = tmp_path_factory.mktemp("models")
    made = {}
    for seed, (name, stains) in enumerate({"one": "fluorescence", "two": "fluorescence", "giemsa": "giemsa"}.items()):
        torch.manual_seed(seed)
        network = ARCHITECTURES["attention-alexnet"]()
        with torch.no_grad():
            network.classifier.weight *= 20  # enough spread for cells to be ranked
        fields = {
            "name": f"random-{name}",
            "version": "1",
            "architecture": "attention-alexnet",
            "preparation": {"contrast": {"rule": "deep_per_crop"}},
            "stains": (stains,),
            "threshold": 0.5,
            "threshold_rule": "none: random weights",
            "training_data": (),
            "recipe": {},
            "metrics": (),
            "licence": "none",
            "intended_use": "tests of mechanics",
            "limitations": "knows nothing",
            "how_to_train_own": "mnbatch train",
        }
        write_model_directory(root / name, network, fields)
        made[name] = root / name
    return made


@pytest.fixture
def crop_folder(tmp_path: Path) -> Path:
    """Sixteen grey crops, half of them with a micronucleus."""
    rng = np.random.default_rng(3)
    place = tmp_path / "crops"
    for name, label in (("mn", True), ("nomn", False)):
        (place / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(draw_cell(rng, label)[0]).save(place / name / f"{number}.png")
    return place

"""A small export of simulated crops, and models with random weights: enough for everything but accuracy."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.settings import resolve
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import draw_slide_appearance

CELLS = 6


def write_slide(folder: Path, seed: int, cells: int = CELLS, stain: str = "fluorescence") -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    slide_stain = draw_slide_appearance(rng, stain)
    for i in range(cells):
        spec = CellSpec(stain=stain, n_mn=i % 2, size=96, weak_stain=False, blur=False)
        Image.fromarray(simulate_cell(rng, spec, slide_stain).image).save(folder / f"cell_{i:03d}.png")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two donors with two slides of six cells each."""
    root = tmp_path / "export"
    for donor in ("D1", "D2"):
        for slide in ("A", "B"):
            write_slide(root / donor / slide, seed=10 * ord(slide) + int(donor[1]))
    return root


def write_random_model(
    path: Path, seed: int, stains: tuple[str, ...], counts: bool = False, architecture: str = "attention-alexnet"
) -> Path:
    import torch

    from mnbatch.inference.model_directory import write_model_directory
    from mnbatch.networks import ARCHITECTURES

    torch.manual_seed(seed)
    fields = {
        "name": f"random-{seed}",
        "version": "1",
        "architecture": architecture,
        "preparation": {
            "contrast": {"rule": "per_crop", "low_percentile": 0.5, "high_percentile": 99.8},
            "padding": "border_median",
            "resampling": "bicubic",
        },
        "scale": {"crop_width_in_nucleus_diameters": 3.2},
        "stains": stains,
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
    network = ARCHITECTURES[architecture]()
    if counts:
        fields |= {"endpoint": "mn", "counting": COUNTING}
        spread_counter(network)
    write_model_directory(path, network, fields)
    return path


COUNTING = {"mean_3plus": 3.5, "prior": (0.7, 0.2, 0.1), "training_data": (), "recipe": {}, "checks": ()}


def spread_counter(network) -> None:
    """Random weights so large, about the features of one image, that cells differ in their counts."""
    import torch

    counter = network.add_counter()
    with torch.no_grad():
        image = torch.full((1, 3, 224, 224), -1.0)
        image[:, :, 80:140, 60:160] = 1.5
        vector = network.eval().pooled(network.forward_streams(image).features)[0]
        counter.weight.mul_(3000)
        counter.bias.copy_(-counter.weight @ vector)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models that serve both stains, and one that serves Giemsa alone."""
    root = tmp_path_factory.mktemp("models")
    both = ("fluorescence", "giemsa")
    return {
        "one": write_random_model(root / "one", 1, both),
        "two": write_random_model(root / "two", 2, both),
        "giemsa": write_random_model(root / "giemsa", 3, ("giemsa",)),
        "counting": write_random_model(root / "counting", 1, both, counts=True),
        "mixed": write_random_model(root / "mixed/counting", 4, ("fluorescence",), counts=True).parent
        and write_random_model(root / "mixed/plain", 5, ("giemsa",)).parent,
    }


@pytest.fixture
def settings(export: Path, tmp_path: Path, models: dict[str, Path]) -> Callable[..., object]:
    """Resolved settings of a run over `export`, with anything replaced."""

    def make(**options: object) -> object:
        base = {
            "export": export,
            "out": tmp_path / "out",
            "model": str(models["one"]),
            "layout": "donor-slide-folders",
            "min_cells": 1,
            "device": "cpu",
        }
        return resolve(base | options, environment={})

    return make


TIMES = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00|Z| UTC)?")
SECONDS = re.compile(rb'"seconds": [0-9.e-]+')
CHECKSUM = re.compile(rb'"checksum": "[0-9a-f]{32}"')


OF_THE_RUN = ("manifest.json", "lock.json", "summary.md")


def results_without_times(out: Path) -> dict[str, bytes]:
    """Every byte of OUT but the run's own diary, with times masked."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name.startswith("runs/") or name in OF_THE_RUN:
            continue
        data = SECONDS.sub(b'"seconds": 0', TIMES.sub(b"TIME", path.read_bytes()))
        # A record's checksum holds its times, too.
        data = CHECKSUM.sub(b"", data) if path.name == "record.json" else data
        # A page's stamp and its rendered duration follow from the record's times.
        found[name] = data if path.suffix != ".html" and path.name not in ("summary.json", "report.json") else b""
    return found


@pytest.fixture
def random_model() -> Callable[[Path, str], Path]:
    """Write a model with random weights of an architecture, for both stains."""
    return lambda path, name: write_random_model(path, 8, ("fluorescence", "giemsa"), architecture=name)


@pytest.fixture
def without_times() -> Callable[[Path], dict[str, bytes]]:
    return results_without_times


@pytest.fixture
def new_slide() -> Callable[..., None]:
    return write_slide


@pytest.fixture
def touch() -> Callable[[Path], None]:
    """Give a file another modification time."""

    def change(path: Path) -> None:
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 5_000_000_000))

    return change


@pytest.fixture
def paint_field() -> Callable[[int], np.ndarray]:
    """A fluorescence field with binucleated cells, by its seed."""
    from tests.pipeline.test_fields import paint

    return paint

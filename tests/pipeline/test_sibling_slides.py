"""The same cells in sibling folders of one donor: both slides fail and name each other; replicates do not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from mnbatch.pipeline.run import run
from tests.pipeline.test_fields import paint

CELLS = 8


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return {row["slide"]: row for row in csv.DictReader(stream)}


def refocused(values: np.ndarray, seed: int, sigma: float = 1.6) -> np.ndarray:
    """The same picture in another focal plane, with noise of its own."""
    blur = (sigma, sigma, 0)[: values.ndim]
    noise = np.random.default_rng(seed).normal(0, 3 if values.dtype == np.uint8 else 25, values.shape)
    top = np.iinfo(values.dtype).max
    return np.clip(ndimage.gaussian_filter(values.astype(float), blur) + noise, 0, top).astype(values.dtype)


def body(values: np.ndarray, seed: int) -> np.ndarray:
    """The same cells in a stain of the whole cell: a disc round what is bright."""
    grey = values.astype(float)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    bright = grey > np.median(grey) + 0.25 * (np.percentile(grey, 99.5) - np.median(grey))
    disc = ndimage.gaussian_filter(ndimage.binary_dilation(bright, iterations=6).astype(float), 2)
    return np.clip(30 + 170 * disc + np.random.default_rng(seed).normal(0, 3, grey.shape), 0, 255).astype(np.uint8)


Sibling = Callable[..., None]


@pytest.fixture
def sibling(tmp_path: Path) -> Sibling:
    """Write the pictures of one folder once more into another, changed, under other names."""

    def into(folder: str, other: str, change: Callable[[np.ndarray, int], np.ndarray]):
        (tmp_path / "siblings" / other).mkdir(parents=True)
        for number, path in enumerate(sorted((tmp_path / "siblings" / folder).iterdir())):
            with Image.open(path) as image:
                values = np.asarray(image)
            values = values.astype(np.uint8) if values.max() < 256 else (values / 256).astype(np.uint8)
            Image.fromarray(change(values, number)).save(tmp_path / "siblings" / other / f"n{number:03d}.png")

    return into


def test_planes_of_crops_in_sibling_folders_fail_and_name_each_other(settings, new_slide, sibling, tmp_path) -> None:
    root = tmp_path / "siblings"
    new_slide(root / "D1/bottom", seed=1, cells=CELLS, stain="giemsa")
    new_slide(root / "D1/other", seed=2, cells=CELLS, stain="giemsa")
    new_slide(root / "D2/A", seed=3, cells=CELLS, stain="giemsa")
    assert run(settings(export=root, keep_crops=False)).exit_code == 0
    before = {name: row["bn_cells"] for name, row in rows_of(tmp_path / "out").items()}
    assert before == {"bottom": "8", "other": "8", "A": "8"}
    sibling("D1/bottom", "D1/top", refocused)
    sibling("D2/A", "D3/B", refocused)
    assert run(settings(export=root, keep_crops=False)).exit_code == 3
    found = rows_of(tmp_path / "out")
    assert {name: row["status"] for name, row in found.items()} == {
        "bottom": "failed",
        "other": "done",
        "top": "failed",
        "A": "failed",
        "B": "failed",
    }
    assert f"as slide {found['top']['slide_id']} of the same donor" in found["bottom"]["reason"]
    assert f"as slide {found['B']['slide_id']} of donor D3" in found["A"]["reason"]
    assert f"as slide {found['A']['slide_id']} of donor D2" in found["B"]["reason"]
    for donor, other in (("D2", "D3"), ("D3", "D2")):
        (page,) = (tmp_path / "out/donors").glob(f"{donor}*/index.html")
        assert f"of donor {other}" in page.read_text(encoding="utf-8")
    batch = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "of donor D2" in batch
    assert "of donor D3" in batch
    assert f"as slide {found['bottom']['slide_id']} of the same donor" in found["top"]["reason"]
    text = (tmp_path / "out/slides" / found["bottom"]["slide_id"] / "index.html").read_text(encoding="utf-8")
    assert found["top"]["slide_id"] in text
    assert "--names plain" in text


def test_planes_of_fields_in_sibling_folders_fail_and_replicates_are_counted(settings, tmp_path) -> None:
    root = tmp_path / "fields"
    for folder, first, take in (("bottom", 2, 0), ("other", 4, 0), ("top", 2, 1)):
        (root / "D1" / folder).mkdir(parents=True)
        for i in range(2):
            values = paint(first + i)
            tifffile.imwrite(root / "D1" / folder / f"f{i}.tif", refocused(values, i, 2.5) if take else values)
    assert run(settings(export=root, input="fields")).exit_code == 3
    found = rows_of(tmp_path / "out")
    assert {name: row["status"] for name, row in found.items()} == {
        "bottom": "failed",
        "other": "done",
        "top": "failed",
    }
    outcome = run(settings(export=root, input="fields", names="plain"))
    assert (outcome.exit_code, len(outcome.scored)) == (0, 3)


def test_a_second_stain_of_crops_in_a_sibling_folder_fails(settings, new_slide, sibling, tmp_path) -> None:
    new_slide(tmp_path / "siblings" / "D1/nuclei", seed=1, cells=16)
    new_slide(tmp_path / "siblings" / "D1/other", seed=2, cells=16)
    sibling("D1/nuclei", "D1/body", body)
    assert run(settings(export=tmp_path / "siblings", stain="fluorescence")).exit_code == 3
    found = rows_of(tmp_path / "out")
    assert {name: row["status"] for name, row in found.items()} == {
        "body": "failed",
        "nuclei": "failed",
        "other": "done",
    }

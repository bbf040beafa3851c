"""The same scene in several files, from files to the table: the right count, or a failed slide that says what to do."""

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
from mnbatch.results.store import Store
from tests.in_process import mnbatch
from tests.pipeline.test_fields import paint

WIDE = (900, 640)
"""Height and width of a scene that two cameras' fields show."""


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def advice(out: Path) -> str:
    """What is to be done about the one slide of a run."""
    (record,) = Store(out).records()
    return record.next_step


def defocused(field: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """The same scene out of focus, photographed again: with noise of its own."""
    noise = np.random.default_rng(seed).normal(0, 25, field.shape)
    return np.clip(ndimage.gaussian_filter(field.astype(float), sigma) + noise, 0, 65535).astype(np.uint16)


def cytoplasm(field: np.ndarray, seed: int) -> np.ndarray:
    """Another stain of the same cells: wider, and brighter round the nuclei."""
    wide = ndimage.gaussian_filter(field.astype(float), 9) * 1.4
    return np.clip(wide + np.random.default_rng(seed).normal(0, 25, field.shape), 0, 65535).astype(np.uint16)


def planes_of(seed: int) -> list[np.ndarray]:
    field = paint(seed)
    return [defocused(field, 2.5, 100 + seed), field, defocused(field, 3.5, 200 + seed)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def into(pictures: dict[str, np.ndarray]) -> Path:
        for name, values in pictures.items():
            path = tmp_path / "scenes" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".png":
                Image.fromarray(values).save(path)
            else:
                tifffile.imwrite(path, values)
        return tmp_path / "scenes"

    return into


def outcome_of(
    settings, export: Path, out: Path, **options: object
) -> tuple[int, dict[str, str], list[dict[str, str]]]:
    done = run(settings(export=export, out=out, layout="folder-per-slide", input="fields", **options))
    found = rows(out)
    return done.exit_code, {row["slide"]: row["bn_cells"] for row in found}, found


def test_planes_in_files_of_any_names_are_never_counted_three_times(settings, write, tmp_path) -> None:
    names = ("sharp", "above", "far")
    export = write(
        {f"s/{name}{i}.tif": values for i in range(2) for name, values in zip(names, planes_of(i), strict=True)}
    )
    code, _, (row,) = outcome_of(settings, export, tmp_path / "asked")
    assert (code, row["status"]) == (3, "failed")
    assert "same scene" in row["reason"]
    assert "--names" in advice(tmp_path / "asked")
    renamed = write({f"t/{i}_z{z}.tif": values for i in range(2) for z, values in enumerate(planes_of(i))})
    for planes, out in (("sharpest", "one"), ("max", "two")):
        code, counts, _ = outcome_of(settings, renamed / "t", tmp_path / out, names="{field}_z{plane}", planes=planes)
        assert (code, list(counts.values())) == (0, ["10"])


def test_of_operetta_files_each_cell_is_counted_once(settings, write, tmp_path) -> None:
    pictures = {}
    for f in (0, 1):
        for p, values in enumerate(planes_of(f), 1):
            pictures[f"plate/r02c03f0{f + 1}p0{p}-ch1sk1fk1fl1.tiff"] = values
            pictures[f"plate/r02c03f0{f + 1}p0{p}-ch2sk1fk1fl1.tiff"] = cytoplasm(values, f)
    export = write(pictures)
    code, _, (row,) = outcome_of(settings, export, tmp_path / "out")
    assert (code, row["status"]) == (3, "failed")
    assert "--nuclear-channel" in advice(tmp_path / "out")
    code, counts, _ = outcome_of(settings, export, tmp_path / "out", nuclear_channel="1")
    assert (code, counts) == (0, {"plate_r02c03": "10"})


def test_two_wells_in_one_folder_are_two_slides(settings, write, tmp_path) -> None:
    pictures = {}
    for well, (seed, cells) in {"B03": (3, 5), "B04": (4, 3)}.items():
        pictures[f"run/{well}_s1_w1.TIF"] = paint(seed, binucleated=cells)
        pictures[f"run/{well}_s1_w2.TIF"] = cytoplasm(paint(seed, binucleated=cells), seed)
    code, counts, _ = outcome_of(settings, write(pictures), tmp_path / "out", nuclear_channel="1")
    assert (code, counts) == (0, {"run_B03": "5", "run_B04": "3"})


def two_tiles(seed: int, overlap: int) -> tuple[list[np.ndarray], int]:
    """Two fields side by side of one scene with noise of their own, and the binucleated cells of the scene."""
    left, right = paint(seed).astype(float), paint(seed + 1).astype(float)
    scene = np.concatenate([left, right], axis=1)
    middle = scene.shape[1] // 2
    rng = np.random.default_rng(seed)
    tiles = [scene[:, : middle + overlap], scene[:, middle - overlap :]]
    return [np.clip(tile + rng.normal(0, 25, tile.shape), 0, 65535).astype(np.uint16) for tile in tiles], 10


def test_a_cell_in_the_overlap_of_two_fields_is_counted_once_and_said(settings, write, tmp_path) -> None:
    tiles, cells = two_tiles(6, 260)
    export = write({f"s/tile{i}.tif": tile for i, tile in enumerate(tiles)})
    code, counts, (row,) = outcome_of(settings, export, tmp_path / "out")
    assert (code, counts) == (0, {"s": str(cells)})
    assert "in the overlap with an earlier field, counted there" in row["not_scored"]


def test_sparse_fields_of_different_places_are_all_counted(settings, write, tmp_path) -> None:
    export = write({f"s/f{i}.tif": paint(20 + i, binucleated=2, mononucleated=0) for i in range(6)})
    write({"s/empty.tif": np.random.default_rng(1).normal(500, 40, (600, 600)).astype(np.uint16)})
    code, counts, _ = outcome_of(settings, export, tmp_path / "out")
    assert (code, counts) == (0, {"s": "12"})


def test_a_person_may_say_that_fields_are_their_own(settings, write, tmp_path) -> None:
    export = write({f"s/{name}.tif": values for name, values in zip("abc", planes_of(0), strict=True)})
    code, counts, _ = outcome_of(settings, export, tmp_path / "out", names="plain")
    assert (code, counts) == (0, {"s": "15"})


def crops_of(new_slide: Callable[..., None], folder: Path, cells: int) -> list[np.ndarray]:
    new_slide(folder, seed=5, cells=cells)
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]


def test_two_channels_of_an_imaging_flow_cytometer_are_one_cell_each(settings, write, new_slide, tmp_path) -> None:
    cells = crops_of(new_slide, tmp_path / "drawn", 8)
    dim = [
        (ndimage.gaussian_filter(cell.astype(float), (4, 4, 0)[: cell.ndim]) * 0.7).astype(np.uint8) for cell in cells
    ]
    pictures = {}
    for i, cell in enumerate(cells):
        pictures[f"s/{i}_Ch3.png"], pictures[f"s/{i}_Ch7.png"] = dim[i], cell
    export = write(pictures)
    done = run(settings(export=export, layout="folder-per-slide", input="crops"))
    assert done.exit_code == 3
    done = run(settings(export=export, layout="folder-per-slide", input="crops", nuclear_channel="7"))
    (row,) = rows(tmp_path / "out")
    assert (done.exit_code, row["bn_cells"]) == (0, "8")
    plain = write(
        {f"t/c{i}{which}.png": values for i in range(8) for which, values in (("a", dim[i]), ("b", cells[i]))}
    )
    done = run(settings(export=plain / "t", out=tmp_path / "plain", layout="folder-per-slide", input="crops"))
    (row,) = rows(tmp_path / "plain")
    assert (done.exit_code, row["status"]) == (3, "failed")
    assert "same cells 2 times" in row["reason"]


def test_scan_shows_groups_and_what_is_asked(write) -> None:
    export = write({f"run/B0{b}_s1_w{w}.TIF": paint(b) for b in (3, 4) for w in (1, 2)})
    asked = mnbatch("scan", export, "--input", "fields")
    assert asked.returncode == 3
    assert "--nuclear-channel" in asked.stdout
    told = mnbatch("scan", export, "--input", "fields", "--nuclear-channel", "1")
    assert told.returncode == 0
    assert "well B03 x 1 scenes x 2 channels (1, 2) by names (imagexpress); read: channel 1" in told.stdout

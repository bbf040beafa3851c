"""Cells of two stains in one slide: what is counted does not depend on the order of the files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mnbatch.pipeline import reading
from mnbatch.pipeline.run import run
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import draw_slide_appearance

STAINS = ("fluorescence", "giemsa")


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    root = tmp_path_factory.mktemp("cells")
    drawn: dict[str, list[Path]] = {stain: [] for stain in STAINS}
    for stain in STAINS:
        rng = np.random.default_rng(4)
        slide = draw_slide_appearance(rng, stain, 0.3)
        for number in range(31):
            spec = CellSpec(stain=stain, n_mn=0, size=64, weak_stain=False, blur=False)
            drawn[stain].append(root / f"{stain}{number}.png")
            Image.fromarray(simulate_cell(rng, spec, slide).image).save(drawn[stain][-1])
    return drawn


def lay(folder: Path, files: list[Path]) -> None:
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"{number:03d}.png")


def slides(out: Path) -> dict[str, dict[str, str]]:
    text = (out / "slides.csv").read_text(encoding="utf-8-sig").splitlines()
    return {row["slide"]: row for row in csv.DictReader(text)}


def record(out: Path, name: str) -> dict:
    (path,) = (out / "slides").glob(f"*{name}*/record.json")
    return json.loads(path.read_text())


def scores(out: Path, name: str) -> dict[str, str]:
    """Source file's content -> p_mn, as stored."""
    (path,) = (out / "slides").glob(f"*{name}*/g*/scores.csv")
    return {row["source"]: row["p_mn"] for row in csv.DictReader(path.read_text().splitlines())}


def test_a_mixture_fails_whatever_the_order_of_its_files(tmp_path, settings, models, cells) -> None:
    export = tmp_path / "mixed"
    mixture = cells["fluorescence"][:31] + cells["giemsa"][:29]
    shuffled = [mixture[i] for i in np.random.default_rng(3).permutation(len(mixture))]
    for name, files in {"first": mixture, "last": mixture[::-1], "shuffled": shuffled}.items():
        lay(export / "D1" / name, files)
    outcome = run(settings(export=export, model=str(models["mixed"])))
    assert outcome.exit_code == 3
    for row in slides(tmp_path / "out").values():
        assert row["status"] == "failed"
        assert "fluorescence 31 cells, Giemsa 29 cells: two stains in one slide" in row["reason"]
    assert "--stain" in record(tmp_path / "out", "first")["next_step"]


def test_a_few_cells_of_another_stain_are_left_out_and_never_choose_the_model(tmp_path, settings, models, cells):
    export = tmp_path / "few"
    giemsa, strange = cells["giemsa"][:30], cells["fluorescence"][:3]
    lay(export / "D1" / "before", strange + giemsa)
    lay(export / "D1" / "after", giemsa + strange[:2])
    lay(export / "D1" / "alone", giemsa)
    run(settings(export=export, model=str(models["mixed"])))
    out = tmp_path / "out"
    assert {record(out, name)["model"]["name"] for name in ("before", "after", "alone")} == {"random-5"}
    before, alone = scores(out, "before"), scores(out, "alone")
    for number in range(30):
        assert before[f"D1/before/{number + 3:03d}.png"] == alone[f"D1/alone/{number:03d}.png"]


@pytest.mark.parametrize("first", STAINS)
def test_the_first_cells_do_not_choose_the_model(tmp_path, settings, models, cells, first, monkeypatch) -> None:
    """All of the cells that are looked at first show another stain than the slide, so it is read once more."""
    monkeypatch.setattr(reading, "STAIN_SAMPLE", 6)
    export = tmp_path / "turned"
    other = STAINS[1 - STAINS.index(first)]
    lay(export / "D1" / "s", cells[first][:7] + cells[other] * 3)
    outcome = run(settings(export=export, model=str(models["mixed"]), keep_crops=False))
    stored = record(tmp_path / "out", "s")
    assert stored["stains"] == {first: 7, other: 93}
    assert stored["stain"] == other
    assert outcome.exit_code == 0
    (row,) = slides(tmp_path / "out").values()
    assert int(row["bn_cells"]) <= 31


def test_a_forced_stain_scores_all_and_warns(tmp_path, settings, models, cells) -> None:
    export = tmp_path / "forced"
    lay(export / "D1" / "s", cells["fluorescence"][:6] + cells["giemsa"][:6])
    assert run(settings(export=export, model=str(models["mixed"]), stain="giemsa")).exit_code == 0
    (row,) = slides(tmp_path / "out").values()
    assert (row["status"], row["bn_cells"]) == ("done", "12")
    assert "6 of 12 cells show another" in row["warnings"]


def test_a_model_of_one_stain_fails_a_mixture_as_one(tmp_path, settings, models, cells) -> None:
    export = tmp_path / "one"
    lay(export / "D1" / "s", cells["fluorescence"][:25] + cells["giemsa"][:25])
    lay(export / "D1" / "t", cells["fluorescence"][:3] + cells["giemsa"])
    lay(export / "D2" / "u", cells["fluorescence"][5:])
    assert run(settings(export=export, model=str(models["giemsa"]))).exit_code == 3
    found = slides(tmp_path / "out")
    assert "two stains" in found["s"]["reason"]
    assert (found["t"]["status"], found["t"]["bn_cells"]) == ("done", "31")
    assert "is not for this stain" in found["u"]["reason"]


def test_pages_of_a_gallery_are_told_apart_too(tmp_path, settings, models, cells) -> None:
    export = tmp_path / "pages"
    (export / "D1").mkdir(parents=True)
    pages = [np.asarray(Image.open(path).convert("RGB")) for path in cells["giemsa"][:8] + cells["fluorescence"][:7]]
    tifffile.imwrite(export / "D1" / "s.tif", np.stack(pages), photometric="rgb")
    assert run(settings(export=export, model=str(models["mixed"]), layout="tiff-galleries")).exit_code == 3
    (row,) = slides(tmp_path / "out").values()
    assert "Giemsa 8 cells, fluorescence 7 cells: two stains in one slide" in row["reason"]


def test_pseudonyms_hide_nothing_of_it(tmp_path, settings, models, cells) -> None:
    export = tmp_path / "coded"
    lay(export / "D1" / "s", cells["fluorescence"][:6] + cells["giemsa"][:6])
    assert run(settings(export=export, model=str(models["mixed"]), pseudonymise=True)).exit_code == 3
    (row,) = slides(tmp_path / "out").values()
    assert "fluorescence 6 cells, Giemsa 6 cells: two stains in one slide" in row["reason"]


def test_grey_files_of_a_stained_slide_are_said_and_not_corrected_by_rates_of_colour(tmp_path, settings, cells) -> None:
    """The bundled model tells precipitate by its colour; its card's errors are of slides in colour."""
    export = tmp_path / "grey"
    lay(export / "D1" / "colour", cells["giemsa"][:12])
    lay(export / "D1" / "bright", cells["fluorescence"][:12])
    (export / "D2" / "grey").mkdir(parents=True)
    for number, file in enumerate(cells["giemsa"][12:24]):
        Image.open(file).convert("L").save(export / "D2" / "grey" / f"{number:03d}.jpg", quality=90)
    assert run(settings(export=export, model="attention-alexnet-256")).exit_code == 0
    out = tmp_path / "out"
    assert {name: record(out, name)["colourless"] for name in ("colour", "bright", "grey")} == {
        "colour": 0,
        "bright": 0,
        "grey": 12,
    }
    found = slides(out)
    assert "12 of 12 cells have no colour" in found["grey"]["warnings"]
    assert "no colour" not in found["colour"]["warnings"]
    assert found["colour"]["sp_cells"]
    assert not found["grey"]["sp_cells"]
    assert "a slide's cells have none" in found["grey"]["correction_note"]

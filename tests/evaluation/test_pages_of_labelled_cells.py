"""What pages and files of labelled cells are is asked for and said as in a run; each cell is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from mnbatch.assay.page_options import PageOptions
from mnbatch.cli.evaluate import evaluate
from mnbatch.cli.train import train
from mnbatch.errors import SlideError
from mnbatch.evaluation.cell_scoring import read_files
from mnbatch.evaluation.labelled_cells import load_crops, read_labels
from mnbatch.imaging.preparation import Preparation
from tests.imaging.page_files import blurred, cell, cytoplasm

CHANNEL_2 = PageOptions("2")


@pytest.fixture
def stained(tmp_path: Path) -> Path:
    """Six ImageJ crops of two channels, the second nuclear."""
    for number in range(6):
        folder = tmp_path / "set" / ("mn" if number % 2 else "nomn")
        folder.mkdir(parents=True, exist_ok=True)
        nuclear = cell(number)
        stack = np.stack([cytoplasm(nuclear), nuclear])
        tifffile.imwrite(folder / f"{number}.tif", stack, imagej=True, metadata={"axes": "CYX"})
    return tmp_path / "set"


def test_the_nuclear_channel_is_asked_for_and_is_read_when_said(stained: Path) -> None:
    with pytest.raises(SlideError, match="--nuclear-channel"):
        load_crops(read_labels(stained), Preparation(size=64))
    with pytest.raises(SlideError, match="--nuclear-channel"):
        list(read_files("", read_labels(stained), Preparation(size=64)))
    cells = read_labels(stained, CHANNEL_2)
    pixels, _ = load_crops(cells, Preparation(size=64))
    scored = [crop.pixels for crop in read_files("", cells, Preparation(size=64))]
    for number, file in enumerate((1, 3, 5, 0, 2, 4)):
        Image.fromarray(cell(file)).save(stained / "alone.png")
        alone, _ = load_crops([type(cells[0])(stained / "alone.png", True)], Preparation(size=64))
        assert np.array_equal(pixels[number], alone[0])
        assert np.array_equal(scored[number], alone[0])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (evaluate, ["attention-alexnet", "set"]),
        (train, ["set", "--validation", "set", "--out", "model", "--init", "random"]),
    ],
)
def test_the_commands_ask_before_anything_is_computed(
    stained: Path, command, arguments: list[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Typer()
    app.command()(command)
    asked = CliRunner().invoke(app, arguments)
    assert isinstance(asked.exception, SlideError)
    assert "--nuclear-channel" in str(asked.exception)
    wrong = CliRunner().invoke(app, [*arguments, "--planes", "best"])
    assert "--planes cannot be 'best'" in str(wrong.exception)
    assert not (tmp_path / "model").exists()


def test_two_plain_pages_of_each_file_are_asked_about_as_in_a_run(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / ("mn" if number % 2 else "nomn")
        folder.mkdir(exist_ok=True)
        nuclear = cell(number)
        with tifffile.TiffWriter(folder / f"{number}.tif") as tiff:
            for page in (cytoplasm(nuclear), nuclear):
                tiff.write(page, photometric="minisblack", metadata=None)
    with pytest.raises(SlideError, match="--pages cells,channels:2"):
        list(read_files("", read_labels(tmp_path), Preparation(size=64)))
    with pytest.raises(SlideError, match="--pages cells,channels:2"):
        load_crops(read_labels(tmp_path), Preparation(size=64))
    said = read_labels(tmp_path, PageOptions("2", pages="channels"))
    assert len(list(read_files("", said, Preparation(size=64)))) == 4


def test_files_of_one_scene_are_one_labelled_cell(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / ("mn" if number % 2 else "nomn")
        folder.mkdir(exist_ok=True)
        for channel, picture in (("3", cell(number)), ("7", cytoplasm(cell(number)))):
            Image.fromarray(picture).save(folder / f"{number}_Ch{channel}.png")
    with pytest.raises(SlideError, match="--nuclear-channel"):
        read_labels(tmp_path)
    assert [one.path.name for one in read_labels(tmp_path, PageOptions("3"))] == [
        f"{number}_Ch3.png" for number in (1, 3, 5, 7, 0, 2, 4, 6)
    ]
    assert len(read_labels(tmp_path, PageOptions(names="plain"))) == 16


def test_planes_in_files_of_their_own_are_one_labelled_cell_at_its_sharpest(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / ("mn" if number % 2 else "nomn")
        folder.mkdir(exist_ok=True)
        for plane in range(3):
            picture = cell(number) if plane == 1 else blurred(cell(number), 2)
            Image.fromarray(picture).save(folder / f"n{number}_z{plane:03d}.png")
    cells = read_labels(tmp_path)
    pixels, _ = load_crops(cells, Preparation(size=64))
    Image.fromarray(cell(1)).save(tmp_path / "sharp.png")
    sharp, _ = load_crops([type(cells[0])(tmp_path / "sharp.png", True)], Preparation(size=64))
    assert len(cells) == 4
    assert np.array_equal(pixels[0], sharp[0])


def test_two_formats_of_one_name_are_one_cell_or_refused(crop_folder: Path) -> None:
    with Image.open(crop_folder / "mn" / "0.png") as image:
        image.save(crop_folder / "mn" / "0.jpg")
    assert len(read_labels(crop_folder)) == 16
    with Image.open(crop_folder / "mn" / "1.png") as image:
        image.rotate(90).save(crop_folder / "mn" / "0.jpg")
    with pytest.raises(SlideError, match="extension alone"):
        read_labels(crop_folder)

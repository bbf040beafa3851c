from __future__ import annotations

from pathlib import Path

import pytest

from mnbatch.assay.cells import Skipped
from mnbatch.imaging.copied_names import copies_among
from mnbatch.imaging.discovery import find_slides
from tests.imaging.imaging_helpers import put

COPIES = [
    "x_thumb",
    "x-thumbnail",
    "thumb_x",
    "tn_x",
    "X_THUMB",
    "x_preview",
    "x-small",
    "x_lowres",
    "x.thumb",
    "x-150x150",
    "x@2x",
    "Copy of x",
    "Copy (2) of x",
    "x - Copy",
    "x - Copy (2)",
    "x copy",
    "x copy 2",
    "x_copy",
    "x (copy)",
    "x (1)",
    "x(1)",
    "Kopie von x",
    "x - Kopie",
    "Copie de x",
    "Copia di x",
    "x - копия",
    "x - 副本",
    "xのコピー",
    "x~",
    "x~1",
    "x.bak",
    "x.orig",
    "x_backup",
    "#x#",
    "x.png",
    "x (Anna's conflicted copy 2024-01-05)",
    "x.sync-conflict-20240105-101112-ABCDEF",
    "Copy of x (1)",
    "x_thumb - Copy",
]


@pytest.mark.parametrize("name", COPIES)
def test_a_name_of_a_copy_is_one_only_beside_its_original(name: str) -> None:
    assert copies_among(["x", name]) == {name: "x"}
    assert copies_among([name]) == {}
    assert copies_among(["y", name]) == {}


def test_cells_are_no_copies_of_each_other() -> None:
    cells = ["cell_1", "cell_10", "cell_1_2", "1", "2", "1-2", "a1", "a2", "cell", "cellcopy", "S1_001", "S1_001x"]
    assert copies_among(cells) == {}


def test_many_numbered_names_are_a_series() -> None:
    assert copies_among(["cell", *(f"cell ({n})" for n in range(1, 20))]) == {}
    assert copies_among(["S1", *(f"S1_{n}x{n}" for n in range(100, 120))]) == {}
    assert copies_among(["cell", "cell (1)", "cell (2)"]) == {"cell (1)": "cell", "cell (2)": "cell"}


def test_a_copy_of_a_copy_is_one_of_the_original() -> None:
    assert copies_among(["x", "x - Copy", "x - Copy (1)"]) == {"x - Copy": "x", "x - Copy (1)": "x"}


@pytest.mark.parametrize(
    ("layout", "original"),
    [("folder-per-slide", "s/x"), ("donor-slide-folders", "d/s/x"), ("flat-files", "d_s_1"), ("tiff-galleries", "s/x")],
)
def test_the_crawl_takes_the_original_and_says_the_copy(export: Path, layout: str, original: str) -> None:
    extension = "tif" if layout == "tiff-galleries" else "png"
    put(export, f"{original}.{extension}")
    put(export, f"{original} (1).{extension}")
    put(export, f"{original}_thumb.{extension}", seed=2)
    put(export, f"{original.replace('x', 'lonely') if 'x' in original else 'd_s_2'}_thumb.{extension}", seed=3)
    skipped: list[Skipped] = []
    slides = list(find_slides(export, layout=layout, explain=skipped.append))
    taken = sorted(file.path for slide in slides for file in slide.files)
    assert len(taken) == 2
    assert f"{original}.{extension}" in taken
    assert sorted(item.path for item in skipped) == [f"{original} (1).{extension}", f"{original}_thumb.{extension}"]
    assert all("copy or small version of" in item.reason for item in skipped)


@pytest.mark.parametrize("name", ["x (2)", "x - Copy", "x (conflicted copy)", "x~", "Kopie von x", "x_old"])
def test_a_file_with_other_bytes_is_a_cell_of_its_own_though_it_is_named_as_a_copy(export: Path, name: str) -> None:
    put(export, "s/x.png")
    put(export, f"s/{name}.png", seed=1)
    [slide] = find_slides(export)
    assert sorted(file.path for file in slide.files) == sorted(["s/x.png", f"s/{name}.png"])


@pytest.mark.parametrize("folder", ["Thumbs", "thumbnails", "previews", "backup", "Copies"])
def test_a_folder_of_copies_is_left_out_where_the_originals_lie_above_it(export: Path, folder: str) -> None:
    put(export, "s/1.png")
    put(export, f"s/{folder}/1.jpg", seed=1)
    put(export, f"s/{folder}/1_thumb.jpg", seed=2)
    skipped: list[Skipped] = []
    (slide,) = find_slides(export, explain=skipped.append)
    assert [file.path for file in slide.files] == ["s/1.png"]
    assert len(skipped) in (1, 2)  # the folder, or its files
    put(export, f"t/{folder}/1.jpg", seed=3)
    assert f"t/{folder}" in [slide.path for slide in find_slides(export, explain=skipped.append)]


@pytest.mark.parametrize("folder", ["@eaDir", ".thumbnails"])
def test_folders_of_file_servers_are_never_looked_into(export: Path, folder: str) -> None:
    put(export, "s/1.png")
    put(export, f"s/{folder}/2.jpg", seed=1)
    (slide,) = find_slides(export)
    assert [file.path for file in slide.files] == ["s/1.png"]

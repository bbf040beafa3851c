"""Names of instruments: which files are one scene, which wells are slides, and that plain names stay what they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.assay.cells import Slide
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import UsageError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.instruments import INSTRUMENTS, Instrument
from mnbatch.imaging.name_tokens import instruments
from mnbatch.imaging.readers import read_cells, read_tasks
from tests.imaging.fields.test_source import painted


def slides(tmp_path: Path, paths: list[str], kind: str = "fields", **options: object) -> list[Slide]:
    for i, name in enumerate(paths):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"II*\0" + bytes([i, len(name)]))
    layout = str(options.pop("layout", "folder-per-slide"))
    return list(find_slides(tmp_path, layout=layout, kind=kind, options=PageOptions(**options)))  # type: ignore[arg-type]


def files(slide: Slide) -> list[str]:
    return [Path(file.path).name for file in slide.files]


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda one: one.name)
def test_an_instrument_reads_its_own_example_and_no_plain_name(instrument: Instrument) -> None:
    (naming,) = [one for one in instruments() if one.name == instrument.name]
    assert naming.parse(instrument.example) is not None
    assert instrument.of
    if instrument.recognised:
        for plain in ("12.png", "cell_0001.png", "field_3.tif", "D01_S2_17.bmp", "img001.tif", "x-0007.tif"):
            assert naming.parse(plain) is None


OPERETTA = [f"p/r02c03f0{f}p0{p}-ch{c}sk1fk1fl1.tiff" for f in (1, 2) for p in (1, 2, 3) for c in (1, 2)]


def test_of_operetta_files_one_channel_is_read_with_all_its_planes(tmp_path: Path) -> None:
    (slide,) = slides(tmp_path, OPERETTA, channel="1")
    assert (slide.name, files(slide)) == (
        "p_r02c03",
        ["r02c03f01p01-ch1sk1fk1fl1.tiff", "r02c03f02p01-ch1sk1fk1fl1.tiff"],
    )
    assert [companion.plane for companion in slide.companions] == [True] * 4
    assert len([one for one in slide.skipped if "another channel (2)" in one.reason]) == 6
    assert slide.named is not None
    assert (slide.named.scenes, slide.named.channel, len(slide.named.planes)) == (2, "1", 3)
    assert "2 scenes" in slide.named.described()


def test_the_nuclear_channel_of_names_is_asked_for(tmp_path: Path) -> None:
    (slide,) = slides(tmp_path, OPERETTA)
    assert slide.refused is not None
    assert "2 channels (1, 2)" in slide.refused[0]
    assert "--nuclear-channel" in slide.refused[1]
    (slide,) = slides(tmp_path, OPERETTA, channel="3")
    assert slide.refused is not None


def test_a_channel_that_says_nuclear_stain_needs_no_option(tmp_path: Path) -> None:
    names = [f"A1_02_1_{f}_{channel}_001.tif" for f in (1, 2) for channel in ("DAPI", "GFP")]
    (slide,) = slides(tmp_path, names)
    assert (slide.refused, files(slide)) == (None, ["A1_02_1_1_DAPI_001.tif", "A1_02_1_2_DAPI_001.tif"])


def test_a_word_of_a_channel_chooses_it(tmp_path: Path) -> None:
    names = [f"A - 01(fld {f} wv {c}).tif" for f in (1, 2) for c in ("UV - blue", "GFP - green")]
    (slide,) = slides(tmp_path, names, channel="UV")
    assert (slide.refused, files(slide)) == (None, [names[0], names[2]])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7_DAPI", "7_FITC"),
        ("Hoechst-7", "Cy3-7"),
        ("7 (DAPI)", "7 (green)"),
        ("7_BF", "7_dapi"),
        ("7.DAPI", "7.merged"),
    ],
)
def test_names_that_end_or_begin_with_a_stain_are_channels_of_one_cell(tmp_path: Path, one: str, other: str) -> None:
    names = [name.replace("7", str(number)) + ".png" for number in (7, 8) for name in (one, other)]
    (slide,) = slides(tmp_path, names, kind="crops")
    assert slide.refused is None
    assert len(slide.files) == 2
    assert all("dapi" in name.lower() or "hoechst" in name.lower() for name in files(slide))


@pytest.mark.parametrize("folders", [("DAPI", "FITC"), ("z0", "z1", "z2"), ("ch1", "Ch2"), ("plane_1", "plane_2")])
def test_folders_of_channels_or_planes_beside_each_other_are_asked_about(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    found = slides(tmp_path, [f"{folder}/{n}.png" for folder in folders for n in (1, 2)], kind="crops")
    assert all("named as channels, times or focal planes" in (slide.refused or ("", ""))[0] for slide in found)
    assert len(found) == len(folders)


@pytest.mark.parametrize("folders", [("DAPI", "S2"), ("z1", "S2"), ("S1", "S2"), ("c1", "c2"), ("Z1", "Z2")])
def test_other_folders_are_slides(tmp_path: Path, folders: tuple[str, ...]) -> None:
    found = slides(tmp_path, [f"{folder}/{n}.png" for folder in folders for n in (1, 2)], kind="crops")
    assert [slide.refused for slide in found] == [None, None]


def test_galleries_of_two_channels_are_asked_about(tmp_path: Path) -> None:
    names = ["S1_DAPI.tif", "S1_FITC.tif", "C1-S2.tif", "C2-S2.tif", "S3_DAPI.tif", "S4.tif"]
    found = {slide.path: slide for slide in slides(tmp_path, names, kind="crops", layout="tiff-galleries")}
    assert [path for path in names if found[path].refused is None] == ["S3_DAPI.tif", "S4.tif"]
    assert "S1_FITC.tif" in (found["S1_DAPI.tif"].refused or ("", ""))[0]
    said = slides(tmp_path, names, kind="crops", layout="tiff-galleries", names="plain")
    assert [slide.refused for slide in said] == [None] * 6


def test_an_overlay_of_keyence_is_left_out(tmp_path: Path) -> None:
    names = [f"Image_0000{f}_{part}.tif" for f in (1, 2) for part in ("CH1", "CH2", "Overlay")]
    (slide,) = slides(tmp_path, names, channel="1")
    assert files(slide) == ["Image_00001_CH1.tif", "Image_00002_CH1.tif"]


def test_a_well_is_a_slide_and_thumbnails_are_left_out(tmp_path: Path) -> None:
    guid = "A1B2C3D4-1234-1234-1234-123456789ABC"
    names = [
        f"run/B0{b}_s{s}_w{w}{thumb}{guid}.TIF"
        for b in (3, 4)
        for s in (1, 2)
        for w in (1, 2)
        for thumb in ("", "_thumb")
    ]
    found = slides(tmp_path, names, channel="1")
    assert [(slide.name, slide.path, len(slide.files)) for slide in found] == [
        ("run_B03", "run/B03", 2),
        ("run_B04", "run/B04", 2),
    ]
    assert sum("small version" in one.reason for slide in found for one in slide.skipped) == 8


def test_times_are_asked_for_by_their_number(tmp_path: Path) -> None:
    names = [f"NAME_A1_{f}_2024y01m0{day}d_00h00m.tif" for f in (1, 2) for day in (1, 2)]
    (slide,) = slides(tmp_path, names)
    assert slide.refused is not None
    assert "--time" in slide.refused[1]
    (slide,) = slides(tmp_path, names, time=2)
    assert files(slide) == ["NAME_A1_1_2024y01m02d_00h00m.tif", "NAME_A1_2_2024y01m02d_00h00m.tif"]


def test_a_plane_is_chosen_by_its_number(tmp_path: Path) -> None:
    (slide,) = slides(tmp_path, OPERETTA, channel="1", planes="2")
    assert [name[7:10] for name in files(slide)] == ["p02", "p02"] or "p02" in files(slide)[0]
    assert not slide.companions
    (slide,) = slides(tmp_path, OPERETTA, channel="1", planes="4")
    assert slide.refused is not None


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ([f"{i}_Ch3.ome.tif" for i in range(4)], {}),
        ([f"{i}.png" for i in range(12)], {}),
        ([f"cell-{i:04d}.png" for i in range(12)], {}),
        ([f"B03_s{i}_w1.TIF" for i in range(1, 4)], {}),
        (OPERETTA, {"names": "plain"}),
        ([f"x_c{i:04d}.tif" for i in range(12)], {}),
    ],
)
def test_where_nothing_but_the_cell_differs_each_file_is_its_own(
    tmp_path: Path, names: list[str], options: dict[str, str]
) -> None:
    (slide,) = slides(tmp_path, names, **options)
    assert (slide.named, slide.refused, len(slide.files)) == (None, None, len(names))
    assert slide.path == ("." if "/" not in names[0] else "p")


def test_a_stray_name_among_those_of_an_instrument_is_asked_about(tmp_path: Path) -> None:
    (slide,) = slides(tmp_path, [*OPERETTA, "p/extra.tiff"], channel="1")
    assert slide.refused is not None
    assert "extra.tiff" in slide.refused[0]


def test_a_scene_without_its_nuclear_file_fails_the_slide(tmp_path: Path) -> None:
    names = [name for name in OPERETTA if "f02" not in name or "ch1" not in name]
    (slide,) = slides(tmp_path, names, channel="1")
    assert slide.refused is not None
    assert "has no file of the channel" in slide.refused[0]


def test_a_pattern_says_what_plain_names_do_not(tmp_path: Path) -> None:
    names = [f"{field}_{z}.png" for field in "ab" for z in (1, 2, 3)]
    (slide,) = slides(tmp_path, names, names="{field}_{plane}")
    assert (files(slide), len(slide.companions)) == (["a_1.png", "b_1.png"], 4)
    (slide,) = slides(tmp_path, names, names="{field}-{plane}")
    assert slide.refused is not None
    for wrong in ("{field}_{colour}", "operette", "{field}{plane}", "{field}_{field}"):
        with pytest.raises(UsageError):
            slides(tmp_path, names, names=wrong)


def test_placeholders_of_a_layout_say_the_same(tmp_path: Path) -> None:
    names = [f"D1/S1/{well}/z{z}/{f}_{c}.tif" for well in ("B2", "B3") for z in (1, 2) for f in (1, 2) for c in "rg"]
    layout = "{donor}/{slide}/{well}/z{plane}/{field}_{channel}.tif"
    found = slides(tmp_path, names, layout=layout, channel="r")
    assert [(slide.donor, slide.name, len(slide.files), len(slide.companions)) for slide in found] == [
        ("D1", "S1_B2", 2, 2),
        ("D1", "S1_B3", 2, 2),
    ]
    flat = [f"P7-S{s}-f{f}-c{c}.tif" for s in (1, 2) for f in (1, 2) for c in (1, 2)]
    found = slides(tmp_path / "flat", flat, layout="{donor}-{slide}-f{field}-c{channel}.tif", channel="2")
    assert [(slide.donor, slide.name, slide.path, len(slide.files)) for slide in found] == [
        ("P7", "S1", "P7-S1", 2),
        ("P7", "S2", "P7-S2", 2),
    ]


def test_label_images_stay_with_the_scene(tmp_path: Path) -> None:
    names = ["a_ch00.tif", "a_ch01.tif", "b_ch00.tif", "b_ch01.tif", "a_ch01_mask.tif"]
    (slide,) = slides(tmp_path, names, channel="0")
    assert [(companion.of, companion.file.path) for companion in slide.companions] == [
        ("a_ch00.tif", "a_ch01_mask.tif")
    ]


def test_of_the_planes_of_a_crop_the_sharpest_is_read(tmp_path: Path) -> None:
    picture = painted()[200:300, 250:350]
    for cell in "ab":
        for plane, values in enumerate((picture // 2 + 30, picture, picture // 2 + 20)):
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{cell}_c1z{plane}.png")
    options = PageOptions(names="{cell}_c{channel}z{plane}")
    (slide,) = find_slides(tmp_path, options=options)
    tasks = list(read_tasks(slide, options))
    assert [(task.file.path, len(task.planes)) for task in tasks] == [("a_c1z0.png", 2), ("b_c1z0.png", 2)]
    from mnbatch.imaging.preparation import Preparation

    (read,) = read_cells(tasks[0], Preparation())
    (alone,) = read_cells(
        next(
            iter(
                read_tasks(
                    next(find_slides(tmp_path, options=PageOptions(names="{cell}_c{channel}z{plane}", planes="2"))),
                    options,
                )
            )
        ),
        Preparation(),
    )
    assert read.digest == alone.digest  # type: ignore[union-attr]
    assert re.search("a_c1z1", alone.source)


def test_a_plane_that_cannot_be_read_makes_the_cell_unreadable(tmp_path: Path) -> None:
    for cell in "ab":
        Image.fromarray(painted()[200:300, 250:350]).save(tmp_path / f"{cell}_z1.png")
        (tmp_path / f"{cell}_z2.png").write_bytes(b"")
    options = PageOptions(names="{cell}_z{plane}")
    (slide,) = find_slides(tmp_path, options=options)
    from mnbatch.imaging.preparation import Preparation

    (read,) = read_cells(next(iter(read_tasks(slide, options))), Preparation())
    assert "focal planes" in read.reason  # type: ignore[union-attr]


def test_folders_of_planes_are_asked_about(tmp_path: Path) -> None:
    names = [f"p/TimePoint_1/ZStep_{z}/B03_s{s}_w1.TIF" for z in (1, 2) for s in (1, 2)]
    for slide in slides(tmp_path, names):
        assert slide.refused is not None
        assert "--layout" in slide.refused[1]
    layout = "{slide}/TimePoint_{time}/ZStep_{plane}/{well}_s{field}_w{channel}.tif"
    (slide,) = slides(tmp_path, names, layout=layout)
    assert (slide.name, len(slide.files), len(slide.companions), slide.refused) == ("p_B03", 2, 2, None)
    assert len(slides(tmp_path, names, names="plain")) == 2
    assert all(
        slide.refused is None for slide in slides(tmp_path / "p" / "TimePoint_1" / "ZStep_1", ["x/B03_s1_w1.TIF"])
    )

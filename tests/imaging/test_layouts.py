from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbatch.errors import UsageError
from mnbatch.imaging.layouts import PRESETS, parse_layout

names = st.text(st.characters(exclude_characters="/\0_"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


def placed(layout: str, path: str) -> tuple[str | None, str, str] | None:
    place = parse_layout(layout).place(path, "root")
    return place and (place.donor, place.slide, place.path)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("layout", "path", "expected"),
    [
        ("folder-per-slide", "a.tif", (None, "root", ".")),
        ("folder-per-slide", "s1/a.TIF", (None, "s1", "s1")),
        ("folder-per-slide", "x/y/s1/a.jpeg", (None, "s1", "x/y/s1")),
        ("folder-per-slide", "s1/a.txt", None),
        ("donor-slide-folders", "d1/s1/a.png", ("d1", "s1", "d1/s1")),
        ("donor-slide-folders", "batch/d1/s1/a.png", ("d1", "s1", "batch/d1/s1")),
        ("donor-slide-folders", "s1/a.png", None),
        ("flat-files", "D1_S2_17.bmp", ("D1", "S2", "D1_S2")),
        ("flat-files", "in/D1_S2_cell_17.bmp", ("D1", "S2", "in/D1_S2")),
        ("flat-files", "D1_S2.bmp", None),
        ("tiff-galleries", "in/g1.tiff", (None, "g1", "in/g1.tiff")),
        ("tiff-galleries", "in/g1.png", None),
        ("{donor}/{slide}/{cell}.tif", "d/s/c.tiff", ("d", "s", "d/s")),
        ("{donor}/{slide}/{cell}.tif", "x/d/s/c.tif", None),
        ("{donor}/{slide}/{cell}.{tif,png}", "d/s/c.PNG", ("d", "s", "d/s")),
        ("{donor}/{slide}/{cell}.{tif,png}", "d/s/c.jpg", None),
        ("{donor}/*/{slide}-{cell}.tif", "d/x/s-1.tif", ("d", "s", "d/x/s")),
        ("{slide}/**/{cell}.tif", "s/x/y/c.tif", (None, "s", "s")),
        ("{slide}/crops/{cell}.tif", "s/crops/c.tif", (None, "s", "s")),
        ("{donor}/{slide}.tif", "d/s.tif", ("d", "s", "d/s.tif")),
        ("Case_{donor}/{slide}/{cell}.*", "Case_7/s/c.png", ("7", "s", "Case_7/s")),
        ("{cell}_{slide}.tif", "x/c_s.tif", None),
        ("*/{cell}_{slide}.tif", "x/c_s.tif", (None, "s", "x/s")),
        ("a+b (1)/{slide}/{cell}.tif", "a+b (1)/s/c.tif", (None, "s", "a+b (1)/s")),
    ],
)
def test_a_path_finds_its_place(layout: str, path: str, expected: tuple[str | None, str, str] | None) -> None:
    assert placed(layout, path) == expected


def test_slides_whose_joined_names_agree_stay_apart() -> None:
    layout = "{donor}-{slide}-{cell}.tif"
    assert placed(layout, "a_b-c-1.tif") != placed(layout, "a-b_c-1.tif")
    assert placed(layout, "a_b-c-1.tif")[2] != placed(layout, "a-b_c-1.tif")[2]  # type: ignore[index]


@given(names, names, names)
def test_every_name_fits_the_donor_layout(donor: str, slide: str, cell: str) -> None:
    assert placed("donor-slide-folders", f"{donor}/{slide}/{cell}.tif") == (donor, slide, f"{donor}/{slide}")


@pytest.mark.parametrize(
    "layout",
    [
        "folders",
        "{donor}/{cell}.tif",
        "{slide}/{slide}.tif",
        "{patient}/{slide}/{cell}.tif",
        "/abs/{slide}/{cell}.tif",
        "../{slide}/{cell}.tif",
        "{slide/{cell}.tif",
        "{slide}{cell}.tif",
        "{slide}/",
        "",
    ],
)
def test_a_layout_that_cannot_be_acted_on_names_the_presets_and_an_example(layout: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_layout(layout)
    assert all(preset in caught.value.next_step for preset in PRESETS)
    assert "{donor}/{slide}/{cell}.tif" in caught.value.next_step

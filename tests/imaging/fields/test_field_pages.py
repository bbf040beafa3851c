"""What the pages of camera fields are; pixel sizes; label images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import SlideError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_images import FieldImage, load_fields
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_source import FieldSource
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.fields.label_images import load_labels
from mnbatch.imaging.formats import loading
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.preparation import Preparation
from tests.imaging.page_files import GREY, written

SIDE = 420


def field(seed: int) -> np.ndarray:
    """Nuclei strewn over a field, uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.zeros((SIDE, SIDE))
    for cx, cy, r in zip(rng.uniform(20, 400, 22), rng.uniform(20, 400, 22), rng.uniform(10, 15, 22), strict=True):
        inside = np.maximum(inside, np.clip((r - np.hypot(x - cx, y - cy)) / 2 + 0.5, 0, 1))
    return np.clip(15 + 140 * inside + rng.normal(0, 2, inside.shape), 0, 255).astype(np.uint8)


def body(nuclear: np.ndarray) -> np.ndarray:
    wide = ndimage.gaussian_filter(nuclear.astype(float), 9)
    return np.clip(10 + 1.3 * wide + np.random.default_rng(1).normal(0, 2, wide.shape), 0, 255).astype(np.uint8)


def both(seed: int) -> np.ndarray:
    return np.stack([body(field(seed)), field(seed)])


def images(tmp_path: Path, content: bytes, options: PageOptions = NO_OPTIONS) -> list[FieldImage]:
    (tmp_path / "f.tif").write_bytes(content)
    return list(load_fields(str(tmp_path / "f.tif"), options)[1])


def named(axes: str, *names: str) -> dict[str, Any]:
    return {"photometric": "minisblack", "metadata": {"axes": axes, "Channel": {"Name": list(names)}}}


def test_positions_of_two_channels_are_all_read_with_the_advised_option(tmp_path: Path) -> None:
    content = written(*map(both, range(3)), each={"photometric": "minisblack", "metadata": {"axes": "CYX"}}, ome=True)
    (asked,) = images(tmp_path, content)
    assert "--nuclear-channel" in asked.problem
    found = images(tmp_path, content, PageOptions("2"))
    assert [np.array_equal(one.pixels, field(i)) for i, one in enumerate(found) if one.pixels is not None] == [True] * 3
    assert [one.page for one in found] == [1, 3, 5]


def test_the_nuclear_channel_is_known_by_its_name_at_every_position(tmp_path: Path) -> None:
    found = images(tmp_path, written(*map(both, range(3)), each=named("CYX", "Phalloidin", "Hoechst 33342"), ome=True))
    assert [np.array_equal(one.pixels, field(i)) for i, one in enumerate(found) if one.pixels is not None] == [True] * 3


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
def test_planes_and_times_are_chosen_or_asked_for(tmp_path: Path, axes: str) -> None:
    stack = np.stack([ndimage.gaussian_filter(field(1), s) for s in (2, 0, 3)])
    content = written(stack, each={"photometric": "minisblack", "metadata": {"axes": axes}}, ome=True)
    (asked,) = images(tmp_path, content)
    assert asked.unclear
    assert ("--planes" if axes == "ZYX" else "--time") in asked.problem
    for options in (
        [PageOptions(planes="sharpest"), PageOptions(planes="2")] if axes == "ZYX" else [PageOptions(time=2)]
    ):
        (one,) = images(tmp_path, content, options)
        assert np.array_equal(one.pixels, stack[1])  # type: ignore[arg-type]


def test_the_brightest_of_all_planes_is_the_darkest_on_light_ground(tmp_path: Path) -> None:
    stack = np.stack([ndimage.gaussian_filter(field(1), s) for s in (2, 0, 3)])
    for values, expected in ((stack, stack.max(axis=0)), (255 - stack, (255 - stack).min(axis=0))):
        content = written(values, each={"photometric": "minisblack", "metadata": {"axes": "ZYX"}}, ome=True)
        (one,) = images(tmp_path, content, PageOptions(planes="max"))
        assert np.array_equal(one.pixels, expected)  # type: ignore[arg-type]


def test_plain_pages_are_fields_where_they_show_different_scenes(tmp_path: Path) -> None:
    assert [one.page for one in images(tmp_path, written(*map(field, range(4))))] == [0, 1, 2, 3]
    (asked,) = images(tmp_path, written(*map(field, range(4))), PageOptions("1"))
    assert "--pages positions" in asked.problem
    assert len(images(tmp_path, written(*map(field, range(4))), PageOptions("1", pages="positions"))) == 4


@pytest.mark.parametrize("second", [body, lambda nuclear: ndimage.gaussian_filter(nuclear, 2)])
def test_plain_pages_that_show_one_scene_are_asked_about(tmp_path: Path, second: Any) -> None:
    (asked,) = images(tmp_path, written(field(1), second(field(1))))
    assert asked.unclear
    assert "--pages channels" in asked.problem
    (one,) = images(tmp_path, written(field(1), second(field(1))), PageOptions("1"))
    assert np.array_equal(one.pixels, field(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [(1, 2), (1, 2, 4), (2, 1)])
def test_levels_without_a_tag_are_no_fields(tmp_path: Path, steps: tuple[int, ...]) -> None:
    (one,) = images(tmp_path, written(*(field(1)[::step, ::step] for step in steps)))
    assert np.array_equal(one.pixels, field(1))  # type: ignore[arg-type]


def test_pages_of_other_sizes_are_asked_about(tmp_path: Path) -> None:
    (asked,) = images(tmp_path, written(field(1), field(2)[:300]))
    assert asked.unclear
    assert "different sizes" in asked.problem


def test_a_large_stack_is_read_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_LARGEST_FILE", 1000)
    found = images(tmp_path, written(*map(field, range(4))))
    assert [np.array_equal(one.pixels, field(i)) for i, one in enumerate(found) if one.pixels is not None] == [True] * 4


def read_slide(tmp_path: Path, content: bytes, **options: Any) -> list[Any]:
    (tmp_path / "S").mkdir()
    (tmp_path / "S" / "f.tif").write_bytes(content)
    (slide,) = find_slides(tmp_path, kind="fields")
    source = FieldSource(slide, Preparation(), FieldOptions(cells="all", **options))
    traits = Survey(source.tasks(), source.look).traits()
    return [item for task in source.tasks() for item in source.read(task, traits)]


def test_a_question_fails_the_slide(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="--pages channels"):
        read_slide(tmp_path, written(field(1), body(field(1))))


@pytest.mark.parametrize("program", ["tiff", "imagej", "ome"])
def test_pixels_that_are_no_squares_fail_the_slide_unless_a_person_says_otherwise(tmp_path: Path, program: str) -> None:
    resolution = (1 / 0.3, 1 / 0.6)
    if program == "tiff":
        content = written(field(1), each={**GREY, "resolution": (1e4 / 0.3, 1e4 / 0.6), "resolutionunit": "CENTIMETER"})
    elif program == "imagej":
        content = written(field(1), each={"resolution": resolution, "metadata": {"unit": "um"}}, imagej=True)
    else:
        size = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.6}
        content = written(field(1), each={"photometric": "minisblack", "metadata": size}, ome=True)
    with pytest.raises(SlideError, match=r"0\.3 x 0\.6 um"):
        read_slide(tmp_path, content)
    (tmp_path / "again").mkdir()
    assert len(read_slide(tmp_path / "again", content, um_per_pixel=0.3)) > 10


@pytest.mark.parametrize(
    ("unit", "size"), [("micron", 0.4), ("\\u00B5m", 0.4), ("nm", 400), ("mm", 0.0004), ("inch", 0.4 / 25400)]
)
def test_units_of_imagej(tmp_path: Path, unit: str, size: float) -> None:
    content = written(field(1), each={"resolution": (1 / size, 1 / size), "metadata": {"unit": unit}}, imagej=True)
    (one,) = images(tmp_path, content)
    assert one.um_per_pixel == pytest.approx(0.4, rel=1e-3)


def labelled(*numbers: int) -> np.ndarray:
    """Eight squares apart, with these numbers in turn."""
    labels = np.zeros((100, 200), np.uint8)
    for i in range(8):
        row, column = divmod(i, 4)
        labels[10 + 40 * row : 30 + 40 * row, 10 + 45 * column : 35 + 45 * column] = numbers[i % len(numbers)]
    return labels


def load(tmp_path: Path, labels: np.ndarray, page: int | None = None, **options: Any) -> np.ndarray:
    tifffile.imwrite(tmp_path / "f_mask.tif", labels, photometric="minisblack", metadata=None, **options)
    return load_labels(str(tmp_path / "f_mask.tif"), page)


def test_a_map_of_classes_is_split_into_its_parts(tmp_path: Path) -> None:
    for numbers in ((128, 255), (1, 2, 3)):
        found = load(tmp_path, labelled(*numbers))
        assert len(np.unique(found)) == 9
    own = labelled(1, 2, 3, 4, 5, 6, 7, 8)
    assert np.array_equal(load(tmp_path, own), own)


def test_numbers_that_many_objects_share_are_refused(tmp_path: Path) -> None:
    many = np.zeros((200, 400), np.uint16)
    for i in range(40):
        row, column = divmod(i, 10)
        many[50 * row : 50 * row + 30, 40 * column : 40 * column + 20] = 1 + i % 20
    with pytest.raises(UndecodableError, match="20 of 20 numbers stand for several objects"):
        load(tmp_path, many)


def test_a_label_image_without_ground_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UndecodableError, match="no 0"):
        load(tmp_path, labelled(1, 2) + np.uint8(1))


def test_label_images_of_several_pages_belong_to_pages(tmp_path: Path) -> None:
    stack = np.stack([labelled(*range(1, 9)), labelled(*range(11, 19))])
    assert np.array_equal(load(tmp_path, stack, 1), stack[1])
    with pytest.raises(UndecodableError, match="none belongs to this page"):
        load(tmp_path, stack)
    with pytest.raises(UndecodableError, match="none belongs to this page"):
        load(tmp_path, stack[0], 3)

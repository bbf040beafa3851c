"""Camera tiles with stage positions: a cell in an overlap is counted once, though its pictures are not alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.imaging.fields.field_images import load_fields
from mnbatch.imaging.fields.field_scenes import FieldScenes
from mnbatch.imaging.fields.stage_positions import ome_places

UM, SIDE, STEP = 0.25, 1000, 800
"""Micrometres a pixel; pixels of a tile; and from tile to tile."""

SHARED = [(850.0, 200.0), (900.0, 500.0), (930.0, 810.0)]
LEFT, RIGHT = [(200.0, 300.0), (500.0, 700.0)], [(1300.0, 250.0), (1500.0, 640.0), (1650.0, 900.0)]


def cell(x: float, y: float) -> FoundAt:
    return FoundAt(
        x=x,
        y=y,
        left=int(x) - 40,
        top=int(y) - 20,
        width=80,
        height=40,
        cell_class="binucleated",
        reason="",
        nuclei=2,
        nucleus_area=2 * 1256,
        cell_area=None,
        at_border=False,
        um_per_pixel=UM,
    )


def tile(name: str, cells: list[tuple[float, float]], stage: tuple[float, float] | None) -> FieldReport:
    """A field with cells at these places of it; no crops, so that pictures say nothing."""
    found = tuple(cell(x, y) for x, y in cells)
    return FieldReport("s", name, None, 0, 0, SIDE, SIDE, cells=found, stage=stage, um_per_pixel=UM)


def counted(*tiles: FieldReport) -> tuple[int, tuple[str, ...]]:
    """Cells that are counted, and what is said of the positions."""
    scenes = FieldScenes()
    reports = [item for one in tiles for item in scenes.once([one]) if isinstance(item, FieldReport)]
    assert scenes.trouble() is None
    return sum(not cell.reason for report in reports for cell in report.cells), scenes.warnings()


def two(first: tuple[float, float] | None, second: tuple[float, float] | None, error: float = 0.0) -> list[FieldReport]:
    """Two tiles side by side, of which the second one is found `error` pixels from where its position says."""
    right = [(x - STEP + error, y + error) for x, y in SHARED + RIGHT]
    return [tile("a", LEFT + SHARED, first), tile("b", right, second)]


@pytest.mark.parametrize("error", [0.0, 15.0])
@pytest.mark.parametrize("second", [(STEP * UM, 0.0), (-STEP * UM, 0.0), (0.0, STEP * UM), (0.0, -STEP * UM)], ids=str)
def test_a_cell_in_an_overlap_counts_once_however_the_axes_of_the_stage_run(
    second: tuple[float, float], error: float
) -> None:
    assert counted(*two((1000.0, -500.0), (1000.0 + second[0], second[1] - 500.0), error)) == (8, ())


def test_without_positions_or_with_one_for_all_nothing_is_concluded_from_places() -> None:
    for stage in (None, (0.0, 0.0)):
        assert counted(*two(stage, stage)) == (11, ())
    assert counted(*two((0.0, 0.0), None)) == (11, ())


def test_one_cell_is_enough_once_the_axes_are_known() -> None:
    """The stage's x goes left. A third tile below the first shares one cell with it."""
    below = tile("c", [(300.0, 60.0), (600.0, 600.0)], (0.0, -STEP * UM))
    first, second = two((0.0, 0.0), (-STEP * UM, 0.0))
    first = replace(first, cells=(*first.cells, cell(300.0, STEP + 60.0)))
    assert counted(first, second, below) == (11, ())


@pytest.mark.parametrize(("error", "count"), [(10.0, 2), (30.0, 3)])
def test_one_cell_alone_is_enough_only_close_to_its_position_while_the_axes_are_not_known(
    error: float, count: int
) -> None:
    first = tile("a", [(300.0, 300.0), (900.0, 500.0)], (0.0, 0.0))
    assert counted(first, tile("b", [(100.0 + error, 500.0)], (STEP * UM, 0.0))) == (count, ())


def test_positions_that_contradict_the_cells_are_said_and_not_used() -> None:
    first, second = two((0.0, 0.0), (STEP * UM, 0.0))
    elsewhere = [(60.0, 90.0), (110.0, 380.0), (160.0, 640.0), (500.0, 500.0)]
    count, (said,) = counted(first, replace(second, cells=tuple(cell(x, y) for x, y in elsewhere)))
    assert count == 9
    assert "contradict its pictures for 1 of 1 pairs of fields" in said


def test_fields_that_are_far_apart_are_not_compared() -> None:
    assert counted(*two((0.0, 0.0), (10 * STEP * UM, 0.0))) == (11, ())


def test_sizes_of_pixels_or_fields_that_differ_are_left_to_the_pictures() -> None:
    first, second = two((0.0, 0.0), (STEP * UM, 0.0))
    assert counted(first, replace(second, um_per_pixel=0.5))[0] == 11
    assert counted(first, replace(second, width=900))[0] == 11


def test_positions_of_an_ome_tiff_are_those_of_its_images(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 200, (2, 64, 64), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as writer:
        for number, picture in enumerate(pictures):
            plane = {
                "PositionX": [1.5 + number],
                "PositionXUnit": ["mm"],
                "PositionY": [-20.0],
                "PositionYUnit": ["µm"],
            }
            writer.write(picture, metadata={"axes": "YX", "Plane": plane, "PhysicalSizeX": UM, "PhysicalSizeY": UM})
    found = list(load_fields(str(tmp_path / "two.ome.tif"), None)[1])
    assert [one.stage for one in found] == [(1500.0, -20.0), (2500.0, -20.0)]


def test_positions_of_imagej_micro_manager_and_tiffs_own_tags(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 200, (64, 64), dtype=np.uint8)
    info = '{"XPositionUm": -12.5, "YPositionUm": 1e2}'
    tifffile.imwrite(tmp_path / "imagej.tif", picture, imagej=True, metadata={"Info": info})
    tags = [(286, "2I", 1, (3, 10), True), (287, "2I", 1, (1, 2), True)]
    tifffile.imwrite(tmp_path / "tags.tif", picture, resolution=(100, 100), resolutionunit="CENTIMETER", extratags=tags)
    tifffile.imwrite(tmp_path / "plain.tif", picture)
    places = [next(load_fields(str(tmp_path / f"{name}.tif"), None)[1]).stage for name in ("imagej", "tags", "plain")]
    assert places == [(-12.5, 100.0), (3000.0, 5000.0), None]


@pytest.mark.parametrize(
    ("plane", "place"),
    [
        ('PositionX="1" PositionY="2"', (1.0, 2.0)),
        ('PositionX="1" PositionXUnit="reference frame" PositionY="2"', None),
        ('PositionX="NaN" PositionY="2"', None),
        ('PositionX="1"', None),
        ('PositionX="one" PositionY="2"', None),
        ('PositionX="1e300" PositionY="2"', None),
    ],
)
def test_a_position_that_is_no_length_is_not_used(plane: str, place: tuple[float, float] | None) -> None:
    xml = f'<OME><Image ID="Image:0"><Pixels><Plane TheC="0" {plane}/></Pixels></Image><Image><Pixels/></Image></OME>'
    assert ome_places(xml) == [place, None]

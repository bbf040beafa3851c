"""Fields to cells: both stains, touching nuclei, micronuclei, border, and fields of which nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mnbatch.imaging.segmentation import (
    SegmentationSettings,
    SegmentedField,
    cells_in_core,
    segment_field,
    segment_tile,
)
from tests.imaging.segmentation.drawn_fields import discs, stained

BINUCLEATED = SegmentationSettings()
EACH = SegmentationSettings(cells="all")


def classes(field: SegmentedField) -> list[str]:
    return [cell.cell_class for cell in sorted(field.cells, key=lambda cell: cell.x)]


def test_pairs_and_single_nuclei_in_fluorescence() -> None:
    field = segment_field(discs((300, 400), [(60, 60, 18), (102, 60, 18), (200, 200, 18), (300, 90, 18)]), BINUCLEATED)
    assert field.stain == "fluorescence"
    assert field.problem == ""
    assert classes(field) == ["binucleated", "mononucleated", "mononucleated"]
    assert field.nucleus_diameter == pytest.approx(37, abs=1.5)
    pair = min(field.cells, key=lambda cell: cell.x)
    assert (pair.x, pair.y) == (pytest.approx(81, abs=1), pytest.approx(60, abs=1))  # type: ignore[comparison-overlap]
    assert pair.reason == ""
    assert pair.cell_area is None


def test_pairs_and_single_nuclei_in_giemsa() -> None:
    image = stained((300, 400), [(80, 60, 42, [(60, 60, 18), (100, 60, 18)]), (250, 200, 30, [(250, 200, 18)])])
    field = segment_field(image, BINUCLEATED)
    assert field.stain == "giemsa"
    assert classes(field) == ["binucleated", "mononucleated"]
    assert field.bodies is not None
    pair = min(field.cells, key=lambda cell: cell.x)
    assert pair.cell_area == pytest.approx(np.pi * 42**2, rel=0.08)
    assert np.count_nonzero(field.bodies == pair.label) == pair.cell_area


@pytest.mark.parametrize("apart", [31, 34, 36, 38])
def test_touching_nuclei_come_apart(apart: int) -> None:
    field = segment_field(discs((200, 200), [(80, 90, 18), (80 + apart, 100, 18)]), BINUCLEATED)
    assert classes(field) == ["binucleated"]
    assert min(field.cells[0].nucleus_areas) > 0.75 * max(field.cells[0].nucleus_areas)


def test_a_long_nucleus_stays_whole() -> None:
    rows, columns = np.mgrid[:200, :200]
    image = np.where(((columns - 100) / 32) ** 2 + ((rows - 100) / 15) ** 2 < 1, 180, 20).astype(np.uint8)
    assert classes(segment_field(image, BINUCLEATED)) == ["mononucleated"]


def test_a_micronucleus_makes_no_third_nucleus() -> None:
    places = [(80, 100, 18), (120, 100, 18), (100, 128, 5.0), (100, 78, 4)]
    field = segment_field(discs((220, 220), places), BINUCLEATED)
    assert classes(field) == ["binucleated"]
    assert field.small_bodies.max() == 2
    body = stained((220, 220), [(100, 105, 50, places[:2]), (100, 105, 50, places[2:])])
    found = segment_field(body, BINUCLEATED)
    assert [(cell.cell_class, cell.small_bodies) for cell in found.cells] == [("binucleated", 2)]


def test_three_and_four_nuclei_are_told_apart() -> None:
    three = [(60, 60, 18), (98, 60, 18), (79, 93, 18)]
    four = [(x, y, 18) for x in (260, 298) for y in (200, 238)]
    image = stained((320, 400), [(79, 72, 50, three), (279, 219, 55, four)])
    assert classes(segment_field(image, BINUCLEATED)) == ["trinucleated", "multinucleated"]


def test_cells_at_the_border_are_not_scored_but_counted() -> None:
    image = discs((200, 200), [(5, 100, 18), (100, 100, 18), (140, 100, 18)])
    field = segment_field(image, BINUCLEATED)
    assert classes(field) == ["border", "binucleated"]
    assert min(field.cells, key=lambda cell: cell.x).reason
    every = segment_field(image, EACH)
    assert classes(every) == ["mononucleated"] * 3
    assert [cell.at_border for cell in sorted(every.cells, key=lambda cell: cell.x)] == [True, False, False]
    assert all(cell.reason == "" for cell in every.cells)


@pytest.mark.parametrize("stain", ["fluorescence", "giemsa"])
def test_a_lamp_brighter_on_one_side_changes_nothing(stain: str) -> None:
    places = [(x, y, 18) for x in range(60, 600, 120) for y in range(60, 400, 120)]
    if stain == "fluorescence":
        image = discs((420, 620), places).astype(np.float64)
        slope = np.linspace(0, 90, 620)[None, :]
        uneven = np.clip(image * 0.6 + slope, 0, 255).astype(np.uint8)
    else:
        image = stained((420, 620), [(x, y, 28, [(x, y, 18)]) for x, y, _ in places]).astype(np.float64)
        uneven = np.clip(image * np.linspace(0.6, 1, 620)[None, :, None], 0, 255).astype(np.uint8)
    field = segment_field(uneven, BINUCLEATED)
    assert classes(field) == ["mononucleated"] * len(places)
    assert field.nucleus_diameter == pytest.approx(37, abs=2)


def coarse_noise(grain: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(400, 400)), grain)
    return np.round(20 + 200 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def nothing_to_see() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "empty": np.full((300, 300), 7, np.uint8),
        "empty deep": np.full((300, 300), 700, np.uint16),
        "white": np.full((300, 300, 3), 255, np.uint8),
        "noise": np.clip(rng.normal(100, 10, (300, 300)), 0, 255).astype(np.uint8),
        "dark noise": rng.poisson(3, (300, 300)).astype(np.uint16),
        "uniform noise": rng.integers(0, 256, (300, 300)).astype(np.uint8),
        "colour noise": rng.integers(0, 256, (300, 300, 3)).astype(np.uint8),
        "coarse noise": coarse_noise(3),
        "clouds": coarse_noise(15),
        "saturated": np.where(rng.random((300, 300)) < 0.6, 65535, 60000).astype(np.uint16),
        "black": np.where(rng.random((300, 300, 3)) < 0.01, 1, 0).astype(np.uint8),
    }


@pytest.mark.parametrize("name", nothing_to_see())
@pytest.mark.parametrize("stain", [None, "fluorescence", "giemsa"])
def test_nothing_to_see_is_a_problem_and_no_cells(name: str, stain: str | None) -> None:
    field = segment_field(nothing_to_see()[name], BINUCLEATED, stain=stain)
    assert field.problem
    assert field.cells == ()
    assert not field.nuclei.any()


def test_objects_of_an_impossible_size_are_a_problem() -> None:
    image = discs((200, 200), [(100, 100, 18)])
    assert segment_field(image, BINUCLEATED, pixel_um=0.25).problem == ""
    assert "um wide" in segment_field(image, BINUCLEATED, pixel_um=2.5).problem


def test_other_shapes_are_refused() -> None:
    for shape in [(10,), (10, 10, 4), (3, 10, 10, 3), (0, 10)]:
        with pytest.raises(ValueError, match="a field is"):
            segment_field(np.zeros(shape, np.uint8), BINUCLEATED)


def test_the_same_field_gives_the_same_cells() -> None:
    image = discs((300, 400), [(60, 60, 18), (95, 60, 18), (200, 200, 18), (300, 100, 18)], noise=8)
    first, second = segment_field(image, BINUCLEATED), segment_field(image.copy(), BINUCLEATED)
    assert first.cells == second.cells
    assert np.array_equal(first.nuclei, second.nuclei)


def test_tiles_that_overlap_find_each_cell_once() -> None:
    places = [(x, y, 18) for x in range(50, 600, 110) for y in range(50, 300, 100)]
    image = discs((320, 640), places, seed=3)
    whole = segment_field(image, BINUCLEATED)
    found = []
    for start, core in ((0, (0, 0, 320, 320)), (220, (100, 0, 420, 320))):
        tile = segment_tile(image[:, start : start + 420], core, BINUCLEATED)
        found += [(round(cell.x + start), round(cell.y)) for cell in tile.cells]
    assert sorted(found) == sorted((round(cell.x), round(cell.y)) for cell in whole.cells)
    assert len(found) == len(places)


def test_the_core_of_a_tile_is_half_open() -> None:
    field = segment_field(discs((200, 200), [(100, 100, 18)]), BINUCLEATED)
    (cell,) = field.cells
    assert cells_in_core(field.cells, (int(cell.x), 0, 200, 200)) == field.cells
    assert cells_in_core(field.cells, (0, 0, int(cell.x), 200)) == ()


def test_a_channel_without_nuclei_gives_no_cells() -> None:
    """Cytoplasm or autofluorescence alone: a broad haze with the camera's noise on it."""
    rng = np.random.default_rng(4)
    haze = ndimage.gaussian_filter(rng.normal(size=(400, 400)), 40)
    haze = 60 + 15 * haze / np.abs(haze).max()
    field = segment_field(np.round(haze + rng.normal(0, 4, haze.shape)).astype(np.uint8), BINUCLEATED)
    assert field.problem
    assert field.cells == ()


def test_condensed_fragments_are_apoptotic_and_not_binucleated() -> None:
    ordinary = [(x, y, 18, 120.0) for x in range(60, 560, 120) for y in (60, 180, 300)]
    fragments = [(118, 400, 10, 210.0), (142, 400, 10, 210.0)]
    pair = [(300, 400, 18, 120.0), (345, 400, 18, 120.0)]
    found = segment_field(discs((460, 600), [*ordinary, *fragments, *pair]), BINUCLEATED).counts()
    assert found == {"mononucleated": len(ordinary), "apoptotic": 1, "binucleated": 1}


def test_nuclei_of_unequal_size_or_stain_are_no_binucleated_cell() -> None:
    unequal = segment_field(discs((200, 200), [(60, 100, 20), (96, 100, 11)]), BINUCLEATED)
    assert classes(unequal) == ["overlapping"]
    uneven = segment_field(discs((200, 200), [(60, 100, 18), (104, 100, 18, 90.0)]), BINUCLEATED)
    assert classes(uneven) == ["overlapping"]


def test_touching_cells_with_visible_cytoplasm_are_two() -> None:
    image = stained((240, 320), [(90, 120, 42, [(90, 120, 18)]), (172, 120, 42, [(172, 120, 18)])])
    assert classes(segment_field(image, BINUCLEATED)) == ["mononucleated", "mononucleated"]


def test_nuclei_far_apart_in_one_cytoplasm_are_one_cell() -> None:
    image = stained((240, 320), [(160, 120, 62, [(130, 120, 16), (190, 120, 16)])])
    assert classes(segment_field(image, BINUCLEATED)) == ["binucleated"]


def test_deep_pixels_give_the_same_cells() -> None:
    image = discs((200, 300), [(60, 60, 18), (102, 60, 18), (220, 120, 18)])
    shallow, deep = segment_field(image, BINUCLEATED), segment_field(image.astype(np.uint16) * 16, BINUCLEATED)
    assert [(c.cell_class, c.x, c.y) for c in shallow.cells] == [(c.cell_class, c.x, c.y) for c in deep.cells]


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.5])
def test_cells_do_not_depend_on_the_cameras_resolution(zoom: float) -> None:
    places = [(60, 60, 18), (98, 60, 18), (220, 150, 18), (100, 160, 5)]
    scaled = [(x * zoom, y * zoom, r * zoom) for x, y, r in places]
    field = segment_field(discs((round(240 * zoom), round(300 * zoom)), scaled), BINUCLEATED)
    assert classes(field) == ["binucleated", "mononucleated"]
    assert field.nucleus_diameter == pytest.approx(37 * zoom, rel=0.08)


def test_nuclei_that_all_but_touch_are_one_cell_though_its_body_has_a_waist() -> None:
    image = stained((240, 320), [(141, 120, 22, [(141, 120, 18)]), (179, 120, 22, [(179, 120, 18)])])
    assert classes(segment_field(image, BINUCLEATED)) == ["binucleated"]


def test_a_pale_streak_in_the_cytoplasm_does_not_part_a_cell() -> None:
    image = stained((240, 320), [(160, 120, 62, [(132, 120, 16), (188, 120, 16)])])
    rows, columns = np.mgrid[:240, :320]
    image[(np.abs(columns - 160) < 2) & (np.abs(rows - 120) > 10)] = (240, 235, 225)
    assert classes(segment_field(image, BINUCLEATED)) == ["binucleated"]


def test_a_tongue_of_stain_to_the_edge_does_not_make_a_cell_one_at_the_border() -> None:
    image = stained((240, 320), [(70, 120, 42, [(52, 120, 16), (88, 120, 16)])])
    body = image[120, 30].copy()
    image[118:123, 8:32] = body
    image[100:140, :8] = body
    assert classes(segment_field(image, BINUCLEATED)) == ["binucleated"]

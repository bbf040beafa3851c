import csv

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from mnbatch.errors import TrainingError
from mnbatch.evaluation.pointing_game import MaskPlace, crop_masks, find_masks, hit_grid, play, shown_part, strongest


def mask_at(row, column, radius=0):
    ys, xs = np.mgrid[0:224, 0:224]
    return np.hypot(ys - row, xs - column) <= radius


def test_position_i_is_centred_at_15_plus_16_i_and_8_pixels_are_a_hit():
    grid = hit_grid(mask_at(15 + 16 * 3, 15 + 16 * 7))
    assert grid.sum() == 1
    assert grid[3, 7]
    assert hit_grid(mask_at(15 + 16 * 3 + 8, 15 + 16 * 7)).sum() == 2  # halfway: both neighbours
    assert not hit_grid(mask_at(15 + 16 * 3 + 7, 15 + 16 * 7 + 7)).any()  # 9.9 pixels off in the diagonal
    assert not hit_grid(mask_at(3, 3)).any()  # the corner is out of reach of the grid
    assert not hit_grid(np.zeros((224, 224), bool)).any()


def test_strongest_point_is_row_and_column():
    maps = np.zeros((2, 13, 13), np.float32)
    maps[0, 4, 9], maps[1, 12, 0] = 1, 0.5
    assert strongest(maps).tolist() == [[4, 9], [12, 0]]


def test_play_counts_hits_and_states_chance_and_reach():
    masks = [mask_at(31, 31, 4), mask_at(63, 31, 4), mask_at(1, 1)]
    right = np.zeros((3, 13, 13), np.float32)
    right[0, 1, 1] = right[1, 3, 1] = right[2, 5, 5] = 1
    games = {game.name: game for game in play({"right": right, "flat": np.zeros_like(right)}, masks, "any")}
    assert (games["right"].hits, games["right"].cells) == (2, 3)
    expected = binomtest(2, 3).proportion_ci()
    assert (games["right"].low, games["right"].high) == pytest.approx((expected.low, expected.high))
    assert games["flat"].hits == 0
    assert games["random"].share == pytest.approx(sum(hit_grid(mask).mean() for mask in masks) / 3)
    assert games["reachable"].hits == 2


def test_field_masks_are_cut_as_the_crop_and_tell_own_from_others(tmp_path):
    field = np.zeros((100, 120, 4), np.uint8)
    field[30:34, 50:54] = (0xFF, 0xAA, 0x23, 255)
    field[60:64, 70:74] = (0xFF, 0xAA, 0x99, 255)
    field[0:5, 0:5] = (1, 2, 3, 0)  # transparent: no mask
    Image.fromarray(field).save(tmp_path / "field.png")
    every, own = crop_masks(MaskPlace(tmp_path / "field.png", (40, 20, 56), 0xFFAA23), 224)
    rows, columns = np.nonzero(own)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 55, 40, 55)  # 4 pixels a field pixel
    assert every.sum() == 2 * own.sum()


def test_a_mask_that_is_not_square_is_padded_as_its_crop_is(tmp_path):
    mask = np.zeros((20, 40), np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    every, own = crop_masks(MaskPlace(tmp_path / "m.png"), 40)
    assert np.argwhere(every).tolist() == [[10, 0]]
    assert own is None


def test_a_crop_outside_its_field_is_refused(tmp_path):
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(TrainingError, match="is outside"):
        crop_masks(MaskPlace(tmp_path / "m.png", (5, 5, 6)), 224)


def test_masks_are_found_by_path_first_and_by_name_where_it_is_the_only_one(tmp_path):
    for name in ("mn/a.png", "nomn/a.png", "mn/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    found = find_masks(tmp_path)
    assert found.of("mn/a.tif").path == tmp_path / "mn/a.png"
    assert found.of("elsewhere/b.tif").path == tmp_path / "mn/b.png"
    assert found.of("elsewhere/a.tif") is None


def test_a_list_of_masks_that_lacks_columns_or_numbers_is_refused(tmp_path):
    file = tmp_path / "masks.csv"
    file.write_text("file,x\na.png,1\n")
    with pytest.raises(TrainingError, match="needs the columns"):
        find_masks(file)
    file.write_text("file,mask,x,y,window\na.png,m.png,left,0,10\n")
    with pytest.raises(TrainingError, match="line 2"):
        find_masks(file)
    with pytest.raises(TrainingError, match="no masks"):
        find_masks(tmp_path / "absent")


def test_mnfinder_crops_lie_where_the_labels_say(shared_data):
    """A crop cut anew from its field correlates with the stored one, and the colour is the cell's own."""
    root = shared_data / "mnfinder"
    rows = list(csv.DictReader((root / "labels.csv").open()))
    rows = [row for row in rows if row["split"] == "validation" and row["label"] == "1"][::8]
    masks = find_masks(root / "labels.csv")
    assert len(rows) >= 8
    for row in rows:
        place = masks.of(row["file"])
        images = root / "fields" / row["split"] / row["dataset"] / "images"
        field = np.asarray(Image.open(images / row["field"])).astype(np.float32)
        stored = np.asarray(Image.open(root / row["file"]).convert("L"), np.float32)
        clear = (stored > 2) & (stored < 250)  # the stored contrast is clipped

        def agreement(left, top, field=field, stored=stored, clear=clear, side=place.box[2]):
            cut = Image.fromarray(field[top : top + side, left : left + side])
            cut = np.asarray(cut.resize((224, 224), Image.Resampling.BICUBIC))  # type: ignore[assignment]
            return np.corrcoef(cut[clear], stored[clear])[0, 1]

        left, top, _ = place.box  # type: ignore[misc]
        assert agreement(left, top) > 0.98
        assert agreement(left, top) > max(agreement(left + 1, top), agreement(left, top + 1))
        every, mine = crop_masks(place, 224)
        assert mine.any()
        assert (every | mine == every).all()
        whole = np.asarray(Image.open(place.path)).astype(int)
        own = ((whole[..., 0] << 16 | whole[..., 1] << 8 | whole[..., 2]) == place.colour) & (whole[..., 3] > 0)
        assert own.sum() == int(row["mn_area"])


def test_a_zoomed_crop_sees_the_middle_of_its_mask() -> None:
    mask = np.zeros((224, 224), bool)
    mask[100:124, 140:164] = True  # 28 to 52 right of the middle
    shown = shown_part(mask, 2.0)
    rows, columns = np.nonzero(shown)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (88, 135, 168, 215)
    np.testing.assert_array_equal(shown_part(mask, 1.0), mask)

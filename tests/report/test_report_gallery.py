from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.calls import CalledCell
from mnbatch.assay.map_grid import positions
from mnbatch.errors import StorageError
from mnbatch.report.page_pictures import Candidate, choose, gallery_view
from mnbatch.results.stored_crops import MAPS, StoredCrops, encode_crop, pack_maps


def candidates(scores: list[float], threshold: float = 0.5) -> list[Candidate]:
    return [
        Candidate(CalledCell(f"s:{i}", f"{i}", None, p, p >= threshold, (), ""), i, None, threshold)
        for i, p in enumerate(scores)
    ]


def test_highest_called_cells_first_then_the_nearest_of_the_others() -> None:
    called, uncertain = choose(candidates([0.1, 0.99, 0.45, 0.7, 0.52, 0.01]), 2)
    assert [c.p_mn for c in called] == [0.99, 0.7]
    assert [c.p_mn for c in uncertain] == [0.52, 0.45]


def test_a_cell_that_is_not_called_is_never_shown_as_called() -> None:
    called, uncertain = choose(candidates([0.1, 0.49, 0.6]), 24)
    assert [c.p_mn for c in called] == [0.6]
    assert [c.p_mn for c in uncertain] == [0.49, 0.1]


def test_equal_scores_keep_the_order_of_the_cells() -> None:
    called, uncertain = choose(candidates([0.9, 0.9, 0.9, 0.2, 0.2, 0.2]), 2)
    assert [c.row for c in called] == [0, 1]
    assert [c.row for c in uncertain] == [3, 4]


def test_no_gallery_is_drawn_when_none_is_wanted() -> None:
    assert gallery_view(candidates([0.9]), 0) is None


def test_without_kept_crops_the_cells_are_listed_all_the_same() -> None:
    view = gallery_view(candidates([0.9, 0.2]), 5)
    assert view is not None
    assert [(card.p_mn, card.crop, card.maps) for card in view.called] == [(0.9, "", ())]


def test_the_text_says_how_many_of_how_many_are_shown() -> None:
    view = gallery_view(candidates([0.9] * 7 + [0.1]), 3)
    assert view is not None
    assert view.called_text.startswith("3 of 7 cells called MN")
    none = gallery_view(candidates([0.1]), 3)
    assert none is not None
    assert none.called_text == "No cell was called MN."


def kept(folder: Path, given: tuple[str, ...], size: int = 224) -> StoredCrops:
    """One cell's crop and maps as a run keeps them, the maps that the model does not give as NaN."""
    maps = np.full((3, positions(size), positions(size)), 0.5, np.float32)
    maps[[name not in given for name in MAPS]] = np.nan
    jpeg = encode_crop(np.full((size, size, 3), 90, np.uint8))
    (folder / "crops").write_bytes(jpeg)
    (folder / "maps").write_bytes(pack_maps(maps))
    return StoredCrops(folder / "crops", folder / "maps", ((0, len(jpeg)),), (0,), given)


def shown(pictures: list[StoredCrops]) -> tuple[list[str], list[list[str]]]:
    """Kinds of map that the page offers, and those that each cell has."""
    cells = [
        replace(cell, row=0, pictures=p) for cell, p in zip(candidates([0.9] * len(pictures)), pictures, strict=True)
    ]
    view = gallery_view(cells, 9)
    return [kind for kind, _ in view.kinds], [[map.kind for map in card.maps] for card in view.called]


def test_a_map_that_the_model_does_not_give_is_absent_and_never_an_empty_picture(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    whole, evidence, none = (kept(f, g) for f, g in zip(folders, (MAPS, ("evidence",), ()), strict=True))
    assert shown([evidence]) == (["evidence"], [["evidence"]])
    assert shown([none]) == ([], [[]])
    kinds, cells = shown([whole, evidence, none])
    assert kinds == ["evidence", "attention5", "attention6"]
    assert [set(cell) for cell in cells] == [set(MAPS), {"evidence"}, set()]
    assert np.isnan(evidence.cell_maps(0)).any(axis=(1, 2)).tolist() == [True, True, False]
    assert none.cell_maps(0) is None


@pytest.mark.parametrize(("size", "side", "start", "width"), [(224, 13, "7", "208"), (256, 15, "6.125", "210")])
def test_a_map_is_drawn_where_its_positions_lie(tmp_path: Path, size: int, side: int, start: str, width: str) -> None:
    pictures = kept(tmp_path, MAPS, size)
    maps = pictures.cell_maps(0)
    assert maps is not None
    assert pictures.side == side
    assert maps.shape == (3, side, side)
    assert maps == pytest.approx(0.5, abs=0.01)
    view = gallery_view([replace(cell, row=0, pictures=pictures) for cell in candidates([0.9])], 9)
    assert view is not None
    assert {(drawn.start, drawn.size) for card in view.called for drawn in card.maps} == {(start, width)}


def test_a_file_of_maps_that_is_cut_short_is_damage(tmp_path: Path) -> None:
    pictures = kept(tmp_path, MAPS)
    pictures.maps.write_bytes(pictures.maps.read_bytes()[:-1])
    with pytest.raises(StorageError, match="no maps"):
        pictures.cell_maps(0)

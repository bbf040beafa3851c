import shutil

import numpy as np
import pytest
from PIL import Image

from mnbatch.evaluation.cell_scoring import Scorer, read_files
from mnbatch.evaluation.labelled_cells import LabelledCell
from mnbatch.imaging.preparation import ContrastRule, Preparation, percentile_range, prepare_crop
from mnbatch.inference.catalogue import ModelSet
from tests.evaluation.conftest import draw_cell


def test_one_contrast_range_for_all_files_of_a_slide(tmp_path):
    paths, pictures = [], []
    for number, top in enumerate((100, 4000)):
        picture = np.linspace(0, top, 40 * 40).reshape(40, 40).astype(np.uint16)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
        pictures.append(picture)
    preparation = Preparation(contrast=ContrastRule(rule="per_slide"))
    limits = percentile_range(np.stack(pictures).astype(np.float64), 0.5, 99.8)
    crops = list(read_files("S1", [LabelledCell(path, True) for path in paths], preparation))
    for crop, picture in zip(crops, pictures, strict=True):
        assert np.array_equal(crop.pixels, prepare_crop(picture, preparation, limits))
    assert crops[0].pixels.max() < 20 < crops[1].pixels.max()


def test_a_reason_stands_in_the_place_of_a_file_that_is_no_crop(tmp_path):
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    cells = [LabelledCell(tmp_path / name, True) for name in ("b.png", "a.png", "gone.png")]
    found = list(read_files("", cells, Preparation()))
    assert isinstance(found[0], str)
    assert found[1].pixels.shape == (224, 224, 3)
    assert isinstance(found[2], str)


@pytest.fixture
def two_stains(tmp_path):
    """Ten fluorescence and ten Giemsa crops."""
    rng = np.random.default_rng(3)
    paths = []
    for number in range(10):
        Image.fromarray(draw_cell(rng, False)[0]).save(tmp_path / f"a{number}.png")
        paths.append(tmp_path / f"a{number}.png")
    ys, xs = np.mgrid[0:96, 0:96]
    inside = np.hypot(ys - 48, xs - 48) < 18
    for number in range(10):
        picture = np.where(inside[..., None], (110, 60, 150), (225, 215, 220)) + rng.normal(0, 3, (96, 96, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / f"b{number}.png")
        paths.append(tmp_path / f"b{number}.png")
    return paths


@pytest.fixture
def both(model_directories, tmp_path):
    root = tmp_path / "models"
    for name in ("one", "giemsa"):
        shutil.copytree(model_directories[name], root / name)
    return ModelSet.open(root)


def scored(models, cells, stain=None):
    scorer = Scorer(models, stain, "cpu", 1)
    try:
        return scorer.score(cells)
    finally:
        scorer.close()


def test_a_slide_of_two_stains_is_not_scored(two_stains, both):
    result = scored(both, [LabelledCell(path, False, slide="S1") for path in two_stains])
    assert np.isnan(result.scores).all()
    assert all("two stains (fluorescence 10 cells, Giemsa 10 cells)" in reason for reason in result.reasons)


@pytest.mark.parametrize("order", [1, -1])
def test_cells_without_a_slide_are_scored_each_by_its_stain(two_stains, both, order):
    cells = [LabelledCell(path, False) for path in two_stains][::order]
    result = scored(both, cells)
    apart = scored(both, [LabelledCell(cell.path, False, slide=cell.path.name[0]) for cell in cells])
    assert np.allclose(result.scores, apart.scores, atol=1e-6)
    assert apart.notes == ()
    assert "two stains" in result.notes[0]


def test_a_stain_that_was_forced_is_said_to_be_contradicted(two_stains, both):
    result = scored(both, [LabelledCell(path, False, slide="S1") for path in two_stains], "fluorescence")
    assert not np.isnan(result.scores).any()
    assert result.notes == ("10 of 20 cells of slide S1 show another stain than --stain fluorescence.",)


def test_the_first_cells_do_not_decide_the_stain(two_stains, both, tmp_path):
    """24 cells of no stain at all come first; the other half of the slide is Giemsa."""
    paths = [tmp_path / f"plain{number}.png" for number in range(24)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((40, 40, 3), 90 + number, np.uint8)).save(path)
    giemsa = two_stains[10:] * 8
    cells = [LabelledCell(path, False, slide="S1") for path in [*paths, *giemsa]]
    result = scored(both, cells)
    alone = scored(both, [LabelledCell(giemsa[0], False)]).scores[0]
    assert result.scores[len(paths)] == pytest.approx(alone, abs=1e-6)

import numpy as np
from PIL import Image

from mnbatch.imaging.preparation import ContrastRule, Preparation, percentile_range, prepare_crop
from mnbatch.training.evaluation.scoring import read_files


def test_one_contrast_range_for_all_files_of_a_slide(tmp_path):
    paths, pictures = [], []
    for number, top in enumerate((100, 4000)):
        picture = np.linspace(0, top, 40 * 40).reshape(40, 40).astype(np.uint16)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
        pictures.append(picture)
    preparation = Preparation(contrast=ContrastRule(rule="per_slide"))
    limits = percentile_range(np.stack(pictures).astype(np.float64), 0.5, 99.8)
    crops = list(read_files("S1", paths, preparation))
    for crop, picture in zip(crops, pictures, strict=True):
        assert np.array_equal(crop.pixels, prepare_crop(picture, preparation, limits))
    assert crops[0].pixels.max() < 20 < crops[1].pixels.max()


def test_a_reason_stands_in_the_place_of_a_file_that_is_no_crop(tmp_path):
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    found = list(read_files("", [tmp_path / "b.png", tmp_path / "a.png", tmp_path / "gone.png"], Preparation()))
    assert isinstance(found[0], str)
    assert found[1].pixels.shape == (224, 224, 3)
    assert isinstance(found[2], str)

"""Labelled data is read as `run` reads it, and what cannot give a model is refused before any training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.errors import TrainingError
from mnbatch.evaluation.evaluation_set import read_labelled_set
from mnbatch.evaluation.labelled_cells import LabelledCell, load_crops, read_labels, split_cells, told_cells
from mnbatch.imaging.preparation import Preparation


def csv_beside(folder: Path, text: str) -> Path:
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_folders_give_labelled_cells_in_a_stable_order(crop_folder):
    cells = read_labels(crop_folder)
    assert [cell.has_mn for cell in cells] == [True] * 8 + [False] * 8
    assert cells == read_labels(crop_folder)


def test_hidden_files_and_other_files_are_no_cells(crop_folder):
    (crop_folder / "mn" / ".hidden.png").write_bytes(b"x")
    (crop_folder / "mn" / "notes.txt").write_text("x")
    assert len(read_labels(crop_folder)) == 16


def test_files_of_a_folder_that_are_no_cells_are_told(crop_folder):
    some = (crop_folder / "mn" / "0.png").read_bytes()
    for name in ("mn/a.webp", "mn/thumbnail.png", "mn/more.zip", "nomn/b", "unsure/c.png", "d.png"):
        (crop_folder / name).parent.mkdir(exist_ok=True)
        (crop_folder / name).write_bytes(some)
    for name in ("mn/Thumbs.db", "mn/.hidden.png", "notes.txt", "nomn/table.csv"):
        (crop_folder / name).write_bytes(b"x")
    said: list[str] = []
    assert len(told_cells(crop_folder, said.append)) == 16
    (told,) = said
    assert "6 files of the folder are left out: d.png, mn/a.webp, mn/more.zip and 3 more" in told
    assert read_labelled_set(crop_folder).note in told


def test_csv_takes_labels_or_counts_with_slide_and_donor(crop_folder):
    rows = "file,label,mn_count,slide,donor\nmn/0.png,mn,,s1,d1\nmn/1.png,,2,s1,d1\nnomn/0.png,,0,s2,\n"
    cells = read_labels(csv_beside(crop_folder, rows))
    assert [(cell.has_mn, cell.group) for cell in cells] == [(True, "d1"), (True, "d1"), (False, "s2")]
    assert [cell.n_mn for cell in cells] == [None, 2, 0]
    named = csv_beside(crop_folder, "file,label,n_mn\nmn/0.png,1,3\nnomn/0.png,0,\n")
    assert [cell.n_mn for cell in read_labels(named)] == [3, 0]
    of_windows = csv_beside(crop_folder, "file,label\nmn\\0.png,mn\nnomn\\1.png,nomn\n")
    assert [cell.path for cell in read_labels(of_windows)] == [crop_folder / "mn/0.png", crop_folder / "nomn/1.png"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("file,label\nmn/0.png,mn\n", "no cell without micronuclei"),
        ("file,label\nmn/0.png,mn\nmissing.png,nomn\n", "line 3: there is no file"),
        ("file,label\nmn/0.png,perhaps\n", "'perhaps' is not a label"),
        ("file,mn_count\nmn/0.png,-1\n", "'-1' is not a label"),
        ("name,label\nmn/0.png,mn\n", "needs the columns"),
        ("file,label,mn_count\nmn/0.png,mn,0\n", "line 2: the label mn and the count 0 contradict"),
        ("file,label,mn_count\nmn/0.png,nomn,2\n", "contradict"),
        ("file,label,n_mn\nmn/0.png,mn,many\n", "'many' is not a label"),
    ],
)
def test_csv_that_cannot_give_a_model_is_refused(crop_folder, rows, words):
    with pytest.raises(TrainingError, match=words):
        read_labels(csv_beside(crop_folder, rows))


def test_a_class_without_images_is_refused(crop_folder):
    for file in (crop_folder / "nomn").iterdir():
        file.unlink()
    with pytest.raises(TrainingError, match="no cell without micronuclei"):
        read_labels(crop_folder)


def test_nothing_at_the_path_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="nothing at"):
        read_labels(tmp_path / "absent")


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="no folder mn"):
        read_labels(tmp_path)


def test_split_never_divides_a_donor_and_repeats_for_a_seed():
    cells = [
        LabelledCell(Path(f"{donor}-{n}.png"), n % 2 == 0, slide=f"{donor}s{n % 2}", donor=f"d{donor}")
        for donor in range(10)
        for n in range(6)
    ]
    training, validation = split_cells(cells, 0.2, seed=5)
    assert not {cell.donor for cell in training} & {cell.donor for cell in validation}
    assert len(validation) == 12
    assert sorted(training + validation, key=str) == sorted(cells, key=str)
    assert (training, validation) == split_cells(cells, 0.2, seed=5)
    assert (training, validation) != split_cells(cells, 0.2, seed=6)


def test_split_of_a_single_slide_is_refused():
    cells = [LabelledCell(Path(f"{n}.png"), n % 2 == 0, slide="only") for n in range(10)]
    with pytest.raises(TrainingError, match=r"All 10 cells are of one person or slide \(only\)"):
        split_cells(cells, 0.2, seed=0)


def test_crops_are_prepared_as_in_a_run(crop_folder):
    pixels, labels = load_crops(read_labels(crop_folder), Preparation(size=64))
    assert pixels.shape == (16, 64, 64, 3)
    assert pixels.dtype == np.uint8
    assert labels.sum() == 8


def test_an_unreadable_image_is_refused_by_name(crop_folder):
    (crop_folder / "mn" / "3.png").write_bytes(b"%PDF-1.4 not an image")
    with pytest.raises(TrainingError, match=r"mn/3\.png cannot be used"):
        load_crops(read_labels(crop_folder), Preparation(size=64))


def test_a_file_of_several_images_is_no_training_cell(crop_folder):
    noise = np.random.default_rng(0).integers(0, 255, (2, 40, 40), dtype=np.uint8)
    pages = [Image.fromarray(page) for page in noise]
    pages[0].save(crop_folder / "mn" / "gallery.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(TrainingError, match="2 images in one file"):
        load_crops(read_labels(crop_folder), Preparation(size=64))

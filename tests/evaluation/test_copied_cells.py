"""Copies of a picture are one labelled cell; two labels of one picture are refused."""

import shutil

import pytest

from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import in_both, read_labels, told_cells


def test_files_named_as_copies_are_left_out_and_said(crop_folder):
    shutil.copy(crop_folder / "mn" / "0.png", crop_folder / "mn" / "Copy of 0.png")
    (crop_folder / "nomn" / "1_thumb.png").write_bytes((crop_folder / "mn" / "2.png").read_bytes()[:-1])
    said = []
    cells = told_cells(crop_folder, said.append)
    assert len(cells) == 16
    assert not any("opy" in cell.path.name or "thumb" in cell.path.name for cell in cells)
    assert said == [
        "warning: 2 of 18 labelled files are copies of others and were left out: Copy of 0.png, 1_thumb.png."
    ]


def test_one_content_under_two_names_is_one_cell(crop_folder):
    shutil.copy(crop_folder / "mn" / "0.png", crop_folder / "mn" / "z.png")
    said = []
    assert len(told_cells(crop_folder, said.append)) == 16
    assert "z.png" in said[0]


def test_one_picture_with_both_labels_is_refused(crop_folder):
    shutil.copy(crop_folder / "mn" / "0.png", crop_folder / "nomn" / "z.png")
    with pytest.raises(TrainingError, match="the same picture, once with and once without"):
        told_cells(crop_folder, lambda line: None)


def test_a_file_that_a_table_lists_twice_is_refused_with_its_lines(crop_folder):
    table = crop_folder / "labels.csv"
    table.write_text("file,label\nmn/0.png,mn\nmn/0.png,mn\nnomn/0.png,nomn\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"line 3: the file .*0\.png is already in line 2"):
        told_cells(table, print)


def test_validation_cells_that_are_trained_on_are_said(crop_folder):
    cells = read_labels(crop_folder)
    assert in_both(cells[:8], cells[8:]) == ""
    assert "1 of 9 validation cells are training cells, too" in in_both(cells[:8], cells[7:])

"""The same pixels in another file format are one cell; two labels of them are refused."""

import csv

import pytest
from PIL import Image

from mnbatch.errors import TrainingError
from mnbatch.evaluation.evaluation_page import render_page
from mnbatch.evaluation.evaluation_records import Request
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.evaluation_tables import metrics_csv


def run(labelled, models, **options):
    base = {"model": str(models["one"]), "data": labelled, "device": "cpu", "threads": 1, "bootstrap": 20}
    return evaluate(Request(**base | options))


def saved_again(labelled, label):
    """Cell 00, which has a micronucleus, as TIFF and as another PNG, listed at the end."""
    crops = labelled.parent / "crops"
    with Image.open(crops / "00.png") as picture:
        picture.save(crops / "again.tif")
        picture.save(crops / "again.png", compress_level=1)
    assert (crops / "again.png").read_bytes() != (crops / "00.png").read_bytes()
    with labelled.open("a", newline="") as stream:
        for name, word in (("again.tif", "mn"), ("again.png", label)):
            csv.writer(stream).writerow([f"crops/{name}", word, "S9", "D9", "line0"])


def test_the_same_pixels_are_counted_once_and_said(labelled, model_directories):
    once = metrics_csv(run(labelled, model_directories))
    saved_again(labelled, "mn")
    found = run(labelled, model_directories, against=str(model_directories["two"]))
    assert metrics_csv(run(labelled, model_directories)) == once
    assert found.comparison.measured.cells == 24
    why = "it shows the same pixels as crops/00.png, which is counted"
    assert found.not_scored == [("crops/again.tif", why), ("crops/again.png", why)]
    assert found.scored_against.reasons[24:] == (why, why)
    word = "2 of 26 cells show the same pixels as another file and are counted once: crops/again.tif, crops/again.png."
    assert word in found.warnings
    assert word in render_page(found).decode()
    assert not any("could not be scored" in warning for warning in found.warnings)


def test_two_labels_of_the_same_pixels_are_refused(labelled, model_directories):
    saved_again(labelled, "nomn")
    with pytest.raises(TrainingError, match=r"00.png and .*again.png") as caught:
        run(labelled, model_directories)
    assert "once with and once without micronuclei" in caught.value.message
    assert caught.value.next_step

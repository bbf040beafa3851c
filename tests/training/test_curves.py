"""The course of a training as a table and a figure."""

import csv
import io
import xml.etree.ElementTree as ET

from mnbatch.training.training_curves import history_files
from mnbatch.training.training_state import Epoch

HISTORY = tuple(
    Epoch(n, 0.3 / n, {"labelled": 0.8 + 0.02 * n, "composite": 0.7 + (0.04 if n == 2 else 0.02) * n}, 61.25)
    for n in (1, 2, 3)
)
SVG = "{http://www.w3.org/2000/svg}"


def test_the_table_has_a_row_an_epoch():
    files = history_files(HISTORY, HISTORY[1], 10, "mine")
    rows = list(csv.DictReader(io.StringIO(files["history.csv"].decode())))
    assert list(rows[0]) == ["epoch", "loss", "auc_labelled", "auc_composite", "auc_mean", "seconds"]
    assert rows[1] == {
        "epoch": "2",
        "loss": "0.15",
        "auc_labelled": "0.84",
        "auc_composite": "0.78",
        "auc_mean": "0.81",
        "seconds": "61.2",
    }
    assert len(rows) == 3


def test_the_figure_names_its_sets_and_the_kept_epoch_and_is_the_same_twice():
    first, second = (history_files(HISTORY, HISTORY[1], 10, "mine")["curves.svg"] for _ in range(2))
    assert first == second
    words = {node.text for node in ET.fromstring(first).iter(f"{SVG}text")}
    wanted = {
        "mine: 3 of 10 epochs",
        "labelled",
        "composite",
        "mean",
        "kept: epoch 2",
        "training loss",
        "validation AUC",
    }
    assert wanted <= words


def test_one_epoch_of_one_set_is_drawn_too():
    only = Epoch(1, 0.3, {"labelled": 0.8}, 5.0)
    words = history_files((only,), only, 1, "m")["curves.svg"].decode()
    assert "labelled" in words
    assert ">mean<" not in words

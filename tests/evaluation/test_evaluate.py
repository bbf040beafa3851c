"""From labels and a model directory to tables and a page."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from mnbatch.cli.evaluate import evaluate as command
from mnbatch.errors import ModelError, TrainingError, UsageError
from mnbatch.evaluation.evaluation_page import render_page
from mnbatch.evaluation.evaluation_records import Request
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.evaluation_tables import metrics_csv, metrics_json, scores_csv
from mnbatch.evaluation.labelled_cells import read_labels
from tests.browsers import accessibility_faults, axe_source, chromium


def run(labelled, models, **options):
    base = {"model": str(models["one"]), "data": labelled, "device": "cpu", "threads": 1, "bootstrap": 50}
    return evaluate(Request(**base | options))


def table(content):
    return list(csv.DictReader(content.decode("utf-8-sig").splitlines()))


def test_command_writes_tables_and_page_and_says_one_line(labelled, model_directories, tmp_path):
    app = typer.Typer()
    app.command()(command)
    out = tmp_path / "out"
    options = ["--out", out, "--group-by", "cell_line", "--prevalence", "0.065", "--against", model_directories["two"]]
    options += ["--masks", labelled.parent / "masks", "--device", "cpu", "--threads", 1, "--bootstrap", 50]
    done = CliRunner().invoke(app, [str(part) for part in (model_directories["one"], labelled, *options)])
    assert done.exit_code == 0, done.output
    line = done.stdout.strip().splitlines()
    assert len(line) == 1
    assert line[0].startswith("random-one: 24 cells, 12 with MN, 0 not scored; AUC ")
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "metrics.csv", "metrics.json", "scores.csv"]
    rows = table((out / "metrics.csv").read_bytes())
    assert {row["group"] for row in rows} == {"all", "line0", "line1", "line2"}
    assert {row["prevalence"] for row in rows} == {"", "0.065"}
    content = json.loads((out / "metrics.json").read_text())
    assert content["overall"]["cells"] == 24
    assert content["against"]["mcnemar"]["p_value"] <= 1
    assert len(content["pointing"]) == 7
    assert "Do the maps point at micronuclei?" in (out / "index.html").read_text()


def test_scores_are_those_of_a_run_on_the_same_files(labelled, model_directories):
    from mnbatch.imaging.preparation import prepare_crop
    from mnbatch.inference.classifier import Classifier
    from mnbatch.inference.model_directory import load_model

    found = run(labelled, model_directories)
    model = load_model(model_directories["one"])
    pixels = [prepare_crop(np.asarray(Image.open(c.path)), model.card.preparation) for c in read_labels(labelled)]
    with Classifier(model, "cpu", threads=1) as classifier:
        expected = classifier.score(np.stack(pixels))
    assert np.array_equal(found.scored.scores, expected.p_mn)
    assert np.array_equal(found.scored.maps, expected.maps)
    rows = table(scores_csv(found))
    assert [float(row["p_mn"]) for row in rows] == expected.p_mn.tolist()


def test_folders_are_evaluated_too_and_cannot_be_grouped(labelled, model_directories, tmp_path):
    for cell in read_labels(labelled):
        folder = tmp_path / "sorted" / ("mn" if cell.has_mn else "nomn")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(cell.path, folder)
    found = run(tmp_path / "sorted", model_directories)
    assert found.overall["auc"].method == "bootstrap over cells, stratified by class"
    assert found.overall["auc"].value == pytest.approx(run(labelled, model_directories).overall["auc"].value)
    with pytest.raises(UsageError, match="no such column"):
        run(tmp_path / "sorted", model_directories, group_by="slide")


def test_donors_are_the_clusters_and_groups_add_up(labelled, model_directories):
    found = run(labelled, model_directories, group_by="slide")
    assert found.overall["auc"].method == "bootstrap over 2 clusters (donor)"
    assert any("only 2 clusters" in warning for warning in found.warnings)
    assert [group.name for group in found.groups] == ["S0", "S1", "S2", "S3"]
    assert sum(group.measured.cells for group in found.groups) == 24
    assert sum(group.measured.confusion.true_positive for group in found.groups) == (
        found.overall.confusion.true_positive
    )


def test_unreadable_cells_are_listed_and_counted(labelled, model_directories):
    (labelled.parent / "crops" / "03.png").write_bytes(b"not an image")
    pages = [Image.fromarray(np.zeros((20, 20), np.uint8))] * 2
    pages[0].save(labelled.parent / "crops" / "05.png", format="TIFF", save_all=True, append_images=pages[1:])
    found = run(labelled, model_directories, against=str(model_directories["two"]))
    assert found.overall.cells == 22
    assert [file for file, _ in found.not_scored] == ["crops/03.png", "crops/05.png"]
    assert found.not_scored[1][1].startswith("2 images in one file: ")
    assert any("2 of 24 cells could not be scored" in warning for warning in found.warnings)
    row = table(scores_csv(found))[3]
    assert (row["p_mn"], row["called_mn"]) == ("", "")
    assert row["reason"]
    assert row["reason_against"]
    page = render_page(found).decode()
    assert "crops/03.png" in page
    assert "2 of 24 labelled cells" in page


def test_a_model_for_another_stain_scores_nothing_unless_forced(labelled, model_directories):
    with pytest.raises(TrainingError, match="is not for this stain"):
        run(labelled, model_directories, model=str(model_directories["giemsa"]))
    forced = run(labelled, model_directories, model=str(model_directories["giemsa"]), stain="giemsa")
    assert forced.overall.cells == 24


def test_the_same_model_against_itself_does_not_differ(labelled, model_directories):
    found = run(labelled, model_directories, against=str(model_directories["one"]))
    assert found.comparison.delong.p_value == 1
    assert found.comparison.mcnemar.p_value == 1


def test_same_seed_same_bytes(labelled, model_directories):
    first, second = (run(labelled, model_directories, masks=labelled.parent / "masks") for _ in range(2))
    for made in (metrics_csv, metrics_json, scores_csv, render_page):
        assert made(first) == made(second)


def test_pointing_is_played_on_cells_with_masks_only(labelled, model_directories):
    (labelled.parent / "masks" / "crops" / "00.tif").unlink()
    found = run(labelled, model_directories, masks=labelled.parent / "masks")
    assert {game.cells for game in found.pointing} == {11}
    assert [game.name for game in found.pointing] == [
        "attention5", "attention6", "evidence", "evidence_drawn", "grad_cam", "random", "reachable",
    ]  # fmt: skip
    assert any("1 of 12 cells with micronuclei have no mask" in warning for warning in found.warnings)
    shutil.rmtree(labelled.parent / "masks" / "crops")
    with pytest.raises(TrainingError, match="has a mask"):
        run(labelled, model_directories, masks=labelled.parent / "masks")


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda p: p.write_text("file,label\ncrops/01.png,nomn\n"), TrainingError, "no cell with micronuclei"),
        (lambda p: p.write_text("file,label\ncrops/gone.png,mn\n"), TrainingError, "there is no file"),
        (lambda p: p.write_text("file,label\n"), TrainingError, "no cell with micronuclei"),
        (lambda p: p.write_bytes("file,label\nnä.png,mn\n".encode("latin-1")), TrainingError, "UTF-8"),
        (lambda p: p.unlink(), TrainingError, "nothing at"),
    ],
)
def test_bad_labels_end_with_a_clear_error(labelled, model_directories, spoil, error, words):
    spoil(labelled)
    with pytest.raises(error, match=words) as caught:
        run(labelled, model_directories)
    assert caught.value.exit_code == 2
    assert caught.value.next_step


def test_an_empty_folder_and_a_missing_model_are_errors(labelled, model_directories, tmp_path):
    (tmp_path / "empty" / "mn").mkdir(parents=True)
    (tmp_path / "empty" / "nomn").mkdir()
    with pytest.raises(TrainingError, match="0 cells in all"):
        run(tmp_path / "empty", model_directories)
    with pytest.raises(ModelError, match="no model") as caught:
        run(labelled, model_directories, model=str(tmp_path / "absent"))
    assert caught.value.exit_code == 12


def test_options_out_of_range_are_refused(labelled, model_directories):
    for options in ({"prevalence": 0.0}, {"prevalence": 6.5}, {"prevalence": float("nan")}, {"bootstrap": -1}):
        with pytest.raises(UsageError):
            run(labelled, model_directories, **options)


def test_hostile_names_are_text_on_the_page_and_in_tables(labelled, model_directories):
    rows = list(csv.reader(labelled.open()))
    rows[0][4] = "<script>alert(1)</script>"
    for row in rows[1:]:
        row[4] = '=cmd|"<img src=x onerror=alert(2)>'
    target = labelled.parent / "crops" / "=<b>&.png"
    target.write_bytes(b"broken")
    rows[2][0] = "crops/=<b>&.png"
    with labelled.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    found = run(labelled, model_directories, group_by=rows[0][4])
    page = render_page(found).decode()
    for raw in ("<script", "<img", "<b>"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;&amp;.png" in page
    assert "'=cmd" in metrics_csv(found).decode()


def test_page_loads_and_runs_nothing(labelled, model_directories):
    page = render_page(run(labelled, model_directories)).decode()
    assert "default-src 'none'" in page
    assert not re.search(r"<script|\son\w+=|\sstyle=|https?://", page)
    assert page.count("<svg") == 3


@pytest.mark.browser
def test_accessibility_of_the_page(labelled, model_directories, tmp_path):
    options = {"group_by": "cell_line", "against": str(model_directories["two"])}
    (tmp_path / "index.html").write_bytes(render_page(run(labelled, model_directories, **options)))
    source = axe_source()
    with chromium() as browser:
        assert accessibility_faults(browser, (tmp_path / "index.html").as_uri(), source) == []

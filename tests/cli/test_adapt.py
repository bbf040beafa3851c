"""`mnbatch adapt` from the outside: what it refuses, and with which exit code."""

import functools
import sys

import pytest

from mnbatch.cli import main
from mnbatch.results.records import ModelStamp
from tests.review.conftest import commit_slide, decide, out, queue, score_record, tools, write_review  # noqa: F401


@pytest.fixture
def mnbatch(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mnbatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code or 0, said.out, said.err

    return run


def _always(word, cell_id):
    return word


def truth(cell_id):
    return "mn" if int(cell_id[-8:-4]) < 6 else "not_mn"


def review(mnbatch, out, queue, tmp_path):  # noqa: F811
    assert mnbatch("review", "import", out.paths.root, write_review(tmp_path / "r.csv", decide(queue, truth)))[0] == 0


def test_without_a_review_there_is_nothing_to_learn_from(mnbatch, out, tmp_path):  # noqa: F811
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own")
    assert code == 4
    assert "has no decision that can be exported" in said


def test_a_review_of_one_class_and_one_that_reviewers_disagree_on_are_named(mnbatch, out, queue, tmp_path):  # noqa: F811
    root = out.paths.root
    for who, word in {"Ada": "not_mn", "Bo": "mn"}.items():
        path = write_review(tmp_path / f"{who}.csv", decide(queue, functools.partial(_always, word), reviewer=who))
        assert mnbatch("review", "import", root, path)[0] == 0
        if who == "Ada":
            code, _, said = mnbatch("adapt", root, "--out", tmp_path / "own")
            assert (code, "mnbatch-adapt-" in said) == (2, False), said
            assert f"The review of {root} has no cell with micronuclei ({queue.drawn} cells in all)" in said
    code, _, said = mnbatch("adapt", root, "--out", tmp_path / "own")
    assert code == 4
    assert f"Left out: {queue.drawn} decided differently by reviewers." in said
    assert "have a third person decide" in said
    assert not (tmp_path / "own").exists()


def test_a_model_that_did_not_score_these_cells_is_refused(mnbatch, out, queue, tmp_path):  # noqa: F811
    review(mnbatch, out, queue, tmp_path)
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own", "--model", "attention-alexnet")
    assert code == 5
    assert "were scored by m 1 (abababababab)" in said
    assert "Give the model that scored with --model" in said
    assert not (tmp_path / "own").exists()


def test_slides_of_two_models_are_refused(mnbatch, out, queue, tmp_path):  # noqa: F811
    review(mnbatch, out, queue, tmp_path)
    from mnbatch.review.review_import import queues_of

    record = out.record("s2").model_copy(
        update={"model": ModelStamp(name="n", version="2", digest="cd" * 32, architecture="attention-alexnet")}
    )
    out.put_record(record)
    other = queues_of(out, {"s2": None})["s2"]
    write_review(tmp_path / "b.csv", decide(other, lambda _: "not_mn"))
    assert mnbatch("review", "import", out.paths.root, tmp_path / "b.csv")[0] == 0
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own")
    assert code == 5
    assert "m 1 (abababababab), n 2 (cdcdcdcdcdcd)" in said


def test_a_stain_that_nobody_reviewed_leaves_nothing(mnbatch, out, queue, tmp_path):  # noqa: F811
    review(mnbatch, out, queue, tmp_path)
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own", "--stain", "giemsa")
    assert code == 4
    assert "has no decision" in said


def test_the_set_says_with_which_chance_a_cell_was_drawn(mnbatch, out, queue, tmp_path):  # noqa: F811
    import csv

    review(mnbatch, out, queue, tmp_path)
    assert mnbatch("review", "export", out.paths.root, tmp_path / "labels")[0] == 0
    with (tmp_path / "labels" / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    chances = {row["stratum"]: row["inclusion_probability"] for row in found}
    assert set(chances) == {"called", "band", "rest"}
    assert (chances["called"], chances["band"]) == ("1.0", "1.0")
    assert 0 < float(chances["rest"]) < 1
    assert set(found[0]) == {
        *("file", "label", "mn_count", "slide", "donor", "cell_id", "p_mn", "reviewers"),
        *("stratum", "inclusion_probability"),
    }

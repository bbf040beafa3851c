"""`mnbatch adapt` from the outside: what it refuses, and with which exit code."""

import functools
import signal
import sys
import tempfile
from dataclasses import fields
from types import SimpleNamespace

import pytest

from mnbatch.cli import main
from mnbatch.evaluation.paired_tests import DeLong
from mnbatch.results.records import ModelStamp
from mnbatch.review.review_import import queues_of
from mnbatch.training.adaptation import Adapted, Figures
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
    assert "The slides that were reviewed are of the stain fluorescence: give that." in said


@pytest.mark.parametrize("word", ["Fluorescence", "unknown", ""])
def test_a_stain_that_is_none_is_refused_with_those_that_are(mnbatch, out, queue, tmp_path, word):  # noqa: F811
    review(mnbatch, out, queue, tmp_path)
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own", "--stain", word)
    assert code == 2
    assert f"--stain '{word}' is no stain that is known" in said
    assert "Give fluorescence or giemsa, or leave --stain out" in said
    assert ("Did you mean fluorescence?" in said) == (word == "Fluorescence")


@pytest.mark.parametrize(
    ("option", "word", "said"), [("--device", "foo", "Unknown device 'foo'"), ("--name", "My Lab", "--name my-lab")]
)
def test_what_no_adaptation_could_end_with_is_refused_at_the_start(mnbatch, out, tmp_path, option, word, said):  # noqa: F811
    code, _, told = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own", option, word)
    assert code == 2  # not 4: nothing is reviewed here
    assert said in told


def alter(out, slide_id="s1"):  # noqa: F811
    """A decision is changed in the trail by hand."""
    trail = out.paths.annotations / "reviews" / f"{slide_id}.jsonl"
    text = trail.read_text()
    trail.write_text(text.replace('"decision":"mn"', '"decision":"not_mn"', 1).replace('"mn"', '"not_mn"', 1))
    assert trail.read_text() != text


def test_trails_that_were_altered_are_named_where_nothing_else_is_left(mnbatch, out, queue, tmp_path):  # noqa: F811
    review(mnbatch, out, queue, tmp_path)
    alter(out)
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own")
    assert code == 4
    assert said.startswith("not counted: s1: its trail was changed by hand")
    assert "The trails of 1 reviewed slide were changed by hand." in said
    assert "Restore them from a copy" in said
    assert "Review cells in the gallery" not in said


@pytest.mark.parametrize(("written", "expected"), [(True, 0), (False, 3)])
def test_an_altered_trail_is_named_first_and_the_exit_code_is_the_model_s(
    mnbatch,
    out,  # noqa: F811
    queue,  # noqa: F811
    tmp_path,
    monkeypatch,
    written,
    expected,
):
    review(mnbatch, out, queue, tmp_path)
    second = queues_of(out, {"s2": None})["s2"]
    write_review(tmp_path / "s2.csv", decide(second, truth))
    assert mnbatch("review", "import", out.paths.root, tmp_path / "s2.csv")[0] == 0
    alter(out)
    card = SimpleNamespace(name="own", version="1", threshold=0.5)

    def adapted(request, say):
        say("learning")
        figures, test = Figures(0.9, 0.8, 0.95, 0.7), DeLong(*[0.1] * len(fields(DeLong)))
        return Adapted(40, 20, 2, "slide", figures, figures, test, card if written else None)

    monkeypatch.setattr("mnbatch.training.adaptation.adapt", adapted)
    monkeypatch.setattr("mnbatch.app.scoring_model.model_that_scored", lambda *_: SimpleNamespace(card=card))
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own")
    assert code == expected
    assert said.startswith("not counted: s1: its trail was changed by hand")
    assert said.count("changed by hand") == 1
    assert said.index("not counted") < said.index("learning")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_an_adaptation_and_leaves_no_crop(
    mnbatch,
    out,  # noqa: F811
    tmp_path,
    monkeypatch,
    number,
    expected,
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    before = signal.getsignal(number)

    def stopped(out, folder, stain, reviewer):
        folder.mkdir()
        (folder / "crop.jpg").write_bytes(b"x")
        signal.raise_signal(number)
        raise AssertionError("it went on")

    monkeypatch.setattr("mnbatch.cli.adapt._exported", stopped)
    code, _, said = mnbatch("adapt", out.paths.root, "--out", tmp_path / "own")
    assert code == expected
    assert "Interrupted; the folds that are finished are kept." in said
    assert "Run the same command again to go on." in said
    assert list((tmp_path / "tmp").iterdir()) == []
    assert signal.getsignal(number) is before


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

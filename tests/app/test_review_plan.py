"""A plan that is changed: what was set stays, what changes is said, and what is refused changes nothing."""

from dataclasses import replace

import pytest

from mnbatch.app import learning_plan
from mnbatch.app.learning_plan import LearningRequest
from mnbatch.app.review_service import review_plan
from mnbatch.errors import MismatchError, NoInputError, UsageError
from mnbatch.review.queue import OUTSIDE, load_plan, save_plan
from mnbatch.review.review_import import queues_of, save_decisions
from tests.in_process import mnbatch

# Numbers of a confirmation.


def plan(out, **changes):
    return review_plan(out.paths.root, changes)


def test_what_was_set_for_a_confirmation_stays_when_something_else_changes(out):
    plan(out, mode="confirm", double=0.1, negatives=30)
    for changes in ({"seed": 3}, {"mode": "confirm"}, {"seed": 4, "mode": "confirm"}):
        done = plan(out, **changes)
        assert (done.plan.negatives, done.plan.double, sum(done.plan.quotas.values())) == (30, 0.1, 31)
        assert "\n".join(done.notes).count("->") == ("seed" in changes)
    done = plan(out, double=0.3)
    assert (done.plan.negatives, done.plan.double) == (30, 0.3)
    assert "double: 0.1 -> 0.3" in done.notes
    done = plan(out, negatives=40)
    assert (done.plan.negatives, done.plan.double) == (40, 0.3)
    assert "negatives: 30 -> 40" in done.notes
    assert any("fewer than proposed" in note for note in done.notes), "what is kept is still compared"


def test_what_was_proposed_stays_too(out):
    first = plan(out, mode="confirm").plan
    second = plan(out, seed=9).plan
    assert (first.negatives, first.quotas, first.double) == (second.negatives, second.quotas, second.double)


def test_quotas_of_a_plan_stay_although_donors_have_two_numbers(out):
    plan(out, mode="confirm", negatives=30)
    laid = replace(load_plan(out.paths), quotas={"s1": 5, "s2": 7})
    save_plan(out.paths, laid)
    assert plan(out, seed=2).plan.quotas == {"s1": 5, "s2": 7}
    save_plan(out.paths, replace(laid, quotas={"s1": 5}))
    assert plan(out, seed=2).plan.quotas.keys() == {"s1", "s2"}, "a slide that is new has its share"


def test_a_share_to_be_read_twice_is_kept_from_mode_to_mode_or_said(out):
    plan(out, double=0.2)
    done = plan(out, mode="confirm", negatives=10)
    assert (done.plan.double, done.plan.negatives) == (0.2, 10)
    assert {"mode: complete -> confirm", "negatives: 100 -> 10"} <= set(done.notes)
    back = plan(out, mode="complete")
    assert (back.plan.double, back.plan.quotas) == (0.0, {})
    assert {"double: 0.2 -> 0", "mode: confirm -> complete"} <= set(back.notes)
    anew = plan(out, mode="confirm")
    assert anew.plan.negatives > 10, "it is proposed anew"
    assert f"negatives: 10 -> {anew.plan.negatives:g}" in anew.notes
    assert any(note.startswith("double: 0 -> ") for note in anew.notes)


@pytest.mark.parametrize(
    ("mode", "options", "other"),
    [
        ("complete", ["--negatives", 50], "confirm"),
        ("confirm", ["--band", 0.2], "complete"),
        ("confirm", ["--sample", 0.2], "complete"),
        ("confirm", ["--least-band", 3], "complete"),
        ("confirm", ["--least-sample", 3], "complete"),
    ],
)
def test_an_option_of_the_other_mode_is_refused(out, mode, options, other):
    root = out.paths.root
    plan(out, mode=mode)
    before = load_plan(out.paths)
    for more in ([], ["--mode", mode], ["--seed", 5]):
        done = mnbatch("review", "plan", root, *options, *more)
        assert done.returncode == 2
        assert f"{options[0]}: only with --mode {other}, and the mode of this plan is {mode}" in done.stderr
        assert load_plan(out.paths) == before
    done = mnbatch("review", "plan", root, *options, "--mode", other)
    assert done.returncode == 0, done.stderr
    assert f"mode: {mode} -> {other}" in done.stdout


def test_options_of_learn_are_nothing_without_it(out):
    for option in ("--model", "--stain"):
        done = mnbatch("review", "plan", out.paths.root, option, "giemsa")
        assert (done.returncode, f"{option}: only with --learn N" in done.stderr) == (2, True)


def test_the_help_names_no_option_that_is_none(out):
    said = " ".join(mnbatch("review", "plan", "--help").stdout.replace("│", " ").split())
    assert "mnbatch report --validation" in said
    assert "or --validation" not in said


# Cells for a training.


@pytest.fixture
def picked(monkeypatch):
    """The first free cells, without a network; what was looked at."""
    looked = []

    def first(pictures, candidates, base, number):
        looked.append(candidates)
        return [place for place, cell in enumerate(candidates) if not cell.taken][:number]

    monkeypatch.setattr(learning_plan, "_chosen", first)
    monkeypatch.setattr(learning_plan, "model_that_scored", lambda *_: None)
    return looked


def learn(out, number, **changes):
    return review_plan(out.paths.root, changes, LearningRequest(number))


def decide(out, tools, slide_id="s1"):
    save_decisions(out, tools.decide(queues_of(out, {slide_id: None})[slide_id], lambda _: "not_mn"), "test")


def test_a_plan_that_is_refused_halfway_is_not_changed(out):
    before = out.paths.review_plan.read_bytes()
    with pytest.raises(MismatchError):
        learn(out, 5, least_sample=20)  # OUT knows no model
    assert out.paths.review_plan.read_bytes() == before
    done = mnbatch("review", "plan", out.paths.root, "--least-sample", 20, "--learn", 5, "--model", "/nonexistent")
    assert done.returncode == 12
    assert out.paths.review_plan.read_bytes() == before
    with pytest.raises(UsageError):
        learn(out, 5, sample=0.0)


def test_cells_are_added_and_none_is_given_again(out, picked, tools):
    first = learn(out, 6)
    assert (len(first.plan.learn), first.learning.new, first.learning.waiting) == (6, 6, 0)
    second = learn(out, 4)
    assert set(second.plan.learn) > set(first.plan.learn)
    assert (second.learning.new, second.learning.waiting) == (4, 6)
    assert "learn: 6 -> 10" in second.notes
    for slide_id in ("s1", "s2"):
        decide(out, tools, slide_id)
    learn(out, 0)
    third = learn(out, 5)
    assert not set(third.plan.learn) & set(second.plan.learn), "they are decided"
    assert (third.learning.new, third.learning.waiting) == (5, 0)


def test_cells_are_chosen_outside_of_the_plan_that_is_laid_down_with_them(out, picked):
    done = learn(out, 200, sample=0.9)
    assert done.plan.sample == 0.9
    places = [p for queue in queues_of(out, {"s1": None, "s2": None}).values() for p in queue.places]
    assert done.learning.new == sum(p.stratum == OUTSIDE for p in places) < 200
    assert all(p.rank is not None for p in places)


def test_no_cell_left_is_said_and_changes_nothing(out, picked):
    said = mnbatch("review", "plan", out.paths.root, "--learn", 999)
    assert said.returncode == 0, said.stderr
    assert "(999 were asked for: no more are left)" in said.stdout
    before = out.paths.review_plan.read_bytes()
    none = mnbatch("review", "plan", out.paths.root, "--learn", 3, "--seed", 1)
    assert none.returncode == 4
    assert "holds no further cell to choose" in none.stderr
    assert "that were chosen before wait for a decision" in none.stderr
    assert out.paths.review_plan.read_bytes() == before


def test_how_many_are_new_is_printed(out, picked, tools):
    learn(out, 3)
    said = mnbatch("review", "plan", out.paths.root, "--learn", 2).stdout
    assert "2 new cells for the training, chosen from 120 (chosen before and not decided: 3):" in said
    assert "learn         5" in said
    decide(out, tools)
    decide(out, tools, "s2")
    assert "not decided" not in mnbatch("review", "plan", out.paths.root, "--learn", 2).stdout


def test_few_cells_are_looked_at_and_none_that_is_free_is_forgotten(out, picked, monkeypatch):
    monkeypatch.setattr(learning_plan, "POOL", 6)
    learn(out, 3)
    (looked,) = picked
    assert len(looked) < 20
    assert learn(out, 200).learning.new > 20
    with pytest.raises(NoInputError):
        learn(out, 1)
    assert all(p.rank is not None for q in queues_of(out, {"s1": None, "s2": None}).values() for p in q.places)


def test_nearest_means_nearest_to_the_threshold_of_the_slide(out, picked, monkeypatch):
    monkeypatch.setattr(learning_plan, "POOL", 12)
    record = out.record("s2")
    out.put_record(record.model_copy(update={"call": record.call.model_copy(update={"threshold": 0.1, "key": "new"})}))
    learn(out, 1)
    (looked,) = picked
    near = looked[:12]
    assert {cell.slide_id for cell in near} == {"s2"}
    assert max(abs(cell.p_mn - 0.1) for cell in near) < 0.03
    assert {cell.threshold for cell in looked if cell.slide_id == "s1"} == {0.5}

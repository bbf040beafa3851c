"""Verdicts from the review of an OUT: who is decided, who is next, and what does not count."""

import json

import pytest

from mnbatch.app import deciding_service
from mnbatch.app.deciding_service import decide_out, limit_of, served_verdicts
from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.errors import UsageError
from mnbatch.results.dosing_settings import DoseSettings, Dosing, save_dosing
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from mnbatch.review import trail
from mnbatch.review.queue import STRATA, ReviewPlan, save_plan
from mnbatch.review.review_import import queues_of
from tests.dosimetry.dose_helpers import make_curve
from tests.in_process import mnbatch
from tests.review.conftest import commit_slide, decide, score_record


@pytest.fixture
def out(tmp_path):
    """Donor D1 with 40 of 100 cells called, and a queue that holds every cell."""
    store = Store(tmp_path / "out")
    commit_slide(store, "s1", [0.9] * 40 + [0.3 - i * 0.002 for i in range(60)])
    save_plan(store.paths, ReviewPlan(band=0.05, sample=1.0, least_band=3, least_sample=5))
    return store


def take(store, number, word="mn", skip=0, stratum="called"):
    """Decide cells of the queue, in its order."""
    queue = queues_of(store, {"s1": None})["s1"]
    said = [d for d in decide(queue, lambda _: word) if d.stratum == stratum][skip : skip + number]
    with trail.writing(store.paths):
        trail.append(store.paths, "s1", said, "test")
    return [d.cell_id for d in said]


def use_curve(store, mode, **change):
    curve = Curve(**{**{f: getattr(make_curve(endpoint="mnbn"), f) for f in Curve.__slots__}, **change})
    curve = Curve(curve.shape, "mnbn", curve.coefficients, curve.covariance, dose_range=(0, 5), scoring={"mode": mode})
    save_dosing(store.paths, Dosing(curve, DoseSettings("curve.json")))


def test_a_donor_is_decided_after_a_few_looks_and_before_that_is_told_which(out):
    (before,) = decide_out(out.paths.root, "40/1000")
    assert before.verdict.word == "open"
    assert before.expected
    assert 0 < before.expected < 40
    taken = take(out, 15)
    assert list(before.next_cells)[: len(taken)] == taken[:20]
    (after,) = decide_out(out.paths.root, "40/1000")
    assert after.text == "decided: above 40 per 1000 after 15 looks, error at most 1 %"
    assert (after.expected, after.next_cells) == (0, ())


def test_below_takes_cells_that_were_not_called_too(out):
    take(out, 40, "not_mn")
    (half,) = decide_out(out.paths.root, "200/1000")
    assert half.verdict.word == "open"
    assert half.next_cells
    take(out, 60, "not_mn", stratum="rest")
    (done,) = decide_out(out.paths.root, "200/1000")
    assert done.verdict.word == "below"


def test_decisions_after_an_undecided_cell_do_not_count(out):
    take(out, 15, skip=1)
    (found,) = decide_out(out.paths.root, "40/1000")
    assert (found.verdict.looks, found.skipped) == (0, 15)


def test_a_trail_that_was_changed_by_hand_decides_nothing(out):
    take(out, 15)
    path = out.paths.review_trail("s1")
    path.write_text(path.read_text(encoding="utf-8").replace('"mn"', '"not_mn"', 1), encoding="utf-8")
    (found,) = decide_out(out.paths.root, "40/1000")
    assert (found.verdict.word, found.verdict.looks) == ("open", 0)


def test_a_dose_is_read_off_a_curve_of_what_a_person_sees(out):
    with pytest.raises(UsageError, match="No calibration curve is in force"):
        decide_out(out.paths.root, "1.0")
    use_curve(out, "reviewed (mnbatch)")
    limit = limit_of(out, "1 Gy")
    assert limit.strata == ("called", "band", "rest")
    assert limit.threshold.low < 0.0721 < limit.threshold.high
    use_curve(out, "confirmed by eye")
    assert limit_of(out, "1 Gy").strata == STRATA
    use_curve(out, "confirmed (mnbatch)")
    assert limit_of(out, "1.0").strata == ("called",)
    take(out, 25)
    (found,) = decide_out(out.paths.root, "1.0")
    assert found.text == "decided: above 1 Gy after 25 looks, error at most 1 %"
    use_curve(out, "automated (mnbatch)")
    with pytest.raises(UsageError, match="automatic counts"):
        decide_out(out.paths.root, "1.0")


@pytest.mark.parametrize("text", ["", "high", "-1", "0", "5/5", "0/100", "1.0 Sv", "nan"])
def test_what_is_no_limit_is_refused(out, text):
    with pytest.raises(UsageError, match="--decide"):
        limit_of(out, text)


def test_donors_are_listed_in_the_order_in_which_looks_help(out, monkeypatch):
    for name, called, digest in (("s2", 10, 500), ("s3", 80, 900), ("s4", 30, 1300)):
        record = score_record(name).model_copy(update={"donor": name.upper()})
        monkeypatch.setattr("tests.review.conftest.score_record", lambda _, record=record: record)
        commit_slide(out, name, [0.9] * called + [0.3 - i * 0.002 for i in range(100 - called)], digest)
    take(out, 15)
    found = decide_out(out.paths.root, "50/1000")
    # Half of ten called cells are about 50 per 1000: its queue is not expected to decide that.
    assert [one.donor for one in found] == ["S3", "S4", "S2", "D1"]
    assert [one.expected is None for one in found] == [False, False, True, False]
    assert found[0].expected < found[1].expected
    said = served_verdicts(out, "50/1000").of_donor("D1")
    assert (said["verdict"], said["next_donor"]) == ("above", "S3")
    assert served_verdicts(out, "50/1000").of_donor("nobody") is None
    served, opened = served_verdicts(out, "50/1000"), []

    def counted(store):
        opened.append(store)
        return open_roster(store)

    monkeypatch.setattr(deciding_service, "open_roster", counted)
    assert served.of_donor("D1")["next_donor"] == "S3"
    assert len(opened) == 1, "the slides are listed once a question, however many donors there are"


def test_a_curve_of_a_model_that_states_no_mode_is_automatic(out):
    curve = make_curve(endpoint="mnbn")
    curve = Curve(
        curve.shape, "mnbn", curve.coefficients, curve.covariance, dose_range=(0, 5), scoring={"model_digest": "ab"}
    )
    save_dosing(out.paths, Dosing(curve, DoseSettings("curve.json")))
    with pytest.raises(UsageError, match="automatic counts"):
        limit_of(out, "1.0")


def test_the_command_says_it_in_lines_and_as_json(out):
    take(out, 15)
    done = mnbatch("review", "triage", out.paths.root, "--decide", "40/1000")
    assert "D1  decided: above 40 per 1000 after 15 looks, error at most 1 %" in done.stdout
    as_json = json.loads(mnbatch("review", "triage", out.paths.root, "--decide", "40/1000", "--json").stdout)
    assert (as_json[0]["verdict"], as_json[0]["looks"]) == ("above", 15)

"""Plans of the mode confirm: what they draw, and what decisions of another plan or mode become."""

from dataclasses import replace

import pytest

from mnbatch.errors import MismatchError, UsageError
from mnbatch.review.queue import ReviewPlan, draw_queue, load_plan, quotas, save_plan
from mnbatch.review.review_import import import_review, queues_of, save_decisions
from mnbatch.review.review_status import slide_review
from mnbatch.review.trail import Trail, read_trail
from tests.review.conftest import PLAN

CONFIRM = replace(PLAN, mode="confirm", negatives=20)


def truth(cell_id):
    return "mn" if int(cell_id[-8:-4]) < 4 else "not_mn"


@pytest.fixture
def confirming(out):
    save_plan(out.paths, CONFIRM)
    return queues_of(out, {"s1": None, "s2": None})


def state(out, slide_id="s1"):
    return slide_review(queues_of(out, {slide_id: None})[slide_id], read_trail(out.paths, slide_id))


def test_all_called_cells_and_random_negatives_with_their_probability(confirming):
    one, other = confirming["s1"], confirming["s2"]
    assert (one.sizes, one.drawn) == ({"called": 6, "band": 0, "rest": 54}, 26)
    assert (other.sizes, other.drawn) == ({"called": 0, "band": 0, "rest": 60}, 20)
    drawn = [p for p in one.places if p.stratum == "rest"]
    assert {p.inclusion_probability for p in drawn} == {20 / 54}
    assert {p.inclusion_probability for p in one.places if p.stratum == "called"} == {1.0}


def test_the_slides_of_a_donor_share_the_number(out, confirming):
    shares = quotas(20, {"s1": 54, "s2": 60})
    assert shares == {"s1": 10, "s2": 11}
    assert quotas(500, {"s1": 54, "s2": 60}) == {"s1": 54, "s2": 60}
    assert quotas(20, {"s1": 0}) == {"s1": 0}
    save_plan(out.paths, replace(CONFIRM, quotas=shares))
    assert load_plan(out.paths).quotas == shares
    assert [q.drawn for q in queues_of(out, {"s1": None, "s2": None}).values()] == [16, 11]


def test_a_larger_number_holds_the_smaller_one(tools, out):
    record = out.record("s1")
    from mnbatch.results.roster import open_roster

    cells = open_roster(out).call(record)[0].cells
    small, large = (draw_queue(record, cells, replace(CONFIRM, negatives=n)) for n in (10, 30))
    drawn = [{p.cell_id for p in q.places if p.stratum == "rest"} for q in (small, large)]
    assert drawn[0] < drawn[1]


def test_without_negatives_the_called_cells_are_all(out, tools):
    save_plan(out.paths, replace(CONFIRM, negatives=0))
    queue = queues_of(out, {"s1": None})["s1"]
    review = slide_review(queue, Trail(tuple(tools.decide(queue, truth))))
    assert (queue.drawn, review.status, review.number) == (6, "complete", None)
    nothing = queues_of(out, {"s2": None})["s2"]
    assert (nothing.drawn, slide_review(nothing, Trail(())).status) == (0, "complete")


def test_a_complete_confirmation_has_counts_and_no_reviewed_number(confirming, tools):
    review = slide_review(confirming["s1"], Trail(tuple(tools.decide(confirming["s1"], truth))))
    assert (review.status, review.mode, review.number) == ("complete", "confirm", None)
    assert [(t.stratum, t.mn, t.looked) for t in review.tallies] == [("called", 4, 6), ("band", 0, 0), ("rest", 0, 20)]


def test_a_file_of_another_mode_is_refused_in_a_line(out, queue, tools, tmp_path):
    path = tools.write(tmp_path / "review.csv", tools.decide(queue, truth))
    save_plan(out.paths, CONFIRM)
    with pytest.raises(MismatchError, match="drawn by a plan of the mode complete, and the plan is confirm now"):
        import_review(out, path)
    assert not read_trail(out.paths, "s1").entries


def test_a_plan_changed_halfway_keeps_what_was_decided_and_says_so(out, queue, tools):
    save_decisions(out, tools.decide(queue, truth), "test")
    save_plan(out.paths, CONFIRM)
    review = state(out)
    assert review.status == "unfinished"
    assert "cells of the random sample not decided" in review.reason
    assert review.other_plan >= queue.sizes["band"]
    assert next(t for t in review.tallies if t.called).looked == 6
    save_plan(out.paths, PLAN)
    assert (state(out).status, state(out).other_plan) == ("complete", 0)


def test_a_threshold_that_changed_outdates_the_confirmation(out, confirming, tools):
    save_decisions(out, tools.decide(confirming["s1"], truth), "test")
    assert state(out).status == "complete"
    record = out.record("s1")
    out.put_record(record.model_copy(update={"call": record.call.model_copy(update={"threshold": 0.3, "key": "new"})}))
    review = state(out)
    assert (review.status, review.tallies, review.outdated) == ("outdated", (), 26)


def test_double_readings_are_counted_in_the_declared_sample(out, tools):
    save_plan(out.paths, replace(CONFIRM, negatives=54, double=0.5))
    queue = queues_of(out, {"s1": None})["s1"]
    declared = [p.cell_id for p in queue.places if p.double]
    assert 15 < len(declared) < 45
    ada = tools.decide(queue, truth)
    alone = slide_review(queue, Trail(tuple(ada)))
    assert (alone.status, alone.double_open, sum(t.twice for t in alone.tallies)) == ("complete", len(declared), 0)
    bo = tools.decide(queue, lambda cell: "mn" if cell == declared[0] else truth(cell), reviewer="Bo")
    review = slide_review(queue, Trail((*ada, *bo)))
    twice, differing = sum(t.twice for t in review.tallies), sum(t.differing for t in review.tallies)
    assert (review.double_open, twice) == (0, len(declared))
    assert differing == (truth(declared[0]) != "mn")
    assert len(review.disagreements) == differing
    third = [replace(d, look="adjudication") for d in tools.decide(queue, truth, reviewer="Cy")]
    settled = slide_review(queue, Trail((*ada, *bo, *third)))
    assert [(t.twice, t.differing) for t in settled.tallies] == [(t.twice, t.differing) for t in review.tallies]


def test_numbers_of_micronuclei_are_counted_as_typed(confirming, tools):
    ada = [replace(d, count=2 if d.decision == "mn" else None) for d in tools.decide(confirming["s1"], truth)]
    bo = [replace(d, reviewer="Bo", count=3 if d.decision == "mn" else None) for d in ada[:3]]
    called = next(t for t in slide_review(confirming["s1"], Trail(tuple(ada))).tallies if t.called)
    assert (called.typed, called.untyped, called.counts_differ) == ((0, 4), 0, 0)
    both = next(t for t in slide_review(confirming["s1"], Trail((*ada, *bo))).tallies if t.called)
    assert both.counts_differ == sum(d.decision == "mn" for d in bo)


@pytest.mark.parametrize("change", [{"double": 1.5}, {"negatives": -1}, {"quotas": {"s": -1}}])
def test_impossible_plans_are_refused(change):
    with pytest.raises(UsageError, match="cannot be drawn"):
        ReviewPlan(**change)

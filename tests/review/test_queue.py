"""The declared strata: who is in, with which probability, in which order."""

import pytest

from mnbatch.assay.calls import CalledCell
from mnbatch.errors import UsageError
from mnbatch.review.queue import OUTSIDE, ReviewPlan, draw_queue, load_plan, result_key, save_plan

PLAN = ReviewPlan(band=0.1, sample=0.2, least_band=2, least_sample=3)


def cells(number: int = 100, called: int = 4) -> list[CalledCell]:
    made = [CalledCell(f"s:{i}", f"{i}", None, 1 - i / number, i < called, (), "") for i in range(number)]
    return [*made, CalledCell("s:bad", "bad", None, None, None, (), "truncated")]


def test_strata_hold_every_counted_cell_once_and_no_excluded_one(tools):
    queue = draw_queue(tools.record("s"), cells(), PLAN)
    assert [place.cell_id for place in queue.places] == [f"s:{i}" for i in range(100)]
    assert queue.sizes == {"called": 4, "band": 10, "rest": 86}
    strata = [place.stratum for place in queue.places]
    assert [strata.count(name) for name in ("called", "band", "rest", OUTSIDE)] == [4, 10, 18, 68]
    assert strata[:14] == ["called"] * 4 + ["band"] * 10, "the band is the negatives nearest to the threshold"


def test_probabilities_are_those_of_the_drawing(tools):
    queue = draw_queue(tools.record("s"), cells(), PLAN)
    by_stratum = {place.stratum: place.inclusion_probability for place in queue.places}
    assert by_stratum == {"called": 1.0, "band": 1.0, "rest": 18 / 86, OUTSIDE: None}


def test_over_seeds_each_cell_is_drawn_as_often_as_declared(tools):
    drawn = dict.fromkeys((f"s:{i}" for i in range(14, 100)), 0)
    for seed in range(400):
        queue = draw_queue(tools.record("s"), cells(), ReviewPlan(0.1, 0.2, 2, 3, seed))
        for place in queue.places:
            drawn[place.cell_id] = drawn.get(place.cell_id, 0) + (place.stratum == "rest")
    shares = [number / 400 for cell_id, number in drawn.items() if int(cell_id[2:]) >= 14]
    assert 0.12 < min(shares) < max(shares) < 0.31  # 18 / 86 = 0.21, standard error 0.02
    assert sum(shares) / len(shares) == pytest.approx(18 / 86)


def test_the_queue_is_reproducible_and_a_larger_sample_holds_the_smaller(tools):
    small = draw_queue(tools.record("s"), cells(), PLAN)
    assert small == draw_queue(tools.record("s"), cells(), PLAN)
    large = draw_queue(tools.record("s"), cells(), ReviewPlan(0.1, 0.5, 2, 3))
    other = draw_queue(tools.record("s"), cells(), ReviewPlan(0.1, 0.2, 2, 3, seed=2))

    def rest(queue):
        return {place.cell_id for place in queue.places if place.stratum == "rest"}

    assert rest(small) < rest(large)
    assert rest(other) != rest(small)


def test_the_blind_order_does_not_tell_the_strata(tools):
    queue = draw_queue(tools.record("s"), cells(called=30), PLAN)
    blind = [place.stratum for place in sorted(queue.places, key=lambda p: p.blind_rank or 0) if place.rank is not None]
    assert blind[:30].count("called") < 29
    assert sorted(p.blind_rank for p in queue.places if p.blind_rank is not None) == list(range(queue.drawn))


def test_the_result_key_follows_scores_calls_and_rules(tools):
    record = tools.record("s")
    key = result_key(record, cells())
    assert key == result_key(record, cells())
    assert key != result_key(record, cells(called=5))
    assert key != result_key(record, cells()[1:])
    assert key != result_key(tools.record("s", key="other"), cells())


def test_a_slide_smaller_than_the_least_sample_is_looked_at_whole(tools):
    queue = draw_queue(tools.record("s"), cells(10, 1), ReviewPlan())
    assert queue.drawn == 10
    assert {place.inclusion_probability for place in queue.places} == {1.0}


def test_a_plan_is_kept_and_an_impossible_one_refused(out):
    save_plan(out.paths, ReviewPlan(seed=7))
    assert load_plan(out.paths).seed == 7
    with pytest.raises(UsageError, match="sample of 0"):
        ReviewPlan(sample=0)
    out.paths.review_plan.write_text('{"colour": "red"}')
    with pytest.raises(UsageError, match="not a review plan"):
        load_plan(out.paths)

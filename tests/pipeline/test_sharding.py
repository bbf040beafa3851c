"""Which slides go to which worker, and what becomes of those whose worker died."""

import pytest

from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.pipeline.planning import Plan
from mnbatch.pipeline.sharding import LARGEST, MOST_SLIDES, SMALLEST, Shards


@pytest.fixture
def plans(tmp_path):
    def make(*files, kind="crops"):
        slides = [
            Slide(f"s{n}", "A", "A", None, tmp_path, (SourceFile("f", 1, 1),) * count, "l", kind=kind)
            for n, count in enumerate(files)
        ]
        return [Plan(slide, "score", "new", None) for slide in slides]

    return make


def given(shards):
    out = []
    while shards.waiting:
        out.append(shards.give())
    return out


def names(shard):
    return [plan.slide.slide_id for plan in shard.plans]


def never(plan):
    return False


@pytest.mark.parametrize(
    ("files", "kind", "workers", "most"),
    [
        ([1000] * 100, "crops", 4, LARGEST),
        ([10] * 300, "crops", 2, SMALLEST),
        ([1] * 300, "crops", 8, MOST_SLIDES),
        ([30] * 12, "fields", 2, 3000),
        ([1] * 7, "wsi", 2, LARGEST),
        ([5], "crops", 50, SMALLEST),
    ],
)
def test_every_slide_is_in_one_shard_in_order(plans, files, kind, workers, most):
    all_plans = plans(*files, kind=kind)
    shards = given(Shards(all_plans, workers))
    assert [plan for shard in shards for plan in shard.plans] == all_plans
    weight = {"crops": 1, "fields": 100, "wsi": 20_000}[kind]
    assert max(sum(len(p.slide.files) for p in shard.plans) * weight for shard in shards) <= most + max(files) * weight
    if sum(files) * weight >= workers * SMALLEST * 6:
        assert len(shards) >= workers


@pytest.mark.parametrize(("files", "workers", "shards"), [([80] * 4, 2, 2), ([50] * 4, 4, 2), ([20] * 4, 2, 1)])
def test_a_small_batch_is_shared_where_each_worker_gets_enough(plans, files, workers, shards):
    assert len(given(Shards(plans(*files), workers))) == shards


def test_what_a_dead_worker_had_not_committed_goes_out_again_alone(plans):
    shards = Shards(plans(5, 5, 5), 1)
    (first,) = given(shards)
    assert shards.lost(first, lambda plan: plan.slide.slide_id == "s1") == []
    assert [names(shard) for shard in given(shards)] == [["s0"], ["s2"]]


def test_a_slide_that_kills_three_workers_is_left_and_its_neighbours_are_not(plans):
    shards = Shards(plans(5, 5, 5), 1)
    given_up, rounds = [], 0
    while shards.left:
        rounds += 1
        shard = shards.give()
        if "s1" in names(shard):
            given_up += shards.lost(shard, never)
        else:
            shards.done(shard)
    assert [plan.slide.slide_id for plan in given_up] == ["s1"]
    assert rounds == 1 + 4  # together; s0, s1, s2 alone; s1 once more


def test_a_worker_that_cannot_work_costs_no_slide_a_try(plans):
    shards = Shards(plans(5, 5), 1)
    for _ in range(10):
        shards.back(shards.give(), lambda plan: plan.slide.slide_id == "s0")
    assert [names(shard) for shard in given(shards)] == [["s1"]]
    assert shards.left == 1

"""What each part holds: five times the rare class, balance where the protocol says so, a test part as it came."""

from collections import Counter

import numpy as np
import pytest
import torch

from mnbatch.comparison.data_split import Cells, read_data
from mnbatch.comparison.protocols import COPIES, SCALES, UNCHANGED, Change, balanced, changed, draw_change, make_plan
from mnbatch.evaluation.people import people_of


@pytest.fixture
def rare() -> Cells:
    """As the paper's: 1000 cells, 6.5 % with micronuclei, no donors."""
    labels = np.arange(1000) < 65
    names = tuple(str(i) for i in range(1000))
    return Cells((), names, labels, names, people_of(()))


@pytest.mark.parametrize("protocol", ["tad", "tvad"])
@pytest.mark.parametrize("seed", [1, 2])
def test_test_part_is_never_augmented_doubled_cut_or_trained_on(rare, protocol, seed):
    plan = make_plan(rare, protocol, seed, limit=30)
    assert set(plan.test.changes) == {UNCHANGED}
    assert len(set(plan.test.places.tolist())) == len(plan.test.places) == 200
    assert plan.test.counts() == (13, 187)
    trained = set(plan.training.places.tolist()) | set(plan.validation.places.tolist())
    assert not trained & set(plan.test.places.tolist())


def test_training_part_has_five_times_the_mn_cells_and_as_many_without(rare):
    part = make_plan(rare, "tad", 1).training
    assert part.counts() == (195, 195)
    with_mn = part.places[part.labels]
    assert set(Counter(with_mn.tolist()).values()) == {5}
    kinds = Counter(change.kind for change, label in zip(part.changes, part.labels, strict=True) if label)
    assert kinds == dict.fromkeys(("none", *COPIES), 39)
    without = part.places[~part.labels]
    assert len(set(without.tolist())) == 195
    assert all(c == UNCHANGED for c, label in zip(part.changes, part.labels, strict=True) if not label)


def test_tad_leaves_validation_as_it_is_and_tvad_augments_it(rare):
    tad, tvad = (make_plan(rare, protocol, 1) for protocol in ("tad", "tvad"))
    assert tad.validation.counts() == (13, 187)
    assert set(tad.validation.changes) == {UNCHANGED}
    assert tvad.validation.counts() == (65, 65)
    assert set(tvad.validation.places.tolist()) <= set(tad.validation.places.tolist())


@pytest.mark.parametrize("limit", [None, 60])
def test_both_protocols_train_and_test_on_the_same_cells(rare, limit):
    tad, tvad = (make_plan(rare, protocol, 3, limit) for protocol in ("tad", "tvad"))
    assert np.array_equal(tad.test.places, tvad.test.places)
    assert np.array_equal(tad.training.places, tvad.training.places)
    assert tad.training.changes == tvad.training.changes


@pytest.mark.parametrize(("with_mn", "without"), [(90, 45), (40, 50), (400, 30)])
def test_where_mn_cells_are_common_both_classes_end_balanced(with_mn, without):
    labels = np.arange(with_mn + without) < with_mn
    part = balanced(np.arange(len(labels)), labels, np.random.default_rng(1))
    target = 5 * min(with_mn, without)
    assert part.counts() == (target, target)
    for label, number in ((True, with_mn), (False, without)):
        found = Counter(part.places[part.labels == label].tolist())
        assert len(found) == min(number, target)
        assert max(found.values()) - min(found.values()) <= 1


def test_no_donor_is_shared_between_parts(crops):
    data = read_data(crops)
    plan = make_plan(data, "tvad", 1)
    donors = [{data.cells[i].donor for i in part.places} for part in (plan.training, plan.validation, plan.test)]
    assert sum(map(len, donors)) == len(set.union(*donors)) == 10


def test_a_limit_cuts_training_and_validation_and_keeps_the_shares(rare):
    whole, plan = (make_plan(rare, "tad", 1, limit) for limit in (None, 60))
    assert plan.training.counts() == (30, 30)
    assert sum(plan.validation.counts()) == 20
    assert plan.validation.counts()[0] == round(20 * 13 / 200)
    assert np.array_equal(plan.test.places, whole.test.places)


def test_unchanged_cells_keep_every_bit():
    cells = torch.rand(3, 3, 32, 32)
    result = changed(cells, [UNCHANGED, Change("rotated", 1.0), UNCHANGED])
    assert torch.equal(result[[0, 2]], cells[[0, 2]])
    assert not torch.equal(result[1], cells[1])


@pytest.mark.parametrize(("kind", "axis"), [("flipped_horizontally", 3), ("flipped_vertically", 2)])
def test_flips_are_flips_of_the_rotated_image(kind, axis):
    cells = torch.rand(1, 3, 32, 32)
    rotated = changed(cells, [Change("rotated", 0.7)])
    assert torch.allclose(changed(cells, [Change(kind, 0.7)]), rotated.flip(axis), atol=1e-5)
    assert torch.allclose(changed(cells, [Change(kind, 0.0)]), cells.flip(axis), atol=1e-5)


def test_a_scale_above_1_makes_a_cell_larger():
    cells = torch.zeros(1, 1, 64, 64)
    cells[..., 24:40, 24:40] = 1
    larger = changed(cells, [Change("scaled", 0.0, 1.25)])
    assert larger.sum().item() == pytest.approx(256 * 1.25**2, rel=0.05)


def test_changes_are_drawn_within_their_ranges():
    rng = np.random.default_rng(1)
    drawn = [draw_change("scaled", rng) for _ in range(200)]
    assert min(c.scale for c in drawn) >= SCALES[0]
    assert max(c.scale for c in drawn) <= SCALES[1]
    assert {draw_change("rotated", rng).scale for _ in range(5)} == {1.0}

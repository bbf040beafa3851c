"""The loss has its closed form; a run learns, repeats for a seed, keeps the best epoch and stops on a broken loss."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mnbatch.errors import TrainingError
from mnbatch.evaluation.metrics import auc
from mnbatch.training import training_loop
from mnbatch.training.pool_feed import Pool, epoch_order, pool_trainer, score
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_loop import focal_loss, learning_rate
from mnbatch.training.training_run import to_input

CPU = torch.device("cpu")
SMALL = Recipe(epochs=3, cells_per_epoch=16, minibatch=8, learning_rate=2e-3, averaging=0.5, bf16=False)


class TinyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 9, stride=6), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.classifier = nn.Linear(96, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


def test_focal_loss_has_its_closed_form():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    labels = torch.tensor([0, 1])  # probabilities of the true class: 1/2 and 3/4
    wanted = (0.5**2 * math.log(2) + 0.25**2 * math.log(4 / 3)) / 2
    assert focal_loss(logits, labels, 2.0).item() == pytest.approx(wanted, rel=1e-6)


def test_focal_loss_with_gamma_0_is_cross_entropy():
    logits = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(20) % 2
    wanted = nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(focal_loss(logits, labels, 0.0), wanted)


def test_an_epoch_draws_both_classes_alike_and_pools_by_their_shares():
    labels = np.array([True] * 3 + [False] * 50)
    pools = [Pool("a", np.zeros((53, 1, 1, 1), np.uint8), labels, 0.75)]
    pools.append(Pool("b", np.zeros((53, 1, 1, 1), np.uint8), ~labels, 0.25))
    drawn = epoch_order(pools, 400, np.random.default_rng(0))
    assert len(drawn) == 400
    for index, wanted in ((0, 300), (1, 100)):
        mine = [bool(pools[p].labels[i]) for p, i in drawn if p == index]
        assert (len(mine), sum(mine)) == (wanted, wanted // 2)
    few = [i for p, i in drawn if p == 0 and i < 3]
    assert {few.count(i) for i in range(3)} == {50}


@pytest.mark.parametrize(("label", "word"), [(True, "without"), (False, "with")])
def test_a_pool_of_one_class_is_refused_by_its_name(label, word):
    pool = Pool("dressed", np.zeros((2, 1, 1, 1), np.uint8), np.full(2, label))
    with pytest.raises(TrainingError, match=f"None of the 2 dressed cells is {word} micronuclei.*--made-cells"):
        epoch_order([pool], 16, np.random.default_rng(0))
    none = Pool("labelled", np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, bool), 0.0)
    with pytest.raises(TrainingError, match="share above 0"):
        epoch_order([none], 16, np.random.default_rng(0))
    both = Pool("hard", np.zeros((2, 1, 1, 1), np.uint8), np.array([True, False]))
    assert len(epoch_order([none, both], 16, np.random.default_rng(0))) == 16


def test_a_run_is_the_same_for_a_seed_and_another_for_another(pool):
    def weights(seed: int) -> torch.Tensor:
        trained = pool_trainer(TinyNetwork(), [pool], [pool], SMALL, to_input, seed, CPU).run()
        return torch.cat([weight.flatten() for weight in trained.network.parameters()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_the_epoch_with_the_best_validation_auc_is_kept(pool):
    seen = []
    trainer = pool_trainer(TinyNetwork(), [pool], [pool], SMALL, to_input, 1, CPU, lambda e, t: seen.append((e, t)))
    trained = trainer.run()
    assert [epoch.number for epoch, _ in seen] == [1, 2, 3]
    assert trained.best.score == max(epoch.score for epoch in trained.history)
    kept = score(trained.network, pool.pixels, to_input, CPU)

    assert auc(kept, pool.labels) == pytest.approx(trained.best.score)


def test_training_lowers_the_loss_of_a_learnable_task(pool):
    recipe = SMALL.model_copy(update={"epochs": 12, "cells_per_epoch": 64})
    trained = pool_trainer(TinyNetwork(), [pool], [pool], recipe, to_input, 1, CPU).run()
    losses = [epoch.loss for epoch in trained.history]
    assert np.mean(losses[-3:]) < 0.9 * losses[0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_no_number_stops_the_run(pool):
    network = TinyNetwork()
    with torch.no_grad():
        network.classifier.bias[0] = float("nan")
    with pytest.raises(TrainingError, match="epoch 1: training has diverged"):
        pool_trainer(network, [pool], [pool], SMALL, to_input, 1, CPU).run()


def test_rates_follow_the_schedule():
    steps = SMALL.model_copy(update={"schedule": "steps", "epochs": 3})
    rates = [learning_rate(steps, step, 6) / steps.learning_rate for step in range(6)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = SMALL.model_copy(update={"schedule": "cosine"})
    assert learning_rate(cosine, 6, 6) == pytest.approx(0.02 * SMALL.learning_rate)
    assert learning_rate(cosine, 0, 6) < learning_rate(cosine, 1, 6), "the first epoch warms up"


def test_progress_is_told_of_every_minibatch_and_the_share_of_classes_is_kept(pool):
    told = []
    recipe = SMALL.model_copy(update={"epochs": 1})
    pool_trainer(TinyNetwork(), [pool], [], recipe, to_input, 1, CPU, None, lambda *row: told.append(row)).run()
    assert [(number, cells) for number, cells, _ in told] == [(1, 8), (1, 16)]
    order = epoch_order([pool], 40, np.random.default_rng(0), 0.25)
    assert sum(bool(pool.labels[i]) for _, i in order) == 10


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch, has):
    monkeypatch.setattr(training_loop, "has_bf16", lambda device: has)
    network, seen = TinyNetwork(), []
    network.register_forward_hook(lambda module, given, logits: seen.append(torch.is_autocast_enabled("cpu")))
    labels = np.array([True, False])
    cells = Pool("a", np.full((2, 224, 224, 1), 9, np.uint8), labels)
    recipe = SMALL.model_copy(update={"bf16": True, "epochs": 1, "cells_per_epoch": 2})
    pool_trainer(network, [cells], [], recipe, to_input, 1, CPU).run()
    assert seen == [has]

"""The paper's schedule, and a network that learns and keeps its best epoch."""

import numpy as np
import pytest
import torch

from mnbatch.comparison.data_split import read_data
from mnbatch.comparison.paper_training import VALIDATION, fit, minibatches, read_pixels, scores_of
from mnbatch.comparison.protocols import make_plan
from mnbatch.evaluation.metrics import auc
from mnbatch.networks import ARCHITECTURES
from mnbatch.training.recipe import PAPER
from mnbatch.training.training_loop import learning_rate

CPU = torch.device("cpu")


def test_the_rate_is_a_tenth_after_20_and_a_hundredth_after_40_of_60_epochs():
    rates = [learning_rate(PAPER, 7 * (epoch - 1), 7 * 60) for epoch in (1, 20, 21, 40, 41, 60)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_minibatches_cover_an_epoch_but_for_a_single_last_cell():
    assert [len(batch) for batch in minibatches(np.arange(17), 8)] == [8, 8]
    assert [len(batch) for batch in minibatches(np.arange(18), 8)] == [8, 8, 2]


def test_a_network_learns_and_its_best_epoch_is_kept(crops):
    data = read_data(crops)
    plan = make_plan(data, "tvad", 1)
    recipe = PAPER.model_copy(update={"epochs": 6, "minibatch": 8})
    pixels = read_pixels(data, [plan], recipe)
    torch.manual_seed(1)
    fitted = fit(ARCHITECTURES["tiny"](), pixels, plan.training, plan.validation, recipe, 1, CPU, lambda _: None)
    losses = [epoch.loss for epoch in fitted.epochs]
    assert losses[-1] < 0.9 * losses[0]
    aucs = [epoch.aucs[VALIDATION] for epoch in fitted.epochs]
    assert fitted.best == 1 + int(np.argmax(aucs))
    kept = scores_of(fitted.network, pixels, plan.validation, CPU)
    assert auc(kept, plan.validation.labels) == pytest.approx(max(aucs))

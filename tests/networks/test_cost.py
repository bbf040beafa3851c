"""Costs are those that are known of these networks, and those that the documentation prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.cost import cost_of, cost_table, count_flops, count_parameters

pytestmark = pytest.mark.usefixtures("one_thread")

# Published sizes with 1000 classes, less the 998 outputs that are not there.
KNOWN_MILLIONS = {
    "attention-alexnet": 2.77,
    "alex-light": 2.47,
    "alexnet": 57.0,
    "mobilenet": 3.21,
    "vgg16": 134.3,
    "googlenet": 5.60,
    "resnet18": 11.18,
    "resnet50": 23.51,
}
# Multiply-adds in units of 10^9, from the papers or torchvision's table; a multiply-add is two FLOP.
KNOWN_GIGA_MULTIPLY_ADDS = {
    "alexnet": 0.71,
    "mobilenet": 0.569,
    "vgg16": 15.47,
    "googlenet": 1.50,
    "resnet18": 1.81,
    "resnet50": 4.09,
}


@pytest.mark.parametrize("name", sorted(KNOWN_MILLIONS))
def test_parameters_are_the_known_number(name: str) -> None:
    with torch.device("meta"):
        network = ARCHITECTURES[name]()
    assert count_parameters(network) / 1e6 == pytest.approx(KNOWN_MILLIONS[name], rel=0.005)


@pytest.mark.parametrize("name", sorted(KNOWN_GIGA_MULTIPLY_ADDS))
def test_flop_are_twice_the_known_multiply_adds(name: str) -> None:
    assert cost_of(name).flop / 2e9 == pytest.approx(KNOWN_GIGA_MULTIPLY_ADDS[name], rel=0.02)


def test_attention_alexnet_costs_what_the_budget_is_measured_by() -> None:
    assert cost_of("attention-alexnet").flop / 1e9 == pytest.approx(1.37, abs=0.01)


def test_flop_of_one_convolution_are_two_a_multiply_add_and_the_mode_is_kept() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Dropout())
    assert count_flops(network, 10) == 2 * 3 * 5 * 9 * 100
    assert network.training
    assert count_parameters(network) == 3 * 5 * 9 + 5


def test_documentation_prints_what_the_code_counts() -> None:
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    assert cost_table() in page, "run `python -m mnbatch.networks.cost` and put its table into docs/networks.md"

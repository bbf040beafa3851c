"""AlexNet's layers are those of torchvision, first random weights included, and come without it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from mnbatch.networks.alexnet_layers import alexnet_convolutions, alexnet_dense_layers, alexnet_features


def _made(make) -> tuple[nn.Module, torch.Tensor]:
    """A network of seed 3, and the next random number after it."""
    torch.manual_seed(3)
    return make(), torch.rand(1)


def _same(mine: nn.Module, theirs: nn.Module) -> None:
    assert str(mine) == str(theirs)
    left, right = mine.state_dict(), theirs.state_dict()
    assert list(left) == list(right)
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("outputs", [2, 1000])
def test_layers_and_first_weights_are_those_of_torchvision(outputs: int) -> None:
    theirs, after = _made(lambda: alexnet(weights=None, num_classes=outputs))
    mine, mine_after = _made(lambda: nn.ModuleList([alexnet_convolutions(), alexnet_dense_layers(outputs)]))
    _same(mine[0], theirs.features)
    _same(mine[1], theirs.classifier)
    assert torch.equal(mine_after, after)


def test_what_is_put_on_top_starts_from_the_same_weights_as_with_torchvision() -> None:
    theirs, after = _made(lambda: alexnet(weights=None).features)
    mine, mine_after = _made(alexnet_features)
    _same(mine, theirs)
    assert torch.equal(mine_after, after)


def test_loading_the_bundled_model_needs_neither_torchvision_nor_the_compiler_of_torch() -> None:
    code = (
        "import sys, mnbatch.pipeline.scoring\n"
        "from mnbatch.inference.catalogue import ModelSet\n"
        "ModelSet.open('attention-alexnet').load('giemsa')\n"
        "print(*{'torchvision', 'torch._dynamo', 'scipy.signal', 'skimage'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []

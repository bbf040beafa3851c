"""What holds for every network of the dict; each is built and run once, the tests look at what came out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.network import INPUT_SIZE, Maps, Stream, StreamNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = {
    "attention-alexnet", "alex-light", "alex-ca", "alexnet", "mobilenet", "vgg16", "googlenet", "resnet18",
    "resnet50", "vgg16-att", "googlenet-att", "resnet18-att", "resnet50-att", "msa-net",
    "attention-alexnet-normalised", "attention-alexnet-lme",
}  # fmt: skip
WITHOUT_EVIDENCE = {"alexnet", "vgg16"}
WITH_EVIDENCE = [name for name in ARCHITECTURES if name not in WITHOUT_EVIDENCE]
ATTENTION_SIZES = {
    "attention-alexnet": {"conv3": 13, "conv4": 13},
    "attention-alexnet-normalised": {"conv3": 13, "conv4": 13},
    "attention-alexnet-lme": {"conv3": 13, "conv4": 13},
    "vgg16-att": {"conv4_3": 28, "conv5_3": 14},
    "googlenet-att": {"inception3b": 28, "inception4e": 14},
    "resnet18-att": {"layer2": 28, "layer3": 14},
    "resnet50-att": {"layer2": 28, "layer3": 14},
    "msa-net": {"scale1": 14, "scale3": 14, "scale5": 14, "scale9": 14},
}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one network gave: a step of training, its maps in evaluation mode, the logits of a copy."""

    name: str
    trained: Tensor
    gradients: dict[str, float | None]
    streams: tuple[Stream, ...]
    maps: Maps | None
    evidence_map: Tensor | None
    logits: Tensor
    of_copy: Tensor


def _run(name: str) -> Seen:
    torch.manual_seed(11)
    network = ARCHITECTURES[name]()
    x = torch.randn(2, 3, INPUT_SIZE, INPUT_SIZE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the running means are those of this minibatch: nothing explodes later
    trained = network.train()(x)
    F.cross_entropy(trained, torch.tensor([0, 1])).backward()
    gradients = {n: None if p.grad is None else float(p.grad.abs().max()) for n, p in network.named_parameters()}
    network.zero_grad(set_to_none=True)
    with torch.device("meta"):
        twin = ARCHITECTURES[name]()
    twin.load_state_dict(network.state_dict(), strict=True, assign=True)
    with torch.no_grad():
        network.eval()
        streamed = isinstance(network, StreamNetwork)
        maps = network.maps(x) if streamed else None
        drawn = network.evidence_map(maps) if streamed else None
        logits = maps.logits if maps else network(x)
        streams = network.streams if streamed else ()
        return Seen(name, trained.detach(), gradients, streams, maps, drawn, logits, twin.eval()(x))


_seen: dict[str, Seen] = {}


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Seen:
    name: str = request.param
    if name not in _seen:
        _seen[name] = _run(name)
    return _seen[name]


every = pytest.mark.parametrize("seen", list(ARCHITECTURES), indirect=True)


def test_every_network_of_the_paper_is_there() -> None:
    assert set(ARCHITECTURES) == NAMES
    assert {*ATTENTION_SIZES, *WITHOUT_EVIDENCE} < NAMES


@every
def test_training_mode_gives_two_finite_logits(seen: Seen) -> None:
    assert seen.trained.shape == (2, 2)
    assert torch.isfinite(seen.trained).all()


@every
def test_every_parameter_gets_a_gradient(seen: Seen) -> None:
    assert [name for name, size in seen.gradients.items() if size is None or not 0 < size < float("inf")] == []


@every
def test_state_dict_makes_a_copy_with_the_same_logits(seen: Seen) -> None:
    """The copy's logits come from `forward`, the others from `maps` where there are maps: both must be the same."""
    assert torch.isfinite(seen.logits).all()
    assert not torch.equal(seen.logits[0], seen.logits[1]), "the logits do not depend on the image"
    assert torch.equal(seen.of_copy, seen.logits)


@every
def test_all_networks_but_those_with_dense_layers_have_maps(seen: Seen) -> None:
    assert (seen.maps is None) == (seen.name in WITHOUT_EVIDENCE)


@pytest.mark.parametrize("seen", WITH_EVIDENCE, indirect=True)
def test_attention_maps_are_fractions_of_the_stated_size(seen: Seen) -> None:
    assert seen.maps is not None
    expected = {layer: (2, size, size) for layer, size in ATTENTION_SIZES.get(seen.name, {}).items()}
    assert {layer: tuple(drawn.shape) for layer, drawn in seen.maps.attention.items()} == expected
    for drawn in seen.maps.attention.values():
        assert drawn.min() >= 0
        assert drawn.max() <= 1
        assert drawn.std() > 1e-5, "one value everywhere is no map"


@pytest.mark.parametrize("seen", WITH_EVIDENCE, indirect=True)
def test_evidence_of_all_streams_and_bias_add_up_to_the_margin(seen: Seen) -> None:
    assert seen.maps is not None
    maps, margin = seen.maps, seen.logits[:, 1] - seen.logits[:, 0]
    assert (margin - maps.bias).abs().max() > 1e-3, "evidence near zero would prove nothing"
    total = sum(part.sum(dim=(1, 2)) for part in maps.evidence.values()) + maps.bias
    assert torch.allclose(total, margin, rtol=1e-4, atol=1e-5)
    sizes = {stream.name: (2, stream.size, stream.size) for stream in seen.streams}
    assert {layer: tuple(part.shape) for layer, part in maps.evidence.items()} == sizes


@pytest.mark.parametrize("seen", WITH_EVIDENCE, indirect=True)
def test_evidence_on_one_grid_has_the_same_sum(seen: Seen) -> None:
    assert seen.maps is not None
    assert seen.evidence_map is not None
    assert seen.evidence_map.shape[1] == max(stream.size for stream in seen.streams)
    total = seen.evidence_map.sum(dim=(1, 2)) + seen.maps.bias
    assert torch.allclose(total, seen.logits[:, 1] - seen.logits[:, 0], rtol=1e-4, atol=1e-5)

"""Backbones are initialised by name; positions of streams lie where they are said to lie."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.networks.attention_modules import AttendedNetwork
from mnbatch.networks.network import Maps, Stream, StreamNetwork

pytestmark = pytest.mark.usefixtures("one_thread")


def _marked(builder: str) -> dict[str, Tensor]:
    """A state dict of torchvision's network, every value 0.25, made without computing its initialisation."""
    with torch.device("meta"):
        state = models.get_model(builder, **({"init_weights": False} if builder == "googlenet" else {})).state_dict()
    return {name: torch.full(value.shape, 0.25) for name, value in state.items()}


@pytest.mark.parametrize(
    "name", ["attention-alexnet", "vgg16-att", "googlenet-att", "resnet18", "resnet50-att", "msa-net"]
)
def test_torchvision_weights_fill_the_whole_backbone_and_leave_the_rest(name: str) -> None:
    network = ARCHITECTURES[name]()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert network.pretrained is not None
    left = network.load_backbone(_marked(network.pretrained))
    assert left
    assert all(key.startswith(("classifier.", "attention", "combine", "pyramid", "scale_")) for key in left)
    for key, parameter in network.named_parameters():
        assert torch.equal(parameter, before[key] if key in left else torch.full_like(parameter, 0.25)), key


def test_convolutions_alone_leave_the_dense_layers_random() -> None:
    features = {key: value for key, value in _marked("alexnet").items() if key.startswith("features.")}
    left = ARCHITECTURES["alexnet"]().load_backbone(features)
    assert {key.rsplit(".", 1)[0] for key in left} == {"classifier.1", "classifier.4", "classifier.6"}


def test_dense_layers_are_taken_where_they_are_given_except_the_last() -> None:
    left = ARCHITECTURES["alexnet"]().load_backbone(_marked("alexnet"))
    assert {key.rsplit(".", 1)[0] for key in left} == {"classifier.6"}


@pytest.mark.parametrize(("name", "other"), [("alex-light", "resnet18"), ("resnet18", "resnet50")])
def test_weights_of_another_network_are_refused_and_nothing_is_changed(name: str, other: str) -> None:
    network = ARCHITECTURES[name]()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="backbone tensors are absent or misshapen"):
        network.load_backbone(_marked(other))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_without_torchvision_backbone_refuses_weights() -> None:
    network = ARCHITECTURES["mobilenet"]()
    assert network.pretrained is None
    with pytest.raises(ValueError, match="backbone"):
        network.load_backbone(_marked("alexnet"))


def _open(network: nn.Module) -> nn.Module:
    """Make every position depend on all it could: positive weights, no ReLU closes; averages for maxima."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pooling = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(parent, name, pooling)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1 / parameter[0].numel() if parameter.dim() > 1 else 0.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return network.eval().double().requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "width"),  # wide enough for the receptive field of the last feature
    [("alex-ca", 480), ("mobilenet", 640), ("vgg16-att", 288), ("googlenet-att", 1216), ("resnet18-att", 832),
     ("resnet50-att", 832)],
)  # fmt: skip
def test_positions_of_each_stream_are_centred_where_it_says(name: str, width: int) -> None:
    network = _open(ARCHITECTURES[name]())
    assert isinstance(network, StreamNetwork)
    x = torch.ones(1, 3, 96 if name == "alex-ca" else 32, width, dtype=torch.float64, requires_grad=True)
    attended = isinstance(network, AttendedNetwork)
    features = network.forward_features(x) if attended else network.forward_streams(x).features
    for stream, feature in zip(network.streams, features, strict=True):
        position = int((width / 2 - stream.origin) / stream.step)
        (gradient,) = torch.autograd.grad(feature[0, 0, 0, position], x, retain_graph=True)
        seen = torch.nonzero(gradient[0, 0].sum(dim=0)).flatten()
        assert seen[0] > 0, "the border cuts the field: the test needs a wider input"
        assert seen[-1] < width - 1
        assert float(seen[0] + seen[-1]) / 2 == stream.origin + stream.step * position, stream.name


def test_coarse_evidence_is_shared_by_the_fine_positions_round_its_centre() -> None:
    network = AttentionAlexNet()
    network.streams = (Stream("fine", 1, 14, 7.5, 16), Stream("coarse", 1, 7, 15.5, 32))
    coarse = torch.zeros(1, 7, 7)
    coarse[0, 2, 3] = 4.0
    evidence = {"fine": torch.zeros(1, 14, 14), "coarse": coarse}
    drawn = network.evidence_map(Maps(torch.zeros(1, 2), {}, evidence, torch.tensor(0.0)))[0]
    expected = torch.zeros(14, 14)
    expected[4:6, 6:8] = 1.0
    assert torch.allclose(drawn, expected)


def test_general_maps_of_attention_alexnet_are_those_that_it_explains_itself_by() -> None:
    torch.manual_seed(5)
    network = AttentionAlexNet().eval()
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        explained, maps = network.explain(x), network.maps(x)
    assert torch.equal(maps.attention["conv3"], explained.attention5)
    assert torch.equal(maps.attention["conv4"], explained.attention6)
    assert torch.equal(maps.logits, explained.logits)
    # Both are exact; `explain` knows where pool5 took its maxima, the general form only where its windows lie.
    total = network.evidence_map(maps).sum(dim=(1, 2))
    assert torch.allclose(total, explained.evidence.sum(dim=(1, 2)), atol=1e-6)

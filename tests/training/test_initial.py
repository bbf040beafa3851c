"""Weights to start from: filled where they fit, refused with a clear word where not, never unpickled."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mnbatch.errors import TrainingError
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.training.initial_weights import initialise, started, tie_colours


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(9)
    full = AttentionAlexNet().state_dict()
    return {name: tensor for name, tensor in full.items() if name.startswith("features.")}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_fills_the_convolutions_and_the_seed_the_rest(tmp_path, state, suffix):
    file = tmp_path / f"weights{suffix}"
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    networks = [AttentionAlexNet() for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        assert file.name in initialise(network, str(file), seed)
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())
    first, same, other = (network.classifier.weight for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_folder_with_one_file_of_weights_is_taken_for_the_file(tmp_path, state):
    torch.save(state, tmp_path / "alexnet.pth")
    assert "alexnet.pth" in initialise(AttentionAlexNet(), str(tmp_path), 1)


def test_random_weights_depend_on_the_seed_alone():
    first, second = AttentionAlexNet(), AttentionAlexNet()
    initialise(first, "random", 4)
    initialise(second, "random", 4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_weights_of_another_network_are_refused(tmp_path, state):
    torch.save({name: tensor[:2] for name, tensor in state.items()}, tmp_path / "small.pth")
    with pytest.raises(TrainingError, match=r"do not fit this network \(.*features.0.weight"):
        initialise(AttentionAlexNet(), str(tmp_path / "small.pth"), 1)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="no file of weights"):
        initialise(AttentionAlexNet(), str(tmp_path / "absent.pth"), 1)


class _Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the file was executed",))


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path):
    file = tmp_path / "bomb.pth"
    file.write_bytes(pickle.dumps({"features.0.weight": _Bomb()}))
    with pytest.raises(TrainingError, match="not a file of weights"):
        initialise(AttentionAlexNet(), str(file), 1)


def test_tied_colours_see_the_weighted_mean_and_nothing_else():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    colours = torch.rand(1, 3, 8, 8)
    grey = (colours * torch.tensor([0.4, 0.4, 0.2]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    on_grey = network(grey.expand(-1, 3, -1, -1))
    tie_colours(network, (0.4, 0.4, 0.2))
    assert torch.allclose(network(colours), on_grey, atol=1e-6)


def test_the_weights_of_a_whole_model_are_all_taken(tmp_path):
    torch.manual_seed(3)
    model = AttentionAlexNet()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    network = AttentionAlexNet()
    assert initialise(network, str(tmp_path), 1).startswith("all weights of the model")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), model.parameters(), strict=True))


def test_weights_of_one_mixture_are_spread_over_the_channels_of_stains(tmp_path):
    tied, _ = started("attention-alexnet", "random", 1, (0.4, 0.4, 0.2))
    save_file(tied.state_dict(), tmp_path / "tied.safetensors")
    coloured, _ = started("attention-alexnet", str(tmp_path / "tied.safetensors"), 1, None, coloured=True)
    first, before = coloured.features[0].weight, tied.features[0].weight
    density = torch.rand(1, 1, 64, 64)
    on_density = torch.cat([density, torch.zeros(1, 2, 64, 64)], dim=1)  # no colour is 0 after normalisation
    seen = torch.nn.functional.conv2d(on_density, first), torch.nn.functional.conv2d(density.repeat(1, 3, 1, 1), before)
    assert torch.allclose(*seen, atol=1e-5)
    assert first[:, 1:].abs().mean() > 0.05 * first[:, 0].abs().mean()


def test_weights_that_see_colours_apart_stay_as_they_are():
    plain, _ = started("attention-alexnet", "random", 1, None)
    coloured, _ = started("attention-alexnet", "random", 1, None, coloured=True)
    assert torch.equal(plain.features[0].weight, coloured.features[0].weight)

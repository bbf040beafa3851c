"""Where training starts: ImageNet's backbone weights from torchvision or a file, a whole model, or random ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mnbatch.errors import TrainingError
from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.network import Network

NEXT_STEP = "Give a state dict of torchvision's names (.pth or .safetensors), `imagenet`, or `random`."


def started(
    name: str, init: str, seed: int, colour_shares: tuple[float, float, float] | None, coloured: bool = False
) -> tuple[Network, str]:
    """A new network of a name, filled as `initialise` does, and a sentence for the card.

    Args:
        colour_shares: tied into the first layer; None leaves the colours apart.
        coloured: it will see `mnbatch.imaging.stain_channels`; weights that saw one mixture are spread over them.

    Raises:
        TrainingError: as `initialise`; or there is no such network.
    """
    if name not in ARCHITECTURES:
        raise TrainingError(f"There is no network {name!r}.", f"Give one of: {', '.join(ARCHITECTURES)}.")
    torch.manual_seed(seed)
    network = ARCHITECTURES[name]()
    words = initialise(network, init, seed)
    if colour_shares is not None:
        tie_colours(network, colour_shares)
    if coloured and tied_shares(network) is not None:
        spread_over_stains(network, seed)
    return network, words


def initialise(network: Network, init: str, seed: int) -> str:
    """Fill a network's weights and say from where.

    Args:
        network: as its architecture starts it.
        init: `random`, `imagenet` (torchvision's weights of the backbone, fetched where a network is there), or a file
            with torchvision's names (others are passed over). A folder with exactly one such file is taken for the
            file. A file with all of the network's weights, such as `model.safetensors` of a model directory, fills all
            of them: training goes on from that model.
        seed: of the weights that are not filled. (Networks with a start of their own take it when they are made.)

    Returns:
        A sentence for the card.

    Raises:
        TrainingError: no such file, no network, or weights that do not fit.
    """
    if network.pretrained == "alexnet":  # torchvision gives AlexNet no start but that of torch's layers
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    if init == "random":
        return "random weights"
    state = _imagenet(network) if init == "imagenet" else read_state(Path(init))
    own = network.state_dict()
    if all(name in state and state[name].shape == tensor.shape for name, tensor in own.items()):
        network.load_state_dict({name: state[name] for name in own})
        file = _the_file(Path(init))
        return f"all weights of the model {file.parent.name}/{file.name}"
    try:
        left = network.load_backbone({name: tensor.float() for name, tensor in state.items()})
    except ValueError as error:
        raise TrainingError(f"The weights of {init} do not fit this network ({error}).", NEXT_STEP) from error
    source = "torchvision, trained on ImageNet" if init == "imagenet" else f"the file {_the_file(Path(init)).name}"
    kept = len(list(network.parameters())) - len(left)
    return f"{kept} weights of the {network.pretrained} of {source}; {len(left)} others, {left[0]} first, at random"


def _the_file(path: Path) -> Path:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in {".pth", ".pt", ".safetensors"})
        if len(files) == 1:
            return files[0]
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """Weights only: nothing in the file is ever executed."""
    file = _the_file(path)
    if not file.is_file():
        raise TrainingError(f"There is no file of weights at {path}.", NEXT_STEP)
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        safetensors.SafetensorError,
    ) as error:
        raise TrainingError(
            f"{file} is not a file of weights: {' '.join(str(error).split())[:200]}", NEXT_STEP
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TrainingError(f"{file} is not a state dict of tensors.", NEXT_STEP)
    return state


def _imagenet(network: Network) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    if network.pretrained is None:
        raise TrainingError(
            f"torchvision has no ImageNet weights for a {type(network).__name__}.", "Give --init random, or a file."
        )
    try:
        state: dict[str, Tensor] = get_model_weights(network.pretrained).IMAGENET1K_V1.get_state_dict(progress=False)
    except OSError as error:
        raise TrainingError(f"ImageNet's weights could not be fetched ({error}).", NEXT_STEP) from error
    return state


def _first(network: nn.Module) -> nn.Conv2d:
    """The first convolution, by its channels, not by its place: attention modules may be held before the backbone."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return next(module for module in convolutions if module.in_channels == 3)


def tied_shares(network: nn.Module) -> tuple[float, float, float] | None:
    """The one mixture of red, green and blue that the first convolution sees; None where it tells them apart."""
    weight = _first(network).weight.detach().double()
    total = weight.sum(dim=1, keepdim=True)
    shares = (weight * total).sum(dim=(0, 2, 3)) / (total**2).sum()
    if not torch.allclose(weight, total * shares.view(1, 3, 1, 1), atol=1e-5):
        return None
    red, green, blue = (round(float(share), 6) for share in shares)
    return red, green, blue


def spread_over_stains(network: nn.Module, seed: int) -> None:
    """From a network of tied colours to one that sees `mnbatch.imaging.stain_channels`, nearly the same at first.

    The first channel, density, gets all of the tied weight. The channels of colour get it times a small random factor
    for each filter, so that every filter starts with some sense of colour and both signs are there.
    """
    first = _first(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        total = first.weight.sum(dim=1, keepdim=True)
        factors = 0.3 * torch.randn((len(total), 2, 1, 1), generator=generator)
        first.weight.copy_(torch.cat([total, total * factors], dim=1))


def tie_colours(network: nn.Module, shares: tuple[float, float, float]) -> None:
    """Make the first convolution see one weighted mean of the colours: exact for inputs normalised alike.

    Args:
        shares: of red, green and blue; they add up to 1.
    """
    first = _first(network)
    with torch.no_grad():
        total = first.weight.sum(dim=1, keepdim=True)
        first.weight.copy_(total * total.new_tensor(shares).view(1, 3, 1, 1))

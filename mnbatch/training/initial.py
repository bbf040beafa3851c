"""Where training starts: ImageNet's convolution weights from torchvision or a local file, or random ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mnbatch.errors import TrainingError

NEXT_STEP = "Give a state dict of torchvision's AlexNet (.pth or .safetensors), `imagenet`, or `random`."


def initialise(network: nn.Module, init: str, seed: int) -> str:
    """Fill a network's weights and say from where.

    Args:
        network: with torchvision's AlexNet convolutions under `features`.
        init: `random`, `imagenet` (torchvision's weights, fetched where a network is there), or a file whose
            keys are `features.N.weight` and `features.N.bias` (others, such as dense layers, are passed over). A
            folder with exactly one such file is taken for the file. A file with all of the network's weights, such
            as `model.safetensors` of a model directory, fills all of them: training goes on from that model.
        seed: of the weights that are not filled.

    Returns:
        A sentence for the card.

    Raises:
        TrainingError: no such file, no network, or weights that do not fit.
    """
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    if init == "random":
        return "random weights"
    state = _imagenet() if init == "imagenet" else read_state(Path(init))
    if set(network.state_dict()) <= set(state):
        _fill(network, state, init, prefix="")
        file = _the_file(Path(init))
        return f"all weights of the model {file.parent.name}/{file.name}"
    _fill(network, state, init, prefix="features.")
    return (
        "convolution weights of torchvision's AlexNet trained on ImageNet"
        if init == "imagenet"
        else (f"convolution weights of the file {_the_file(Path(init)).name}")
    )


def _fill(network: nn.Module, state: dict[str, Tensor], init: str, prefix: str) -> None:
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(prefix)}
    unfit = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if unfit:
        raise TrainingError(f"The weights of {init} do not fit this network ({unfit[0]}).", NEXT_STEP)
    network.load_state_dict({name: state[name].float() for name in wanted}, strict=False)


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
    except (pickle.UnpicklingError, RuntimeError, EOFError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"{file} is not a file of weights: {' '.join(str(error).split())[:200]}", NEXT_STEP
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TrainingError(f"{file} is not a state dict of tensors.", NEXT_STEP)
    return state


def _imagenet() -> dict[str, Tensor]:
    from torchvision.models import AlexNet_Weights

    try:
        state: dict[str, Tensor] = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
    except OSError as error:
        raise TrainingError(f"ImageNet's weights could not be fetched ({error}).", NEXT_STEP) from error
    return state


def tie_colours(network: nn.Module, shares: tuple[float, float, float]) -> None:
    """Make the first convolution see one weighted mean of the colours: exact for inputs normalised alike.

    Args:
        shares: of red, green and blue; they add up to 1.
    """
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        total = first.weight.sum(dim=1, keepdim=True)
        first.weight.copy_(total * torch.tensor(shares).view(1, 3, 1, 1))

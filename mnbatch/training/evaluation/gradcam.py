"""Grad-CAM on the last convolution, as the baseline that other maps are held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import ModelError
from mnbatch.imaging.preparation import network_input
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.scores import Normaliser
from mnbatch.networks.attention_alexnet import AttentionAlexNet

_MINIBATCH = 16
_LAST_ACTIVATION = 11
"""Of `features`: the ReLU after conv5, (256, 13, 13), before pool5; its grid is that of layers 5 and 6."""


def grad_cam(model: LoadedModel, pixels: UInt8Array) -> npt.NDArray[np.float32]:
    """Grad-CAM of the MN margin: ReLU(sum_k a_k A_k), a_k the mean gradient over feature k.

    Selvaraju et al., ICCV 2017, equations 1 and 2. The score is the margin logit(MN) - logit(no MN), which the
    evidence map explains too.

    Args:
        model: its network must be attention-AlexNet.
        pixels: prepared crops, (n, size, size, 3), uint8.

    Returns:
        (n, 13, 13); position i is centred at pixel 15 + 16 i.

    Raises:
        ModelError: another network.
    """
    network = model.network
    if not isinstance(network, AttentionAlexNet):
        raise ModelError(
            f"Grad-CAM is made for attention-alexnet, not {model.card.architecture}.", "Leave --masks out."
        )
    normalise = Normaliser(model.card, torch.device("cpu"))
    parts = []
    for first in range(0, len(pixels), _MINIBATCH):
        crops = network_input(pixels[first : first + _MINIBATCH], model.card.preparation)
        parts.append(_cam(network, normalise(torch.from_numpy(crops.copy()))))
    return np.concatenate(parts) if parts else np.zeros((0, 13, 13), np.float32)


def _cam(network: AttentionAlexNet, x: Tensor) -> npt.NDArray[np.float32]:
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept.append(output)

    handle = network.features[_LAST_ACTIVATION].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network(x)
    finally:
        handle.remove()
    feature = kept[0]
    # Cells do not meet in a network in evaluation mode, so the sum's gradient is each cell's own.
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), feature)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return np.asarray(torch.relu((weights * feature).sum(dim=1)).detach().numpy())

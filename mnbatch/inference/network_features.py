"""Cells through a model's network once: pooled features, and the score that stays what it is."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.special import expit

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import ModelError
from mnbatch.imaging.preparation import network_input, prepare_crop
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Normaliser
from mnbatch.inference.second_look import SecondLook
from mnbatch.networks.network import StreamNetwork, linear

Floats = npt.NDArray[np.float64]

MINIBATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Cells as the network sees them.

    Attributes:
        vectors: float64 (n, d), pooled features, the mean of both looks where there is a second; p_mn: (n,), the yes/no
            model's score.
    """

    vectors: Floats
    p_mn: Floats


def stream_network(model: LoadedModel) -> StreamNetwork:
    """The model's network, if a counter can be put on it.

    Raises:
        ModelError: it has no pooled streams.
    """
    if not isinstance(model.network, StreamNetwork):
        raise ModelError(
            f"{model.path} holds a {model.card.architecture}; only networks of pooled streams can count.",
            "Extend a model of another architecture (docs/networks.md).",
        )
    return model.network


def describe(model: LoadedModel, crops: Iterable[UInt8Array]) -> Described:
    """Pooled features and scores of prepared crops (S, S, 3), a minibatch at a time.

    Raises:
        ModelError: as `stream_network`.
    """
    network, card = stream_network(model), model.card
    normalise = Normaliser(card, torch.device("cpu"))
    second_look = SecondLook.of(card)
    vectors, margins = [], []
    waiting = iter(crops)
    while some := list(islice(waiting, MINIBATCH)):
        inputs = torch.from_numpy(np.stack([network_input(crop, card.preparation) for crop in some]))
        with torch.inference_mode():
            x = normalise(inputs)
            vector = network.pooled(network.forward_streams(x).features)
            if second_look:
                for place in second_look.chosen(linear(vector, network.classifier)):
                    looks = second_look.shown(x[place : place + 1])
                    again = network.pooled(network.forward_streams(looks).features)
                    vector[place] = torch.cat([vector[place : place + 1], again]).mean(dim=0)
            logits = linear(vector, network.classifier)
        vectors.append(vector.numpy().astype(np.float64))
        margins.append((logits[:, 1] - logits[:, 0]).numpy().astype(np.float64))
    if not vectors:
        return Described(np.zeros((0, network.classifier.in_features)), np.zeros(0))
    return Described(np.concatenate(vectors), expit(np.concatenate(margins) / card.temperature))


def describe_jpegs(model: LoadedModel, jpegs: Iterable[bytes]) -> Described:
    """As `describe`, of the pictures that OUT keeps.

    Raises:
        ModelError: as `stream_network`.
        OSError: a picture is damaged.
    """
    preparation = model.card.preparation
    pictures = (np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs)
    return describe(model, (prepare_crop(picture, preparation) for picture in pictures))

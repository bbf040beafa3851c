"""What decides the weights of a training, by name: two trainings with the same key are the same training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue
from torch import nn

from mnbatch.training.loop import Pool
from mnbatch.training.recipe import Recipe
from mnbatch.training.request import Request
from mnbatch.training.snapshot import state_of
from mnbatch.training.sources import Labelled


def training_key(
    request: Request, recipe: Recipe, network: nn.Module, own: Labelled, held_out: Labelled
) -> dict[str, JsonValue]:
    """What is known before cells are made.

    Left out is what leaves the weights alone (the card's texts, the number of processes that make cells) and what
    changes no more than their last bits (the device, its number of threads).
    """
    plain = recipe.model_dump(mode="json")
    augmentation = plain.pop("augmentation")
    start = state_of(network)
    return {
        "network": request.network,
        "seed": request.seed,
        **plain,
        **{f"augmentation.{name}": value for name, value in augmentation.items()},
        "initial weights": _digest(start[name].numpy() for name in sorted(start)),
        "labelled cells": _digest((own.crops, own.labels)),
        "validation cells": _digest((held_out.crops, held_out.labels)),
    }


def made_key(training: Sequence[Pool], validation: Sequence[Pool]) -> dict[str, JsonValue]:
    """The part of the key that is known when all cells are made."""
    arrays = (array for pool in (*training, *validation) for array in (pool.pixels, pool.labels))
    return {"made cells (--nuclei, --smears, version of mnbatch)": _digest(arrays)}


def card_only(request: Request) -> dict[str, JsonValue]:
    """What only the card says; it may be asked for otherwise when a training goes on."""
    return {
        "name": request.name,
        "version": request.version,
        "licence": request.licence,
        "data_licence": request.data_licence,
        "note": request.note,
        "crop_width": request.crop_width,
        "serves": None if request.serves is None else list(request.serves),
    }


def _digest(arrays: Iterable[npt.NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

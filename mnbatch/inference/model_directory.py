"""Writes and loads a model directory: `model.safetensors` and `model.json`.

Weights are only ever read with safetensors: a pickle can run code, and a model directory may come from
anywhere.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

import mnbatch
from mnbatch.errors import ModelError, StorageError
from mnbatch.files import staging_folder, storage_error, sweep_folder
from mnbatch.inference.card import ModelCard
from mnbatch.inference.catalogue import CARD_FILE, RESTORE, WEIGHTS_FILE, verify_with_weights
from mnbatch.networks import ARCHITECTURES
from mnbatch.networks.network import StreamNetwork


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A verified model, ready to be moved to a device.

    Attributes:
        digest: as in `mnbatch.inference.catalogue.VerifiedModel`.
        network: in evaluation mode, on the CPU, float32.
    """

    path: Path
    card: ModelCard
    digest: str
    network: nn.Module


def load_model(path: Path) -> LoadedModel:
    """Verify a model directory and build its network.

    Raises:
        ModelError: as `verify_model`, or the weights do not fit the architecture that the card names.
    """
    verified, weights = verify_with_weights(path)
    build = ARCHITECTURES.get(verified.card.architecture)
    if build is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelError(
            f"{path / CARD_FILE} names the architecture {verified.card.architecture!r}; this version knows {known}.",
            "Use a version of mnbatch that has it, or another model.",
        )
    with torch.device("meta"):  # no time is spent on random weights that are replaced at once
        network = build()
        if verified.card.counting is not None:
            _add_counter(network, path)
    _fill(network, weights, path / WEIGHTS_FILE)
    return LoadedModel(path, verified.card, verified.digest, network.eval())


def _add_counter(network: nn.Module, path: Path) -> None:
    if not isinstance(network, StreamNetwork):
        raise ModelError(
            f"{path / CARD_FILE} states that a {type(network).__name__} counts; only networks of pooled streams can.",
            "Use another model.",
        )
    network.add_counter()


def _fill(network: nn.Module, weights: bytes, file: Path) -> None:
    try:
        state = {name: _single(tensor) for name, tensor in load(weights).items()}
        network.load_state_dict(state, strict=True, assign=True)
    except (safetensors.SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:400]
        raise ModelError(f"The weights in {file} do not fit the card's architecture: {reason}.", RESTORE) from error
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(
            f"The weights in {file} hold values that are not finite ({broken[0]}).", "Train the model again."
        )


def write_model_directory(path: Path, network: nn.Module, card_fields: Mapping[str, object]) -> ModelCard:
    """Write a whole model directory or nothing, and read it back before it is put in place.

    `schema_version`, `weights_sha256`, `created` and `software` are filled in here (`created` and entries of
    `software` may be given).

    Args:
        path: directory to make; an existing model directory at this path is replaced.
        network: of the card's architecture.
        card_fields: the other fields of `ModelCard`.

    Returns:
        The card as written.

    Raises:
        ModelError: the fields do not make a valid card, or the weights do not fit the architecture it names.
        StorageError: the place cannot be written, or holds something that is not a model directory.
    """
    path = Path(path)
    weights = save(_cpu_state(network))
    card = _make_card(card_fields, sha256(weights).hexdigest())
    refuse_other_content(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_folder(path.parent)
        _restore(path)
        with staging_folder(path.parent) as staging:
            _write_synced(staging / WEIGHTS_FILE, weights)
            _write_synced(staging / CARD_FILE, (card.model_dump_json(indent=2) + "\n").encode())
            load_model(staging)
            _put_in_place(staging, path)
    except OSError as error:
        raise storage_error(error, path) from error
    return card


def _cpu_state(network: nn.Module) -> dict[str, Tensor]:
    return {name: _single(tensor.detach().cpu()).contiguous() for name, tensor in network.state_dict().items()}


def _single(tensor: Tensor) -> Tensor:
    """A copy in float32; integers, such as the counters of batch normalisation, stay integers."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def _make_card(fields: Mapping[str, object], weights_sha256: str) -> ModelCard:
    import torchvision  # as slow to load as torch, and only a card that is written names it

    given = fields.get("software")
    software = {
        "mnbatch": mnbatch.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        **(given if isinstance(given, Mapping) else {}),
    }
    now = datetime.now(UTC).replace(microsecond=0)
    filled = {"created": now, **fields, "software": software, "weights_sha256": weights_sha256}
    try:
        return ModelCard.model_validate(filled)
    except ValueError as error:
        raise ModelError(f"The card of the new model is not valid: {error}", "Correct its fields.") from error


def refuse_other_content(path: Path) -> None:
    """Raise StorageError where a model is to be written over something else: a typing error must cost no images."""
    if not path.exists():
        return
    strange = sorted(set(os.listdir(path)) - {WEIGHTS_FILE, CARD_FILE}) if path.is_dir() else [path.name]
    if strange:
        raise StorageError(
            f"{path} exists and is not a model directory (it holds {strange[0]}).", "Choose a new directory."
        )


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _put_in_place(staging: Path, path: Path) -> None:
    """A rename does not replace a directory with files in it, so the old one steps aside first."""
    if not path.exists():
        staging.rename(path)
        return
    old = _stepped_aside(path)
    path.rename(old)
    staging.rename(path)
    shutil.rmtree(old)


def _restore(path: Path) -> None:
    """After a kill in `_put_in_place`: the model that stepped aside comes back, or goes where there is a new one."""
    old = _stepped_aside(path)
    if not old.is_dir():
        return
    if path.exists():
        shutil.rmtree(old)
    else:
        old.rename(path)


def _stepped_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")

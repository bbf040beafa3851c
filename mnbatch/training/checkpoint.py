"""What is kept beside a model while it is trained, so that a killed training goes on; and its key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import safetensors
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors.torch import load_file, save
from torch import nn

from mnbatch.errors import MismatchError, StorageError, TrainingError
from mnbatch.files import storage_errors, sweep_folder, write_atomically
from mnbatch.intake import read_bytes
from mnbatch.training.kept_folder import KeptFolder, folder_beside
from mnbatch.training.pool_feed import Pool
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_pools import Labelled
from mnbatch.training.training_request import Request
from mnbatch.training.training_state import Epoch, Snapshot, Tensors, state_of

# What decides the weights of a training, by name: two trainings with the same key are the same training.


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
    return {"synthetic cells (--nuclei, --smears, version of mnbatch)": _digest(arrays)}


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


# What is kept beside a model while it is trained, so that a killed training goes on: `MODEL_DIR.training/`.
#
# `checkpoint.json` is the truth: it names the two files of tensors that belong to it and is replaced by one rename
# after they are on the disk. Whatever it does not name is swept. Tensors are read with safetensors only.


RECORD = "checkpoint.json"
RESTART = "Give the arguments it was started with to go on, or --restart to give it up and start anew."

_TENSORS = re.compile(r"(state-\d+-\d+|best-\d+)\.safetensors")
_BEGINNING = re.compile(rb'\{\s*"schema_version": *\d+,\s*"key"')
"""Of a record, also of one that is cut: a training with a damaged record can be given up."""


def _is_kept_in(folder: Path) -> bool:
    try:
        if _BEGINNING.match(read_bytes(folder / RECORD)):
            return True
    except OSError:
        pass  # a kill before the first record leaves tensors alone
    return any(_TENSORS.fullmatch(file.name) for file in folder.iterdir())


KEPT = KeptFolder("train", re.compile(rf"{re.escape(RECORD)}|{_TENSORS.pattern}|curves\.svg|history\.csv"), _is_kept_in)

Key = Mapping[str, JsonValue]
"""What decides the weights, by name: recipe, seed, network, start, digests of the cells."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EpochRow(_Frozen):
    """An `Epoch` as it is kept."""

    number: int
    loss: float
    aucs: dict[str, float]
    seconds: float


class Record(_Frozen):
    """`checkpoint.json`.

    Attributes:
        key: what decides the weights; a training with another key is another training.
        card: what only the card says (name, licence, ...), as it was asked for last.
        step, history, best, minibatches, losses: as in `Snapshot`; `best` is the number of an epoch, 0 in the first.
        state, best_weights: names of files here; `state` is "" once the training is finished, `best_weights` in the
            first epoch.
        model: SHA-256 of the finished model's weights, "" before.
    """

    schema_version: Literal[2] = 2
    key: dict[str, JsonValue]
    card: dict[str, JsonValue]
    step: int
    history: tuple[EpochRow, ...]
    best: int
    minibatches: int = 0
    losses: float = 0.0
    state: str
    best_weights: str
    model: str = ""

    @property
    def finished(self) -> bool:
        """Whether every epoch is done and the model was written."""
        return bool(self.model)


class Checkpoint:
    """The folder beside a model directory that holds its training.

    Args:
        out: the model directory.
        restart: a training that is there counts for nothing, and is not even read.

    Raises:
        StorageError: what is there is no training of `mnbatch train`: it is neither gone on from nor removed.
        TrainingError: the record is damaged.
    """

    def __init__(self, out: Path, restart: bool = False) -> None:
        self.folder = folder_beside(out)
        KEPT.check(self.folder)
        self.record = None if restart else self._read()

    def check(self, key: Key) -> None:
        """Refuse to go on with what was started otherwise.

        Args:
            key: what is asked for now, or the part of it that is known already.

        Raises:
            MismatchError: there is a checkpoint of another recipe, seed, network, start or data.
        """
        if self.record is None:
            return
        kept = self.record.key
        others = [name for name in key if key[name] != kept.get(name)]
        if others:
            words = "; ".join(_difference(name, kept.get(name), key[name]) for name in others[:4])
            more = f" and {len(others) - 4} more" if len(others) > 4 else ""
            raise MismatchError(
                f"{self.folder} holds {self.described()} that was started with other {words}{more}.", RESTART
            )

    def described(self) -> str:
        """What is there, in words."""
        assert self.record is not None
        state = "a finished" if self.record.finished else "an unfinished"
        within = f" and {self.record.minibatches} minibatches" if self.record.minibatches else ""
        return f"{state} training of {len(self.record.history)} epochs{within}"

    def discard(self) -> None:
        """Give up what was kept; what else is in the folder stays."""
        KEPT.remove(self.folder)
        self.record = None

    def save(self, snapshot: Snapshot, key: Key, card: Key) -> None:
        """Keep a training after an epoch or within one; a kill at any instant leaves the last checkpoint or this one.

        Raises:
            StorageError: the folder cannot be written.
        """
        best = 0 if snapshot.best is None else snapshot.best.number
        record = Record(
            key=dict(key),
            card=dict(card),
            step=snapshot.step,
            history=tuple(_row(epoch) for epoch in snapshot.history),
            best=best,
            minibatches=snapshot.minibatches,
            losses=snapshot.losses,
            state=f"state-{len(snapshot.history)}-{snapshot.minibatches}.safetensors",
            best_weights=f"best-{best}.safetensors" if best else "",
        )
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        sweep_folder(self.folder)
        self._write(record.state, snapshot.tensors)
        if best and (self.record is None or self.record.best_weights != record.best_weights):
            self._write(record.best_weights, snapshot.best_weights)
        self._switch(record)

    def finish(self, weights_sha256: str, card: Key) -> None:
        """Note that the model is written; the state is no longer needed, the best weights stay."""
        assert self.record is not None
        self._switch(self.record.model_copy(update={"model": weights_sha256, "card": dict(card), "state": ""}))

    def load(self) -> Snapshot:
        """The training as it was kept.

        Raises:
            TrainingError: a file is absent or damaged.
        """
        record = self.record
        assert record is not None
        history = tuple(Epoch(row.number, row.loss, row.aucs, row.seconds) for row in record.history)
        best = next((epoch for epoch in history if epoch.number == record.best), None)
        tensors = self._tensors(record.state) if record.state else {}
        weights = self._tensors(record.best_weights) if record.best_weights else {}
        return Snapshot(
            step=record.step,
            history=history,
            best=best,
            tensors=tensors,
            best_weights=weights,
            minibatches=record.minibatches,
            losses=record.losses,
        )

    def damaged(self, why: object) -> TrainingError:
        """The error for a checkpoint that cannot be used."""
        return TrainingError(
            f"The training kept in {self.folder} is damaged: {' '.join(str(why).split())[:200]}.",
            "Restore the folder, or give --restart to start anew.",
        )

    def _read(self) -> Record | None:
        try:
            return Record.model_validate_json(read_bytes(self.folder / RECORD))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be read: {error.strerror}.", "Choose another --out.") from error
        except ValidationError as error:
            raise self.damaged(error) from error

    def _tensors(self, name: str) -> Tensors:
        try:
            return dict(load_file(self.folder / name))
        except (OSError, safetensors.SafetensorError) as error:
            raise self.damaged(f"{name}: {error}") from error

    def _write(self, name: str, tensors: Tensors) -> None:
        write_atomically(self.folder / name, save(dict(tensors)), durable=True)

    def _switch(self, record: Record) -> None:
        write_atomically(self.folder / RECORD, (record.model_dump_json(indent=2) + "\n").encode(), durable=True)
        self.record = record
        with storage_errors(self.folder):
            for file in self.folder.glob("*.safetensors"):
                if _TENSORS.fullmatch(file.name) and file.name not in (record.state, record.best_weights):
                    file.unlink()


def _row(epoch: Epoch) -> EpochRow:
    return EpochRow(number=epoch.number, loss=epoch.loss, aucs=dict(epoch.aucs), seconds=epoch.seconds)


def _difference(name: str, kept: JsonValue, asked: JsonValue) -> str:
    """Digests say nothing to a reader, values do."""
    plain = all(
        isinstance(value, int | float | bool) or (isinstance(value, str) and len(value) < 40) for value in (kept, asked)
    )
    return f"{name} ({kept}, now {asked})" if plain else name

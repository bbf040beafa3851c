"""Checks a model directory without torch: both files there, the card whole, the weights those of the card.

`load_model` builds on it; so do `mnbatch model list | show | verify` and a run that finds nothing to score.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mnbatch.errors import ModelError
from mnbatch.inference.card import ModelCard
from mnbatch.intake import read_bytes, reason, short

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"
RESTORE = "Restore the model directory from where it came (reinstall mnbatch for a bundled model)."


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """A model directory whose files were read and found whole.

    Attributes:
        path: the directory.
        digest: SHA-256 over the bytes of `model.safetensors` followed by those of `model.json`, as
            `cat model.safetensors model.json | sha256sum` prints it; part of every slide's score key.
    """

    path: Path
    card: ModelCard
    digest: str


def verify_model(path: Path) -> VerifiedModel:
    """Read and check both files of a model directory.

    Raises:
        ModelError: a file is missing or unreadable, the card breaks the schema, or the weights are others.
    """
    return verify_with_weights(path)[0]


def verify_with_weights(path: Path) -> tuple[VerifiedModel, bytes]:
    """As `verify_model`, and the very bytes of the weights that were checked."""
    card_bytes = _read(path, CARD_FILE)
    card = _parse_card(path / CARD_FILE, card_bytes)
    weights = _read(path, WEIGHTS_FILE)
    actual = hashlib.sha256(weights).hexdigest()
    if actual != card.weights_sha256:
        raise ModelError(
            f"The weights were altered or belong to another card: {path / WEIGHTS_FILE} "
            f"has SHA-256 {actual}, its card expects {card.weights_sha256}.",
            RESTORE,
        )
    digest = hashlib.sha256(weights)
    digest.update(card_bytes)
    return VerifiedModel(path, card, digest.hexdigest()), weights


def _read(directory: Path, name: str) -> bytes:
    file = directory / name
    try:
        return read_bytes(file)
    except FileNotFoundError as error:
        what = f"has no {name}" if directory.is_dir() else "does not exist"
        raise ModelError(
            f"The model directory {directory} {what} (expected {WEIGHTS_FILE} and {CARD_FILE}).",
            f"{RESTORE} `mnbatch model list` shows what there is.",
        ) from error
    except OSError as error:
        raise ModelError(
            f"{file} cannot be read: {reason(error)}.", "Check its permissions and the disk it lies on."
        ) from error


def _parse_card(file: Path, content: bytes) -> ModelCard:
    try:
        return ModelCard.model_validate_json(content)
    except ValidationError as error:
        faults = "; ".join(_fault(item["loc"], item["msg"]) for item in error.errors()[:5])
        more = f" (and {error.error_count() - 5} more)" if error.error_count() > 5 else ""
        raise ModelError(
            f"{file} is not a valid model card: {faults}{more}.",
            f"{RESTORE} docs/models.md lists the fields.",
        ) from error


def _fault(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in place) or "the file"
    return f"{short(where)}: {short(message[0].lower() + message[1:])}"

"""Bundled models by name, checked without torch; of a set, each slide gets the one for its stain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

import mnbatch
from mnbatch.assay.cells import Stain
from mnbatch.assay.reasons import say
from mnbatch.errors import ModelError, SlideError
from mnbatch.imaging.preparation import Preparation
from mnbatch.inference.card import ModelCard
from mnbatch.intake import read_bytes, reason, short

if TYPE_CHECKING:
    from mnbatch.inference.model_directory import LoadedModel


# Checks a model directory without torch: both files there, the card whole, the weights those of the card.
#
# `load_model` builds on it; so do `mnbatch model list | show | verify` and a run that finds nothing to score.


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
        raise ModelError(f"{file} cannot be read: {reason(error)}.", "Check its permissions and its disk.") from error


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


# Bundled models by name, and the set of models of which each slide gets the one for its stain.
#
# A model *set* is a directory of model directories that serve different stains. No torch here: a run that finds
# nothing left to score, and `mnbatch model`, need only what the cards say.


DEFAULT = "attention-alexnet"


def models_directory() -> Path:
    """Where the bundled models are: in the installed package, or next to it in a checkout."""
    package = Path(mnbatch.__file__).resolve().parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def list_models() -> list[Path]:
    """Bundled models and model sets, by name."""
    root = models_directory()
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and member_paths(path))


def member_paths(path: Path) -> list[Path]:
    """The model directories of a model or a model set; none where it is neither.

    A directory with only one of the two files is a model directory too: a damaged one, which is to be named.
    """
    if _looks_like_model(path):
        return [path]
    return sorted(child for child in path.iterdir() if child.is_dir() and _looks_like_model(child))


def _looks_like_model(path: Path) -> bool:
    return (path / CARD_FILE).exists() or (path / WEIGHTS_FILE).exists()


def resolve_model(name_or_path: str | Path) -> Path:
    """The directory of a bundled model's name, or of a path.

    A name without a path separator is looked up among the bundled models first; `./name` is always a path.

    Raises:
        ModelError: there is neither; says what there is.
    """
    text = str(name_or_path)
    bundled = models_directory() / text
    if "/" not in text and "\\" not in text and text not in {"", ".", ".."} and bundled.is_dir():
        return bundled
    path = Path(name_or_path)
    if text and path.is_dir():
        return path
    known = ", ".join(model.name for model in list_models()) or "none"
    raise ModelError(
        f"There is no model {text!r}: neither a bundled one ({known}) nor a directory.",
        "Give one of these names or the path of a model directory; `mnbatch model list` shows them.",
    )


@dataclass(frozen=True, slots=True)
class ModelSet:
    """One verified model, or several that serve different stains.

    Attributes:
        path: the directory that was asked for.
        members: by path; no two serve the same stain, and all prepare crops alike.
    """

    path: Path
    members: tuple[VerifiedModel, ...]

    @classmethod
    def open(cls, name_or_path: str | Path) -> ModelSet:
        """Verify a model or every model of a set.

        Raises:
            ModelError: not there, damaged, or models that cannot be one set.
        """
        path = resolve_model(name_or_path)
        # A directory without any model is handed to verify_model, which says what is missing.
        models = cls(path, tuple(verify_model(member) for member in member_paths(path) or [path]))
        models._check_members()
        return models

    def _check_members(self) -> None:
        served: dict[str, str] = {}
        for member in self.members:
            for stain in member.card.stains:
                if stain in served:
                    raise ModelError(
                        f"Two models in {self.path} are for {stain} slides: {served[stain]} and {member.path.name}.",
                        "Give the path of the one to use with --model.",
                    )
                served[stain] = member.path.name
            if member.card.preparation != self.preparation:
                raise ModelError(
                    f"The models in {self.path} prepare crops differently ({self.members[0].path.name} and "
                    f"{member.path.name}), so one run cannot use both.",
                    "Give the path of one of them with --model.",
                )

    @property
    def preparation(self) -> Preparation:
        """How crops are prepared; the same for all members."""
        return self.members[0].card.preparation

    @property
    def stains(self) -> tuple[str, ...]:
        """Stains that some member serves."""
        return tuple(sorted(stain for member in self.members for stain in member.card.stains))

    @property
    def digest(self) -> str:
        """The model's digest; of a set, the SHA-256 over its members' digests in sorted order."""
        if len(self.members) == 1:
            return self.members[0].digest
        return sha256("\n".join(sorted(member.digest for member in self.members)).encode()).hexdigest()

    def for_stain(self, stain: Stain) -> VerifiedModel:
        """The model that serves slides of a stain (with `--stain`, of the forced one).

        Raises:
            SlideError: none does; the slide fails with this reason and is never scored by another model.
        """
        for member in self.members:
            if stain in member.card.stains:
                return member
        served = " and ".join(self.stains)
        if stain == "unknown":
            raise SlideError(say("stain-unknown", model=self.path.name, served=served), say("stain-unknown-do"))
        raise SlideError(
            say("stain-not-served", stain=stain, model=self.path.name, served=served), say("stain-not-served-do")
        )

    def digest_for(self, stain: Stain) -> str:
        """Digest of the model that serves a stain; raises as `for_look`."""
        return self.for_stain(stain).digest

    def load(self, stain: Stain) -> LoadedModel:
        """Load the model that serves a stain, and make sure that it is still the one that was verified.

        Raises:
            SlideError: as `for_look`.
            ModelError: as `load_model`, or the directory changed since this set was opened.
        """
        from mnbatch.inference.model_directory import load_model

        verified = self.for_stain(stain)
        model = load_model(verified.path)
        if model.digest != verified.digest:
            raise ModelError(
                f"The model {verified.path} changed while the program ran: digest {model.digest}, "
                f"expected {verified.digest}.",
                "Start again when no program is writing to it.",
            )
        return model

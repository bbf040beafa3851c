"""The model that scored the cells of an OUT, found again to be trained further or to describe them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.errors import MismatchError, UsageError
from mnbatch.results.manifest import read_manifest
from mnbatch.results.paths import OutPaths

if TYPE_CHECKING:
    from mnbatch.inference.catalogue import VerifiedModel
    from mnbatch.review.review_export import ScoredBy


def model_that_scored(out: Path, by: ScoredBy, given: str | None = None) -> VerifiedModel:
    """The member of a model directory that scored.

    Args:
        given: the directory or a bundled model's name; None takes the one of OUT's latest run.

    Raises:
        ModelError: it is not there, or damaged.
        MismatchError: what is there is another one.
    """
    from mnbatch.inference.catalogue import ModelSet

    settings = (read_manifest(OutPaths(out)) or {}).get("settings") or {}
    place = given or str(settings.get("model") or "")
    members = ModelSet.open(place).members if place else ()
    found = next((member for member in members if member.digest == by.digest), None)
    if found is None:
        there = ", ".join(f"{m.card.name} {m.card.version} ({m.digest[:12]})" for m in members) or "nothing"
        raise MismatchError(
            f"These cells were scored by {by.model} {by.version} ({by.digest[:12]}); {place or 'no path'} holds "
            f"{there}.",
            "Give the model that scored with --model, or run and review again.",
        )
    return found


def one_scoring(found: tuple[ScoredBy, ...], out: Path) -> ScoredBy:
    """The one stain and model of slides.

    Raises:
        UsageError: slides of two stains.
        MismatchError: of two models, or of none that is known.
    """
    stains = sorted({by.stain for by in found})
    if len(stains) > 1:
        raise UsageError(f"{out} holds slides of {' and '.join(stains)}.", "Name one of them with --stain.")
    if len(found) != 1:
        models = ", ".join(f"{by.model} {by.version} ({by.digest[:12]})" for by in found) or "no known model"
        raise MismatchError(
            f"These slides were scored by {models}.", "Run again, so that one model scores all slides, and review."
        )
    return found[0]

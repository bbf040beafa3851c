"""Whose counts a curve or a case is made of: the model's, those a person confirmed, or those of a complete review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

CountKind = Literal["automatic", "confirmed", "reviewed"]

WORDS: dict[CountKind, str] = {"automatic": "automated", "confirmed": "confirmed", "reviewed": "reviewed"}
"""How the mode of a scoring begins."""
PLURAL: dict[CountKind, str] = {
    "automatic": "automatic counts (the model's calls)",
    "confirmed": "confirmed counts (called cells that a person confirmed)",
    "reviewed": "reviewed counts (a complete review)",
}


def kind_of(scoring: Mapping[str, Any]) -> CountKind | None:
    """Of a curve's or case's scoring; None for counts by eye, or where it is not said.

    A scoring that names a model and no mode is automatic, as curves were before there were other kinds.
    """
    mode = str(scoring.get("mode") or "").strip().casefold()
    for kind, word in WORDS.items():
        if mode.startswith(word[:7] if kind == "automatic" else f"{word} (mnbatch"):
            return kind
    return "automatic" if not mode and scoring.get("model_digest") else None


def mode_of(kind: CountKind, automatic: str) -> str:
    """The mode of a scoring of this kind, from that of automatic counts ("automated (mnbatch)")."""
    return automatic.replace(WORDS["automatic"], WORDS[kind], 1)


def other_kind(case: Mapping[str, Any], curve: Mapping[str, Any]) -> str:
    """Why counts of one kind have no dose on a curve of another, and what to do; "" where they have.

    Never allowed by an option: false calls are in one of them and not in the other.
    """
    own, wanted = kind_of(case), kind_of(curve)
    if own is None or wanted is None or own == wanted:
        return ""
    return f"the curve is made of {PLURAL[wanted]}, and this case of {PLURAL[own]}: {what_to_do(own, wanted)}"


def what_to_do(own: CountKind, wanted: CountKind) -> str:
    """How a case and a curve come to be of one kind."""
    fit = f"fit a curve of the same kind (mnbatch curve fit OUT --from {own})"
    if wanted == "automatic":
        return fit
    plan = "mnbatch review plan OUT --mode confirm" if wanted == "confirmed" else "mnbatch review serve OUT"
    verb = "confirm its called cells" if wanted == "confirmed" else "complete its review"
    return f"{verb} ({plan}), or {fit}"

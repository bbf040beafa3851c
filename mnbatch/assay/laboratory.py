"""laboratory.toml: what a laboratory states of itself and of its method once, for the reports of all its batches."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mnbatch.intake import nearest, reason, short

TEXTS: Mapping[str, tuple[str, ...]] = {
    "laboratory": ("name", "address", "contact", "accreditation"),
    "method": ("protocol", "culture", "cytochalasin", "stain"),
    "report": ("uncertainty", "limits"),
}
"""Table -> its texts. `report.signatures` is a list of roles in addition."""
DEFAULT_SIGNATURES: tuple[str, ...] = ("Scored by", "Checked by", "Head of the laboratory")
LONGEST = 800
MOST_SIGNATURES = 5


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What the laboratory states.

    Attributes:
        texts: `table.key` -> text, without empty ones.
        signatures: roles of those who sign a report, in their order.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    signatures: tuple[str, ...] = DEFAULT_SIGNATURES

    def text(self, name: str) -> str:
        """A text as `table.key`; "" where it is not given."""
        return self.texts.get(name, "")


NO_LABORATORY = Laboratory()


def parse_laboratory(content: str) -> Laboratory:
    """Read the file.

    Raises:
        ValueError: no TOML, an unknown table or key, or a value that is no text; says which.
    """
    try:
        data = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid TOML: {reason(error)}") from error
    texts: dict[str, str] = {}
    signatures = DEFAULT_SIGNATURES
    for table, values in data.items():
        if table not in TEXTS or not isinstance(values, Mapping):
            raise ValueError(_unknown("table", table, TEXTS))
        for key, value in values.items():
            if (table, key) == ("report", "signatures"):
                signatures = _roles(value)
            elif key in TEXTS[table]:
                texts[f"{table}.{key}"] = _text(f"{table}.{key}", value)
            else:
                raise ValueError(_unknown(f"key in [{table}]", key, TEXTS[table]))
    return Laboratory({name: text for name, text in texts.items() if text}, signatures)


def _unknown(what: str, name: str, known: Any) -> str:
    like = nearest(name, list(known))
    return f"unknown {what}: {short(name)}; known are {', '.join(known)}" + (f". Did you mean {like}?" if like else "")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text: write it in quotation marks")
    text = " ".join(value.split())
    if len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"{name} is longer than {LONGEST} characters, or holds characters that cannot be printed")
    return text


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_SIGNATURES:
        raise ValueError(f"report.signatures is no list of at most {MOST_SIGNATURES} roles")
    return tuple(_text("report.signatures", role) for role in value)

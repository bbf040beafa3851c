"""Donor codes that a person cannot tell apart: they differ in case, blanks or invisible letters alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_BLANK = ("Z", "C")
"""First letters of the Unicode categories of blanks, and of controls and format marks, which show nothing."""


def alike_names(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more different names that read the same, each in the order of the names."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(_read_as(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def spelled(name: str) -> str:
    """A name in quotation marks, with what shows nothing spelled out: `'D1 '`, `'D1\\u200b'`."""
    letters = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    return f"'{''.join(letters)}'"


def alike_warning(name: str, others: Iterable[str]) -> str:
    """What a reader of a donor's number must know."""
    said = " and ".join(spelled(other) for other in others)
    return (
        f"the donor {spelled(name)} differs from {said} in case, blanks or invisible letters alone: if they are one "
        "person, their slides must be pooled; write one code in the sample sheet (or name the folders alike)"
    )


def _read_as(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in plain if unicodedata.category(letter)[0] not in _BLANK)

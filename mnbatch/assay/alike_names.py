"""Donor codes that a person can hardly tell apart: case, blanks, dashes, invisible letters, letters that look alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_BLANK = ("Z", "C")
"""First letters of the Unicode categories of blanks, and of controls and format marks, which show nothing."""


_LATIN = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7",
    "abekmhopctyxijs" + "abezhikmnoptyx",
)
"""Cyrillic and Greek letters of which the capitals look like Latin ones, all in lower case."""


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
        f"the donor {spelled(name)} differs from {said} in case, blanks or invisible letters, dashes or letters that "
        "look alike, and in nothing else: if they are one person, their slides must be pooled; write one code in the "
        "sample sheet (or name the folders alike)"
    )


def _read_as(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    shown = (letter for letter in plain if unicodedata.category(letter)[0] not in _BLANK)
    return "".join("-" if unicodedata.category(letter) == "Pd" else letter for letter in shown).translate(_LATIN)

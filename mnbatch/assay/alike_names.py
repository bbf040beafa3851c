"""Names that a person can hardly tell apart: case, blanks, dashes, invisible letters, letters that look alike.

Of donors' codes also those that differ in zeros before a number alone: a spreadsheet makes 7 of 007, and people write
D1 for D01. Reviewers' names have no such rule (the gallery has the same one, `readAs`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

_BLANK = ("Z", "C")
"""First letters of the Unicode categories of blanks, and of controls and format marks, which show nothing."""


_LATIN = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7",
    "abekmhopctyxijs" + "abezhikmnoptyx",
)
"""Cyrillic and Greek letters of which the capitals look like Latin ones, all in lower case."""
_LEADING_ZEROS = re.compile(r"(?<![0-9])(?<![0-9][.,])0+(?=[0-9])")
"""Before a number, not behind a decimal point: 1.05 is not 1.5."""


def alike_names(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of two or more different names that read the same, each in the order of the names."""
    return _groups(names, _read_as)


def alike_donors(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """As `alike_names`, for donors' codes: with those that differ in zeros before a number (`007` and `7`)."""
    return _groups(names, donor_read_as)


def donor_read_as(name: str) -> str:
    """What a donor's code reads as; codes that read the same may be of one person."""
    return _LEADING_ZEROS.sub("", _read_as(name))


def shows_nothing(name: str) -> bool:
    """Whether a name holds nothing but blanks and invisible letters."""
    return all(unicodedata.category(letter)[0] in _BLANK for letter in name)


def _groups(names: Iterable[str], read_as: Callable[[str], str]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(read_as(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def spelled(name: str) -> str:
    """A name in quotation marks, with what shows nothing spelled out: `'D1 '`, `'D1\\u200b'`."""
    letters = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    return f"'{''.join(letters)}'"


def alike_warning(name: str, others: Iterable[str]) -> str:
    """What a reader of a donor's number must know."""
    said = " and ".join(spelled(other) for other in others)
    return (
        f"the donor {spelled(name)} differs from {said} in case, blanks or invisible letters, dashes, letters that "
        "look alike or zeros before a number, and in nothing else: if they are one person, their slides must be "
        "pooled; write one code in the sample sheet (or name the folders alike)"
    )


def _read_as(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    shown = (letter for letter in plain if unicodedata.category(letter)[0] not in _BLANK)
    return "".join("-" if unicodedata.category(letter) == "Pd" else letter for letter in shown).translate(_LATIN)

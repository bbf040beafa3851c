"""What the parts of a file's name say: channel, focal plane, time, field and well, by an instrument or a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from mnbatch.errors import UsageError
from mnbatch.imaging.companions import field_stem
from mnbatch.imaging.instruments import INSTRUMENTS

AXES: tuple[str, ...] = ("channel", "plane", "time")
"""Placeholders of which one is read of each scene."""

PLACEHOLDERS: tuple[str, ...] = ("well", "field", "cell", *AXES)
"""What a pattern of names may hold; `field` and `cell` number the scenes of a slide."""

AUTO, PLAIN = "auto", "plain"
"""Names are recognised; each file is a cell or field of its own."""

_PLACEHOLDER = re.compile(r"\{(\w*)\}|\*|[^{}*]+|[{}]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one file's name says; "" for what it does not say.

    Attributes:
        scene: what numbers fields or cells within a well, names before the well included.
        rest: what no part of the pattern takes.
        thumbnail: it is a small version.
    """

    well: str = ""
    scene: tuple[str, ...] = ()
    channel: str = ""
    plane: str = ""
    time: str = ""
    thumbnail: bool = False

    def at(self, axis: str) -> str:
        """Its place along one of `AXES`."""
        return str(getattr(self, axis))


Parser = Callable[[str], Tokens | None]
"""Path of a file -> what its name says; None where it does not fit."""


@dataclass(frozen=True, slots=True)
class Naming:
    """A way in which files are named.

    Attributes:
        name: of the instrument, or the pattern.
        parse: reads a path.
        recognised: may be found by the names alone.
    """

    name: str
    parse: Parser
    recognised: bool = False


def naming_of(names: str) -> Naming | None:
    """The naming that `--names` says; None for `auto` and `plain`.

    Raises:
        UsageError: neither an instrument nor a pattern that can be used.
    """
    if names in (AUTO, PLAIN):
        return None
    for known in instruments():
        if known.name == names:
            return known
    if "{" not in names:
        raise UsageError(f"Unknown names '{names}'.", _advice())
    return Naming(names, _parser(_compiled(names), in_folder=True))


@cache
def instruments() -> tuple[Naming, ...]:
    """All of the table."""
    return tuple(
        Naming(one.name, _parser(re.compile(one.pattern, re.IGNORECASE | re.DOTALL), in_folder=True), one.recognised)
        for one in INSTRUMENTS
    )


def tokens_of_groups(groups: Mapping[str, str | None], folder: str = "", rest: str = "") -> Tokens:
    """Tokens of the named groups of a pattern.

    Args:
        folder: of the file, where a scene has all of its files in one.
        rest: what no group takes; scenes that differ in it are not the same.
    """
    known = {name.rstrip("_"): text for name, text in groups.items() if text is not None}
    well = known.get("well", "")
    if "row" in known and "column" in known:
        well = f"r{known['row']}c{known['column']}"
    scene = tuple(known.get(name, "") for name in ("name", "field", "cell"))
    axes = {axis: known.get(axis, "") for axis in AXES}
    return Tokens(well, (folder, *scene, rest), **axes, thumbnail="thumbnail" in known)


def _parser(regex: re.Pattern[str], *, in_folder: bool) -> Parser:
    def parse(path: str) -> Tokens | None:
        folder, _, name = path.rpartition("/")
        match = regex.fullmatch(field_stem(name))
        return None if match is None else tokens_of_groups(match.groupdict(), folder if in_folder else "")

    return parse


def _compiled(pattern: str) -> re.Pattern[str]:
    fields = re.findall(r"\{(\w*)\}", pattern)
    wrong = [field for field in fields if field not in PLACEHOLDERS]
    problem = ""
    if wrong:
        problem = f"{{{wrong[0]}}} is not a placeholder of names"
    elif len(set(fields)) != len(fields):
        problem = "a placeholder is used twice"
    elif re.sub(r"\{\w*\}", "", pattern).strip("{}") != re.sub(r"\{\w*\}", "", pattern):
        problem = "a brace is not closed"
    elif "}{" in pattern:
        problem = "two placeholders have no text between them"
    elif "/" in pattern:
        problem = "it holds a folder; use the placeholders in --layout"
    if problem:
        raise UsageError(f"The names '{pattern}' cannot be used: {problem}.", _advice())
    return re.compile("".join(_expressions(pattern)), re.IGNORECASE | re.DOTALL)


def _expressions(pattern: str) -> Iterable[str]:
    stem = re.sub(r"\.(?:\{ext\}|tiff?|png|jpe?g|bmp)$", "", pattern, flags=re.IGNORECASE)
    for token in _PLACEHOLDER.finditer(stem):
        if token.group(1) is not None:
            yield f"(?P<{token.group(1)}>.+?)"
        else:
            yield ".*" if token.group(0) == "*" else re.escape(token.group(0))


def _advice() -> str:
    known = ", ".join(one.name for one in INSTRUMENTS)
    return (
        f"Use auto, plain, one of {known}, or a pattern of the file names such as '{{field}}_z{{plane}}_{{channel}}'."
    )

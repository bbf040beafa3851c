"""Why a cell, a field or a slide is not counted, as data: a code of one table, and parameters.

A `Reason` is a string, its text as a person reads it, and keeps what it was made of. So it can be rendered again after
the names in it have been replaced by codes (`mnbatch run --pseudonymise`). What is a name of the export, or text that
was written elsewhere (the message of a library or of the operating system), says so by its type; all else is plain.
Text that is no `Reason` is not shared at all under pseudonyms: nobody can say what it holds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mnbatch.assay.reason_texts import TEXTS

LONGEST = 80
"""Letters of a message of another program that are shown."""

WITHHELD = "withheld"

Coder = Callable[[str, str], str]
"""Kind and name -> the code that stands for the name."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name or a path of the export.

    Attributes:
        kind: what it names: slide, file, mask, folder; names of one kind share their codes.
    """

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Text that mnbatch did not write, which may hold any name.

    Attributes:
        instead: what is said in its place where names are coded.
    """

    text: str
    instead: str


class Reason(str):
    """A reason; made by `say`.

    Attributes:
        code: its line in `mnbatch.assay.reason_texts`; stable.
        parameters: what stands in the braces of that line.
    """

    __slots__ = ("code", "parameters")
    code: str
    parameters: Mapping[str, Parameter]

    def __new__(cls, code: str, parameters: Mapping[str, Parameter]) -> Reason:
        """Render the text of a code."""
        made = super().__new__(cls, TEXTS[code].format_map({n: _shown(value) for n, value in parameters.items()}))
        made.code, made.parameters = code, dict(parameters)
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, Parameter]]:  # type: ignore[override]
        """What a copy, or another process, makes it from."""
        return self.code, self.parameters

    def render(self) -> str:
        """The text, and nothing else."""
        return str.__str__(self)

    def coded(self, coder: Coder) -> Reason:
        """The same reason with codes in place of names, and without text that was written elsewhere."""
        return Reason(self.code, {name: _coded(value, coder) for name, value in self.parameters.items()})


Parameter = int | float | str | Named | Foreign | Reason


def say(code: str, **parameters: Parameter) -> Reason:
    """The reason of a code; a plain text among the parameters is one that cannot hold a name of the export."""
    return Reason(code, parameters)


def foreign(error: BaseException) -> Parameter:
    """What an exception says: a reason stays one; the message of another program is `Foreign`, on one short line."""
    if error.args and isinstance(error.args[0], Reason):
        return error.args[0]
    return Foreign(brief(error), type(error).__name__)


def foreign_os(error: OSError) -> Foreign:
    """What the operating system says, without the path."""
    code = errno.errorcode.get(error.errno, "") if error.errno is not None else ""
    return Foreign(str(error.strerror or error), code or type(error).__name__)


def reason_of(error: BaseException) -> str:
    """The reason that an exception carries, or its message."""
    return error.args[0] if error.args and isinstance(error.args[0], Reason) else str(error)


def brief(error: BaseException) -> str:
    """Message of an error on one line of at most 80 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def shareable(text: str, coder: Coder) -> str:
    """A reason (or advice) as it may leave a pseudonymised run; text of unknown origin is withheld."""
    if isinstance(text, Reason):
        return text.coded(coder)
    return text if not text or text in _LITERAL else say(WITHHELD)


def one_of(kind: str, name: str) -> str:
    """A coder for where there are no codes: says only what is named."""
    return f"a {kind}"


_LITERAL = frozenset(text for text in TEXTS.values() if "{" not in text)


def _shown(value: Parameter) -> int | float | str:
    if isinstance(value, Named):
        return _writable(value.value)
    return _writable(value.text) if isinstance(value, Foreign) else value


def _writable(text: str) -> str:
    """Text that can be written as UTF-8: bytes of a file's name that are none are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _coded(value: Parameter, coder: Coder) -> Parameter:
    if isinstance(value, Named):
        return coder(value.kind, value.value)
    if isinstance(value, Foreign):
        return value.instead
    return value.coded(coder) if isinstance(value, Reason) else value

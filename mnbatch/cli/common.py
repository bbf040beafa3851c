"""What commands share: numbers as they are typed, and slides that are not counted, on stderr and in the exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, UsageError

if TYPE_CHECKING:
    from mnbatch.app.rebuild import Rebuilt
    from mnbatch.results.roster import Missing


# Numbers as commands take them: `inf` and `nan` are floats to Python, and a setting of nothing here.


class App(typer.Typer):
    """A Typer whose commands all refuse numbers that are not finite."""

    def command(self, *args: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]
        """As Typer's."""
        register = super().command(*args, **options)
        return lambda function: register(_with_finite_numbers(function))


def _with_finite_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def checked(**values: Any) -> Any:
        for name, value in values.items():
            for number in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(number, float) and number - number != 0:
                    option = "--" + name.replace("_", "-")
                    raise UsageError(
                        f"{option} cannot be {number}: it is not a number that can be used.", "See --help."
                    )
        return function(**values)

    return checked


# Slides that belong to what a command was asked for and are not counted: named on stderr, and an exit code.


def counted(number: int, singular: str, several: str | None = None) -> str:
    """counted(1, 'slide') -> '1 slide', counted(3000, 'slide') -> '3000 slides': digits that programs can read."""
    return f"{number} {singular if number == 1 else several or singular + 's'}"


def name_missing(missing: Sequence[Missing]) -> int:
    """Name the slides without a count; returns the exit code."""
    for slide in missing:
        typer.echo(f"not counted: {slide}", err=True)
    return EXIT_SLIDES_FAILED if missing else EXIT_OK


def say_notes(notes: Sequence[str]) -> None:
    """Notes for the user on stderr."""
    for note in notes:
        typer.echo(f"mnbatch: {note}", err=True)


def say_rebuilt(done: Rebuilt) -> None:
    """Where the reports are, and notes for the user on stderr."""
    say_notes(done.notes)
    say_notes([done.controls] if done.controls else [])
    name_missing(done.missing)
    typer.echo(done.text)


def as_json(missing: Sequence[Missing]) -> list[dict[str, Any]]:
    """The same for a JSON document."""
    return [asdict(slide) for slide in missing]

"""Numbers as commands take them: `inf` and `nan` are floats to Python, and a setting of nothing here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from mnbatch.errors import UsageError


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
                    raise UsageError(f"{option} cannot be {number}: it is no number that can be used.", "See --help.")
        return function(**values)

    return checked

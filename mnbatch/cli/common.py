"""What commands share: numbers as they are typed, and slides that are not counted, on stderr and in the exit code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, UsageError

if TYPE_CHECKING:
    from mnbatch.app.rebuild import Rebuilt
    from mnbatch.results.roster import Missing


# Numbers as commands take them: `inf` and `nan` are floats to Python, and a setting of nothing here.


class App(typer.Typer):
    """A Typer whose commands all refuse numbers that are not finite, and take options from a settings file."""

    def command(self, *args: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]
        """As Typer's."""
        register = super().command(*args, **options)
        return lambda function: register(_with_finite_numbers(function))


def _with_finite_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def checked(**values: Any) -> Any:
        values.pop(CONFIG)
        for name, value in values.items():
            for number in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(number, float) and number - number != 0:
                    option = "--" + name.replace("_", "-")
                    raise UsageError(
                        f"{option} cannot be {number}: it is not a number that can be used.", "See --help."
                    )
        return function(**values)

    own = inspect.signature(function, eval_str=True)
    more = inspect.Parameter(CONFIG, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Config)
    checked.__signature__ = own.replace(parameters=[*own.parameters.values(), more])  # type: ignore[attr-defined]
    return checked


# A settings file for every command: `[status]` holds options of `mnbatch status`, `[curve.fit]` those of `curve fit`.


CONFIG = "config"
_config: ContextVar[Path | None] = ContextVar("config", default=None)


def config_file() -> Path | None:
    """The settings file that the present command was given."""
    return _config.get()


def _take_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a command's table of the settings file give what was not typed. `run` reads its own table."""
    _config.set(path)
    names = _names(context)
    if path is not None and names != ["run"]:
        context.default_map = _defaults(path, names, _parameters(context))
    return path


_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=_take_config,
        is_eager=True,
        envvar="MNBATCH_CONFIG",
        show_envvar=False,
        help="Settings file (TOML) with a table for each command; or name it in MNBATCH_CONFIG.",
    ),
]


def _names(context: typer.Context) -> list[str]:
    """['curve', 'fit'] for `mnbatch curve fit`."""
    found: list[str] = []
    at: Any = context
    while at.parent is not None:
        found.insert(0, str(at.info_name))
        at = at.parent
    return found


def _parameters(context: typer.Context) -> dict[str, str]:
    """Name in a settings file -> name of the parameter: long options without hyphens, arguments by their name."""
    found: dict[str, str] = {}
    for one in context.command.params:
        if one.name is None or one.name in (CONFIG, "help"):
            continue
        options = [name for name in one.opts if name.startswith("--")]
        found |= {_key(name): one.name for name in options or [one.name]}
    return found


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _defaults(path: Path, names: Sequence[str], known: Mapping[str, str]) -> dict[str, Any]:
    from mnbatch.intake import nearest, short
    from mnbatch.settings import read_settings_file

    table: Any = read_settings_file(path)
    for name in names:
        table = table.get(name, {}) if isinstance(table, dict) else {}
    found: dict[str, Any] = {}
    for name, value in table.items():
        if _key(name) not in known:
            like = nearest(_key(name), known)
            raise UsageError(
                f"The settings file {path} has an unknown key in [{'.'.join(names)}]: {short(name)}.",
                f"{f'Did you mean {like}? ' if like else ''}Known keys: {', '.join(sorted(known))}.",
            )
        found[known[_key(name)]] = value
    return found


# Slides that belong to what a command was asked for and are not counted: named on stderr, and an exit code.


def counted(number: int, singular: str, several: str | None = None) -> str:
    """counted(1, 'slide') -> '1 slide', counted(3000, 'slide') -> '3000 slides': digits that programs can read."""
    return f"{number} {singular if number == 1 else several or singular + 's'}"


def name_missing(missing: Sequence[Missing]) -> int:
    """Name the slides without a count; returns the exit code, 0 where all of them are acknowledged."""
    for slide in missing:
        typer.echo(f"not counted: {slide}", err=True)
    return EXIT_SLIDES_FAILED if any(not slide.acknowledged for slide in missing) else EXIT_OK


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

"""The command line made of its commands; typer is imported here, and where a command is declared."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from mnbatch import __version__
from mnbatch.cli.common import App


def build(commands: Mapping[str, str], names: Iterable[str]) -> App:
    """The command line with some of its commands, in their order.

    Args:
        commands: command, also the name of its module -> what it is there.
    """
    made = App(
        help="Micronucleus frequencies from slide-scanner exports: crawl, score, report, review.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    typer.Typer.callback(made)(_root)
    for name in names:
        found = getattr(importlib.import_module(f"mnbatch.cli.{name}"), commands[name])
        if isinstance(found, App):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mnbatch {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of mnbatch itself."""

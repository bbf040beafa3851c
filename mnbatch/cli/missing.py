"""Slides that belong to what a command was asked for and are not counted: named on stderr, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED

if TYPE_CHECKING:
    from mnbatch.results.roster import Missing


def name_missing(missing: Sequence[Missing]) -> int:
    """Name them; the exit code that goes with it."""
    for slide in missing:
        typer.echo(f"not counted: {slide}", err=True)
    return EXIT_SLIDES_FAILED if missing else EXIT_OK


def as_json(missing: Sequence[Missing]) -> list[dict[str, Any]]:
    """The same for a JSON document."""
    return [asdict(slide) for slide in missing]

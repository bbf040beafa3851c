"""`mnbatch ack`: a slide that failed for good is known to have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import UsageError


def ack(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    slide: Annotated[str, typer.Option(help="The slide that failed: slide_id, path or name.")],
    reason: Annotated[
        str | None, typer.Option(help="Why nothing can be done about it; shown in tables and on pages.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; otherwise the user of this computer.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back what was said of this slide.")] = False,
) -> None:
    """Acknowledge a slide that failed for good, so that exit code 3 means something new.

    It stays failed in every table and on every page, with who acknowledged it, when and why. When a file of the slide
    changes, or it fails for another reason, the acknowledgement is void. Kept in annotations/acknowledged.jsonl.

    Exit codes: 0 acknowledged; 2 no such slide, it has not failed, or its failure may pass; 4 OUT holds no results; 10
    unreadable or disk full.
    """
    from mnbatch.app.acknowledging import acknowledge_slide
    from mnbatch.cli.common import say_notes

    if withdraw == bool(reason and reason.strip()):
        raise UsageError("Give either --reason TEXT or --withdraw.", "A reason says why nothing can be done.")
    done = acknowledge_slide(out, slide, "" if withdraw else reason or "", by)
    said = done.said
    typer.echo(f"{said.slide_id}: {said.text if said.reason else 'no longer acknowledged'}")
    say_notes(done.rebuilt.notes)
    typer.echo(done.rebuilt.text)

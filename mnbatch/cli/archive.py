"""`mnbatch archive`: an OUT that is kept for years takes less room."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED


def archive(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Also leave out crops, maps and overviews, for good.")
    ] = False,
) -> None:
    """Fold an OUT that is reviewed and signed: galleries go, whose pictures are also in the store; all results stay.

    `mnbatch report OUT --gallery 24` makes the galleries again, unless --no-pictures was given. Every slide is checked
    before and after; tables must be the same bytes. `mnbatch run` on the same export makes galleries again, too.

    Exit codes: 0 done; 3 done, and a slide is damaged or a table changed, each named; 4 OUT holds no results; 10
    unreadable or disk full; 11 OUT is held by a run.
    """
    from mnbatch.app.archive_service import archive as archive_out
    from mnbatch.cli.common import counted, say_notes

    done = archive_out(out, pictures=not no_pictures)
    typer.echo(f"{done.before / 1e6:.1f} MB before, {done.after / 1e6:.1f} MB now")
    if no_pictures:
        typer.echo(f"pictures left out of {counted(len(done.slides), 'slide')}")
    for name in done.skipped:
        typer.echo(f"damaged, left as it is: {name}", err=True)
    for name in done.altered:
        typer.echo(f"{name} is not what it was: compare it with a copy", err=True)
    say_notes(done.rebuilt.notes)
    typer.echo(done.rebuilt.text)
    raise typer.Exit(EXIT_SLIDES_FAILED if done.skipped or done.altered else EXIT_OK)

"""`mnbatch history`: one control chart over many batches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnbatch.cli.common import counted, name_missing


def history(
    root: Annotated[Path, typer.Argument(help="Folder with the OUT directories of batches at any depth.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write.")] = Path("control-chart.html"),
) -> None:
    """Draw a control chart over the batches below ROOT: a drift in background or in scores shows.

    Limits are given for at least five batches of one model and threshold. Exit codes: 0 drawn; 3 drawn, and slides of
    these batches are not counted; 4 there is no batch below ROOT; 10 unreadable or disk full.
    """
    from mnbatch.app.inspection import draw_history

    done = draw_history(root, out)
    for point in done.outside:
        typer.echo(f"outside the limits: {point.folder}: {point.per_1000:.1f} MNBN per 1000")
    for point in done.ahead:
        typer.echo(f"has a time in the future: {point.folder}: {point.finished}", err=True)
    typer.echo(f"{counted(len(done.points), 'batch', 'batches')}: {out}")
    raise typer.Exit(name_missing(done.missing))

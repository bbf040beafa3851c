"""`mnbatch history`: one control chart over many batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import NoInputError


def history(
    root: Annotated[Path, typer.Argument(help="Folder below which the OUT directories of batches lie.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write.")] = Path("control-chart.html"),
) -> None:
    """Draw a control chart over the batches below ROOT: a drift in background or in scores shows.

    Limits are given for at least five batches of one model and threshold. Exit codes: 0 drawn; 3 drawn, and slides of
    these batches are not counted; 4 there is no batch below ROOT; 10 unreadable or disk full.
    """
    from mnbatch.cli.common import name_missing
    from mnbatch.files import write_out_file
    from mnbatch.report.control_charts import chart_page, find_batches, limits, outside

    points = find_batches(root.resolve())
    if not points:
        raise NoInputError(
            f"There is no batch of mnbatch below {root}.", "Give the folder that holds the --out folders."
        )
    write_out_file(out.resolve(), chart_page(points))
    for method in dict.fromkeys(point.method for point in points):
        of = [point for point in points if point.method == method]
        chart = limits([point.per_1000 for point in of if point.per_1000 is not None])
        for point in of:
            if outside(point.per_1000, chart):
                typer.echo(f"outside the limits: {point.folder}: {point.per_1000:.1f} MNBN per 1000")
    for point in points:
        if point.ahead:
            typer.echo(f"says a time that is still to come: {point.folder}: {point.finished}", err=True)
    typer.echo(f"{len(points)} batches: {out}")
    missing = [
        replace(slide, slide_id=f"{point.folder}/{slide.slide_id}") for point in points for slide in point.missing
    ]
    raise typer.Exit(name_missing(missing))

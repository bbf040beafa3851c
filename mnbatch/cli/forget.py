"""`mnbatch forget`: a slide's or a donor's data leave OUT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED


def forget(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    slide: Annotated[str | None, typer.Option(help="slide_id, path or name; its copies go with it.")] = None,
    donor: Annotated[str | None, typer.Option(help="Code as in donors.csv: all slides of this donor.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Remove a slide or a donor from OUT: results, pages, reviews, sign-offs, sample sheet, logs and codes.

    What stays is a line in annotations/forgotten.jsonl: when, by whom, how many slides and cells, without names. A kill
    in between is completed by the next command that holds OUT. Copies of OUT, exported tables, PDFs, control charts and
    the export itself are not touched.

    Exit codes: 0 removed; 3 removed, and files of OUT still mention it; 2 no such slide or donor; 4 OUT holds no
    results; 10 unreadable or disk full; 11 OUT is held by a run.
    """
    from mnbatch.app.forgetting_service import as_document
    from mnbatch.app.forgetting_service import forget as forget_in
    from mnbatch.cli.common import counted

    found = forget_in(out, slide=slide, donor=donor, dry_run=dry_run)
    if as_json:
        typer.echo(as_document(found))
    else:
        would = "would be removed" if dry_run else "removed"
        size = f"{found.files} files, {found.bytes / 1e6:.1f} MB"
        typer.echo(f"{would}: {counted(len(found.slides), 'slide')}, {counted(found.cells, 'cell')}, {size}")
        for name in found.slides if dry_run else ():
            typer.echo(f"slide {name}")
        for name in found.donors if dry_run else ():
            typer.echo(f"donor {name}, of whom nothing would stay")
    for name in found.still_there:
        typer.echo(f"still in the export, so the next run scores it again: {name}", err=True)
    for name in found.left:
        typer.echo(f"still mentioned in {name}: see to it", err=True)
    raise typer.Exit(EXIT_SLIDES_FAILED if found.left else EXIT_OK)

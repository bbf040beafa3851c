"""`mnbatch validate`: what a laboratory's own data show of the method, against limits that it set itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED


def validate(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run` over the validation slides.")],
    to: Annotated[Path, typer.Option("--out", help="Folder for index.html and validation.json, not within OUT.")],
    protocol: Annotated[
        Path | None,
        typer.Option("--protocol", help="TOML file with the acceptance limits that the laboratory set before."),
    ] = None,
    repeat: Annotated[
        Path | None, typer.Option("--repeat", help="OUT of a second measurement of the same slides.")
    ] = None,
    blind: Annotated[
        Path | None,
        typer.Option("--blind", help="Doses of blind samples: a table with donor and dose_gy."),
    ] = None,
) -> None:
    """Make the dossier of a laboratory's validation: one page and JSON (docs/validation.md).

    Sensitivity and specificity by slide, repeatability, agreement with scorers, doses of blind samples. A part without
    data states what is missing. Nothing here claims conformity with a standard or clinical validity.

    Exit codes: 0 no limits were set, or all are met; 3 a limit is not met, is open, or has no data; 2 a file cannot be
    used; 4 OUT holds no results; 10 unreadable or disk full; 11 OUT is held by a run.
    """
    from mnbatch.app.validation_service import make_dossier, write_dossier
    from mnbatch.cli.common import name_missing

    dossier = make_dossier(out, protocol=protocol, repeat=repeat, blind=blind)
    page = write_dossier(dossier, out, to)
    name_missing(dossier.missing)
    for one in dossier.judged:
        if one.verdict != "met":
            typer.echo(f"{one.verdict}: {one.name} ({one.words}), wanted {one.side} {one.limit:g}")
    met = sum(one.verdict == "met" for one in dossier.judged)
    typer.echo(f"limits: {len(dossier.judged)} set, {met} met" if dossier.judged else "limits: none were set")
    typer.echo(f"dossier: {page}")
    raise typer.Exit(EXIT_OK if dossier.accepted or not dossier.judged else EXIT_SLIDES_FAILED)

"""`mnbatch status`: what an OUT holds, what its latest run did, and whether somebody has to look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def status(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    max_age: Annotated[
        str | None, typer.Option(help="A latest run that ended longer ago is too old: 90m, 26h, 7d.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the line that says whether to look.")] = False,
) -> None:
    """Report what is done, failed, waiting and running in OUT; the first line says whether somebody has to look.

    Exit codes: 0 nobody has to; 6 the latest run failed, could not start, or was stopped or killed; 7 it is older than
    --max-age, or has been going on for longer; 3 slides failed or wait for too long; 8 slides wait for files, or were
    planned and not scored; 4 OUT holds no results. The first of these that is true is given, and the line names all.
    """
    from mnbatch.cli.status_text import print_status

    raise typer.Exit(print_status(out, as_json=as_json, max_age=max_age, quiet=quiet))

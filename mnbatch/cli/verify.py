"""`mnbatch verify`: whether OUT still holds what was written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED


def verify(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check everything in OUT that has a checksum: records, scores, pictures, annotations, trails, tables and pages.

    Nothing is changed. Accidents and edits by hand are found, but not new checksums made on purpose: they are
    not a signature.

    Exit codes: 0 all is as it was written; 3 something is damaged, altered or missing, each named with what to do; 4
    OUT holds no results.
    """
    from mnbatch.app.inspection import verify_results

    found = verify_results(out)
    if as_json:
        content = {"out": str(out), "files": found.files, "findings": [asdict(one) for one in found.findings]}
        typer.echo(json.dumps(content, indent=1))
    else:
        for one in found.findings:
            typer.echo(f"{one.state}: {one.path}: {one.text}")
            if one.next_step:
                typer.echo(f"  {one.next_step}")
        unknown = len(found.findings) - len(found.wrong)
        typer.echo(f"{found.files} files: {len(found.wrong)} wrong, {unknown} not checkable")
    raise typer.Exit(EXIT_SLIDES_FAILED if found.wrong else EXIT_OK)

"""`mnbatch status`: what an OUT holds, what its latest run did, and whether somebody has to look."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.cli.common import counted

if TYPE_CHECKING:
    from mnbatch.app.out_status import OutStatus


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
    --max-age, or has been going on for longer; 3 slides failed or wait for too long; 8 slides wait for files; 4 OUT
    holds no results. The first of these that is true is given, and the line names all of them.
    """
    from mnbatch.app.out_status import out_status, seconds_of

    found = out_status(out, max_age=None if max_age is None else seconds_of(max_age))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        typer.echo(found.verdict if quiet else _as_text(found))
    raise typer.Exit(found.exit_code)


def _as_text(found: OutStatus) -> str:
    run = found.latest_run
    new = sum(not slide.scored for slide in found.waiting)
    more = f", {new} waiting" if new else ""
    lines = [
        found.verdict,
        f"{found.out}: {counted(found.slides, 'slide')}, {found.done} done, {len(found.failed)} failed{more}",
        f"latest run: {run.get('status', 'unknown')}, started {run.get('started')}, exit code {run.get('exit_code')}",
    ]
    if "workers" in run:
        lines.append(f"workers of the cluster: {run['workers']}")
    if found.held_by:
        lines.append(f"held by {found.held_by}")
    lines += [f"failed: {slide.slide_id}: {slide.reason}" for slide in found.failed]
    lines += [f"{'newer files' if s.scored else 'waiting'}: {s.slide_id}: {s.reason}" for s in found.waiting]
    lines += [f"copy, counted once: {slide_id}" for slide_id in found.copies]
    return "\n".join(lines)

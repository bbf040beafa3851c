"""`mnbatch status`: what an OUT holds and what its latest run did."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.cli.common import counted
from mnbatch.errors import EXIT_SLIDES_FAILED

if TYPE_CHECKING:
    from mnbatch.app.inspection import OutStatus


def status(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Report what is done, failed, waiting and running in OUT.

    Exit code 3 if slides failed or wait for too long, as for `run`.
    """
    from mnbatch.app.inspection import out_status

    found = out_status(out)
    typer.echo(json.dumps(asdict(found), indent=1) if as_json else _as_text(found))
    overdue = any(slide.overdue for slide in found.waiting)
    raise typer.Exit(EXIT_SLIDES_FAILED if found.failed or overdue else 0)


def _as_text(found: OutStatus) -> str:
    run = found.latest_run
    new = sum(not slide.scored for slide in found.waiting)
    more = f", {new} waiting" if new else ""
    lines = [
        f"{found.out}: {counted(found.slides, 'slide')}, {found.done} done, {len(found.failed)} failed{more}",
        f"latest run: {run.get('status', 'unknown')}, started {run.get('started')}, exit code {run.get('exit_code')}",
    ]
    if found.held_by:
        lines.append(f"held by {found.held_by}")
    lines += [f"failed: {slide.slide_id}: {slide.reason}" for slide in found.failed]
    lines += [f"{'newer files' if s.scored else 'waiting'}: {s.slide_id}: {s.reason}" for s in found.waiting]
    lines += [f"copy, counted once: {slide_id}" for slide_id in found.copies]
    return "\n".join(lines)

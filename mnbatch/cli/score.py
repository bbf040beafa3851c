"""`mnbatch score`: some slides of a plan, for the jobs of a batch system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnbatch.errors import UsageError


def score(
    out: Annotated[Path, typer.Argument(help="Output directory of the plan.")],
    slides: Annotated[Path, typer.Option("--slides", help="Plan of `mnbatch run --plan-only --json`.")],
    run: Annotated[
        str | None,
        typer.Option("--run", help="Token that all jobs of one run share (default: the plan's)."),
    ] = None,
    part: Annotated[str | None, typer.Option("--part", help="K/N: the K-th of N parts of the plan, from 1.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N, in place of the plan's.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that decode, in place of the plan's.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong, on stderr.")] = False,
) -> None:
    """Score slides of a plan and commit each as a run would; several jobs with the same token may do so at once. Makes
    no report: `mnbatch report OUT --after TOKEN` does when all jobs have ended.

    Exit codes: 0 all slides scored; 2 usage; 3 some slides failed, or wait for their files by the plan; 4 no input;
    5 other versions, models or OUT than the plan's; 10 unreadable or disk full; 11 OUT is held by another run; 12 model
    missing or altered; 130/143 interrupted (the same command goes on).
    """
    from mnbatch.console import ConsoleProgress
    from mnbatch.pipeline.planned_scoring import Share, score_planned

    share = Share(run or "", _part(part), device, workers)
    with ConsoleProgress(quiet=quiet) as progress:
        done = score_planned(out, slides, share, progress)
    if not quiet:
        there = f", {len(done.there)} were there" if done.there else ""
        waiting = f", {len(done.waiting)} waiting" if done.waiting else ""
        typer.echo(f"slides: {len(done.scored)} scored, {len(done.failed)} failed{there}{waiting}")
    raise typer.Exit(done.exit_code)


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal()) or not 1 <= int(first) <= int(last) <= 10**6:
        raise UsageError(f"--part cannot be {text[:40]!r}.", "Give K/N with K from 1 to N, such as 3/40.")
    return int(first), int(last)

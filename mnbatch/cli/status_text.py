"""What `mnbatch status` prints, and its way past typer, whose start takes longer than reading an OUT."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnbatch.app.out_status import OutStatus, WaitingSlide


def quick_status(words: Sequence[str]) -> int | None:
    """`status` in the shapes that monitors use: prints, and gives the exit code.

    Returns:
        None for everything else (another command, --help, --config, a slip): typer reads the words then.
    """
    if list(words[:1]) != ["status"] or "MNBATCH_CONFIG" in os.environ:
        return None
    if any(name.endswith("_COMPLETE") for name in os.environ):
        return None
    flags: set[str] = set()
    given: list[str] = []
    max_age: str | None = None
    left = list(words[1:])
    while left:
        word = left.pop(0)
        if word in ("--json", "--quiet", "-q"):
            flags.add(word)
        elif word == "--max-age" and left and not left[0].startswith("-"):
            max_age = left.pop(0)
        elif word.startswith("-") or not word:
            return None
        else:
            given.append(word)
    if len(given) != 1:
        return None
    quiet = bool(flags & {"--quiet", "-q"})
    return print_status(Path(given[0]), as_json="--json" in flags, max_age=max_age, quiet=quiet)


def print_status(out: Path, *, as_json: bool, max_age: str | None, quiet: bool) -> int:
    """Print the status of OUT; returns the exit code.

    Raises:
        NoInputError: OUT holds no results.
        UsageError: `max_age` is no time.
    """
    from mnbatch.app.out_status import out_status, seconds_of

    found = out_status(out, max_age=None if max_age is None else seconds_of(max_age))
    text = json.dumps(asdict(found), indent=1) if as_json else found.verdict if quiet else _as_text(found)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return found.exit_code


def _as_text(found: OutStatus) -> str:
    from mnbatch.app.out_status import said_of_controls

    run = found.latest_run
    new = sum(not slide.scored for slide in found.waiting)
    more = f", {new} waiting" if new else ""
    lines = [
        found.verdict,
        f"{found.out}: {_counted(found.slides, 'slide')}, {found.done} done, {len(found.failed)} failed{more}",
        _run_text(found),
    ]
    if "workers" in run:
        lines.append(f"workers of the cluster: {run['workers']}")
    if found.held_by:
        lines.append(f"held by {found.held_by}")
    lines += [said_of_controls(found.controls)] if found.controls else []
    lines += [f"failed: {slide.slide_id}: {slide.reason}" for slide in found.failed]
    lines += [f"{_kind_of_wait(slide)}: {slide.slide_id}: {slide.reason}" for slide in found.waiting]
    lines += [f"in no slide: {sentence}" for sentence in found.not_in_any_slide]
    lines += [f"copy, counted once: {slide_id}" for slide_id in found.copies]
    return "\n".join(lines)


def _run_text(found: OutStatus) -> str:
    run = found.latest_run
    if not run:
        return "latest run: not known, since OUT has no manifest.json: its slides were scored by jobs, or it is a copy"
    code = "" if run.get("exit_code") is None else f", exit code {run['exit_code']}"
    return f"latest run: {run.get('status') or 'not known'}, started {run.get('started') or 'at no known time'}{code}"


def _kind_of_wait(slide: WaitingSlide) -> str:
    if not slide.scored:
        return "waiting"
    return "not scored again" if slide.planned else "newer files"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

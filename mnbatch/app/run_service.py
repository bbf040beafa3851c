"""A run with what belongs to its end, however it ends: `OUT/summary.md`, and the command of `--on-finish`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.app.finishing import tell_command
from mnbatch.app.night_summary import night
from mnbatch.console import RunProgress, SilentProgress
from mnbatch.errors import EXIT_INTERNAL, Interrupted, LockHeldError, MnbatchError
from mnbatch.files import as_storage_error
from mnbatch.results.lock import hold_out
from mnbatch.results.manifest import note
from mnbatch.results.out_files import write_atomically
from mnbatch.results.paths import OutPaths

if TYPE_CHECKING:
    from mnbatch.pipeline.run import RunOutcome
    from mnbatch.settings import ResolvedSettings, RunSettings


def run_and_tell(resolved: ResolvedSettings, progress: RunProgress | None = None) -> RunOutcome:
    """As `mnbatch.pipeline.run.run`; then the summary is written, and the command of `--on-finish` is told.

    Neither changes the run's results or its exit code: what goes wrong with them is a warning.

    Raises:
        MnbatchError, Interrupted: as the run.
    """
    from mnbatch.pipeline.run import run

    progress = progress or SilentProgress()
    settings = resolved.settings
    try:
        outcome = run(resolved, progress)
    except MnbatchError as error:
        code = error.code if isinstance(error, Interrupted) else error.exit_code
        _finish(settings, None, error, code, progress)
        raise
    except Exception as error:
        known = as_storage_error(error)
        _finish(settings, None, known, EXIT_INTERNAL if known is None else known.exit_code, progress)
        raise
    _finish(settings, outcome, None, outcome.exit_code, progress)
    return outcome


@dataclass(frozen=True, slots=True)
class PlannedSlide:
    """What a run would do with a slide.

    Attributes:
        action: score, call (re-threshold), touch or keep (nothing), wait, copy.
        files, bytes: that would be read.
    """

    slide_id: str
    path: str
    action: str
    why: str
    files: int
    bytes: int


def plan_of_run(resolved: ResolvedSettings) -> tuple[list[PlannedSlide], list[str]]:
    """What a run with these settings would do now; nothing is written, and OUT is not held.

    Returns:
        Its slides, and sentences about images and empty folders that are in no slide.

    Raises:
        MnbatchError: what would stop the run before its first slide.
    """
    from mnbatch.pipeline.run import plan_only

    plans, unplaced = plan_only(resolved.settings)
    planned = [
        PlannedSlide(
            slide_id=plan.slide.slide_id,
            path=plan.slide.path,
            action=plan.action,
            why=plan.why,
            files=len(plan.slide.files),
            bytes=sum(file.size for file in plan.slide.files),
        )
        for plan in plans
    ]
    return planned, unplaced


def plan_text(resolved: ResolvedSettings) -> tuple[Iterator[str], list[str]]:
    """The same, the slides as one JSON document, in pieces, with all that `mnbatch score` needs.

    Raises:
        MnbatchError: what would stop the run before its first slide.
    """
    from mnbatch.inference.catalogue import ModelSet
    from mnbatch.pipeline.plan_file import plan_lines
    from mnbatch.pipeline.run import plan_only

    plans, unplaced = plan_only(resolved.settings)
    models = ModelSet.open(resolved.settings.model)
    return plan_lines(plans, resolved.settings, models, unplaced), unplaced


def _finish(
    settings: RunSettings,
    outcome: RunOutcome | None,
    error: MnbatchError | None,
    exit_code: int,
    progress: RunProgress,
) -> None:
    paths = OutPaths(settings.out.resolve())
    content = night(settings.out, outcome, error, exit_code)
    if not isinstance(error, LockHeldError):
        # Of another run's OUT nothing is written; its own summary comes when it ends.
        _write_summary(paths, str(content["summary"]), progress)
    if settings.on_finish:
        wrong = tell_command(settings.on_finish, content, settings.on_finish_seconds)
        if wrong:
            progress.warning(f"--on-finish: {wrong}. The results do not depend on it.")
            _log(outcome.log if outcome is not None else None, wrong)


def _write_summary(paths: OutPaths, text: str, progress: RunProgress) -> None:
    if not paths.batch.exists():
        return
    try:
        with hold_out(paths):
            write_atomically(paths.night, text.encode("utf-8", "backslashreplace"))
    except LockHeldError:
        # The next run has begun already, and will write its own.
        return
    except MnbatchError as error:
        progress.warning(f"{paths.night.name} could not be written: {error.message}")


def _log(log: Path | None, wrong: str) -> None:
    if log is not None:
        with contextlib.suppress(MnbatchError):
            note(log, "on-finish", level="warning", reason=wrong)

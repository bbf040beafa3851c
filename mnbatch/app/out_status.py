"""What an OUT holds, what its latest run did, and whether a person has to look: one line and an exit code."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch.errors import (
    EXIT_OK,
    EXIT_OVERDUE,
    EXIT_RUN_FAILED,
    EXIT_SLIDES_FAILED,
    EXIT_WAITING,
    NoInputError,
    UsageError,
)
from mnbatch.intake import decoded, read_bytes, read_json

if TYPE_CHECKING:
    from mnbatch.results.paths import OutPaths
    from mnbatch.results.record_view import RecordView

NOT_KNOWN = "not known"
REPORTED = ("done", "partial", "failed", "waiting")
NOT_REPORTED = "not reported yet"
_IN_TABLE = ("done", "partial", "failed")

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_LONGEST_AGE = 1e10
_AHEAD = 300.0
"""Seconds that a run may be dated ahead: clocks differ."""


@dataclass(frozen=True, slots=True)
class FailedSlide:
    """A slide that is not counted.

    Attributes:
        acknowledged: a person has said that they know; `reason` has their words, too.
    """

    slide_id: str
    slide: str
    reason: str
    donor: str | None = None
    next_step: str = ""
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class WaitingSlide:
    """A slide, or newer files of one, that the latest run left to the next.

    Attributes:
        since: when a run first did, UTC.
        scored: an earlier result of it is counted.
        overdue: it waits for longer than a day, or than twice --settle.
        planned: it waits for no files: a run or a job of `mnbatch score` was to score it, and has not.
    """

    slide_id: str
    slide: str
    since: str
    reason: str
    scored: bool
    overdue: bool
    planned: bool = False


@dataclass(frozen=True, slots=True)
class OutStatus:
    """What an OUT holds and what its latest run did.

    Attributes:
        slides: copies are not among them.
        done: slides that the latest report counts.
        copies: slide_ids that are counted once, as another slide.
        held_by: host and process of the run that holds OUT; None for none.
        latest_run: status, exit_code, started, finished, host and message; empty without a manifest. A run that ended
            before it could take OUT has the status `not started`. Of one that goes on with --cluster also its workers.
        waiting: slides that are not scored yet, and those of which newer files are not.
        exit_code: 0 when nobody has to look; as in docs/operations.md.
        verdict: the same in one line.
        controls: what is wrong with the batch's control samples by the latest report; "" for nothing; `not known: ...`
            where its table is damaged, missing or cannot be read.
        unreported: slides that are scored and in no table: no report was made since.
        not_in_any_slide: what the latest run said of images without a place and empty folders.
    """

    out: str
    slides: int
    done: int
    failed: tuple[FailedSlide, ...]
    copies: tuple[str, ...]
    held_by: str | None
    latest_run: Mapping[str, Any]
    waiting: tuple[WaitingSlide, ...] = ()
    exit_code: int = EXIT_OK
    verdict: str = ""
    controls: str = ""
    not_in_any_slide: tuple[str, ...] = ()
    unreported: int = 0


def seconds_of(text: str) -> float:
    """'26h', '90m', '7d' or '30s' in seconds.

    Raises:
        UsageError: it is none of these.
    """
    match = _AGE.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if match is None or not 0 < seconds < _LONGEST_AGE:
        raise UsageError(f"--max-age cannot be {text[:40]!r}.", "Give a number and a unit: 90m, 26h or 7d.")
    return seconds


def out_status(out: Path, *, max_age: float | None = None) -> OutStatus:
    """What is done, failed and running in OUT, as the latest report and the locks have it.

    Args:
        max_age: seconds; a latest run that ended before, or has been going on for longer, is too old.

    Raises:
        NoInputError: OUT holds no results.
        StorageError: a record cannot be read.
    """
    from mnbatch.results.lock import current_holder
    from mnbatch.results.paths import OutPaths
    from mnbatch.results.record_view import read_views

    paths = OutPaths(out.resolve())
    if not paths.batch.exists():
        raise NoInputError(f"{out} holds no results of mnbatch.", "Give the --out directory of a run.")
    holder = current_holder(paths.lock)
    held_by = None if holder is None else f"{holder.host}:{holder.pid}"
    records = read_views(paths)
    if any(path.stat().st_size for path in paths.plan_notes):
        # Seldom there, and it takes longer to load.
        from mnbatch.results.planned_slides import with_planned

        records = with_planned(paths, records, held=held_by is not None)
    states = {record.slide_id: _reported(paths, record) for record in records}
    failed = tuple(_failed(r, states[r.slide_id]) for r in records if "failed" in (r.status, states[r.slide_id].status))
    # A copy under another donor is reported as failed, not taken once.
    copies = tuple(r.slide_id for r in records if r.status == "copy" and states[r.slide_id].status != "failed")
    waiting = tuple(_waiting(r) for r in records if r.waits is not None)
    run = _latest_run(paths, held_by)
    done = sum(one.status in ("done", "partial") for one in states.values())
    known = run or ({} if records else {"status": None})
    controls = _controls(paths, held_by is None and any(s.status in _IN_TABLE for s in states.values()))
    unknown = sum(not slide.acknowledged for slide in failed)
    # While jobs score, that some slides are not scored yet is no news.
    missed = tuple(slide for slide in waiting if slide.overdue or not (slide.planned and held_by))
    exit_code, verdict = _verdict(known, unknown, missed, max_age, controls)
    unplaced = run.pop("not_in_any_slide", ())
    unreported = sum(r.status == "scored" and states[r.slide_id].status == NOT_REPORTED for r in records)
    counted = f"{done} of {len(records) - len(copies)} slides counted"
    if unreported:
        counted += f", {unreported} scored and in no table yet"
    if unplaced:
        verdict += "; images or folders are in no slide"
    return OutStatus(
        out=str(out),
        slides=len(records) - len(copies),
        done=done,
        failed=failed,
        copies=copies,
        held_by=held_by,
        latest_run=run,
        waiting=waiting,
        exit_code=exit_code,
        verdict=f"{verdict} ({counted})",
        controls=controls,
        not_in_any_slide=unplaced,
        unreported=unreported,
    )


def _controls(paths: OutPaths, reported: bool) -> str:
    """What slides.csv, in each of its rows, says of the batch's control samples; "" where they met their ranges.

    A table that is not as the report wrote it says nothing: that nobody missed anything would be made up.

    Args:
        reported: a report was made and none is being made, so that the table must be there.
    """
    from mnbatch.results.checksums import checksum, name_of, sealed_files

    try:
        data = read_bytes(paths.slides_csv)
        row = next(csv.DictReader(io.StringIO(decoded(data), newline="")), None)
    except FileNotFoundError:
        return _not_known("slides.csv is missing") if reported else ""
    except OSError as error:
        return _not_known(f"slides.csv cannot be read ({error.strerror or error})")
    except (ValueError, csv.Error):
        return _not_known("slides.csv is damaged")
    if reported:
        try:
            whole = sealed_files(paths.report_seal).get(name_of(paths.root, paths.slides_csv)) == checksum(data)
        except FileNotFoundError:
            # An earlier version wrote none: what can be told is whether this is the table.
            whole = row is not None and None not in row.values() and "slide_id" in row
        except (OSError, ValueError):
            return _not_known("report.json, by which slides.csv is checked, is damaged or cannot be read")
        if not whole:
            return _not_known("slides.csv is not as the report wrote it")
    said = (row or {}).get("batch_controls") or ""
    return "" if said == "met" else said


def _not_known(why: str) -> str:
    return f"{NOT_KNOWN}: {why}"


def said_of_controls(controls: str) -> str:
    """`OutStatus.controls` as part of a sentence."""
    if controls.startswith(NOT_KNOWN):
        return f"control samples: whether they met their ranges is {controls}"
    return f"control samples {controls}"


def _failed(record: RecordView, reported: _Reported) -> FailedSlide:
    return FailedSlide(
        record.slide_id,
        record.name,
        reported.reason or record.reason,
        donor=record.donor,
        next_step=record.next_step,
        acknowledged=reported.acknowledged,
    )


def _waiting(record: RecordView) -> WaitingSlide:
    assert record.waits is not None
    since, text, overdue = record.waits
    return WaitingSlide(
        slide_id=record.slide_id,
        slide=record.name,
        since=since,
        reason=text,
        scored=record.status != "waiting",
        overdue=overdue,
        planned=record.planned,
    )


def _latest_run(paths: OutPaths, held_by: str | None) -> dict[str, Any]:
    from mnbatch.results.manifest import read_false_start, read_manifest

    manifest = read_manifest(paths)
    run: dict[str, Any] = {}
    if manifest is not None:
        run = {name: manifest.get(name) for name in ("status", "exit_code", "started", "finished", "host")}
        workers = manifest.get("workers")
        if run["status"] == "running" and held_by is not None and isinstance(workers, list):
            run["workers"] = len(workers)
        run["message"] = str(manifest.get("message") or "")
        unplaced = manifest.get("not_in_any_slide")
        run["not_in_any_slide"] = tuple(map(str, unplaced)) if isinstance(unplaced, list) else ()
        if run["status"] == "running" and held_by is None:
            run["status"] = "killed"
    ended = read_false_start(paths)
    if ended is None or run.get("status") == "running":
        return run
    return {**ended, "status": "not started"}


def _verdict(
    run: Mapping[str, Any], failed: int, waiting: tuple[WaitingSlide, ...], max_age: float | None, controls: str
) -> tuple[int, str]:
    """Exit code and line: all that is wrong is said, the worst first, and the worst gives the code."""
    overdue = sum(slide.overdue for slide in waiting)
    planned = sum(slide.planned and not slide.overdue for slide in waiting)
    still = len(waiting) - overdue - planned
    found = [_run_verdict(run), _age_verdict(run, max_age)]
    if failed:
        found.append((EXIT_SLIDES_FAILED, f"{_slides(failed)} failed"))
    if controls:
        short = controls if controls.startswith(NOT_KNOWN) else controls.partition(":")[0]
        found.append((EXIT_SLIDES_FAILED, said_of_controls(short)))
    if overdue:
        found.append((EXIT_SLIDES_FAILED, f"{_slides(overdue)} waiting for too long"))
    if planned:
        found.append((EXIT_WAITING, f"{_slides(planned)} planned and not scored"))
    if still:
        found.append((EXIT_WAITING, f"{_slides(still)} waiting for files"))
    wrong = [one for one in found if one is not None]
    if not wrong:
        said = {"running": "a run is going on", "finished": "the latest run finished"}
        return EXIT_OK, f"ok: {said.get(str(run.get('status')), 'there is no manifest of a run')}"
    return wrong[0][0], "look: " + "; ".join(text for _, text in wrong)


def _run_verdict(run: Mapping[str, Any]) -> tuple[int, str] | None:
    status = run.get("status")
    if status in ("finished", "running"):
        return None
    if not run:
        # A copy that was shared without its manifest, which is private.
        return None
    if status is None:
        return EXIT_RUN_FAILED, "no run is known to have finished here"
    message = f": {run['message']}" if run.get("message") else ""
    said = {
        "killed": "the latest run was killed or lost its computer",
        "interrupted": "the latest run was stopped by a signal",
        "not started": f"the latest run could not start (exit code {run.get('exit_code')}){message}",
    }
    return EXIT_RUN_FAILED, said.get(str(status), f"the latest run failed (exit code {run.get('exit_code')}){message}")


def _age_verdict(run: Mapping[str, Any], max_age: float | None) -> tuple[int, str] | None:
    if max_age is None:
        return None
    going_on = run.get("status") == "running"
    at = run.get("started") if going_on else run.get("finished") or run.get("started")
    age = _age_of(at)
    if age is None:
        return EXIT_OVERDUE, "it is not known when the latest run ended"
    if age < -_AHEAD:
        return EXIT_OVERDUE, "the latest run is dated in the future: check the clocks"
    if age <= max_age:
        return None
    said = "has been going on for" if going_on else "ended"
    return EXIT_OVERDUE, f"the latest run {said} {age / 3600:.1f} h{'' if going_on else ' ago'}"


def _age_of(moment: object) -> float | None:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds()
    except (ValueError, TypeError):
        return None


def _slides(number: int) -> str:
    return f"{number} slide{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class _Reported:
    """A slide as the latest report had it."""

    status: str
    reason: str = ""
    acknowledged: bool = False


def _reported(paths: OutPaths, record: RecordView) -> _Reported:
    """A slide as the latest report had it, unless its result was damaged since."""
    if record.status == "waiting":
        return _Reported("waiting", record.reason)
    from mnbatch.results.damage import PICTURES, damage

    slide = paths.slide(record.slide_id)
    wrong = damage(slide, record, [name for name in record.sizes if name not in PICTURES])
    if wrong:
        return _Reported("failed", f"its stored result is damaged: {wrong}")
    try:
        summary = read_json(slide.summary, finite=False)
        found = _Reported(summary["status"], summary.get("reason", ""), summary.get("acknowledged") is True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Reported(NOT_REPORTED)
    if found.status not in REPORTED or not isinstance(found.reason, str):
        return _Reported(NOT_REPORTED)
    return found

"""Slides that a run or jobs of `mnbatch score` were to score: what none scored is known to reports and to `status`.

A run notes its slides before the first is scored and forgets them at its end: where it is killed or stopped, donors of
whose slides some are missing must not look complete. Each job notes all slides of its plan in `runs/` before it scores,
not its own part alone: a job that never starts can say nothing of its slides. All jobs of a plan write the same file,
whole, so it matters neither who is first nor who is killed. A line is a slide, as in a log, so that `forget` removes
those of slides that must go.

How the report after the jobs is to be made is noted as well, in `runs/plan-options.json`, which stays when all slides
of the plan are settled: reports have the plan's options until a run comes with its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnbatch.errors import StorageError, UsageError
from mnbatch.intake import parse_json, read_bytes, read_json, reason
from mnbatch.results.commit import is_damaged, read_record
from mnbatch.results.lock import check_still_held, read_holder
from mnbatch.results.manifest import now, read_manifest
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths
from mnbatch.results.record_view import PLANNED, RecordView, view_of
from mnbatch.results.records import SlideRecord, Waiting
from mnbatch.results.roster import Missing
from mnbatch.results.store import Store

LONGEST_WAIT = 86_400.0
"""Seconds after which a planned slide waits for too long, as one that waits for its files does."""

WORK = {"score": "score it", "call": "call it by another threshold"}
"""What a run was to do with a slide, by the action of its plan."""

_NOTE = re.compile(r"planned-([A-Za-z0-9._-]{1,64})-[0-9a-f]{16}\.jsonl")
_LETTERS = 24
_NEXT_STEP = "Start its job of `mnbatch score` again, or use `mnbatch run` on the export."
_NEXT_RUN = "Use `mnbatch run` on the export again: it goes on where the last one ended."
_OPTIONS = ("gallery", "min_cells", "geojson", "label_masks")
"""What of a plan's settings no job needs, and the report after them does."""

_RUN = "+run"
"""In the place of a token, which has no such sign: the note of a run."""


@dataclass(frozen=True, slots=True)
class NotedSlide:
    """A slide of a plan.

    Attributes:
        record: what a record says of it before it is scored.
        was: `state_of` its record when the plan was made.
        since: when it was first noted, UTC; "" before.
        by_run: a run was to score it, not a job.
        work: of `WORK`, what was to be done with it.
    """

    record: SlideRecord
    was: str
    since: str = ""
    by_run: bool = False
    work: str = "score"


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """How the report after the jobs of a plan is to be made.

    Attributes:
        settings: of the plan.
        after: `latest_run` of OUT when the plan was made; "" where it had none. A run that came since had settings of
            its own.
    """

    settings: Mapping[str, Any]
    after: str


def latest_run(paths: OutPaths) -> str:
    """What tells the latest run of OUT from any other; "" where there was none, or its manifest cannot be read."""
    manifest = read_manifest(paths) or {}
    started = manifest.get("started")
    return f"{started} {manifest.get('pid')}" if isinstance(started, str) else ""


def state_of(record: SlideRecord | None) -> str:
    """What tells a result from any other of its slide; "" for none. That newer files wait makes no other result."""
    if record is None:
        return ""
    text = record.model_copy(update={"waiting": None}).model_dump_json()
    return hashlib.blake2b(text.encode()).hexdigest()[:_LETTERS]


def note_plan(paths: OutPaths, token: str, slides: Sequence[NotedSlide], report: PlannedReport | None = None) -> None:
    """Note the slides of a plan, and that jobs of this token work in OUT.

    Args:
        report: how the report after its jobs is to be made; None leaves that as it is.

    Raises:
        LockHeldError: another run took OUT over.
        StorageError: it cannot be written.
    """
    if report is not None:
        _note_report(paths, report)
    lines = [
        json.dumps({"was": one.was, "work": one.work, "record": one.record.model_dump(mode="json")}) for one in slides
    ]
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
    path = paths.runs / f"planned-{token}-{digest}.jsonl"
    with storage_errors(path):
        # One that is there keeps since when its slides wait.
        if path.exists() and (path.stat().st_size or not lines):
            return
    head = [json.dumps({"since": now()})] if lines else []
    check_still_held(paths.lock)
    write_atomically(path, "".join(f"{line}\n" for line in head + lines).encode(), durable=True)


def planned_options(paths: OutPaths) -> dict[str, Any]:
    """Options of reports by the plan whose jobs worked in OUT last: gallery, min_cells, geojson, label_masks.

    Empty where there was no plan, where a run came after it, or where the note of it cannot be read.
    """
    try:
        content = read_json(_report_note(paths))
        options, after = dict(content["options"]), content["after"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: options[name] for name in _OPTIONS if name in options} if after == latest_run(paths) else {}


def _note_report(paths: OutPaths, report: PlannedReport) -> None:
    if report.after != latest_run(paths):
        # A job that was started again late: the run's options are newer, and so may be those of another plan.
        return
    options = {name: report.settings[name] for name in _OPTIONS if name in report.settings}
    data = json.dumps({"after": report.after, "options": options}).encode() + b"\n"
    path = _report_note(paths)
    with contextlib.suppress(OSError, ValueError):
        if read_bytes(path) == data:
            return
    check_still_held(paths.lock)
    write_atomically(path, data, durable=True)


def _report_note(paths: OutPaths) -> Path:
    return paths.runs / "plan-options.json"


def note_run(paths: OutPaths, slides: Sequence[NotedSlide]) -> None:
    """Note the slides that a run is to score, of which there is at least one. The caller holds OUT.

    Raises:
        LockHeldError: another run took OUT over.
        StorageError: it cannot be written.
    """
    note_plan(paths, _RUN, slides)


def refuse_unknown_token(paths: OutPaths, token: str) -> None:
    """Refuse a token under which no job worked in OUT, where jobs of others are known to have done.

    Raises:
        UsageError: it is none of theirs.
    """
    known = {match[1] for path in paths.plan_notes if (match := _NOTE.fullmatch(path.name))}
    holder = read_holder(paths.lock)
    if known and token not in known and (holder is None or holder.token != token):
        raise UsageError(
            f"No job of `mnbatch score` with the token {token[:80]!r} has worked in {paths.root}; "
            f"known are {', '.join(sorted(known)[:5])}.",
            "Check --after and the logs of the jobs; without --after a report is made of what is there.",
        )


def settle_plans(store: Store) -> tuple[Missing, ...]:
    """Let slides that were planned and are not scored wait in the tables; forget plans of which all are scored.

    The caller holds OUT.

    Returns:
        Slides that were planned and are not scored.

    Raises:
        StorageError: a note cannot be read, or a record not be written.
    """
    missing: dict[str, Missing] = {}
    for path in _written(store.paths):
        left = [(one, record) for one in _read(path) if not _is_tried(record := _record(store.paths, one), one.was)]
        for one, record in left:
            waits = _as_waiting(one, record)
            assert waits.waiting is not None
            if waits != record:
                store.put_record(waits)
            missing.setdefault(waits.slide_id, Missing(waits.slide_id, waits.waiting.text))
        if not left:
            _end(path)
    return tuple(missing.values())


def end_plans(paths: OutPaths) -> None:
    """Forget all plans: a run has settled every slide of the export. The caller holds OUT."""
    for path in _written(paths):
        _end(path)


def with_planned(paths: OutPaths, views: Sequence[RecordView], *, held: bool) -> list[RecordView]:
    """The records, with slides that are planned and not scored among them; nothing is written.

    Args:
        held: OUT is held: the run that noted its slides is still at them, and they are left out.

    Raises:
        StorageError: a note cannot be read.
    """
    known = {view.slide_id: view for view in views}
    for path in _written(paths):
        if held and _is_of_run(path):
            continue
        for one in _read(path):
            slide_id = one.record.slide_id
            view = known.get(slide_id)
            if view is not None and not one.was:
                # Its first result came since, or it waits as it is.
                continue
            record = _record(paths, one)
            if _is_tried(record, one.was):
                continue
            found = view_of(_as_waiting(one, record).model_dump())
            known[slide_id] = found if view is None else replace(view, waits=found.waits, planned=True)
    return sorted(known.values(), key=lambda view: (view.path, view.slide_id))


def _written(paths: OutPaths) -> list[Path]:
    with storage_errors(paths.runs):
        return [path for path in paths.plan_notes if path.stat().st_size]


def _end(path: Path) -> None:
    if _is_of_run(path):
        path.unlink(missing_ok=True)
    else:
        # Its name still tells the token, for `mnbatch report --after`.
        write_atomically(path, b"")


def _is_of_run(path: Path) -> bool:
    return path.name.startswith(f"planned-{_RUN}-")


def _record(paths: OutPaths, one: NotedSlide) -> SlideRecord | None:
    return read_record(paths.slide(one.record.slide_id))


def _is_tried(record: SlideRecord | None, was: str) -> bool:
    """Whether a slide has what it had not when it was planned, also a failure; a damaged record is reported as one."""
    if record is None:
        return False
    return is_damaged(record) or (record.status != "waiting" and state_of(record) != was)


def _as_waiting(one: NotedSlide, record: SlideRecord | None) -> SlideRecord:
    """The record of a planned slide that is not scored; an earlier result stays, and its record says so."""
    since = f"{one.since[:10]} {one.since[11:16]} UTC"
    new = record is None or record.status in ("waiting", "copy")
    again = "" if new else " again"
    if one.by_run:
        what = WORK["call"] if one.work == "call" else f"{WORK['score']}{again}"
        text = f"the run of {since} was to {what}, and has not"
    else:
        text = f"planned to be scored{again} since {since}, and not scored by any job"
    waiting = Waiting(
        since=one.since,
        seen=one.since,
        runs=1,
        state=PLANNED,
        same_since=one.since,
        overdue=_age(one.since) > LONGEST_WAIT,
        text=text,
    )
    if record is not None and not new:
        return record.model_copy(update={"waiting": waiting})
    next_step = _NEXT_RUN if one.by_run else _NEXT_STEP
    said = {"status": "waiting", "reason": text, "next_step": next_step, "waiting": waiting}
    return one.record.model_copy(update=said)


def _age(since: str) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _read(path: Path) -> list[NotedSlide]:
    since, found, of_run = "", [], _is_of_run(path)
    try:
        for line in read_bytes(path).splitlines():
            row = parse_json(line)
            if "since" in row:
                since = str(row["since"])
            else:
                record, work = SlideRecord.model_validate(row["record"]), str(row.get("work", "score"))
                found.append(NotedSlide(record, str(row["was"]), since, of_run, work))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path}, the slides of a plan, cannot be understood: {reason(error)}.",
            "Remove it, then use `mnbatch run` on the export: it scores what is not scored.",
        ) from error
    return found

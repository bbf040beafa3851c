"""Slides that are left to a later run: since when, how long they may, and what a record keeps of them."""

from __future__ import annotations

from datetime import UTC, datetime

from mnbatch.assay.cells import Slide
from mnbatch.assay.reasons import Reason, reason_in, say
from mnbatch.pipeline.committing import unscored_record
from mnbatch.results.commit import is_damaged
from mnbatch.results.records import SlideRecord, Waiting
from mnbatch.settings import RunSettings

LONGEST_WAIT = 86_400.0
"""Seconds. A slide that waits for longer (or for longer than twice --settle) makes a run end with exit code 3."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def clock() -> datetime:
    """The time of this computer, which decides how long a slide waits; the dates of files do not."""
    return datetime.now(UTC)


def has_rested(record: SlideRecord | None, state: str, settle: float) -> bool:
    """Whether an earlier run, at least `settle` seconds ago by this computer's clock, saw a slide in this state."""
    known = None if record is None else record.waiting
    if known is None or known.state != state:
        return False
    return _seconds(known.same_since, clock()) >= settle


def waiting_record(slide: Slide, record: SlideRecord | None, settings: RunSettings) -> tuple[SlideRecord, Reason]:
    """The record of a slide that waits, and its reason for a person.

    A slide that was never scored gets a record of its own; an earlier result stays, and its record states that newer
    files are waiting. The time of the first look stays from run to run.

    Args:
        slide: with `waits`.
        record: what is committed, or None.
    """
    assert slide.waits is not None
    at = clock()
    new = record is None or record.status == "waiting" or is_damaged(record)
    known = None if record is None else record.waiting
    since = known.since if known else _iso(at)
    same = known is not None and known.state == slide.waits.state
    overdue = _seconds(since, at) > max(LONGEST_WAIT, 2 * (settings.settle or 0.0))
    code = "waits" if new else "waits-result"
    said = say(code, since=_moment(since), age=spoken_age(_seconds(since, at)), why=reason_in(slide.waits.why))
    waiting = Waiting(
        since=since,
        seen=_iso(at),
        runs=1 + (known.runs if known else 0),
        state=slide.waits.state,
        same_since=known.same_since if known is not None and same else _iso(at),
        overdue=overdue,
        text=said,
    )
    if not new and record is not None:
        return record.model_copy(update={"waiting": waiting}), said
    advice = say("waits-long-do" if overdue else "waits-do")
    made = unscored_record(slide, settings).model_copy(
        update={"status": "waiting", "reason": said, "next_step": advice, "waiting": waiting}
    )
    return made, said


def grown_record(record: SlideRecord, said: str) -> SlideRecord:
    """The record of a slide that was scored while more of its images came: its count stays, and says so."""
    at = _iso(clock())
    # Nobody has seen them at rest yet, so the state is that of no files.
    return record.model_copy(update={"waiting": Waiting(since=at, seen=at, runs=1, state="", same_since=at, text=said)})


def spoken_age(seconds: float) -> str:
    """3 days, 5 hours or 12 minutes; the largest unit of which there are two, else one."""
    if seconds >= 2 * _DAY:
        return f"for {seconds / _DAY:.0f} days"
    if seconds >= 2 * _HOUR:
        return f"for {seconds / _HOUR:.0f} hours"
    minutes = int(seconds / _MINUTE)
    return f"for {minutes} minutes" if minutes > 1 else "seen for the first time" if seconds < 1 else "for a minute"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _moment(iso: str) -> str:
    return f"{iso[:10]} {iso[11:16]} UTC"


def _seconds(since: str, at: datetime) -> float:
    try:
        return max(0.0, (at - datetime.fromisoformat(since)).total_seconds())
    except (ValueError, TypeError):
        return 0.0

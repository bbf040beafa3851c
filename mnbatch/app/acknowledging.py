"""A slide that failed for good is acknowledged: it stays failed in every table, and commands exit with 3 for others."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.app.rebuild import Rebuilt, open_store, rebuild_after_change
from mnbatch.app.slide_choice import slide_of
from mnbatch.errors import UsageError
from mnbatch.results.acknowledged import Acknowledgement, acknowledge
from mnbatch.results.manifest import now
from mnbatch.results.roster import open_roster
from mnbatch.review.decisions import person_name

if TYPE_CHECKING:
    from mnbatch.results.records import SlideRecord
    from mnbatch.results.roster import Roster

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What was said of a slide, and the reports that say it now."""

    said: Acknowledgement
    rebuilt: Rebuilt


def acknowledge_slide(out: Path, slide: str, reason: str, by: str | None = None) -> Acknowledged:
    """Say of a failed slide that its failure is known.

    Args:
        slide: slide_id, path or name.
        reason: why nothing can be done; shown on pages and in tables. "" takes back what was said before.
        by: who says it; None for the user of this computer.

    Raises:
        NoInputError: OUT holds no results.
        UsageError: no such slide, it is counted or waits, its failure may pass, or a text that cannot be kept.
        StorageError: it cannot be written.
    """
    store = open_store(out)
    roster = open_roster(store)
    record = slide_of([*roster.records, *roster.copied], slide)
    said = Acknowledgement(
        slide_id=record.slide_id,
        files=record.stat_key,
        failure=_failure(roster, record),
        by=_person(by),
        at=now(),
        reason=_reason(reason),
    )
    acknowledge(store.paths, said)
    return Acknowledged(said, rebuild_after_change(store))


def _failure(roster: Roster, record: SlideRecord) -> str:
    """Why the slide is not counted; refuse one that is, and one that may be tomorrow."""
    failure = roster.failure(record)
    if not failure:
        raise UsageError(f"The slide {record.slide_id} has not failed.", "`mnbatch status OUT` lists those that have.")
    if record.waiting is not None:
        raise UsageError(f"The slide {record.slide_id} has files that wait.", "See what the next run makes of them.")
    if record.transient or roster.store.damage(record):
        raise UsageError(
            f"The slide {record.slide_id} failed for a reason that may pass, and is tried again by each run.",
            "Correct the cause and run again: " + failure,
        )
    return failure


def _person(by: str | None) -> str:
    try:
        return person_name(getpass.getuser() if by is None else by, "--by")
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(f"It is not clear who acknowledges: {error}.", "Give --by NAME.") from error


def _reason(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_REASON or (text and not text.isprintable()):
        raise UsageError(f"--reason must be a line of at most {LONGEST_REASON} letters.", "Shorten it.")
    return text

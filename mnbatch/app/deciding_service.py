"""Verdicts above or below a limit from a review that goes on: which donors are decided, and who is next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnbatch.app.rebuild import open_store
from mnbatch.assay.count_kinds import kind_of
from mnbatch.assay.sequential_verdict import ERROR, Looks, Threshold, Verdict, decide, expected_looks
from mnbatch.dosimetry.threshold_frequency import threshold_of_dose
from mnbatch.errors import NoInputError, UsageError
from mnbatch.results.annotations import load_samples
from mnbatch.results.dosing_settings import load_dosing
from mnbatch.results.roster import Missing, Roster, donor_of, missing_of, open_roster
from mnbatch.results.store import Store
from mnbatch.review.deciding import StratumLooks, looks_of, next_cells
from mnbatch.review.queue import STRATA
from mnbatch.review.review_import import queues_of
from mnbatch.review.trail import read_trail

CURVE_SHARE = 0.25
"""Of the error of a verdict, what is for the frequency that is read off the curve."""
_FREQUENCY = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s*")
_DOSE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:gy)?\s*", re.IGNORECASE)
_WRITE = "Write a dose in Gy (--decide 1.0), or a frequency of cells (--decide 40/1000)."


@dataclass(frozen=True, slots=True)
class Limit:
    """What is decided about.

    Attributes:
        text: the limit in words, "1 Gy" or "40 per 1000".
        strata: whose cells count: all, or of a curve of confirmed counts the called ones alone.
    """

    text: str
    threshold: Threshold
    strata: tuple[str, ...] = STRATA
    error: float = ERROR


@dataclass(frozen=True, slots=True)
class DonorVerdict:
    """How far a donor is.

    Attributes:
        expected: looks that a verdict still takes, if cells come as expected; 0 where it is decided, None where the
            queue cannot decide it.
        next_cells: cells to look at next.
        missing: slides of the donor that are not counted, and are not in the verdict.
        skipped: decisions that do not count, because a cell before them in the queue was not decided.
    """

    donor: str
    verdict: Verdict
    limit: Limit
    expected: int | None
    next_cells: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    skipped: int = 0

    @property
    def text(self) -> str:
        """In a line."""
        v, limit = self.verdict, self.limit
        looks = f"{v.looks} look{'s' * (v.looks != 1)}"
        if v.word != "open":
            return f"decided: {v.word} {limit.text} after {looks}, error at most {100 * v.error:g} %"
        if self.expected is None:
            return (
                f"open after {looks}: the rest of the queue cannot decide {limit.text}; enlarge it, or score more cells"
            )
        return f"open after {looks}: about {self.expected} more decide it"

    def to_json(self) -> dict[str, Any]:
        """For the page and for programs."""
        v = self.verdict
        return {
            "donor": self.donor,
            "limit": self.limit.text,
            "verdict": v.word,
            "looks": v.looks,
            "error": v.error,
            "cells": v.cells,
            "mnbn_low": v.low,
            "mnbn_high": v.high,
            "expected_looks": self.expected,
            "next_cells": list(self.next_cells),
            "skipped": self.skipped,
            "not_counted": [{"slide_id": m.slide_id, "reason": m.reason} for m in self.missing],
            "text": self.text,
        }


def limit_of(store: Store, text: str, error: float = ERROR) -> Limit:
    """What a person typed after --decide; a dose is read off the curve in force for OUT.

    Raises:
        UsageError: neither a dose nor a frequency, no curve in force, or one that does not say what a person sees.
    """
    if not 0 < error < 0.5:
        raise UsageError(f"An error of {error:g} is none that a verdict can have.", "Give 0.01 for one in a hundred.")
    counted = _FREQUENCY.fullmatch(text)
    if counted:
        events, cells = int(counted[1]), int(counted[2])
        if not 0 < events < cells:
            raise UsageError(f"--decide {text} is no frequency of cells.", _WRITE)
        share = events / cells
        return Limit(f"{1000 * share:g} per 1000", Threshold(share, share), error=error)
    typed = _DOSE.fullmatch(text)
    if typed is None or not float(typed[1]) > 0:
        raise UsageError(f"--decide {text} is neither a dose nor a frequency.", _WRITE)
    dosing = load_dosing(store.paths)
    if dosing is None:
        raise UsageError(
            "No calibration curve is in force, so that a dose says nothing of cells.",
            "Give one with `mnbatch dose OUT --curve`, or state a frequency, as --decide 40/1000.",
        )
    dose = float(typed[1])
    threshold = threshold_of_dose(dosing.seen, dose, CURVE_SHARE * error)
    confirmed = kind_of(dosing.curve.scoring) == "confirmed"
    return Limit(f"{dose:g} Gy", threshold, ("called",) if confirmed else STRATA, error)


def decide_out(out: Path, text: str, error: float = ERROR) -> list[DonorVerdict]:
    """Every donor, in the order in which looks help most: fewest looks to a verdict first; then those that the queue
    cannot decide, and last those that are decided.

    Raises:
        NoInputError: OUT holds no results, or no slide of it has a donor.
        UsageError: as `limit_of`.
        StorageError: a file cannot be read.
    """
    store = open_store(out)
    limit = limit_of(store, text, error)
    found = decide_donors(store, limit)
    if not found:
        raise NoInputError(f"No slide in {out} has a donor.", "Give a sample sheet: mnbatch run --samples.")
    return sorted(found, key=_urgency)


def _urgency(found: DonorVerdict) -> tuple[int, int, str]:
    if found.verdict.word != "open":
        return 2, found.verdict.looks, found.donor
    return (1, 0, found.donor) if found.expected is None else (0, found.expected, found.donor)


def decide_donors(store: Store, limit: Limit) -> list[DonorVerdict]:
    """Every donor of OUT."""
    roster = open_roster(store)
    return [_verdict(roster, name, slide_ids, limit) for name, slide_ids in _slides_of_donors(roster).items()]


def _slides_of_donors(roster: Roster) -> dict[str, list[str]]:
    samples = load_samples(roster.store.paths)
    slides: dict[str, list[str]] = {}
    for record in roster.records:
        name = donor_of(record, samples)
        if name:
            slides.setdefault(name, []).append(record.slide_id)
    return slides


def _verdict(roster: Roster, donor: str, slide_ids: Sequence[str], limit: Limit) -> DonorVerdict:
    queues = queues_of(roster.store, dict.fromkeys(slide_ids), roster=roster)
    strata: list[StratumLooks] = []
    cells = 0
    for slide_id, queue in queues.items():
        if queue is not None:
            strata += looks_of(queue, read_trail(roster.store.paths, slide_id), limit.strata)
            cells += sum(queue.sizes.values())
    missing = _missing(roster, [slide_id for slide_id, queue in queues.items() if queue is None])
    if not cells:
        nothing = Verdict("open", 0, limit.error, 0, 0, 0)
        return DonorVerdict(donor, nothing, limit, None, missing=missing)
    looks: list[Looks] = [s.looks for s in strata]
    verdict = decide(looks, cells, limit.threshold, limit.error)
    is_open = verdict.word == "open"
    return DonorVerdict(
        donor=donor,
        verdict=verdict,
        limit=limit,
        expected=expected_looks(looks, cells, limit.threshold, limit.error) if is_open else 0,
        next_cells=next_cells(strata, cells, limit.threshold) if is_open else (),
        missing=missing,
        skipped=sum(s.skipped for s in strata),
    )


def _missing(roster: Roster, slide_ids: Sequence[str]) -> tuple[Missing, ...]:
    records = [record for record in map(roster.record, slide_ids) if record is not None]
    return missing_of((record, roster.call(record)[0]) for record in records)


@dataclass(frozen=True, slots=True, eq=False)
class ServedVerdicts:
    """What the local server says of verdicts: of the donor of a page, and who is next."""

    store: Store
    limit: Limit
    order: tuple[str, ...]

    def of_donor(self, donor: str) -> dict[str, Any] | None:
        """The donor's verdict with `next_donor`, the first of the others in the order; None for an unknown donor."""
        if donor not in self.order:
            return None
        # The slides of a large OUT are listed and compared once a question, not once a donor.
        roster = open_roster(self.store)
        slides = _slides_of_donors(roster)
        if donor not in slides:
            return None
        after = self.order.index(donor) + 1
        others = (*self.order[after:], *self.order[: after - 1])
        waiting = (name for name in others if name in slides and self._is_open(roster, name, slides[name]))
        return {**_verdict(roster, donor, slides[donor], self.limit).to_json(), "next_donor": next(waiting, "")}

    def _is_open(self, roster: Roster, donor: str, slide_ids: Sequence[str]) -> bool:
        found = _verdict(roster, donor, slide_ids, self.limit)
        return found.verdict.word == "open" and found.expected is not None


def served_verdicts(store: Store, text: str, error: float = ERROR) -> ServedVerdicts:
    """For `review serve --decide`.

    Raises:
        UsageError: as `limit_of`.
    """
    limit = limit_of(store, text, error)
    found = sorted(decide_donors(store, limit), key=_urgency)
    return ServedVerdicts(store, limit, tuple(one.donor for one in found))

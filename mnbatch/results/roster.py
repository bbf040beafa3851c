"""Which slides of an OUT count, why the others do not, and the call of each: one answer for every table and page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mnbatch.assay.calls import CallRules, SlideCall, call_slide, with_skipped_fields
from mnbatch.assay.copies import Elsewhere
from mnbatch.errors import StorageError
from mnbatch.results.acknowledged import Acknowledgements, acknowledged, load_acknowledgements
from mnbatch.results.annotations import load_samples
from mnbatch.results.records import SlideRecord
from mnbatch.results.sibling_slides import Sibling
from mnbatch.results.store import Store

# The call of a stored slide: one way for reports and reviews.


NOT_COMPARED = (
    "it was scored by an earlier version of mnbatch: copies of its cells with other pixels (turned, darker, compressed "
    "again) are not looked for"
)


def call_record(store: Store, record: SlideRecord, copies: Elsewhere) -> SlideCall:
    """Call a slide from its stored scores; one that was never scored fails with its record's reason.

    Args:
        copies: cells that are counted elsewhere, or for no donor.

    Raises:
        StorageError: its stored result is damaged.
    """
    if record.status == "waiting":
        return SlideCall(
            status="waiting", reason=record.reason, cells=(), frequency=None, excluded_cells=0, flagged_cells=0
        )
    if record.status != "scored" or record.call is None:
        return SlideCall(
            status="failed", reason=record.reason, cells=(), frequency=None, excluded_cells=0, flagged_cells=0
        )
    rules = CallRules(threshold=record.call.threshold, max_bad_fraction=record.call.max_bad_fraction)
    mean_3plus = record.model.mean_3plus if record.model else None
    call = call_slide(store.scores(record), rules, copies, mean_3plus, record.slide_stain)
    if call.frequency is not None and not store.keeps_spectra(record):
        call = replace(call, warnings=(*call.warnings, NOT_COMPARED))
    if record.fields is None:
        return call
    return with_skipped_fields(call, len(record.fields.skipped), record.fields.fields)


# Which slides of an OUT count, and why the others do not: one answer for every table, curve, chart and review.


Samples = Mapping[str, Mapping[str, str]]
"""slide_id -> column -> text of the sample sheet; its donor takes the place of the path's."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A slide that belongs to a table and is not counted in it.

    Attributes:
        acknowledged: a person has said that they know (see `mnbatch.results.acknowledged`).
    """

    slide_id: str
    reason: str
    acknowledged: bool = False

    def __str__(self) -> str:
        return f"{self.slide_id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Roster:
    """The slides of an OUT.

    Attributes:
        records: slides that belong to the tables, in their order, those that cannot be counted too.
        copied: slides that are taken once, as another slide of the same donor.
        copies: slide_id -> the cells that are counted elsewhere, or for no donor because they are of two donors.
        known: slide_id -> what was said of its failure.
    """

    store: Store
    records: tuple[SlideRecord, ...]
    copied: tuple[SlideRecord, ...]
    copies: Mapping[str, Elsewhere]
    known: Acknowledgements = field(default_factory=dict)

    def call(self, record: SlideRecord, *, pictures: bool = False) -> tuple[SlideCall, str]:
        """The slide's call, and the next step where it failed for a reason that the record does not know.

        Args:
            pictures: altered crops or maps fail it, too.
        """
        call, next_step = self._call(record, pictures=pictures)
        said = acknowledged(self.known, record, call.reason) if call.status == "failed" else None
        if said is not None:
            call = replace(call, reason=f"{call.reason} ({said.text})", acknowledged=True)
        return call, next_step

    def failure(self, record: SlideRecord) -> str:
        """Why the slide is not counted, without what was said of it; "" for one that is counted."""
        call, _ = self._call(record, pictures=False)
        return call.reason if call.status == "failed" else ""

    def _call(self, record: SlideRecord, *, pictures: bool) -> tuple[SlideCall, str]:
        try:
            self.store.check(record, pictures=pictures)
            return call_record(self.store, record, self.copies.get(record.slide_id, {})), ""
        except StorageError as error:
            # One damaged slide must not keep the others from their report.
            # It is shown on pages that are shared, so it must not tell where OUT is on this machine.
            message = error.message.replace(f"{self.store.paths.root}{os.sep}", "")
            return SlideCall(
                status="failed", reason=message, cells=(), frequency=None, excluded_cells=0, flagged_cells=0
            ), error.next_step

    def record(self, slide_id: str) -> SlideRecord | None:
        """A slide of the tables; None for a copy, and for one that OUT does not hold."""
        return next((record for record in self.records if record.slide_id == slide_id), None)

    def missing(self, slide_ids: Iterable[str] | None = None) -> tuple[Missing, ...]:
        """Slides that belong to the tables (of these alone, where they are given) and are not counted."""
        wanted = None if slide_ids is None else set(slide_ids)
        of = [record for record in self.records if wanted is None or record.slide_id in wanted]
        return missing_of((record, self.call(record)[0]) for record in of)


def open_roster(store: Store, samples: Samples | None = None) -> Roster:
    """The slides of an OUT as they are now.

    Args:
        samples: the sample sheet; None takes the one in force.
    """
    sheet = load_samples(store.paths) if samples is None else samples
    everything = _fail_contradictions(store.records(), sheet)
    records = tuple(record for record in everything if record.status != "copy")
    copied = tuple(record for record in everything if record.status == "copy")
    donors = {record.slide_id: donor for record in records if (donor := donor_of(record, sheet))}
    siblings = store.siblings(records, donors)
    copies = store.copies(records, donors, failed=siblings.keys())
    compared = tuple(_without_siblings(record, siblings) for record in records)
    return Roster(store, compared, copied, copies, load_acknowledgements(store.paths))


def _without_siblings(record: SlideRecord, siblings: Mapping[str, Sibling]) -> SlideRecord:
    """The record; failed where another slide shows the same cells."""
    sibling = siblings.get(record.slide_id)
    if sibling is None:
        return record
    return record.model_copy(update={"status": "failed", "reason": sibling.reason(), "next_step": sibling.next_step})


def donor_of(record: SlideRecord, samples: Samples) -> str | None:
    """Whose slide it is: what the sheet says, else what the path does."""
    return samples.get(record.slide_id, {}).get("donor") or record.donor


def missing_of(calls: Iterable[tuple[SlideRecord, SlideCall]]) -> tuple[Missing, ...]:
    """The slides without a count among these."""
    return tuple(
        Missing(record.slide_id, call.reason, call.acknowledged) for record, call in calls if call.frequency is None
    )


def _fail_contradictions(records: Sequence[SlideRecord], samples: Samples) -> list[SlideRecord]:
    """A copy within one donor is taken once; the same pictures under two donors: one is wrong, and both fail."""
    donors = {r.slide_id: donor_of(r, samples) for r in records}
    others: dict[str, list[str]] = {}
    for record in records:
        donor, original = donors[record.slide_id], donors.get(record.copy_of or "")
        if record.status == "copy" and record.copy_of and donor and original and donor != original:
            others.setdefault(record.slide_id, []).append(record.copy_of)
            others.setdefault(record.copy_of, []).append(record.slide_id)
    return [
        _contradicted(record, donors[record.slide_id], [(other, donors[other]) for other in others[record.slide_id]])
        if record.slide_id in others
        else record
        for record in records
    ]


def _contradicted(record: SlideRecord, donor: str | None, others: Sequence[tuple[str, str | None]]) -> SlideRecord:
    named = " and ".join(f"slide {slide_id} of donor {other}" for slide_id, other in others)
    return record.model_copy(
        update={
            "status": "failed",
            "reason": f"its files are identical to those of {named}, so they cannot be donor {donor}'s as well",
            "next_step": "Find out whose slide it is; remove the wrong copy or correct the sample sheet.",
        }
    )

"""The call of a stored slide: one way for reports and reviews."""

from __future__ import annotations

from dataclasses import replace

from mnbatch.assay.calls import CallRules, SlideCall, call_slide, with_fields_set_aside
from mnbatch.assay.copies import Elsewhere
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store

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
    if record.status != "scored" or record.call is None:
        return SlideCall("failed", record.reason, (), None, 0, 0)
    rules = CallRules(threshold=record.call.threshold, max_bad_fraction=record.call.max_bad_fraction)
    mean_3plus = record.model.mean_3plus if record.model else None
    call = call_slide(store.scores(record), rules, copies, mean_3plus, record.stain)
    if call.frequency is not None and not store.keeps_spectra(record):
        call = replace(call, warnings=(*call.warnings, NOT_COMPARED))
    if record.fields is None:
        return call
    return with_fields_set_aside(call, len(record.fields.set_aside), record.fields.fields)

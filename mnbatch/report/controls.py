"""The control slides of a batch: the background of the slides that were called alike."""

from __future__ import annotations

from mnbatch.assay.background import Control, pool_controls
from mnbatch.results.dosing import scoring_mode
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Roster, Samples


def called_with(record: SlideRecord) -> str:
    """What a slide's frequency must share with its background: model, threshold and which cells are scored."""
    if record.model is None or record.call is None:
        return ""
    return f"{record.model.digest} {record.call.threshold!r} {scoring_mode(record)}"


def find_controls(roster: Roster, samples: Samples) -> dict[str, Control]:
    """Pool the slides that the sample sheet marks as controls, apart for each way they were called.

    A control slide that failed or is damaged gives no background; its own page says why. Slides without a donor count
    as donors of their own.
    """
    groups: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for record in roster.records:
        row = samples.get(record.slide_id, {})
        if not row.get("control"):
            continue
        frequency = roster.call(record)[0].frequency
        if frequency is not None and frequency.bn_cells:
            donor = row.get("donor") or record.donor or record.slide_id
            counts = (frequency.mnbn_cells, frequency.bn_cells)
            groups.setdefault(called_with(record), {}).setdefault(donor, []).append(counts)
    pooled = {key: pool_controls(list(donors.values())) for key, donors in groups.items()}
    return {key: control for key, control in pooled.items() if control is not None}

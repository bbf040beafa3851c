"""Reviewed cells as a labelled set that `mnbatch train` and `mnbatch evaluate` take: crops and labels.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnbatch.assay.alike_names import alike_names, spelled
from mnbatch.csvfile import Value, csv_bytes, guarded
from mnbatch.errors import NoInputError, UsageError
from mnbatch.files import staging_folder, storage_errors, sweep_folder
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Missing, open_roster
from mnbatch.results.store import Store
from mnbatch.review.decisions import ADJUDICATION, Decision
from mnbatch.review.queue import Queue
from mnbatch.review.review_import import queues_of
from mnbatch.review.review_status import altered_review, combined, latest
from mnbatch.review.trail import read_trail, reviewed_slides

COLUMNS = (
    *("file", "label", "mn_count", "slide", "donor", "cell_id", "p_mn", "reviewers"),
    *("stratum", "inclusion_probability"),
)
REVIEWERS_SHOWN = 20
DIFFERENT = "decided differently by reviewers"
LABELS = {"mn": "mn", "not_mn": "nomn"}


@dataclass(frozen=True, slots=True, order=True)
class ScoredBy:
    """The stain of a slide and the model that scored it."""

    stain: str
    model: str
    version: str
    digest: str


def scored_by(record: SlideRecord) -> ScoredBy | None:
    """Stain and model of a slide; None where no model is known."""
    model = record.model
    if model is None:
        return None
    return ScoredBy(record.stain or "unknown", model.name, model.version, model.digest)


@dataclass(frozen=True, slots=True)
class Exported:
    """Cells written, and those left out by reason.

    Attributes:
        missing: slides that were reviewed and do not count now.
        scored_by: of the slides that cells were taken from.
    """

    mn: int
    not_mn: int
    left_out: dict[str, int]
    missing: tuple[Missing, ...] = ()
    scored_by: tuple[ScoredBy, ...] = ()


def export_labels(
    store: Store, folder: Path, donors: Mapping[str, str], reviewer: str | None = None, stain: str | None = None
) -> Exported:
    """Write crops as scored (the gallery's JPEGs) and labels.csv to a new folder.

    Unsure and not scorable cells are left out, and so are cells that reviewers decided differently, and decisions on an
    earlier result.

    Args:
        donors: slide_id -> donor code, where the sample sheet names one.
        reviewer: take only this reviewer's decisions.
        stain: take only slides of this stain.

    Raises:
        UsageError: the folder is not empty, or no such reviewer.
        NoInputError: no decision can be exported.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", "Give a new folder.")
    rows: list[tuple[Value, ...]] = []
    left_out: dict[str, int] = {}
    crops: list[tuple[str, bytes]] = []
    missing: list[Missing] = []
    models: set[ScoredBy] = set()
    if reviewer is not None:
        _check_reviewer(store, reviewer)
    roster = open_roster(store)
    known = {record.slide_id for record in (*roster.records, *roster.copied)}
    queues = queues_of(store, dict.fromkeys(s for s in reviewed_slides(store.paths) if s in known), "OUT", roster)
    missing += roster.missing(queues)
    for slide_id, queue in queues.items():
        found = read_trail(store.paths, slide_id)
        if found.altered:
            missing += [] if queue is None else [Missing(slide_id, altered_review(found).reason)]
            continue
        entries = found.entries
        old = len({(e.reviewer, e.cell_id) for e in entries if queue is None or e.result_key != queue.result_key})
        _count(left_out, "decided on an earlier result", old)
        record = roster.record(slide_id)
        if queue is None or record is None:
            continue
        if stain is not None and record.stain != stain:
            _count(left_out, f"of slides of another stain than {stain}", len(latest_cells(entries, queue.result_key)))
            continue
        said = latest(entries, queue.result_key)
        chosen = said if reviewer is None else {who: d for who, d in said.items() if who == reviewer}
        before = len(rows)
        _add_slide(
            store=store,
            record=record,
            queue=queue,
            said=chosen,
            donor=donors.get(slide_id) or record.donor or "",
            rows=rows,
            crops=crops,
            left_out=left_out,
        )
        if len(rows) > before and (by := scored_by(record)):
            models.add(by)
    if not rows:
        raise _nothing(store.paths.root, reviewer, left_out)
    _write(folder, rows, crops)
    mn = sum(row[1] == "mn" for row in rows)
    return Exported(mn, len(rows) - mn, left_out, tuple(missing), tuple(sorted(models)))


def _check_reviewer(store: Store, reviewer: str) -> None:
    """A name that nobody in OUT has is a slip of the keyboard: those who have decided are named."""
    slides = reviewed_slides(store.paths)
    people = sorted({entry.reviewer for slide_id in slides for entry in read_trail(store.paths, slide_id).entries})
    if not people or reviewer in people:
        return
    alike = next((group for group in alike_names([*people, reviewer]) if reviewer in group), ())
    meant = "".join(f" Did you mean {spelled(name)}?" for name in alike[:1])
    more = f" and {len(people) - REVIEWERS_SHOWN} more" if len(people) > REVIEWERS_SHOWN else ""
    raise UsageError(
        f"Nobody named {spelled(reviewer)} decided in {store.paths.root}.{meant}",
        f"Reviewers in it: {', '.join(map(spelled, people[:REVIEWERS_SHOWN]))}{more}.",
    )


def _nothing(out: Path, reviewer: str | None, left_out: Mapping[str, int]) -> NoInputError:
    what = f"{out} has no decision{f' of {reviewer}' if reviewer else ''} that can be exported"
    if not left_out:
        return NoInputError(
            f"{what}.", "Review cells in the gallery and import the review first (`mnbatch review import`)."
        )
    why = "; ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()))
    return NoInputError(
        f"{what}. Left out: {why}.",
        "Where reviewers differ, have a third person decide the cells (`mnbatch review serve`)."
        if DIFFERENT in left_out
        else "Only cells decided MN or no MN on the present result, with their picture kept, can be exported.",
    )


def _add_slide(
    store: Store,
    record: SlideRecord,
    queue: Queue,
    said: Mapping[str, Mapping[str, Decision]],
    donor: str,
    rows: list[tuple[Value, ...]],
    crops: list[tuple[str, bytes]],
    left_out: dict[str, int],
) -> None:
    pictures = store.crops(record)
    places = {place.cell_id: place for place in queue.places}
    by_cell: dict[str, list[Decision]] = {}
    for decisions in said.values():
        for cell_id, decision in decisions.items():
            by_cell.setdefault(cell_id, []).append(decision)
    for row, cell in enumerate(store.scores(record)):
        decisions_on = by_cell.get(cell.cell_id, [])
        if not decisions_on:
            continue
        jpeg = pictures.jpeg(row) if pictures is not None else None
        reason = _reason(decisions_on, jpeg)
        if reason or jpeg is None:
            _count(left_out, reason, 1)
            continue
        name = f"crops/{record.slide_id}/{row:06d}.jpg"
        crops.append((name, jpeg))
        word = combined({d.reviewer: {d.cell_id: d} for d in decisions_on})[cell.cell_id]
        third = [d for d in decisions_on if d.look == ADJUDICATION]
        counts = {d.count for d in third or decisions_on if d.decision == word}
        number = counts.pop() if len(counts) == 1 else None
        label = LABELS[word]
        people = "; ".join(sorted(d.reviewer for d in decisions_on))
        place = places.get(cell.cell_id)
        chance = place.inclusion_probability if place is not None else None
        rows.append(
            (
                *(name, label, "" if number is None else number, record.slide_id, donor, cell.cell_id, cell.p_mn),
                *(people, "" if place is None else place.stratum, "" if chance is None else chance),
            )
        )


def latest_cells(entries: Sequence[Decision], key: str) -> set[str]:
    """Cells with a decision on the result with this key."""
    return {cell_id for decisions in latest(entries, key).values() for cell_id in decisions}


def _reason(decisions: list[Decision], jpeg: bytes | None) -> str:
    words = {decision.decision for decision in decisions}
    word = combined({d.reviewer: {d.cell_id: d} for d in decisions})[decisions[0].cell_id]
    if len(words) > 1 and word == "unsure":
        return DIFFERENT
    if word not in LABELS:
        return word.replace("_", " ")
    return "" if jpeg is not None else "crop not kept"


def _count(left_out: dict[str, int], reason: str, number: int) -> None:
    if number:
        left_out[reason] = left_out.get(reason, 0) + number


def _write(folder: Path, rows: list[tuple[Value, ...]], crops: list[tuple[str, bytes]]) -> None:
    """All of the set in one step: a folder that is half full would be refused the next time."""
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep_folder(folder.parent)
        with staging_folder(folder.parent) as staged:
            for name, data in crops:
                path = staged / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            (staged / "labels.csv").write_bytes(csv_bytes(COLUMNS, rows, text=guarded))
            if folder.is_dir():
                folder.rmdir()  # it is empty
            staged.rename(folder)

"""The control slides of a batch, and the control chart over many batches."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mnbatch.assay.sample_sheet import is_background
from mnbatch.dosimetry.detection_limits import Control, pool_controls
from mnbatch.errors import MnbatchError, StorageError
from mnbatch.report import wording
from mnbatch.report.statistics import person_of
from mnbatch.results.dosing_settings import scoring_mode
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Missing, Roster, Samples, missing_of, open_roster
from mnbatch.results.store import Store

# The control slides of a batch: the background of the slides with the same model and threshold.


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
    rows: dict[str, list[Mapping[str, str]]] = {}
    for record in roster.records:
        row = samples.get(record.slide_id, {})
        if not is_background(row):
            continue
        frequency = roster.call(record)[0].frequency
        if frequency is not None and frequency.bn_cells:
            donor = row.get("donor") or record.donor or record.slide_id
            counts = (frequency.mnbn_cells, frequency.bn_cells)
            groups.setdefault(called_with(record), {}).setdefault(donor, []).append(counts)
            rows.setdefault(donor, []).append(row)
    people = {donor: person_of(of) for donor, of in rows.items()}
    pooled = {
        key: pool_controls(list(donors.values()), [people[donor] for donor in donors]) for key, donors in groups.items()
    }
    return {key: control for key, control in pooled.items() if control is not None}


# Control chart over the batches found under one root: a drift in background or in scores shows.
#
# Individuals chart (Shewhart; limits from the mean moving range, 2.66 times it on either side of the mean: Montgomery,
# "Introduction to statistical quality control", 6.4) of two numbers a batch: MNBN cells per 1000 of all slides that are
# done, and the mean score of their cells. The limits come from the batches of one model and threshold; others are
# apart.


MOVING_RANGE = 2.66
TOLERANCE = timedelta(minutes=10)
LEAST = 5
"""Batches that limits need."""
STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:1000px;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid #ddd}"
    "svg{width:100%;height:auto}.out{color:#a3261d;font-weight:600}:root{color-scheme:light}"
    ".scroll{overflow-x:auto}@media print{.scroll{overflow:visible}}"
)


@dataclass(frozen=True, slots=True)
class BatchPoint:
    """One batch.

    Attributes:
        finished: end of its last scoring, ISO 8601; batches are put in this order.
        method: model digest and threshold, of the first slide; `mixed` where slides differ.
        slides, missing: all slides, and those that are not counted.
        per_1000, mean_score: None where no slide gave a result.
    """

    folder: str
    finished: str
    method: str
    slides: int
    missing: tuple[Missing, ...]
    cells: int
    mnbn: int
    per_1000: float | None
    mean_score: float | None

    @property
    def ahead(self) -> bool:
        """Whether it says a time that is still to come: then its place in the chart is not its place in time."""
        return datetime.fromisoformat(self.finished) > datetime.now(UTC) + TOLERANCE


@dataclass(frozen=True, slots=True)
class Limits:
    """Mean and control limits of one number over the batches of one method."""

    mean: float
    low: float
    high: float


def find_batches(root: Path, unread: list[Missing] | None = None) -> list[BatchPoint]:
    """Every OUT below `root` (or `root` itself) that has scored slides, in the order of time.

    Args:
        unread: takes the folders of batches that cannot be read, with the reason; None raises it.

    Raises:
        StorageError: a batch cannot be read, and nobody takes the reason.
    """
    points = []
    for folder in _outs(root):
        try:
            point = _point(folder, root)
        except MnbatchError as error:
            if unread is None:
                raise
            # One damaged batch must not keep years of others from their chart.
            unread.append(Missing(folder.relative_to(root).as_posix(), error.message))
        else:
            points += [] if point is None else [point]
    return sorted(points, key=lambda point: (point.finished, point.folder))


def limits(values: Sequence[float]) -> Limits | None:
    """Limits of an individuals chart; None for fewer than `LEAST` batches."""
    if len(values) < LEAST:
        return None
    mean = float(np.mean(values))
    spread = MOVING_RANGE * float(np.mean(np.abs(np.diff(values))))
    return Limits(mean, max(0.0, mean - spread), mean + spread)


def outside(value: float | None, chart: Limits | None) -> bool:
    """Whether a batch is outside its limits."""
    return value is not None and chart is not None and not chart.low <= value <= chart.high


def _outs(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        if "batch.json" in files and "slides" in names:
            names.clear()
            yield Path(folder)
        names.sort()


def _point(folder: Path, root: Path) -> BatchPoint | None:
    store = Store(folder)
    roster = open_roster(store)
    scored = [record for record in roster.records if record.status == "scored" and record.scored and record.model]
    if not scored:
        return None
    methods = {f"{r.model.digest[:12]} at {r.call.threshold:g}" for r in scored if r.model and r.call}
    cells = mnbn = 0
    scores: list[float] = []
    missing: list[Missing] = []
    for record in roster.records:
        call, _ = roster.call(record)
        missing += missing_of([(record, call)])
        if call.frequency is not None:
            cells, mnbn = cells + call.frequency.bn_cells, mnbn + call.frequency.mnbn_cells
            scores += [cell.p_mn for cell in call.cells if cell.p_mn is not None]
    return BatchPoint(
        folder=folder.relative_to(root).as_posix(),
        finished=_last_finished(record.scored.finished for record in scored if record.scored),
        method=methods.pop() if len(methods) == 1 else "mixed",
        slides=len(roster.records),
        missing=tuple(missing),
        cells=cells,
        mnbn=mnbn,
        per_1000=1000 * mnbn / cells if cells else None,
        mean_score=float(np.mean(scores)) if scores else None,
    )


def _last_finished(moments: Iterable[str]) -> str:
    """The latest of these; a record that states no time is no reason to have no chart.

    Raises:
        StorageError: none of them is a time.
    """
    known = []
    for moment in moments:
        try:
            known.append((datetime.fromisoformat(moment).astimezone(UTC), moment))
        except (ValueError, OverflowError):
            continue
    if not known:
        raise StorageError("No slide's record says when it was scored.", "Restore the records from a copy.")
    return max(known)[1]


def chart_page(points: Sequence[BatchPoint]) -> bytes:
    """One page with both charts and the table of batches; nothing is loaded from elsewhere."""
    methods = list(dict.fromkeys(point.method for point in points))
    parts = [_section(method, [p for p in points if p.method == method]) for method in methods]
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Control chart</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Control chart</h1><p>{wording.plural(len(points), 'batch', 'batches')}; limits are the mean and 2.66 mean"
        f" moving ranges. A batch outside them was scored, stained or sampled differently: find the cause.</p>"
        f"{''.join(parts)}<p>{wording.CLINICAL_NOTICE}</p></main></body></html>\n"
    )
    return text.encode("utf-8", "backslashreplace")


def _section(method: str, points: Sequence[BatchPoint]) -> str:
    rates = limits([p.per_1000 for p in points if p.per_1000 is not None])
    scores = limits([p.mean_score for p in points if p.mean_score is not None])
    note = "" if rates else f"<p>Limits need at least {LEAST} batches of one model and threshold.</p>"
    rows = "".join(_row(p, outside(p.per_1000, rates) or outside(p.mean_score, scores)) for p in points)
    return (
        f"<h2>Model {html.escape(method)}</h2>{note}"
        f"{_svg('MNBN per 1000 BN cells', [p.per_1000 for p in points], rates)}"
        f"{_svg('Mean score', [p.mean_score for p in points], scores)}"
        '<div class="scroll" tabindex="0" role="region" aria-label="Batches">'
        "<table><thead><tr><th>Batch</th><th>Scored</th><th>Slides</th><th>Failed</th><th>BN cells</th>"
        f"<th>Per 1000</th><th>Mean score</th><th>Limits</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(point: BatchPoint, beyond: bool) -> str:
    ahead = " (in the future)" if point.ahead else ""
    score = wording.NOT_KNOWN if point.mean_score is None else f"{point.mean_score:.4f}"
    return (
        f"<tr><td>{html.escape(point.folder)}</td><td>{wording.moment(point.finished)}{ahead}</td>"
        f"<td>{point.slides}</td>"
        f"<td>{len(point.missing)}</td><td>{wording.whole(point.cells)}</td><td>{wording.rate(point.per_1000)}</td><td>{score}</td>"
        f"<td>{'<span class=out>outside</span>' if beyond else ''}</td></tr>"
    )


def _svg(title: str, values: Sequence[float | None], chart: Limits | None) -> str:
    """A line chart of one number; a batch without one leaves a gap."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    top = 1.1 * max([*known, chart.high if chart else 0.0]) or 1.0
    wide, high = 960, 200

    def x(place: int) -> float:
        return 50 + (wide - 70) * (place + 0.5) / len(values)

    def y(value: float) -> float:
        return high - 20 - (high - 40) * value / top

    lines = []
    if chart is not None:
        for value, dash in ((chart.mean, ""), (chart.low, "5 4"), (chart.high, "5 4")):
            lines.append(
                f'<line x1="50" x2="{wide - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#a08c5b" '
                f'stroke-dasharray="{dash}"/><text x="4" y="{y(value) + 4:.1f}" font-size="11">{value:.3g}</text>'
            )
    dots = "".join(
        f'<circle cx="{x(i):.1f}" cy="{y(v):.1f}" r="5" fill="{"#a3261d" if outside(v, chart) else "#0b6b6b"}"/>'
        for i, v in enumerate(values)
        if v is not None
    )
    spoken = f"{title} of {wording.plural(len(known), 'batch', 'batches')}, from {min(known):.3g} to {max(known):.3g}"
    return (
        f'<h3>{title}</h3><svg viewBox="0 0 {wide} {high}" role="img" aria-label="{spoken}">'
        f'<line x1="50" x2="{wide - 20}" y1="{high - 20}" y2="{high - 20}" stroke="#999"/>{"".join(lines)}{dots}</svg>'
    )

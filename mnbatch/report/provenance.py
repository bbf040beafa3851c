"""What made the numbers: model, digest, threshold, settings, versions, times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mnbatch.report import views, wording
from mnbatch.results.records import SlideRecord


def models_used(records: Sequence[SlideRecord]) -> tuple[views.ModelView, ...]:
    """Which models scored the slides, at which threshold and on which device."""
    number: Counter[tuple[str, str, str, str, str]] = Counter()
    for record in records:
        if record.model and record.call and record.scored:
            model = f"{record.model.name} {record.model.version}"
            device = f"{record.scored.device}, {record.scored.precision}"
            number[(model, record.model.architecture, record.model.digest, f"{record.call.threshold:g}", device)] += 1
    return tuple(
        views.ModelView(
            name=name, architecture=architecture, digest=digest, threshold=threshold, device=device, slides=slides
        )
        for (name, architecture, digest, threshold, device), slides in sorted(number.items())
    )


def slide_provenance(record: SlideRecord) -> tuple[tuple[str, str], ...]:
    """Label and value of all that made one slide's numbers."""
    pairs = [("Slide", record.slide_id)]
    if not record.pseudonymised:
        pairs += [("Path in the export", record.path)]
    pairs += [("Layout", record.layout), ("Stain", _stain_of_cell(record))]
    if record.model:
        pairs += [
            ("Model", f"{record.model.name} {record.model.version}"),
            ("Architecture", record.model.architecture),
        ]
        pairs += [("Model digest", record.model.digest)]
    if record.call:
        pairs += [("Threshold", f"MN at p ≥ {record.call.threshold:g}")]
        pairs += [("Unreadable cells accepted", f"at most {100 * record.call.max_bad_fraction:g} %")]
        pairs += [("Quality rules", f"version {record.call.quality_rules}"), ("Call key", record.call.key)]
    if record.score_key:
        pairs += [("Score key", record.score_key)]
    if record.scored:
        s = record.scored
        pairs += [("Device", f"{s.device}, {s.precision}, minibatches of {s.minibatch}")]
        pairs += [("Versions", f"mnbatch {s.mnbatch}, torch {s.torch}")]
        pairs += [("Scored", f"{scored_span([record])} ({s.seconds:.1f} s)")]
    return tuple(pairs)


def _stain_of_cell(record: SlideRecord) -> str:
    forced = record.parts is not None and record.parts.stain
    return f"{record.stain or wording.NOT_KNOWN}{' (forced with --stain)' if forced else ''}"


def shared_provenance(records: Sequence[SlideRecord]) -> tuple[tuple[str, str], ...]:
    """What several slides have in common; where they differ, all values are given."""
    scored = [r.scored for r in records if r.scored]
    models = [r.model for r in records if r.model]
    calls = [r.call for r in records if r.call]
    columns = {
        "Model": [f"{m.name} {m.version}" for m in models],
        "Model digest": [m.digest for m in models],
        "Threshold": [f"MN at p ≥ {c.threshold:g}" for c in calls],
        "Unreadable cells accepted": [f"at most {100 * c.max_bad_fraction:g} %" for c in calls],
        "Layout": [r.layout for r in records],
        "Versions": [f"mnbatch {s.mnbatch}, torch {s.torch}" for s in scored],
    }
    pairs = [(label, "; ".join(dict.fromkeys(values))) for label, values in columns.items() if values]
    span = scored_span(records)
    return (*pairs, ("Scored", span)) if span else tuple(pairs)


def scored_span(records: Sequence[SlideRecord]) -> str:
    """From the first start to the last end of scoring; "" where nothing was scored."""
    scored = [record.scored for record in records if record.scored]
    if not scored:
        return ""
    first, last = min(s.started for s in scored), max(s.finished for s in scored)
    return wording.span(first, last)


def batch_provenance(records: Sequence[SlideRecord]) -> tuple[tuple[str, str], ...]:
    """As `shared_provenance`, less what the table of models says."""
    told = {"Model", "Model digest", "Threshold"}
    return tuple(pair for pair in shared_provenance(records) if pair[0] not in told)

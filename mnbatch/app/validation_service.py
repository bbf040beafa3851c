"""The dossier of a laboratory's validation: what an OUT, its own scored cells, its reviews and blind doses show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnbatch import __version__
from mnbatch.app.rebuild import make_reports, open_store
from mnbatch.assay.acceptance import NO_PROTOCOL, Judged, Measured, Protocol, judge_limits, parse_protocol
from mnbatch.assay.blind_doses import read_blind_doses
from mnbatch.assay.calls import PER, SlideCall
from mnbatch.assay.own_cells import ValidatedCell, slide_counts
from mnbatch.assay.slide_errors import ValidationSlide
from mnbatch.assay.validation_parts import (
    BlindSample,
    DoseAccuracy,
    Errors,
    Repeat,
    Repeatability,
    ScorerAgreement,
    ScorerPair,
    Share,
    SlideAgreement,
    errors_by_slide,
    replicates_of,
)
from mnbatch.dosimetry.dose_estimation import DoseResult
from mnbatch.errors import UsageError
from mnbatch.files import write_files
from mnbatch.intake import read_bytes, read_text, reason
from mnbatch.report.validation_page import ValidationPage, limits_table, parts_of, verdict_sentence
from mnbatch.results.annotations import load_samples
from mnbatch.results.dosing_settings import load_dosing
from mnbatch.results.lock import hold_out
from mnbatch.results.model_errors import load_validation
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Missing, Roster, donor_of, missing_of, open_roster
from mnbatch.results.store import Store
from mnbatch.review.decisions import ADJUDICATION
from mnbatch.review.estimate import Tally, agreements, estimate
from mnbatch.review.review_import import queues_of
from mnbatch.review.review_status import SlideReview, latest, review_without_result, slide_review
from mnbatch.review.trail import read_trail, reviewed_slides

NO_TABLE = "no table of blind doses was given (--blind)"
NO_CURVE = "no calibration curve is in force: put one with `mnbatch dose OUT --curve`"

Called = Mapping[str, tuple[SlideRecord, SlideCall]]
"""slide_id -> record and call, of the slides that are counted."""


@dataclass(frozen=True, slots=True)
class Dossier:
    """What a validation shows; each part states what it lacks.

    Attributes:
        models: name, version, digest and threshold that the slides were scored with.
        missing: slides that are not counted.
        digests: what was given -> SHA-256 of its content.
        figures: name of a limit -> figure, also those without a limit.
    """

    protocol: Protocol
    models: tuple[tuple[str, str, str, float], ...]
    slides: int
    missing: tuple[Missing, ...]
    errors: Errors
    repeatability: Repeatability
    scorers: ScorerAgreement
    doses: DoseAccuracy
    digests: Mapping[str, str]
    figures: Mapping[str, Measured]
    judged: tuple[Judged, ...]

    @property
    def accepted(self) -> bool:
        """Whether limits were set and every one is met."""
        return bool(self.judged) and all(one.verdict == "met" for one in self.judged)


def make_dossier(
    out: Path, *, protocol: Path | None = None, repeat: Path | None = None, blind: Path | None = None
) -> Dossier:
    """Gather every part that the data allow.

    Args:
        protocol: TOML file with the laboratory's acceptance limits; None: nothing is judged.
        repeat: OUT of a second measurement of the same slides.
        blind: table with donor and dose_gy; the reports of OUT are brought up to date for its doses.

    Raises:
        NoInputError: an OUT holds no results.
        UsageError: a file or line that cannot be used, or `repeat` is OUT itself.
        LockHeldError: another command holds OUT (with `blind` alone).
        StorageError: a file cannot be read or written.
    """
    if repeat is not None and repeat.resolve() == out.resolve():
        raise UsageError(f"--repeat {repeat} is OUT itself.", "Give the OUT of the second measurement.")
    limits = NO_PROTOCOL if protocol is None else read_protocol(protocol)
    store = open_store(out)
    roster = open_roster(store)
    called = _called(roster)
    errors = _errors(store, called)
    repeatability = _repeatability(store, called, repeat)
    scorers = _scorers(store, roster)
    doses = _doses(store, blind)
    figures = {**errors.figures, **repeatability.figures, **scorers.figures, **doses.figures}
    given = {"protocol": protocol, "blind doses": blind}
    return Dossier(
        protocol=limits,
        models=_models(called),
        slides=len(called),
        missing=missing_of((record, roster.call(record)[0]) for record in roster.records),
        errors=errors,
        repeatability=repeatability,
        scorers=scorers,
        doses=doses,
        digests={name: hashlib.sha256(read_bytes(path)).hexdigest() for name, path in given.items() if path},
        figures=figures,
        judged=judge_limits(limits, figures),
    )


def read_protocol(path: Path) -> Protocol:
    """The laboratory's protocol.

    Raises:
        UsageError: it cannot be read or used.
    """
    try:
        return parse_protocol(read_text(path))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The protocol {path} cannot be used: {reason(error)}.", "docs/validation.md shows one."
        ) from error


def _called(roster: Roster) -> dict[str, tuple[SlideRecord, SlideCall]]:
    found = ((record, roster.call(record)[0]) for record in roster.records)
    return {record.slide_id: (record, call) for record, call in found if call.frequency is not None}


def _models(called: Called) -> tuple[tuple[str, str, str, float], ...]:
    ways = {
        (r.model.name, r.model.version, r.model.digest, r.call.threshold)
        for r, _ in called.values()
        if r.model is not None and r.call is not None
    }
    return tuple(sorted(ways))


# Sensitivity and specificity by slide.


def _errors(store: Store, called: Called) -> Errors:
    by_slide: dict[str, list[ValidatedCell]] = {}
    nameless = others = 0
    for cell in load_validation(store.paths):
        slide_id = cell.cell_id.split(":", 1)[0]
        record = called[slide_id][0] if slide_id in called else None
        if record is not None and record.model is not None and record.model.digest == cell.model:
            by_slide.setdefault(slide_id, []).append(cell)
        elif cell.cell_id:
            others += 1
        else:
            nameless += 1
    counts: dict[str, ValidationSlide] = {}
    for slide_id, cells in by_slide.items():
        call = called[slide_id][0].call
        assert call is not None
        counts[slide_id] = slide_counts(cells, call.threshold)
    return errors_by_slide(counts, _left_out(nameless, others))


def _left_out(nameless: int, others: int) -> str:
    parts = []
    if nameless:
        parts.append(f"{nameless} known by their score alone")
    if others:
        parts.append(f"{others} of slides that are not counted, or were scored by another model since")
    return f"Own scored cells in no figure: {'; '.join(parts)}." if parts else ""


# Repeatability.


def _repeatability(store: Store, called: Called, repeat: Path | None) -> Repeatability:
    samples = load_samples(store.paths)
    donors: dict[str, list[tuple[str, int, int]]] = {}
    for record, call in called.values():
        donor = donor_of(record, samples)
        if donor and call.frequency is not None:
            f = call.frequency
            donors.setdefault(donor, []).append((record.slide_id, f.mnbn_cells, f.bn_cells))
    replicates = [replicates_of(donor, counts) for donor, counts in sorted(donors.items())]
    found = tuple(one for one in replicates if one is not None)
    if repeat is None:
        return Repeatability(found, ())
    second = _called(open_roster(open_store(repeat)))
    repeats = {name: _compared(name, called, second) for name in sorted(called.keys() | second.keys())}
    pairs = tuple(one for one in repeats.values() if isinstance(one, Repeat))
    return Repeatability(found, pairs, tuple(why for why in repeats.values() if isinstance(why, str)), asked=True)


def _compared(slide_id: str, first: Called, second: Called) -> Repeat | str:
    """The slide in both measurements, or why they cannot be compared."""
    if slide_id not in first or slide_id not in second:
        return f"{slide_id}: not counted in the {'first' if slide_id not in first else 'second'} measurement"
    (one, call), (other, again) = first[slide_id], second[slide_id]
    f, g = call.frequency, again.frequency
    assert f is not None
    assert g is not None
    if not f.bn_cells or not g.bn_cells:
        return f"{slide_id}: no cell was counted in the {'second' if f.bn_cells else 'first'} measurement"
    if _way(one) != _way(other):
        return f"{slide_id}: the two measurements were scored by other models or at other thresholds"
    calls = {cell.cell_id: cell.mn for cell in again.cells if cell.mn is not None}
    shared = [(cell.mn, calls[cell.cell_id]) for cell in call.cells if cell.mn is not None and cell.cell_id in calls]
    return Repeat(
        slide=slide_id,
        first=(f.mnbn_cells, f.bn_cells),
        second=(g.mnbn_cells, g.bn_cells),
        shared=len(shared),
        same=sum(a == b for a, b in shared),
        same_files=bool(one.content_key) and one.content_key == other.content_key,
    )


def _way(record: SlideRecord) -> tuple[str, float]:
    return record.model.digest if record.model else "", record.call.threshold if record.call else 0.0


# Agreement with people.


def _scorers(store: Store, roster: Roster) -> ScorerAgreement:
    slides: list[SlideAgreement] = []
    tallies: list[Tally] = []
    left_out: list[str] = []
    said: dict[str, dict[str, str]] = {}
    known = [slide_id for slide_id in reviewed_slides(store.paths) if roster.record(slide_id) is not None]
    for slide_id, queue in queues_of(store, dict.fromkeys(known), roster=roster).items():
        trail = read_trail(store.paths, slide_id)
        review = review_without_result(trail) if queue is None else slide_review(queue, trail)
        if queue is None or not review.tallies:
            left_out.append(f"{slide_id}: {review.reason or 'nothing is decided'}")
            continue
        slides.append(_agreement(slide_id, review))
        tallies += review.tallies
        for reviewer, decisions in latest(trail.entries, queue.result_key).items():
            own = {cell: d.decision for cell, d in decisions.items() if d.look != ADJUDICATION}
            said.setdefault(reviewer, {}).update(own)
    pairs = tuple(ScorerPair(a.first, a.second, a.cells, a.agreed, a.kappa) for a in agreements(said))
    return ScorerAgreement(tuple(slides), _missed(tallies), pairs, tuple(left_out))


def _agreement(slide_id: str, review: SlideReview) -> SlideAgreement:
    called = [tally for tally in review.tallies if tally.called]
    decided = sum(t.looked - t.unsure - t.not_scorable for t in called)
    return SlideAgreement(
        slide=slide_id,
        complete=review.status == "complete",
        confirmed=Share(sum(t.mn for t in called), decided),
        missed=_missed(review.tallies),
        unsure=sum(t.unsure for t in review.tallies),
        not_scorable=sum(t.not_scorable for t in review.tallies),
    )


def _missed(tallies: Sequence[Tally]) -> Measured:
    others = [tally for tally in tallies if not tally.called]
    found = estimate(others) if others else None
    if found is None:
        return Measured(None, why="of the cells that were not called no random sample was reviewed (mnbatch review)")
    return Measured(found.per_1000 / PER, found.ci_low / PER, found.ci_high / PER)


# Doses of blind samples.


def _doses(store: Store, blind: Path | None) -> DoseAccuracy:
    if blind is None:
        return DoseAccuracy((), none=NO_TABLE)
    given = read_blind_doses(blind)
    dosing = load_dosing(store.paths)
    if dosing is None:
        return DoseAccuracy((), none=NO_CURVE)
    with hold_out(store.paths):
        made = make_reports(store).made
    assert made is not None
    results = {dose.result.id: dose.result for dose in made.doses}
    in_curve = {str(point.get("name", "")) for point in dosing.curve.about.get("fit", {}).get("points", [])}
    seen = dict(_seen(store, in_curve))
    return DoseAccuracy(
        samples=tuple(
            _sample(donor, dose, results.get(donor)) for donor, dose in sorted(given.items()) if donor not in seen
        ),
        curve=dosing.settings.source,
        none="" if given.keys() - seen.keys() else "no sample of the table is blind",
        not_blind=tuple(f"{donor}: {seen[donor]}" for donor in sorted(given) if donor in seen),
    )


def _seen(store: Store, in_curve: set[str]) -> Iterator[tuple[str, str]]:
    """Donors whose dose was known to the curve or in OUT's sample sheet, and how."""
    samples = load_samples(store.paths)
    for record in store.records():
        donor = donor_of(record, samples)
        if donor and samples.get(record.slide_id, {}).get("dose_gy"):
            yield donor, "its dose is in the sample sheet"
        if donor and record.slide_id in in_curve:
            yield donor, "its slides are in the calibration curve"


def _sample(donor: str, given: float, result: DoseResult | None) -> BlindSample:
    if result is None or result.status != "ok":
        why = "no such donor in OUT" if result is None else "; ".join(result.warnings) or "no dose"
        return BlindSample(donor=donor, given=given, estimate=None, low=None, high=None, above=None, why=why)
    return BlindSample(
        donor=donor,
        given=given,
        estimate=result.estimate,
        low=result.lower,
        high=result.upper,
        above=None if result.below_detection is None else not result.below_detection,
    )


# The page and the JSON.


def write_dossier(dossier: Dossier, out: Path, to: Path) -> Path:
    """Write index.html and validation.json; returns the page.

    Raises:
        UsageError: `to` is in OUT, where `mnbatch forget` would not find what it holds of a donor.
        StorageError: it cannot be written.
    """
    from mnbatch.report.rendering import render_validation

    if to.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{to} is in OUT.", "Give a folder of its own: a dossier is no part of the results.")
    content = json.dumps(dossier_json(dossier), indent=1, allow_nan=False, ensure_ascii=True).encode() + b"\n"
    stamp = hashlib.sha256(content).hexdigest()[:16]
    page = render_validation(_page(dossier), stamp)
    write_files(to, {"validation.json": content, "index.html": page})
    return to / "index.html"


def dossier_json(dossier: Dossier) -> dict[str, Any]:
    """Everything that the page shows, as JSON; None is unknown, never zero."""
    e, r, s, d = dossier.errors, dossier.repeatability, dossier.scorers, dossier.doses
    return {
        "format": "mnbatch validation 1",
        "mnbatch": __version__,
        "protocol": {**asdict(dossier.protocol), "texts": dict(dossier.protocol.texts)},
        "models": [
            dict(zip(("name", "version", "digest", "threshold"), model, strict=True)) for model in dossier.models
        ],
        "slides": dossier.slides,
        "not_counted": [asdict(slide) for slide in dossier.missing],
        "given": dict(dossier.digests),
        "limits": [
            {"name": j.name, "side": j.side, "limit": j.limit, "verdict": j.verdict, **asdict(j.measured)}
            for j in dossier.judged
        ],
        "figures": {name: asdict(figure) for name, figure in dossier.figures.items()},
        "errors_by_slide": [{"slide": row.slide, **asdict(row.counts)} for row in e.slides],
        "new_slides": {"sensitivity_95": e.range_se, "specificity_95": e.range_sp, "why_not": e.unknown},
        "replicates": [asdict(one) for one in r.replicates],
        "measured_twice": [{**asdict(one), "difference_per_1000": one.difference} for one in r.repeats],
        "not_compared": list(r.unmatched),
        "scorers": [asdict(one) for one in s.slides],
        "scorer_pairs": [asdict(one) for one in s.pairs],
        "scorers_left_out": list(s.left_out),
        "blind_samples": [asdict(one) for one in d.samples],
        "not_blind": list(d.not_blind),
        "curve": d.curve,
    }


def _page(dossier: Dossier) -> ValidationPage:
    texts = dossier.protocol.texts
    labels = {"laboratory": "Laboratory", "purpose": "Purpose", "samples": "Samples", "prepared_by": "Prepared by"}
    interval = "Limits are judged by whole 95 % intervals where a figure has one."
    judge = "Limits are judged by values alone." if dossier.protocol.judge == "value" else interval
    return ValidationPage(
        title=texts.get("title", "Validation of automated micronucleus scoring"),
        verdict=verdict_sentence(dossier.judged),
        judge=judge if dossier.judged else "",
        study=tuple((label, texts[key]) for key, label in labels.items() if key in texts),
        provenance=tuple(_provenance(dossier)),
        not_counted=tuple(map(str, dossier.missing)),
        limits=limits_table(dossier.judged),
        parts=parts_of(dossier.errors, dossier.repeatability, dossier.scorers, dossier.doses),
    )


def _provenance(dossier: Dossier) -> Iterator[tuple[str, str]]:
    yield "Slides counted", str(dossier.slides)
    for name, version, digest, threshold in dossier.models:
        yield "Model", f"{name} {version}, digest {digest[:16]}, threshold {threshold:g}"
    for name, digest in dossier.digests.items():
        yield f"SHA-256 of the {name}", digest
    yield "Made by", f"mnbatch {__version__}"

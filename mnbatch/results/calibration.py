"""Calibration points from slides that mnbatch scored: counts from the store, doses from a sample sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mnbatch.assay.calls import SlideCall
from mnbatch.dosimetry.calibration_curve import Endpoint
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.errors import CurveError, MismatchError, UsageError
from mnbatch.results.annotations import load_samples
from mnbatch.results.dosing_settings import scoring_mode
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Roster, donor_of, missing_of, open_roster
from mnbatch.results.store import Store


def calibration_points(
    store: Store, doses: Mapping[str, float], endpoint: Endpoint | None
) -> tuple[list[DosePoint], Endpoint, dict[str, Any]]:
    """A point for each slide with a known dose, the endpoint, and how they were scored.

    Args:
        doses: slide_id -> Gy; slides without one are no part of the curve.
        endpoint: None takes micronuclei where the model counted them, else cells with micronuclei.

    Raises:
        UsageError: no slide has a dose.
        CurveError: a slide with a dose gave no count; a curve without it is not what was asked for.
        MismatchError: the slides were scored by different models or at different thresholds, or hold no counts of
            micronuclei where these are asked for.
    """
    roster = open_roster(store)
    named = [r for r in roster.records if r.slide_id in doses]
    if not named:
        raise UsageError("No slide has a known dose.", "Give --doses with the columns slide, donor and dose_gy.")
    _refuse_two_doses(roster, doses)
    calls = [(r, roster.call(r)[0]) for r in named]
    missing = missing_of(calls)
    if missing:
        raise CurveError(
            f"{len(missing)} slides with a dose have no count: {'; '.join(map(str, missing))}.",
            "Score them again, or leave their dose empty in the sheet.",
        )
    scoring = _scoring(named)
    chosen: Endpoint = endpoint or ("mn" if all(call.mn is not None for _, call in calls) else "mnbn")
    samples = load_samples(store.paths)
    points = [_point(r, call, doses[r.slide_id], chosen, donor_of(r, samples) or "") for r, call in calls]
    return points, chosen, scoring


def known_doses(samples: Mapping[str, Mapping[str, str]]) -> dict[str, float]:
    """slide_id -> Gy from the sample sheet in force."""
    return {slide_id: float(row["dose_gy"]) for slide_id, row in samples.items() if row.get("dose_gy")}


def _refuse_two_doses(roster: Roster, doses: Mapping[str, float]) -> None:
    """The same pictures cannot have had two doses.

    Raises:
        CurveError: a slide and its copy have different doses, or the copy alone has one.
    """
    wrong = [
        f"{copy.slide_id} ({doses[copy.slide_id]:g} Gy) is a copy of {copy.copy_of}"
        for copy in roster.copied
        if copy.slide_id in doses and doses.get(copy.copy_of or "") != doses[copy.slide_id]
    ]
    if wrong:
        raise CurveError(
            f"Slides with a dose are copies of slides that have another, or none: {'; '.join(wrong)}.",
            "Find out which slide it is, and correct the sheet or the export.",
        )


def _scoring(records: Sequence[SlideRecord]) -> dict[str, Any]:
    ways = {(r.model.digest, r.call.threshold, scoring_mode(r)) for r in records if r.model and r.call}
    if len(ways) != 1:
        raise MismatchError(
            f"The slides with a dose were scored in {len(ways)} different ways (model, threshold, --cells).",
            "Score them all with one model at one threshold, and all with the same --cells.",
        )
    digest, threshold, mode = ways.pop()
    model = next(r.model for r in records if r.model)
    return {"mode": mode, "model": f"{model.name} {model.version}", "model_digest": digest, "threshold": threshold}


def _point(record: SlideRecord, call: SlideCall, dose: float, endpoint: Endpoint, donor: str) -> DosePoint:
    if endpoint == "mn":
        if call.mn is None:
            raise MismatchError(f"{record.slide_id} has no counts of micronuclei: {call.mn_reason}.", "Take mnbn.")
        return DosePoint(dose, call.mn.bn_cells, call.mn.micronuclei, call.mn.cells, record.slide_id, donor)
    assert call.frequency is not None
    return DosePoint(dose, call.frequency.bn_cells, call.frequency.mnbn_cells, (), record.slide_id, donor)

"""Calibration points from slides that mnbatch scored: counts from the store, doses from a sample sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mnbatch.assay.calls import SlideCall
from mnbatch.assay.curve import Endpoint
from mnbatch.assay.curve_table import DosePoint
from mnbatch.errors import CurveError, MismatchError, UsageError
from mnbatch.results.calling import call_record
from mnbatch.results.dosing import scoring_mode
from mnbatch.results.records import SlideRecord
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
    records = [r for r in store.records() if r.status != "copy"]
    named = [r for r in records if r.slide_id in doses]
    if not named:
        raise UsageError("No slide has a known dose.", "Give --doses with the columns slide, donor and dose_gy.")
    copies = store.copies(records)
    calls = [(r, call_record(store, r, copies.get(r.slide_id, {}))) for r in named]
    failed = [f"{r.slide_id}: {call.reason}" for r, call in calls if call.frequency is None]
    if failed:
        raise CurveError(
            f"{len(failed)} slides with a dose gave no count: {'; '.join(failed)}.",
            "Score them again, or leave their dose empty in the sheet.",
        )
    scoring = _scoring(named)
    chosen: Endpoint = endpoint or ("mn" if all(call.mn is not None for _, call in calls) else "mnbn")
    return [_point(r, call, doses[r.slide_id], chosen) for r, call in calls], chosen, scoring


def known_doses(samples: Mapping[str, Mapping[str, str]]) -> dict[str, float]:
    """slide_id -> Gy from the sample sheet in force."""
    return {slide_id: float(row["dose_gy"]) for slide_id, row in samples.items() if row.get("dose_gy")}


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


def _point(record: SlideRecord, call: SlideCall, dose: float, endpoint: Endpoint) -> DosePoint:
    if endpoint == "mn":
        if call.mn is None:
            raise MismatchError(f"{record.slide_id} has no counts of micronuclei: {call.mn_reason}.", "Take mnbn.")
        return DosePoint(dose, call.mn.bn_cells, call.mn.micronuclei, call.mn.cells, record.slide_id)
    assert call.frequency is not None
    return DosePoint(dose, call.frequency.bn_cells, call.frequency.mnbn_cells, (), record.slide_id)

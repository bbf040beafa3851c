"""From counted cases to doses with everything that a reader must know beside them: limits, flags and warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri

from mnbatch.assay.curve import Curve, problems
from mnbatch.assay.curve_table import Floats
from mnbatch.assay.distribution import Distribution
from mnbatch.assay.dose_methods import Counts, Doses, delta, merkle
from mnbatch.assay.dose_records import Case, DoseOptions, DoseResult
from mnbatch.assay.dose_warnings import Seen, warnings_of
from mnbatch.assay.limits import Limits, limits_of_rate
from mnbatch.assay.profile import Profile, profile

METHODS = {"profile": profile, "merkle": merkle, "delta": delta}
COMPARED = ("mode", "model_digest", "threshold")
"""What of `scoring` must agree between a case and its curve, where both state it."""

COUNTED = {"mn": "micronuclei", "mnbn": "cells with micronuclei"}


def assess(cases: Sequence[Case], curve: Curve, options: DoseOptions) -> list[DoseResult]:
    """Results of all cases, in their order; a bad one has its reason and leaves the others alone.

    A curve from which no dose can be read refuses every case with the reason; counts are reported nevertheless.
    """
    faults = problems(curve)
    refusals = [_refusal(case, curve, faults, options) for case in cases]
    results = [_counted(case, curve, refusal, options) for case, refusal in zip(cases, refusals, strict=True)]
    good = [i for i, refusal in enumerate(refusals) if not refusal]
    if good:
        dosed = _dosed([cases[i] for i in good], [results[i] for i in good], curve, options)
        for i, result in zip(good, dosed, strict=True):
            results[i] = result
    return results


def mismatches(case: Case, curve: Curve) -> list[str]:
    """What of the scoring differs between case and curve, where both state it."""
    found = []
    for name in COMPARED:
        own, curves = str(case.scoring.get(name) or ""), str(curve.scoring.get(name) or "")
        if own and curves and not _same(own, curves):
            found.append(f"{name.replace('_', ' ')} {own} (curve: {curves})")
    return found


def _same(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9)
    except ValueError:
        return one.strip().casefold() == other.strip().casefold()


def _refusal(case: Case, curve: Curve, faults: Sequence[str], options: DoseOptions) -> str:
    if case.counts is None or case.problem:
        return case.problem or "nothing was counted"
    if faults:
        return f"the curve gives no dose: {'; '.join(faults)}"
    endpoint = _endpoint(case, curve)
    if endpoint != curve.endpoint:
        return f"the case counts {COUNTED[endpoint]} (endpoint {endpoint}), the curve {COUNTED[curve.endpoint]}"
    differing = mismatches(case, curve)
    if differing and not options.allow_mismatch:
        return f"scored otherwise than the curve: {'; '.join(differing)} (--allow-mismatch gives a dose nevertheless)"
    return ""


def _endpoint(case: Case, curve: Curve) -> str:
    """As stated; otherwise a cell with two micronuclei shows that micronuclei were counted."""
    counts = case.counts.counts if case.counts else ()
    return case.scoring.get("endpoint", "") or ("mn" if any(counts[2:]) else curve.endpoint)


def _counted(case: Case, curve: Curve, reason: str, options: DoseOptions) -> DoseResult:
    """The case as counted, refused or failed for `reason`, or still without its dose."""
    n, x = (case.counts.cells, case.counts.events) if case.counts else (None, None)
    of_micronuclei = case.counts is not None and bool(case.counts.counts) and curve.endpoint == "mn"
    spread = Distribution(case.counts.counts) if case.counts and of_micronuclei else None
    return DoseResult(
        id=case.id,
        status="failed" if case.problem or case.counts is None else "refused" if reason else "ok",
        n=n,
        x=x,
        yield_=x / n if n and x is not None else None,
        dispersion_index=spread.dispersion_index if spread else None,
        u=spread.u() if spread else None,
        method=options.method,
        level=options.level,
        warnings=(reason,) if reason else (),
    )


def _dosed(
    cases: Sequence[Case], counted: Sequence[DoseResult], curve: Curve, options: DoseOptions
) -> list[DoseResult]:
    counts = counts_of(counted, curve)
    doses = METHODS[options.method](curve, counts, options.level, options.g)
    below = _below_background(curve, counts, options.g)
    limits = [_limits(curve.background, result.n or 0, curve.slide_scatter) for result in counted]
    limit_doses = _limit_doses(curve, limits, [result.n or 0 for result in counted], options.g)
    results = []
    for i, (case, result) in enumerate(zip(cases, counted, strict=True)):
        seen = _seen(doses, i, result.u, curve, bool(below[i]))
        results.append(
            replace(
                result,
                estimate=_finite(doses.estimate[i]),
                lower=_finite(doses.lower[i]),
                upper=_finite(doses.upper[i]),
                below_detection=(result.x or 0) <= limits[i].decision_threshold,
                above_range=seen.above_range,
                warnings=(*filter(None, [case.note]), *warnings_of(seen, curve, mismatches(case, curve))),
                limits=limits[i],
                decision_dose=float(limit_doses[i, 0]),
                detection_dose=float(limit_doses[i, 1]),
            )
        )
    return results


def counts_of(results: Sequence[DoseResult], curve: Curve) -> Counts:
    """Counts of results that have some: mn with the counting variance scaled by max(1, DI, scatter of the slides).

    mnbn with as many fewer cells and events as the curve's slides scatter more than counting explains: the yield stays
    and its binomial variance is scaled.
    """
    if curve.endpoint == "mnbn":
        f = curve.slide_scatter
        return Counts.of([(result.n or 0) / f for result in results], [(result.x or 0) / f for result in results])
    phi = [max(result.dispersion_index or 1.0, curve.slide_scatter) for result in results]
    return Counts.of([result.n or 0 for result in results], [result.x or 0 for result in results], phi)


def _seen(doses: Doses, i: int, u: float | None, curve: Curve, below_background: bool) -> Seen:
    estimate = float(doses.estimate[i])
    above = curve.highest_dose is not None and estimate > curve.highest_dose
    return Seen(estimate, float(doses.upper[i]), u, above, below_background)


def _below_background(curve: Curve, counts: Counts, g: float) -> npt.NDArray[np.bool_]:
    """Yields so far below C that neither counting nor the curve's own error explains them (likelihood ratio, 5 %)."""
    off = Profile(curve, counts, g)(np.zeros(len(counts.cells)))
    return (off > float(chdtri(1, 0.05))) & (counts.yields < curve.background)


def _limit_doses(curve: Curve, limits: Sequence[Limits], cells: Sequence[int], g: float) -> Floats:
    """(n, 2): decision threshold and detection limit in Gy on the curve."""
    events = np.array([[limit.decision_threshold, limit.detection_limit] for limit in limits])
    doses, _ = curve.root(events / np.array(cells)[:, None], g)
    return np.maximum(np.nan_to_num(doses, nan=0.0), 0.0)


@lru_cache(maxsize=65536)
def _limits(background: float, cells: int, scatter: float) -> Limits:
    """Exact; with scatter between slides both limits lie further from the background by its square root."""
    exact, mean = limits_of_rate(background, cells), background * cells
    if scatter == 1:
        return exact
    threshold, detection = (mean + scatter**0.5 * (v - mean) for v in (exact.decision_threshold, exact.detection_limit))
    return Limits(math.floor(threshold), detection)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

"""From counted cases to doses with everything that a reader must know: limits, flags and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, ndtri, stdtrit, xlog1py, xlogy

from mnbatch.assay.alike_names import spelled
from mnbatch.assay.count_kinds import PLURAL, CountKind, kind_of, other_kind
from mnbatch.assay.mn_counts import U_LIMIT, Distribution
from mnbatch.dosimetry.calibration_curve import Curve, Endpoint, problems
from mnbatch.dosimetry.case_tables import SEPARATOR, CaseCounts, Row, RowError, read_rows, table_name
from mnbatch.dosimetry.component_doses import (
    SEARCH_TO,
    decision_threshold,
    detection_dose,
    dose_limits,
    tail_above,
)
from mnbatch.dosimetry.detection_limits import ALPHA, BETA, Limits, limits_of_estimated_rate
from mnbatch.dosimetry.dose_intervals import Counts, Doses, Profile, delta, merkle, point_estimate, profile
from mnbatch.dosimetry.likelihood_fits import Floats
from mnbatch.dosimetry.plausible_curves import implausible
from mnbatch.dosimetry.variance_components import CaseSlides, Components, components_of, unknown_components
from mnbatch.errors import UsageError
from mnbatch.spelled_numbers import SpellingError, decimal_of, spoiled_name

# Records of dosing: what goes in, how it is to be done, and what comes out.


Method = Literal["profile", "components", "merkle", "delta"]
"""How an interval is made; what a result has."""
Choice = Literal["automatic", "profile", "components", "merkle", "delta"]
"""What may be asked for; `automatic` is `chosen_method`'s."""
Status = Literal["ok", "failed", "refused"]
"""`failed`: the row gives no count; `refused`: it does, and case and curve do not go together."""


@dataclass(frozen=True, slots=True)
class Case:
    """One donor, or one row of a table.

    Attributes:
        counts: None where nothing could be counted; `problem` then says why.
        problem: why there is no result although there may be counts (no id).
        note: a warning that has nothing to do with the dose.
        scoring: how it was scored, as far as stated; keys of `COMPARED` and "endpoint".
        slide_cells: cells of each of its slides; () where not known: they are taken as one slide's.
    """

    id: str
    counts: CaseCounts | None
    problem: str = ""
    scoring: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    slide_cells: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DoseOptions:
    """How doses are computed.

    Attributes:
        method: `automatic` takes what holds doses best on the curve at hand (`chosen_method`).
        level: confidence of the interval.
        g: protraction factor of the exposure, 1 for an acute one.
        allow_mismatch: give a dose although case and curve were scored differently, and say so.
    """

    method: Choice = "automatic"
    level: float = 0.95
    g: float = 1.0
    allow_mismatch: bool = False


@dataclass(frozen=True, slots=True)
class DoseResult:
    """What is known of one case; None is unknown, never zero.

    Attributes:
        n, x: cells and events as counted, never altered; `yield_` is x / n.
        dispersion_index, u: of the distribution; None for binomial cases and where it is not known or not defined.
        estimate, lower, upper: dose in Gy; upper is None where the curve does not bound the dose.
        below_detection: not above the decision threshold: the curve's background alone explains so many events.
        above_range: the estimate is beyond the highest dose of the curve: it is extrapolated.
        limits: decision threshold and detection limit, in events among n cells; `detection_dose` the latter in Gy.
        scatter: variance of the count over that of counting, from the curve's slides, for slides of this case's size.
        slide_cells: cells of each slide of the case; () where not known.
    """

    id: str
    status: Status
    n: int | None
    x: int | None
    yield_: float | None
    dispersion_index: float | None
    u: float | None
    method: Method
    level: float
    warnings: tuple[str, ...]
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    below_detection: bool | None = None
    above_range: bool | None = None
    limits: Limits | None = None
    decision_dose: float | None = None
    detection_dose: float | None = None
    scatter: float = 1.0
    slide_cells: tuple[int, ...] = ()

    @property
    def as_slides(self) -> CaseSlides:
        """The case for `variance_components`; one slide where its slides are not known or do not add up."""
        n = self.n or 1
        sizes = self.slide_cells if sum(self.slide_cells) == n else (n,)
        return CaseSlides(self.x or 0, sizes, max(1.0, self.dispersion_index or 1.0))

    def to_json(self) -> dict[str, Any]:
        """The JSON contract of a case."""
        return {
            "id": self.id,
            "status": self.status,
            "n": self.n,
            "x": self.x,
            "yield": self.yield_,
            "dispersion_index": self.dispersion_index,
            "u": self.u,
            "dose": {"estimate": self.estimate, "lower": self.lower, "upper": self.upper},
            "method": self.method,
            "level": self.level,
            "below_detection": self.below_detection,
            "above_range": self.above_range,
            "warnings": list(self.warnings),
        }


# cases.csv: donors as bare counts, without any image.


ENDPOINTS = ("mn", "mnbn")
_SCORING = {"scoring": "mode", "mode": "mode", "model_digest": "model_digest", "threshold": "threshold"}


def read_cases(source: Path | bytes, endpoint: Endpoint) -> list[Case]:
    """Cases of a table: columns id and C0..C5 (or id, N and X); may have endpoint, scoring, model_digest, threshold.

    A row that cannot be used becomes a case with its problem; so does every row of a table without a needed column.

    Args:
        endpoint: the curve's: what X means in a row that does not say.

    Raises:
        UsageError: no such file, not UTF-8, empty, without a row below its heading, or a column named twice.
        StorageError: the file cannot be read.
    """
    _, rows = read_rows(source)
    if not rows:
        raise UsageError(
            f"The table {table_name(source)} holds no case: there is nothing below its heading.",
            "Give one that was saved whole.",
        )
    lines: dict[str, list[int]] = {}
    cases = [(line, _case(row, line, endpoint)) for line, row in rows]
    for line, case in cases:
        lines.setdefault(case.id, []).append(line)
    return [_refused_twin(case, lines[case.id]) for _, case in cases]


def _refused_twin(case: Case, lines: Sequence[int]) -> Case:
    """Only the laboratory knows which of several lines is right."""
    if len(lines) == 1 or case.problem:
        return case
    listed = ", ".join(map(str, lines))
    return replace(case, problem=f"the id is in the lines {listed}: give each case one line, with its sums")


def _case(row: Row, line: int, curve_endpoint: Endpoint) -> Case:
    name = row.get("id", "")
    scoring = {key: row[column] for column, key in _SCORING.items() if row.get(column)}
    if not name.isprintable():
        problem = f"line {line}: the id holds a line break or another sign that shows nothing"
        return Case(spelled(name), None, problem, scoring)
    endpoint = row.get("endpoint", "").lower()
    if endpoint:
        scoring["endpoint"] = endpoint
    try:
        if endpoint and endpoint not in ENDPOINTS:
            raise RowError(f"endpoint '{endpoint}' is neither mn nor mnbn")
        counts = CaseCounts.from_row(row, endpoint or curve_endpoint)
        if "threshold" in scoring:
            scoring["threshold"] = repr(decimal_of(scoring["threshold"], row[SEPARATOR], "threshold"))
    except (RowError, SpellingError) as problem:
        return Case(name or f"line {line}", None, f"line {line}: {problem}", scoring)
    if not name:
        missing = "there is no column id" if "id" not in row else "no id is given"
        return Case(f"line {line}", counts, f"{missing}: a result without an id is not given", scoring)
    spoiled = spoiled_name(name)
    return Case(name, counts, f"line {line}: the id {spoiled}" if spoiled else "", scoring)


# What to know before a dose is used.


SATURATION_GY = 5.0
NOTABLE_SCATTER = 1.5
LEAST_CELLS = 25
"""Fewer cells give no dose: an interval of one cell reaches over every dose, and its estimate says nothing."""
FEWEST_BACKGROUND = (10, 1000)
"""Events and cells at 0 Gy that a decision threshold needs; with fewer every dose carries a warning."""
TRIAGE_CELLS = 200
"""Fewer cells give a dose with a warning."""
SATURATED = 0.95
"""Share of cells with micronuclei that no dose is told from another above."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A case's numbers, as far as warnings depend on them; NaN and infinity as the method gave them."""

    estimate: float
    upper: float
    u: float | None
    above_range: bool
    below_background: bool
    cells: int = TRIAGE_CELLS
    scatter: float = 1.0
    below_threshold: bool = False


def warnings_of(seen: Seen, curve: Curve, differing: Sequence[str], not_said: str = "") -> tuple[str, ...]:
    """Everything that a reader of this dose must know.

    Args:
        differing: what of the scoring differs between case and curve, which was allowed.
        not_said: that the case leaves its scoring open (`unsaid_scoring`), which was allowed.
    """
    found = []
    if not_said:
        found.append(f"{not_said}; allowed")
    if differing:
        found.append(f"scored differently from the curve, and allowed: {'; '.join(differing)}")
    if seen.below_background:
        found.append("significantly fewer events than the curve's background: does this curve belong to this scoring?")
    if seen.cells < TRIAGE_CELLS:
        found.append(f"{seen.cells} cells; triage needs {TRIAGE_CELLS}: score more cells of this donor")
    found += _dispersion_warnings(seen.u, seen.below_threshold)
    found += _range_warnings(curve, seen)
    found += _scatter_warnings(seen.scatter)
    found += curve_warnings(curve)
    return tuple(found)


def _dispersion_warnings(u: float | None, below_threshold: bool) -> list[str]:
    """Counts of micronuclei are a little overdispersed in unexposed donors too: u alone is no sign of an exposure."""
    if u is None or abs(u) <= U_LIMIT:
        return []
    if u < 0:
        return [f"underdispersed (u = {u:.2f}): the cells vary less than expected by chance"]
    text = f"overdispersed (u = {u:.2f}), as micronuclei often are; the interval is widened by it"
    return [text if below_threshold else f"{text}; possible partial-body exposure, for which no dose is given"]


def _scatter_warnings(scatter: float) -> list[str]:
    if scatter <= NOTABLE_SCATTER:
        return []
    return [
        f"slides of this scoring and size scatter {scatter:.1f} times as much as counting explains; the interval is "
        "widened by that. One slide may still mislead: score more slides of this donor"
    ]


def _range_warnings(curve: Curve, seen: Seen) -> list[str]:
    found = []
    if seen.above_range:
        found.append(
            f"> {curve.highest_dose:g} Gy, where the curve ends: the estimate of {seen.estimate:.2f} Gy is extrapolated"
        )
    if seen.estimate > SATURATION_GY and curve.endpoint == "mn":
        found.append("above about 5 Gy the yield of micronuclei flattens: the dose may be higher")
    if math.isinf(seen.upper):
        found.append("no upper limit: the curve, or a count near saturation, does not bound the dose")
    elif math.isnan(seen.upper):
        found.append("this method has no interval at a yield this far below the curve; the profile method has")
    return found


def curve_warnings(curve: Curve) -> list[str]:
    """What every dose from this curve must be read with."""
    found = implausible(curve)
    if curve.uncertainty == "standard errors":
        found.append(
            "the curve gives standard errors only: its coefficients are treated as independent, which they are not"
        )
    elif curve.uncertainty == "none":
        found.append("the curve gives no uncertainty: the interval covers the counting error only and is too narrow")
    found += background_warnings(curve)
    if curve.dose_range is None:
        found.append("the curve does not state its dose range: whether the dose is extrapolated is not known")
    if curve.about.get("example"):
        found.append("an example curve of another laboratory: not for use on its own")
    return found


def background_warnings(curve: Curve) -> list[str]:
    """That too little was counted at 0 Gy for a decision threshold."""
    counted = curve.background_counts
    if counted is None:
        return []
    (events, cells), (least, of_cells) = counted, FEWEST_BACKGROUND
    if events >= least and cells >= of_cells:
        return []
    return [
        f"the curve's background rests on {events} events in {cells} cells at 0 Gy; {least} events and {of_cells} "
        "cells are needed: the decision threshold is uncertain near background. Score more control slides"
    ]


# A suspected dose (a dosimeter, a reconstruction): do the counts favour it, or no dose at all?


def background_over_suspected(curve: Curve, counts: Counts, suspected: float, g: float = 1.0) -> Floats:
    """Decimal logarithm of L(0 Gy) / L(suspected dose) of each case, (n,), on the curve as it is estimated.

    Above 0 the counts speak for background. Poisson or binomial as the curve's endpoint is; neither dispersion nor the
    curve's own error is in it, so a ratio within a factor of ten says little.
    """
    none, dose = (float(curve.yields(d, g)) for d in (0.0, suspected))
    n, x = counts.cells, counts.events
    if curve.endpoint == "mnbn":
        log = xlogy(x, none) - xlogy(x, dose) + xlog1py(n - x, -none) - xlog1py(n - x, -dose)
    else:
        log = xlogy(x, none) - xlogy(x, dose) - n * (none - dose)
    return np.asarray(log / np.log(10), dtype=np.float64)


# From counted cases to doses with everything that a reader must know with them: limits, flags and warnings.


METHODS = {"profile": profile, "merkle": merkle, "delta": delta}
"""All but `components`, which needs the case's slides."""
NO_COMPONENTS = "no components of variance: {reason}; the interval is that of the profile method"
PERSONS_UNKNOWN = (
    "how persons differ is not in the interval: the curve's slides do not name four persons or more who share doses"
)
PERSONS_GUESSED = (
    "how persons' backgrounds differ is guessed from the scatter of the curve's slides, which do not name four persons "
    "who share doses"
)
BY_COMPONENTS: tuple[CountKind, ...] = ("automatic", "confirmed")
"""Counts of cells for which intervals by components of variance were measured to hold the dose."""
COMPARED = ("mode", "model_digest", "threshold")
"""What of `scoring` must agree between a case and its curve, where both state it."""

COUNTED = {"mn": "micronuclei", "mnbn": "cells with micronuclei"}


def assess(cases: Sequence[Case], curve: Curve, options: DoseOptions) -> list[DoseResult]:
    """Results of all cases, in their order; a bad one has its reason and leaves the others alone.

    A curve from which no dose can be read refuses every case with the reason; counts are reported nevertheless.
    """
    faults = problems(curve)
    refusals = [_refusal(case, curve, faults, options) for case in cases]
    method: Method = "profile"
    note = ""
    if not faults:
        method, note = chosen_method(curve, options.method)
    options = replace(options, method=method)
    results = [_counted(case, curve, refusal, options) for case, refusal in zip(cases, refusals, strict=True)]
    good = [i for i, refusal in enumerate(refusals) if not refusal]
    if good:
        dosed = _dosed([cases[i] for i in good], [results[i] for i in good], curve, options, note)
        for i, result in zip(good, dosed, strict=True):
            results[i] = result
    return results


def chosen_method(curve: Curve, asked: Choice) -> tuple[Method, str]:
    """The method that is used, and what must be said of it.

    `automatic` is `components` where the curve is made of counts for which it was measured to hold the dose at least as
    often as `profile` (`BY_COMPONENTS`; docs/statistics.md), else `profile`. Where the curve's slides do not show how
    slides differ it is `profile` as well, and that is said.
    """
    measured = curve.endpoint == "mnbn" and kind_of(curve.scoring) in BY_COMPONENTS
    if asked == "automatic" and not measured:
        return "profile", ""
    if asked not in ("automatic", "components"):
        return cast("Method", asked), ""
    reason = unknown_components(curve)
    return ("profile", NO_COMPONENTS.format(reason=reason)) if reason else ("components", "")


def mismatches(case: Case, curve: Curve) -> list[str]:
    """What of the scoring differs between case and curve, where both state it."""
    found = []
    for name in COMPARED:
        own, curves = str(case.scoring.get(name) or ""), str(curve.scoring.get(name) or "")
        if own and curves and not _same(own, curves):
            found.append(f"{name.replace('_', ' ')} {own} (curve: {curves})")
    return found


def unsaid_scoring(case: Case, curve: Curve) -> str:
    """That a curve of automatic scores meets a case that does not say how it was scored; "" otherwise."""
    mode = str(curve.scoring.get("mode") or "")
    automatic = mode.casefold().startswith("automat") or bool(curve.scoring.get("model_digest"))
    kind = kind_of(curve.scoring)
    if kind in ("confirmed", "reviewed") and not case.scoring.get("mode"):
        return f"the curve is made of {PLURAL[kind]}, and the case does not say how it was scored"
    if not automatic or any(case.scoring.get(name) for name in COMPARED):
        return ""
    return f"the curve's slides were scored by a program ({mode or 'a model'}), and the case does not say how it was"


def _same(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9)
    except ValueError:
        return one.strip().casefold() == other.strip().casefold()


def _refusal(case: Case, curve: Curve, faults: Sequence[str], options: DoseOptions) -> str:
    if case.counts is None or case.problem:
        return case.problem or "nothing was counted"
    if case.counts.cells < LEAST_CELLS:
        cells = f"{case.counts.cells} cell{'s' * (case.counts.cells != 1)}"
        return (
            f"{cells} scored: no dose is given of fewer than {LEAST_CELLS} (triage needs {TRIAGE_CELLS}). Score more "
            "cells of this donor"
        )
    if faults:
        return f"the curve gives no dose: {'; '.join(faults)}"
    endpoint = _endpoint(case, curve)
    if endpoint != curve.endpoint:
        return f"the case counts {COUNTED[endpoint]} (endpoint {endpoint}), the curve {COUNTED[curve.endpoint]}"
    another = other_kind(case.scoring, curve.scoring)
    if another:
        return another
    differing = mismatches(case, curve)
    if differing and not options.allow_mismatch:
        return f"scored differently from the curve: {'; '.join(differing)} (--allow-mismatch gives a dose nevertheless)"
    unsaid = unsaid_scoring(case, curve)
    if unsaid and not options.allow_mismatch:
        return (
            f"{unsaid}: a person's counts have no dose on such a curve. State it in a column scoring "
            "(--allow-mismatch gives a dose nevertheless)"
        )
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
        method=cast("Method", options.method),
        level=options.level,
        warnings=(reason,) if reason else (),
        scatter=1.0 if case.counts is None else curve.scatter_of(_slide_size(case)),
        slide_cells=tuple(n for n in case.slide_cells if n > 0),
    )


def _slide_size(case: Case) -> float:
    """Cells of a slide of the case, weighted by its cells; of one slide where its slides are not known."""
    sizes = case.slide_cells or ((case.counts.cells,) if case.counts else (1,))
    return sum(n * n for n in sizes) / max(1, sum(sizes))


def _dosed(
    cases: Sequence[Case], counted: Sequence[DoseResult], curve: Curve, options: DoseOptions, note: str
) -> list[DoseResult]:
    if options.method == "components":
        return _dosed_by_components(cases, counted, curve, options)
    counts = counts_of(counted, curve)
    read = _Read(
        doses=METHODS[options.method](curve, counts, options.level, options.g),
        limits=[_background_limits(curve, result.n or 0, round(result.scatter, 6)) for result in counted],
        below=_below_background(curve, counts, options.g),
    )
    return _with_doses(cases=cases, counted=counted, curve=curve, read=read, g=options.g, note=note)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What a method says of cases: doses, characteristic limits, and whether a yield is far below background."""

    doses: Doses
    limits: Sequence[Limits]
    below: npt.NDArray[np.bool_]


def _dosed_by_components(
    cases: Sequence[Case], counted: Sequence[DoseResult], curve: Curve, options: DoseOptions
) -> list[DoseResult]:
    known = components_of(curve)
    slides = [result.as_slides for result in counted]
    bounds = np.array([dose_limits(known, case, options.level, options.g) for case in slides])
    estimate = point_estimate(curve, counts_of(counted, curve), options.g)
    read = _Read(
        # The estimate is read from the curve of the file, whose weights differ a little from those of the components.
        doses=Doses(estimate, np.minimum(bounds[:, 0], estimate), np.maximum(bounds[:, 1], estimate)),
        limits=[_component_limits(known, case, curve, options.g) for case in slides],
        below=np.array([1 - tail_above(known, 0.0, case) < (1 - options.level) / 2 for case in slides]),
    )
    note = PERSONS_GUESSED if known.of_person else "" if known.persons_known else PERSONS_UNKNOWN
    return _with_doses(cases=cases, counted=counted, curve=curve, read=read, g=options.g, note=note)


def _component_limits(known: Components, case: CaseSlides, curve: Curve, g: float) -> Limits:
    threshold = decision_threshold(known, case.cells, case.phi, ALPHA)
    dose = min(detection_dose(known, case.cells, case.phi, threshold, BETA, g), SEARCH_TO)
    return Limits(threshold, case.total * float(curve.yields(dose, g)))


def _with_doses(
    *, cases: Sequence[Case], counted: Sequence[DoseResult], curve: Curve, read: _Read, g: float, note: str
) -> list[DoseResult]:
    doses, limits = _unbounded(read.doses, curve, g), read.limits
    limit_doses = _limit_doses(curve, limits, [result.n or 0 for result in counted], g)
    results = []
    for i, (case, result) in enumerate(zip(cases, counted, strict=True)):
        below = bool(read.below[i])
        seen = _seen(doses=doses, i=i, result=result, curve=curve, below_background=below, limits=limits[i])
        results.append(
            replace(
                result,
                estimate=_finite(doses.estimate[i]),
                lower=_finite(doses.lower[i]),
                upper=_finite(doses.upper[i]),
                below_detection=(result.x or 0) <= limits[i].decision_threshold,
                above_range=seen.above_range,
                warnings=(*filter(None, [case.note, note]), *_warned(case, curve, seen)),
                limits=limits[i],
                decision_dose=float(limit_doses[i, 0]),
                detection_dose=float(limit_doses[i, 1]),
            )
        )
    return results


def counts_of(results: Sequence[DoseResult], curve: Curve) -> Counts:
    """Counts of results that have some: mn with the counting variance scaled by max(1, DI, scatter of the slides).

    mnbn with as many fewer cells and events as slides of this size scatter more than counting explains: the yield
    stays and its binomial variance is scaled.
    """
    if curve.endpoint == "mnbn":
        cells = [(result.n or 0) / result.scatter for result in results]
        return Counts.of(cells, [(result.x or 0) / result.scatter for result in results])
    phi = [max(result.dispersion_index or 1.0, result.scatter) for result in results]
    return Counts.of([result.n or 0 for result in results], [result.x or 0 for result in results], phi)


def _warned(case: Case, curve: Curve, seen: Seen) -> tuple[str, ...]:
    return warnings_of(seen, curve, mismatches(case, curve), unsaid_scoring(case, curve))


def _seen(doses: Doses, i: int, result: DoseResult, curve: Curve, below_background: bool, limits: Limits) -> Seen:
    estimate = float(doses.estimate[i])
    above = curve.highest_dose is not None and estimate > curve.highest_dose
    below_threshold = (result.x or 0) <= limits.decision_threshold
    upper = float(doses.upper[i])
    return Seen(
        estimate=estimate,
        upper=upper,
        u=result.u,
        above_range=above,
        below_background=below_background,
        cells=result.n or 0,
        scatter=result.scatter,
        below_threshold=below_threshold,
    )


def _unbounded(doses: Doses, curve: Curve, g: float) -> Doses:
    """No upper limit where nearly all cells would have micronuclei there: a fraction cannot rise with dose any more."""
    if curve.endpoint != "mnbn":
        return doses
    with np.errstate(invalid="ignore"):
        near = np.isfinite(doses.upper) & (
            curve.yields(np.where(np.isfinite(doses.upper), doses.upper, 0.0), g) > SATURATED
        )
    return Doses(doses.estimate, doses.lower, np.where(near, np.inf, doses.upper))


def _below_background(curve: Curve, counts: Counts, g: float) -> npt.NDArray[np.bool_]:
    """Yields so far below C that neither counting nor the curve's own error explains them (likelihood ratio, 5 %)."""
    off = Profile(curve, counts, g)(np.zeros(len(counts.cells)))
    return (off > float(chdtri(1, 0.05))) & (counts.yields < curve.background)


def _limit_doses(curve: Curve, limits: Sequence[Limits], cells: Sequence[int], g: float) -> Floats:
    """(n, 2): decision threshold and detection limit in Gy on the curve."""
    events = np.array([[limit.decision_threshold, limit.detection_limit] for limit in limits])
    doses, _ = curve.root(events / np.array(cells)[:, None], g)
    return np.maximum(np.nan_to_num(doses, nan=0.0), 0.0)


def _background_limits(curve: Curve, cells: int, scatter: float) -> Limits:
    """With the curve's own uncertainty at 0 Gy and the scatter between slides.

    Where that scatter was estimated from few slides, both are larger by the ratio of Student's t to the normal
    quantile.
    """
    (rate, error), df = curve.background_estimate, curve.scatter_df
    few = float(stdtrit(df, 1 - ALPHA) / ndtri(1 - ALPHA)) if df is not None and curve.slide_scatter > 1 else 1.0
    return _limits(rate, error * few, cells, max(1.0, scatter * few**2) if scatter > 1 else 1.0)


@lru_cache(maxsize=65536)
def _limits(background: float, error: float, cells: int, scatter: float) -> Limits:
    return limits_of_estimated_rate(rate=background, error=error, cells=cells, scatter=scatter, alpha=ALPHA, beta=BETA)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

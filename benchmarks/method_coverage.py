"""Doses of simulated donors by several methods: coverage, widths, false alarms, detection limit, as Markdown.

    python benchmarks/method_coverage.py [--labs 300] [--seed 911] [--stain fluorescence] [--counts confirmed]
        [--people 0.0] [--slides 2] [--slide-cells 500] [--zero-slides 2] [--least 0] [--named]
        [--methods profile,components]

A laboratory has a curve of two slides of 1000 cells at each of eight doses (--zero-slides at 0 Gy) and a donor of
--slides slides at each of six doses, all counted alike: the model's calls (automatic), or those a person confirmed.
Errors of slides are those of `coverage_chain.py`; each slide of the curve is of a person of its own, whom the curve
does not name (--named: the slides of one dose are of one person, who is named, as in an OUT of which every donor has
one dose; they are then taken as not named), and --people is the log-sd of the persons' backgrounds. Curves with fewer
than --least events at 0 Gy are refused; the last lines divide unexposed donors by how many events their curve had
there. Simulated throughout.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from coverage_chain import CURVE_DOSES, DOSES, EVENTS, RATES, Plan, Slide, _background, _case, frequency, score

from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.dose_estimation import DoseOptions, DoseResult, assess
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.errors import CurveError

MODES = {"automatic": "automated (mnbatch)", "confirmed": "confirmed (mnbatch)"}
LONGEST = 20.0
"""Gy; a dose without an upper limit counts as this wide."""
GROUPS = ((0, 4), (5, 9), (10, 10_000))
"""Events at 0 Gy."""


def laboratory(
    rng: np.random.Generator, plan: Plan, zero_slides: int, named: bool
) -> tuple[list[tuple[float, Slide]], list[list[Slide]]]:
    """Slides of the curve with their dose, and a donor's slides at each dose."""
    made = []
    for d in CURVE_DOSES:
        person = _background(rng, plan) if named else 0.0
        for _ in range(2 if d else zero_slides):
            background = person or _background(rng, plan)
            made.append((d, score(rng, plan, plan.curve_cells, frequency(d, background), plan.spread)))
    true = [frequency(d, _background(rng, plan)) for d in DOSES]
    return made, [[score(rng, plan, plan.slide_cells, t, plan.spread) for _ in range(plan.slides)] for t in true]


def fitted(made: list[tuple[float, Slide]], options: argparse.Namespace) -> tuple[Curve | None, int]:
    """The curve, None where it is refused, and the events at 0 Gy."""
    counts, events = options.counts, [EVENTS[options.counts](s) for _, s in made]
    at_zero = sum(x for (d, _), x in zip(made, events, strict=True) if d == 0)
    if at_zero < options.least:
        return None, at_zero
    points = [
        DosePoint(d, s.cells, x, donor=f"{d} Gy" if options.named else "")
        for (d, s), x in zip(made, events, strict=True)
    ]
    try:
        return fit_curve(points, "mnbn", scoring={"mode": MODES[counts]}), at_zero
    except CurveError:
        return None, at_zero


def judged(result: DoseResult, dose: float, at_zero: int) -> list[float]:
    """What is tabulated of one donor."""
    lower, upper = result.lower or 0.0, LONGEST if result.upper is None else result.upper
    error = abs((result.estimate or 0.0) - dose)
    alarm = not result.below_detection
    limits = [result.detection_dose or np.nan, result.decision_dose or 0.0]
    return [lower <= dose <= upper, upper - lower, error, alarm, dose > upper, dose < lower, *limits, at_zero]


def simulate(plan: Plan, options: argparse.Namespace) -> tuple[dict[str, dict[float, np.ndarray]], int]:
    """method -> dose -> (laboratories, numbers of `judged`), and how many curves were refused."""
    found: dict[str, dict[float, list[list[float]]]] = {}
    refused = 0
    for lab in range(plan.labs):
        rng = np.random.default_rng([plan.seed, lab, 77])
        made, donors = laboratory(rng, plan, options.zero_slides, options.named)
        curve, at_zero = fitted(made, options)
        if curve is None:
            refused += 1
            continue
        mode = {"mode": MODES[options.counts]}
        cases = [_case(str(i), s, [EVENTS[options.counts](x) for x in s], mode) for i, s in enumerate(donors)]
        for method in options.methods.split(","):
            results = assess(cases, curve, DoseOptions(method=method))
            for dose, result in zip(DOSES, results, strict=True):
                found.setdefault(method, {}).setdefault(dose, []).append(judged(result, dose, at_zero))
    return {m: {d: np.array(rows, float) for d, rows in by.items()} for m, by in found.items()}, refused


def table(method: str, by_dose: dict[float, np.ndarray]) -> None:
    """Lines of one method."""
    names = ("holds the dose", "width, Gy", "mean error, Gy", "above the threshold", "dose above it", "dose below it")
    for i, name in enumerate(names):
        column = [by_dose[d][:, i] for d in DOSES]
        text = [f"{np.median(c):.2f}" if i == 1 else f"{c.mean():.{2 if i == 2 else 3}f}" for c in column]
        print(f"| {method}: {name} | " + " | ".join(text) + " |")
    zero = by_dose[0.0]
    print(f"| {method}: detection limit, decision threshold, Gy | {np.nanmedian(zero[:, 6]):.3f}, ", end="")
    print(f"{np.median(zero[:, 7]):.3f} | | | | | |")
    for low, high in GROUPS:
        rows = zero[(zero[:, 8] >= low) & (zero[:, 8] <= high)]
        if len(rows):
            print(
                f"| {method}: {low} to {high} events at 0 Gy, {len(rows)} laboratories: holds 0 Gy, alarms | "
                f"{rows[:, 0].mean():.3f}, {rows[:, 3].mean():.3f} | | | | | |"
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=911)
    parser.add_argument("--stain", choices=tuple(RATES), default="fluorescence")
    parser.add_argument("--counts", choices=tuple(MODES), default="confirmed")
    parser.add_argument("--people", type=float, default=0.0)
    parser.add_argument("--slides", type=int, default=2)
    parser.add_argument("--slide-cells", type=int, default=500)
    parser.add_argument("--curve-cells", type=int, default=1000)
    parser.add_argument("--zero-slides", type=int, default=2)
    parser.add_argument("--least", type=int, default=0)
    parser.add_argument("--named", action="store_true")
    parser.add_argument("--methods", default="profile,components")
    options = parser.parse_args()
    plan = Plan(
        labs=options.labs,
        seed=options.seed,
        stain=options.stain,
        slide_cells=options.slide_cells,
        curve_cells=options.curve_cells,
        validation_slides=0,
        spread=1.0,
        people=options.people,
        slides=options.slides,
    )
    started = time.perf_counter()
    found, refused = simulate(plan, options)
    print(f"{options}\n\n| | " + " | ".join(f"{dose:g} Gy" for dose in DOSES) + " |\n" + "|---" * 7 + "|")
    for method, by_dose in found.items():
        table(method, by_dose)
    print(f"\n{plan.labs} laboratories, {refused} curves refused, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

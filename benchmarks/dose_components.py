"""Dose intervals by components of variance against one scatter factor: width and coverage, simulated, as Markdown.

    python benchmarks/dose_components.py [--labs 100] [--seed 1401] [--stain fluorescence] [--slides 2]
        [--slide-cells 500] [--curve-cells 1000] [--people 0.0]

Laboratories, slides and errors are those of `coverage_chain.py`: a curve of two slides at each of eight doses, one
donor at each of six. With --people the backgrounds of persons differ (log-sd), and the curve's slides are of four
persons, which its table names. Simulated throughout.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from coverage_chain import CURVE_DOSES, DOSES, RATES, Plan, Slide, _background, _case, frequency, score

from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.dose_estimation import DoseOptions, DoseResult, assess
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.errors import CurveError

PERSONS = 4
METHODS = ("profile", "components")
LONGEST = 20.0
"""Gy; a dose without an upper limit counts as this wide."""


def laboratory(rng: np.random.Generator, plan: Plan) -> tuple[list[tuple[float, Slide, str]], list[list[Slide]]]:
    """Slides of the curve with dose and person, and one donor's slides at each dose."""
    backgrounds = [_background(rng, plan) for _ in range(PERSONS)]
    made = []
    for i, dose in enumerate(CURVE_DOSES):
        for j in range(2):
            person = (2 * i + j) % PERSONS
            slide = score(rng, plan, plan.curve_cells, frequency(dose, backgrounds[person]), plan.spread)
            made.append((dose, slide, f"P{person}" if plan.people else ""))
    donors = []
    for dose in DOSES:
        true = frequency(dose, _background(rng, plan))
        donors.append([score(rng, plan, plan.slide_cells, true, plan.spread) for _ in range(plan.slides)])
    return made, donors


def judge(result: DoseResult, dose: float) -> tuple[bool, float, bool]:
    """Whether the interval holds the dose, its width, and whether the count is above the decision threshold."""
    upper = LONGEST if result.upper is None else result.upper
    lower = result.lower or 0.0
    return lower <= dose <= upper, upper - lower, not result.below_detection


def simulate(plan: Plan) -> dict[tuple[str, str, float], list[tuple[bool, float, bool]]]:
    """(counts, method, dose) -> what was found in each laboratory."""
    found: dict[tuple[str, str, float], list[tuple[bool, float, bool]]] = {}
    for lab in range(plan.labs):
        made, donors = laboratory(np.random.default_rng([plan.seed, lab, 5]), plan)
        for line in ("automatic", "confirmed"):
            mode = {"mode": "automated" if line == "automatic" else "confirmed"}
            counted = [(s.called if line == "automatic" else s.right) for _, s, _ in made]
            points = [DosePoint(d, s.cells, x, donor=who) for (d, s, who), x in zip(made, counted, strict=True)]
            try:
                curve = fit_curve(points, "mnbn", scoring=mode)
            except CurveError:
                continue
            events = [[s.called if line == "automatic" else s.right for s in slides] for slides in donors]
            cases = [_case(str(i), s, x, mode) for i, (s, x) in enumerate(zip(donors, events, strict=True))]
            for method in METHODS:
                results = assess(cases, curve, DoseOptions(method=method))  # type: ignore[arg-type]
                for dose, result in zip(DOSES, results, strict=True):
                    found.setdefault((line, method, dose), []).append(judge(result, dose))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1401)
    parser.add_argument("--stain", choices=tuple(RATES), default="fluorescence")
    parser.add_argument("--slides", type=int, default=2)
    parser.add_argument("--slide-cells", type=int, default=500)
    parser.add_argument("--curve-cells", type=int, default=1000)
    parser.add_argument("--people", type=float, default=0.0)
    plan = Plan(**vars(parser.parse_args()), validation_slides=0, spread=1.0)
    started = time.perf_counter()
    found = simulate(plan)
    print(f"{plan}\n\n| | " + " | ".join(f"{dose:g} Gy" for dose in DOSES) + " |\n" + "|---" * 7 + "|")
    for line in ("automatic", "confirmed"):
        for i, name in enumerate(("holds", "width, Gy", "above the decision threshold")):
            for method in METHODS:
                cells = [np.array(found[line, method, dose], float)[:, i] for dose in DOSES]
                text = [f"{np.median(c):.2f}" if i == 1 else f"{c.mean():.3f}" for c in cells]
                print(f"| {line}, {method}: {name} | " + " | ".join(text) + " |")
        pairs = [[np.array(found[line, m, dose], float)[:, 1] for m in METHODS] for dose in DOSES]
        ratios = [f"{np.median(b / a):.2f}" for a, b in pairs]
        print(f"| {line}: width, components / profile | " + " | ".join(ratios) + " |")
    print(f"\n{plan.labs} laboratories, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

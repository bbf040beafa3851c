"""Looks until a verdict above or below a limit, and wrong verdicts, simulated, as Markdown.

    python benchmarks/verdict_looks.py [--donors 200] [--seed 7] [--stain fluorescence] [--mode confirmed]
        [--error 0.01] [--limit-gy 1.0] [--curve] [--every 1]

A donor has two slides of 500 cells, scored with the errors of `coverage_chain.py`. A person who makes no slips looks at
cells in the order of the queue until the verdict is decided. `confirmed`: called cells only, against the frequency of
confirmed cells at the limit; `reviewed`: called cells, those near the threshold and the rest, against the true
frequency. Without --curve that frequency is stated, with it it is read off a curve of such counts that each laboratory
makes (two slides of 1000 cells at eight doses). Simulated throughout.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from coverage_chain import CURVE_DOSES, DOSES, NEAR_THRESHOLD, RATES, Plan, Slide, frequency, score

from mnbatch.assay.sequential_verdict import ERROR, Looks, Threshold, Verdict, decide, next_stratum
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.dosimetry.threshold_frequency import threshold_of_dose
from mnbatch.errors import CurveError

CURVE_SHARE = 0.25


def strata_of(rng: np.random.Generator, slides: list[Slide], mode: str) -> tuple[list[Looks], list[np.ndarray]]:
    """Strata that nobody looked at, and of each its cells in random order: True has a micronucleus."""
    strata, truth = [], []
    for s in slides:
        parts = [("called", s.called, s.right)]
        if mode == "reviewed":
            band = max(20, round(0.05 * s.cells))
            near = min(int(rng.binomial(s.missed, NEAR_THRESHOLD)), band)
            parts += [("band", band, near), ("rest", s.cells - s.called - band, s.missed - near)]
        for kind, size, mn in parts:
            strata.append(Looks(kind, size))
            truth.append(rng.permutation(np.arange(size) < mn))
    return strata, truth


def look(
    strata: list[Looks], truth: list[np.ndarray], threshold: Threshold, options: argparse.Namespace, cells: int = 1000
) -> Verdict:
    """Look until it is decided, which is asked after every few looks, or the queue is at its end."""
    now = list(strata)
    while (verdict := decide(now, cells, threshold, options.error)).word == "open":
        for _ in range(options.every):
            i = next_stratum(now, cells, threshold)
            if i is None:
                return decide(now, cells, threshold, options.error)
            found = bool(truth[i][now[i].looked])
            now[i] = replace(now[i], looked=now[i].looked + 1, mn=now[i].mn + found)
    return verdict


def limit(rng: np.random.Generator, plan: Plan, options: argparse.Namespace) -> tuple[Threshold, float] | None:
    """Threshold with the true frequency at the limit; None where the laboratory gets no curve."""
    se = RATES[plan.stain][0][0] if options.mode == "confirmed" else 1.0  # type: ignore[index]
    true = se * frequency(options.limit_gy)
    if not options.curve:
        return Threshold(true, true), true
    made = [(d, score(rng, plan, plan.curve_cells, frequency(d), 1.0)) for d in CURVE_DOSES for _ in range(2)]
    seen = [s.right + (s.missed if options.mode == "reviewed" else 0) for _, s in made]
    points = [DosePoint(d, s.cells, x) for (d, s), x in zip(made, seen, strict=True)]
    try:
        curve = fit_curve(points, "mnbn", scoring={"mode": options.mode})
    except CurveError:
        return None
    return threshold_of_dose(curve, options.limit_gy, CURVE_SHARE * options.error), true


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--donors", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--stain", choices=("fluorescence", "giemsa"), default="fluorescence")
    parser.add_argument("--mode", choices=("confirmed", "reviewed"), default="confirmed")
    parser.add_argument("--error", type=float, default=ERROR)
    parser.add_argument("--limit-gy", type=float, default=1.0)
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="looks between two questions whether it is decided")
    options = parser.parse_args()
    plan = Plan(options.donors, options.seed, options.stain, 500, 1000, 0, 1.0, 0.0)
    started, found = time.perf_counter(), {dose: [] for dose in DOSES}  # type: ignore[var-annotated]
    for donor in range(options.donors):
        rng = np.random.default_rng([plan.seed, donor, 11])
        known = limit(rng, plan, options)
        for dose in DOSES if known else ():
            slides = [score(rng, plan, plan.slide_cells, frequency(dose), 1.0) for _ in range(2)]
            strata, truth = strata_of(rng, slides, options.mode)
            verdict = look(strata, truth, known[0], options)  # type: ignore[index]
            whole = sum(s.size for s in strata if s.kind == "called")
            found[dose].append((verdict.looks, verdict.word == "above", verdict.word == "below", whole))
    print(f"{options}\n\n| | " + " | ".join(f"{d:g} Gy" for d in DOSES) + " |\n" + "|---" * (len(DOSES) + 1) + "|")
    for i, name in enumerate(("looks, mean", "above", "below", "called cells, mean")):
        print(f"| {name} | " + " | ".join(f"{np.mean([row[i] for row in found[d]]):.3g}" for d in DOSES) + " |")
    decided = [[row[0] for row in found[d] if row[1] or row[2]] for d in DOSES]
    print("| looks where decided | " + " | ".join(f"{np.mean(x):.3g}" if x else "" for x in decided) + " |")
    print(f"\n{options.donors} donors a dose, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""From field to report: MNBN frequency that `mnbatch run` reports of simulated slides, against their truth.

    python benchmarks/field_frequency.py [--fields 12] [--crops 300] [--looks fluorescence,giemsa] [--density 400]

For each stain, slides of camera fields are simulated at 5, 20, 100 and 300 MNBN per 1000 binucleated cells and run
through the whole way: recognition of the input, segmentation, pairing, cropping, classification, tables.

* The classifier's error is counted first, in the same run, on simulated crops of the same slides' appearance: what it
  does when a scanner has cut the cells.
* "predicted" is what an error makes of the slide's truth: 95 % of a binomial with p Se + (1 - p) (1 - Sp), where p is
  the truth's frequency and Se and Sp carry Jeffreys' uncertainty of their counts. "by all" takes the error on the
  crops of all four slides, "by own" that on crops of the same slide: a slide outside the first and within the second
  differs from the others, whether it comes as fields or as crops.
* "corrected" is the reported frequency after Rogan and Gladen with the interval of Lang and Reiczigel.
* Recall: scorable cells of the truth (binucleated, whole, not overlapping) that were scored. Precision: scored cells
  that are binucleated in the truth, at the border or overlapping ones included.
* Se and Sp of fields: of the scored cells that have a partner in the truth.

Everything is simulated: none of it says how well real cells are scored.
"""

from __future__ import annotations

import argparse
import csv
import math
import platform
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnbatch.assay.classifier_error import CountedRate, ErrorRates, correct_fraction
from mnbatch.pipeline.run import run
from mnbatch.settings import resolve
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_plan import FieldPlan
from mnbatch.simulate.simulated_export import simulate_export

FREQUENCIES = (5.0, 20.0, 100.0, 300.0)
CLOSE_IN_D = 0.6
DRAWS = 40_000

Row = dict[str, str]


class Matched(NamedTuple):
    """A slide's scored cells beside its truth."""

    scorable: int
    with_mn: int
    scored: int
    right: int
    recalled: int
    called: int
    hits: tuple[int, int]
    rejections: tuple[int, int]


def main() -> None:
    """Simulate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=12, help="fields a slide")
    parser.add_argument("--crops", type=int, default=300, help="simulated crops on each of four slides")
    parser.add_argument("--stains", default="fluorescence,giemsa")
    parser.add_argument("--density", type=float, default=400.0, help="cells per mm2")
    parser.add_argument("--seed", type=int, default=21)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {platform.platform()}; seed {arguments.seed}")
    for stain in arguments.stains.split(","):
        with tempfile.TemporaryDirectory(prefix="mnbatch-fields-") as name:
            measure(Path(name), stain, arguments)


def measure(folder: Path, stain: Any, arguments: argparse.Namespace) -> None:
    """One stain."""
    export = ExportPlan(
        donors=len(FREQUENCIES), slides=1, cells=arguments.crops, seed=arguments.seed, stain=stain, mnbn=FREQUENCIES
    )
    own_rates = of_crops(folder / "crops", replace(export, mnbn=(200.0,)))
    rates = together(own_rates)
    print(f"\n{stain}; on {4 * arguments.crops} simulated crops: Se {rates.sensitivity}, Sp {rates.specificity}")
    print("slide by slide: " + "; ".join(f"Se {own.sensitivity}, Sp {own.specificity}" for own in own_rates))
    plan = FieldPlan(export=export, fields=arguments.fields, density=arguments.density)
    made = simulate_fields(folder / "fields", plan)
    start = time.perf_counter(), time.process_time()
    slides = results(made.export, folder / "out", made.samples)
    seconds, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    truth = table(made.truth)
    print_head()
    for row, asked, own_rate in zip(slides, FREQUENCIES, own_rates, strict=True):
        cells = table(folder / "out" / "slides" / row["slide_id"] / "cells.csv")
        own = [line for line in truth if line["donor"] == row["donor"]]
        print_row(asked, row, matched(own, cells), rates, own_rate)
    pixels = len(FREQUENCIES) * arguments.fields * plan.width * plan.height / 1e6
    print(f"the run: {seconds:.0f} s, {cpu:.0f} s of processor time, {pixels / cpu:.2f} megapixels a processor second")


def of_crops(folder: Path, plan: ExportPlan) -> list[ErrorRates]:
    """Se and Sp of the bundled classifier on simulated crops of each slide."""
    made = simulate_export(folder, plan)
    truth = {line["file"]: int(line["mn"]) for line in table(made.truth)}
    rates = []
    for row in results(made.export, folder / "out", made.samples):
        cells = table(folder / "out" / "slides" / row["slide_id"] / "cells.csv")
        hits, rejections = right_calls((truth[cell["source"]], int(cell["mn"])) for cell in cells if cell["mn"])
        rates.append(ErrorRates(CountedRate(*hits), CountedRate(*rejections), "simulated crops"))
    return rates


def together(rates: list[ErrorRates]) -> ErrorRates:
    """The error on the crops of all slides."""

    def summed(counts: list[CountedRate]) -> CountedRate:
        return CountedRate(sum(rate.right for rate in counts), sum(rate.total for rate in counts))

    sensitivity, specificity = ([getattr(each, name) for each in rates] for name in ("sensitivity", "specificity"))
    return ErrorRates(summed(sensitivity), summed(specificity), "simulated crops")


def right_calls(calls: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], tuple[int, int]]:
    """From (truth, call): right calls of cells with micronuclei, of all such; the same of cells without."""
    pairs = list(calls)
    positive = [call for truth, call in pairs if truth]
    negative = [call for truth, call in pairs if not truth]
    return (sum(positive), len(positive)), (len(negative) - sum(negative), len(negative))


def results(export: Path, out: Path, samples: Path) -> list[Row]:
    """A whole run; the rows of its slides by donor, as the sample sheet names them."""
    options = {"export": export, "out": out, "samples": samples, "device": "cpu", "keep_crops": False}
    outcome = run(resolve(options))
    rows = sorted(table(out / "slides.csv"), key=lambda row: row["donor"])
    bad = [f"{row['slide']}: {row['reason']}" for row in rows if row["status"] == "failed"]
    if bad or outcome.exit_code not in (0, 3):
        raise SystemExit(f"the run ended with exit code {outcome.exit_code}: {'; '.join(bad)}")
    return rows


def table(path: Path) -> list[Row]:
    """Rows of a CSV."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def matched(truth: list[Row], cells: list[Row]) -> Matched:
    """Give each scored cell its nearest cell of the truth, one to one, nearest first."""
    scored = [cell for cell in cells if cell["mn"]]
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for distance, i, j in sorted(near_pairs(truth, scored)):
        if i not in partner and j not in taken and distance < 1:
            partner[i] = j
            taken.add(j)
    scorable = {j for j, line in enumerate(truth) if line["scorable"] == "1"}
    pairs = [(truth[j], scored[i]) for i, j in partner.items()]
    right = [(int(line["mn"]), int(cell["mn"])) for line, cell in pairs if line["class"] == "binucleated"]
    hits, rejections = right_calls(right)
    return Matched(
        scorable=len(scorable),
        with_mn=sum(int(truth[j]["mn"]) for j in scorable),
        scored=len(scored),
        right=len(right),
        recalled=len(scorable & taken),
        called=sum(int(cell["mn"]) for cell in scored),
        hits=hits,
        rejections=rejections,
    )


def near_pairs(truth: list[Row], scored: list[Row]) -> list[tuple[float, int, int]]:
    """(distance / allowed distance, scored cell, cell of the truth) of those that are close."""
    found = []
    for i, cell in enumerate(scored):
        for j, line in enumerate(truth):
            if line["file"] != cell["source"]:
                continue
            radius = max(float(circle.split(":")[2]) for circle in line["nuclei_at"].split(";"))
            away = math.hypot(float(line["x"]) - float(cell["x"]), float(line["y"]) - float(cell["y"]))
            if away < 2 * radius * CLOSE_IN_D:
                found.append((away / (2 * radius * CLOSE_IN_D), i, j))
    return found


def predicted(found: Matched, rates: ErrorRates) -> tuple[float, float]:
    """Central 95 % of what the classifier's error makes of the truth, per 1000."""
    rng = np.random.default_rng(1)
    sensitivity, specificity = (
        rng.beta(rate.right + 0.5, rate.total - rate.right + 0.5, DRAWS)
        for rate in (rates.sensitivity, rates.specificity)
    )
    share = found.with_mn / found.scorable
    chance = share * sensitivity + (1 - share) * (1 - specificity)
    low, high = np.quantile(rng.binomial(found.scored, chance) / found.scored, (0.025, 0.975))
    return 1000 * float(low), 1000 * float(high)


def print_head() -> None:
    """Column titles."""
    print("              truth            scored                    MNBN per 1000          error in fields")
    print("asked  cells per 1000  cells recall precision  reported  by all   by own   corrected   Se   Sp")


def print_row(asked: float, row: Row, found: Matched, rates: ErrorRates, own: ErrorRates) -> None:
    """One slide."""
    by_all, by_own = predicted(found, rates), predicted(found, own)
    reported = float(row["mnbn_per_1000"])
    corrected = correct_fraction(found.called, found.scored, rates)
    interval = "none" if corrected.low is None else f"{1000 * corrected.low:.0f}-{1000 * (corrected.high or 1):.0f}"
    spans = (f"{low:3.0f}-{high:<3.0f}{' ' if low <= reported <= high else '!'}" for low, high in (by_all, by_own))
    print(
        f"{asked:5.0f} {found.scorable:6d} {1000 * found.with_mn / found.scorable:8.1f} {found.scored:6d} "
        f"{found.recalled / found.scorable:6.3f} {found.right / max(1, found.scored):9.3f} {reported:9.1f} "
        f"{' '.join(spans)} {1000 * corrected.value:6.1f} ({interval}) "
        f"{found.hits[0]}/{found.hits[1]} {found.rejections[0]}/{found.rejections[1]}",
        flush=True,
    )


if __name__ == "__main__":
    main()

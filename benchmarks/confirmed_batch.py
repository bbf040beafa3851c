"""From pictures to confirmed doses: simulated slides, the bundled model, a reviewer who slips, and the truth.

    python benchmarks/confirmed_batch.py WORK [--stain fluorescence] [--donors 40] [--unexposed 20] [--cells 100]
        [--calibration-cells 500] [--more-unexposed 0] [--slip 0.02] [--double 0.2] [--seed 4713]

Runs the commands a laboratory would run in WORK: `simulate` and `run` for calibration slides and for donors, `review
plan --mode confirm`, `review import` of decisions that follow the simulated truth but for --slip of them (two readers;
the second has the cells that the plan asks for), `curve fit --from confirmed`, `dose`. The decisions are a review file
as the gallery saves it. Half of the donors are unexposed, the others have 0.25 to 4 Gy. No training used these seeds.
Everything is simulated. Finished steps are kept: the same command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from dose_batch import CALIBRATION_DOSES, mnbatch, scored, true_doses

from mnbatch.results.store import Store
from mnbatch.review.decisions import COLUMNS, Decision
from mnbatch.review.queue import Queue
from mnbatch.review.review_import import queues_of
from mnbatch.simulate.export_plan import XRAYS

READERS = ("Ada", "Ben")


def truth_of(folder: Path) -> dict[str, bool]:
    """File of the export -> whether a micronucleus was drawn."""
    with (folder / "truth.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["file"]: int(row["n_mn"]) > 0 for row in csv.DictReader(file)}


def said(queue: Queue, truth: dict[str, bool], slip: float, rng: np.random.Generator) -> list[Decision]:
    """Decisions of both readers on one slide's queue."""
    found = []
    for place in queue.places:
        if place.rank is None:
            continue
        for minute, reader in enumerate(READERS if place.double else READERS[:1]):
            right = truth[place.cell_id.split(":", 1)[1].split("#")[0]]
            word = "mn" if right != (rng.random() < slip) else "not_mn"
            found.append(
                Decision(
                    slide_id=queue.slide_id,
                    cell_id=place.cell_id,
                    decision=word,
                    count=None,
                    reviewer=reader,
                    time=f"2026-11-23T1{minute}:00:00+00:00",
                    stratum=place.stratum,
                    inclusion_probability=place.inclusion_probability,
                    model_digest=queue.model_digest,
                    result_key=queue.result_key,
                )
            )
    return found


def confirm(folder: Path, out: Path, options: argparse.Namespace, seed: int) -> None:
    """Plan the confirmation of OUT and import the decisions."""
    if (folder / "review.csv").exists():
        return
    mnbatch("review", "plan", out, "--mode", "confirm", "--double", options.double)
    store, truth, rng = Store(out), truth_of(folder), np.random.default_rng(seed)
    queues = queues_of(store, {record.slide_id: None for record in store.records()})
    rows = [d for queue in queues.values() if queue for d in said(queue, truth, options.slip, rng)]
    path = folder / "decisions.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        table.writerows({k: "" if v is None else v for k, v in d.fields().items()} for d in rows)
    mnbatch("review", "import", out, path, allowed=(0, 3))
    path.rename(folder / "review.csv")


def main() -> None:
    """Run the batch; print donors, and how often frequency and dose hold the truth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--stain", choices=("fluorescence", "giemsa"), default="fluorescence")
    parser.add_argument("--donors", type=int, default=40)
    parser.add_argument("--unexposed", type=int, default=20)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--calibration-cells", type=int, default=500, help="a slide; two slides a dose")
    parser.add_argument("--slip", type=float, default=0.02)
    parser.add_argument("--double", type=float, default=0.2)
    parser.add_argument("--more-unexposed", type=int, default=0, help="calibration donors of 0 Gy, two slides each")
    parser.add_argument("--seed", type=int, default=4713)
    options = parser.parse_args()
    exposed = options.donors - options.unexposed
    doses = [0.0] * options.unexposed + [0.25 + 3.75 * i / max(1, exposed - 1) for i in range(exposed)]
    calibration, donors, curve = (options.work / name for name in ("calibration", "donors", "curve.json"))
    common: list[object] = ["--stain", options.stain, "--workers", 1]
    if options.more_unexposed:
        add_unexposed(calibration, options, common)
    made = scored(calibration, ["--donors", len(CALIBRATION_DOSES.split(",")), "--slides", 2, "--cells",
                  options.calibration_cells, "--seed", options.seed, "--dose", CALIBRATION_DOSES, *common])  # fmt: skip
    confirm(calibration, made, options, options.seed)
    print(mnbatch("curve", "fit", made, "--from", "confirmed", "--endpoint", "mnbn", "--out", curve))
    out = scored(donors, ["--donors", options.donors, "--slides", 1, "--cells", options.cells, "--seed",
                 options.seed + 1, "--dose", ",".join(f"{dose:.3f}" for dose in doses), *common])  # fmt: skip
    confirm(donors, out, options, options.seed + 1)
    lines = mnbatch("dose", out, "--curve", curve, "--json", allowed=(0, 3)).splitlines()
    with (out / "donors.csv").open(encoding="utf-8-sig", newline="") as file:
        headlines = {row["donor"]: row for row in csv.DictReader(file)}
    report([json.loads(line) for line in lines], headlines, true_doses(donors))


def add_unexposed(calibration: Path, options: argparse.Namespace, common: Sequence[object]) -> None:
    """Two more unexposed slides for each further donor, of another seed, next to the calibration slides."""
    more = calibration.with_name("more-unexposed")
    if more.exists() or not (calibration / "truth.csv").exists():
        return
    count = len(CALIBRATION_DOSES.split(","))
    mnbatch("simulate", more, "--donors", options.more_unexposed, "--slides", 2, "--cells", options.calibration_cells,
            "--seed", options.seed + 20, "--dose", ",".join("0" for _ in range(options.more_unexposed)), *common,
            "--quiet")  # fmt: skip
    (calibration / "review.csv").unlink(missing_ok=True)
    names = {f"D{i + 1:02d}": f"D{count + i + 1:02d}" for i in range(options.more_unexposed)}
    for table in ("truth.csv", "samples.csv"):
        lines = (more / table).read_text(encoding="utf-8-sig").splitlines()[1:]
        for old, new in names.items():
            lines = [line.replace(old, new) for line in lines]
        with (calibration / table).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    for old, new in names.items():
        for slide in sorted((more / "export" / old).iterdir()):
            place = calibration / "export" / new / slide.name.replace(old, new)
            place.parent.mkdir(exist_ok=True)
            slide.rename(place)


def report(results: Sequence[dict[str, object]], headlines: dict[str, dict[str, str]], truth: dict[str, float]) -> None:
    """Table of donors, then shares; a donor without a number is said and not counted."""
    print("| donor | dose, Gy | true per 1000 | headline | interval | dose | interval | method |\n" + "|---" * 8 + "|")
    held, dosed, errors, alarms = [], [], [], []
    for result in results:
        name, dose = str(result["id"]), result["dose"]
        assert isinstance(dose, dict)
        true, line = truth[name], headlines[name]
        share = 1000 * (1 - math.exp(-XRAYS.mean(true)))
        if line["headline_low"]:
            held.append(float(line["headline_low"]) <= share <= float(line["headline_high"]))
        if result["status"] == "ok":
            upper = math.inf if dose["upper"] is None else dose["upper"]
            dosed.append((true, dose["lower"] <= true <= upper))
            errors.append(abs(dose["estimate"] - true))
            if true == 0:
                alarms.append(not result["below_detection"])
        print(
            f"| {name} | {true:.2f} | {share:.1f} | {line['headline_kind']} {line['headline_per_1000']} | "
            f"{line['headline_low']} to {line['headline_high']} | {dose['estimate']} | {dose['lower']} to "
            f"{dose['upper']} | {result['status']}, {result['method']} |"
        )
    of_zero = [ok for true, ok in dosed if true == 0]
    print(
        f"\n{len(results)} simulated donors. Headline holds the true frequency of {sum(held)} of {len(held)}; dose "
        f"interval holds the dose of {sum(ok for _, ok in dosed)} of {len(dosed)} (unexposed {sum(of_zero)} of "
        f"{len(of_zero)}); unexposed above the decision threshold {sum(alarms)} of {len(alarms)}; mean absolute error "
        f"{statistics.mean(errors) if errors else math.nan:.2f} Gy."
    )


if __name__ == "__main__":
    main()

"""Gives the bundled yes/no models their counters (or new ones), in place; p_mn, threshold and calls stay as they are.

    python benchmarks/count_heads.py --data ../shared/data [--models models/attention-alexnet] [--only giemsa]

Reads the counts of `mnfinder/labels.csv` (rows with a file; its split decides what is trained on and what is checked),
and nuclei and smears for synthetic cells. Prints what `mnbatch train --extend` prints, for each model, and the table of
docs/models.md (`--table` alone prints that from the cards as they are).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

from mnbatch.inference.catalogue import member_paths, verify_model
from mnbatch.training.counting.counting_model import ExtendRequest, extend_model
from mnbatch.training.training_pools import Sources

LICENCE = "mnfinder crops: MIT; nuclei of the 2018 Data Science Bowl: CC0; BCCD smears: MIT"


def write_split(labels: Path, split: str, out: Path) -> None:
    """The crops of one split with their counts; a field is a slide, a data set a donor."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] and row["split"] == split]
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "mn_count", "slide", "donor"])
        for row in rows:
            image = (labels.parent / row["file"]).resolve()
            writer.writerow([image, row["n_mn"], f"{row['dataset']}/{row['field']}", row["dataset"]])


def gain_over_one(confusion: np.ndarray) -> tuple[float, float, float]:
    """How much the counts lower the mean absolute error of "every cell called has one", with its 95 % interval.

    Bootstrap over cells within their true number, both errors from the same cells.
    """
    true, called = np.indices(confusion.shape)
    gain = np.abs(true - (called > 0)) - np.abs(true - called)
    rng, cells = np.random.default_rng(0), confusion.sum()
    drawn = sum(
        (rng.multinomial(row.sum(), row / row.sum(), size=4000) * own).sum(axis=1)
        for row, own in zip(confusion, gain, strict=True)
        if row.sum()
    )
    low, high = np.quantile(drawn / cells, (0.025, 0.975))
    return float((confusion * gain).sum() / cells), float(low), float(high)


def print_table(models: Path) -> None:
    """Markdown rows of every check on the cards."""
    print("| model: cells | cells | right of called MN | error | if one | gain | if the mean | MN called / true |")
    print("|---|---|---|---|---|---|---|---|")
    for member in member_paths(models):
        counting = verify_model(member).card.counting
        for check in counting.checks if counting else ():
            confusion = np.array(check.confusion)
            gain, low, high = gain_over_one(confusion)
            found = confusion[1:, 1:]
            print(
                f"| {member.name}: {check.data} | {check.n} | {np.trace(found)} of {found.sum()} "
                f"| {check.mean_absolute_error:.3f} ({check.ci_low:.3f} to {check.ci_high:.3f}) | {check.by_one:.3f} "
                f"| {gain:.3f} ({low:.3f} to {high:.3f}) | {check.by_mean_count:.3f} "
                f"| {check.mn_per_cell:.3f} / {check.true_mn_per_cell:.3f} |"
            )


def main() -> None:
    """See above."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--models", type=Path, default=Path("models/attention-alexnet"))
    options.add_argument("--out", type=Path, help="write the models here; without it in place")
    options.add_argument("--only", help="name of one member")
    options.add_argument("--made-cells", dest="synthetic_cells", type=int, default=700)
    options.add_argument("--check-cells", type=int, default=400)
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--table", action="store_true", help="fit nothing")
    chosen = options.parse_args()
    if chosen.table:
        print_table(chosen.models)
        return
    with tempfile.TemporaryDirectory() as folder:
        splits = {split: Path(folder) / f"{split}.csv" for split in ("training", "validation")}
        for split, path in splits.items():
            write_split(chosen.data / "mnfinder/labels.csv", split, path)
        for member in member_paths(chosen.models):
            if chosen.only not in (None, member.name):
                continue
            request = ExtendRequest(
                model=member,
                data=splits["training"],
                validation=splits["validation"],
                out=(chosen.out or chosen.models) / member.name,
                sources=Sources(chosen.data / "dsb2018", chosen.data / "bccd"),
                synthetic_cells=chosen.synthetic_cells,
                check_cells=chosen.check_cells,
                data_licence=LICENCE,
                threads=chosen.threads,
            )
            card = extend_model(request, lambda line: print(line, flush=True))
            print(f"{card.name} {card.version} written to {request.out}", flush=True)
    print_table(chosen.out or chosen.models)


if __name__ == "__main__":
    main()

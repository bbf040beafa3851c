"""Gives the bundled yes/no models their counters (or new ones), in place; p_mn, threshold and calls stay as they are.

    python benchmarks/count_heads.py --data ../shared/data [--models models/attention-alexnet] [--only giemsa]

Reads the counts of `mnfinder/labels.csv` (rows with a file; its split decides what is trained on and what is checked),
and nuclei and smears for made cells. Prints what `mnbatch train --extend` prints, for each model.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from mnbatch.inference.catalogue import member_paths
from mnbatch.training.counting.extend import ExtendRequest, extend_model
from mnbatch.training.sources import Sources

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


def main() -> None:
    """See above."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--models", type=Path, default=Path("models/attention-alexnet"))
    options.add_argument("--out", type=Path, help="write the models here; without it in place")
    options.add_argument("--only", help="name of one member")
    options.add_argument("--made-cells", type=int, default=700)
    options.add_argument("--check-cells", type=int, default=400)
    options.add_argument("--threads", type=int, default=0)
    chosen = options.parse_args()
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
                made_cells=chosen.made_cells,
                check_cells=chosen.check_cells,
                data_licence=LICENCE,
                threads=chosen.threads,
            )
            card = extend_model(request, lambda line: print(line, flush=True))
            print(f"{card.name} {card.version} written to {request.out}", flush=True)


if __name__ == "__main__":
    main()

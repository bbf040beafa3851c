"""How often the headline of a donor holds the truth, on exports that differ from `make demo` in their seed.

    python benchmarks/demo_truth.py FOLDER [--seeds 10] [--first 1] [--stain fluorescence] [--cells 150]

Each seed is one export of four donors (0, 1, 2, 4 Gy) with two slides. It is drawn, scored and reported by the
product's own commands. What is there is not made again. The truth is the share of the donor's cells that were drawn
with a micronucleus. Prints a Markdown table. Simulated.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

DOSES = "0,1,2,4"


def mnbatch(*words: object) -> None:
    """Run the command; its messages go to stderr."""
    subprocess.run([sys.executable, "-m", "mnbatch", *map(str, words)], check=True, stdout=sys.stderr)


def made(folder: Path, seed: int, stain: str, cells: int) -> Path:
    """The folder with export, truth and results of a seed."""
    own = folder / f"{stain}-{seed}"
    if not (own / "samples.csv").exists():
        mnbatch("simulate", own, "--donors", 4, "--slides", 2, "--cells", cells, "--seed", seed, "--dose", DOSES,
                "--stain", stain)  # fmt: skip
    mnbatch("run", own / "export", "--out", own / "results", "--layout", "donor-slide-folders",
            "--samples", own / "samples.csv", "--quiet")  # fmt: skip
    return own


def rows(file: Path) -> list[dict[str, str]]:
    """Rows of a table."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def true_per_1000(file: Path) -> dict[str, float]:
    """MNBN cells per 1000 of each donor, as drawn."""
    cells, with_mn = Counter[str](), Counter[str]()
    for row in rows(file):
        cells[row["donor"]] += 1
        with_mn[row["donor"]] += row["mn"] == "1"
    return {donor: 1000 * with_mn[donor] / count for donor, count in cells.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--stain", choices=["fluorescence", "giemsa"], default="fluorescence")
    parser.add_argument("--cells", type=int, default=150, help="cells a slide")
    asked = parser.parse_args()
    held = counted = 0
    print("| seed, donor | dose, Gy | truth, MNBN per 1000 | called by the model | headline | holds the truth |")
    print("|---|---|---|---|---|---|")
    for seed in range(asked.first, asked.first + asked.seeds):
        own = made(asked.folder, seed, asked.stain, asked.cells)
        truth = true_per_1000(own / "truth.csv")
        doses = dict(zip(sorted(truth), DOSES.split(","), strict=True))
        for row in rows(own / "results" / "donors.csv"):
            true, low, high = truth[row["donor"]], row["headline_low"], row["headline_high"]
            holds = bool(low) and float(low) <= true <= float(high)
            counted += 1
            held += holds
            words = f"{float(row['headline_per_1000']):.1f} ({float(low):.1f} to {float(high):.1f})" if low else "none"
            print(f"| {seed}, {row['donor']} | {doses[row['donor']]} | {true:.1f} | {row['mnbn_per_1000']} | {words} | "
                  f"{'yes' if holds else 'no'} |", flush=True)  # fmt: skip
    print(f"\n{held} of {counted} headline intervals hold the truth (simulated).")


if __name__ == "__main__":
    main()

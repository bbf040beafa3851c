"""From a scanner's export to doses: a simulated export here, yours in its place.

python examples/batch_to_dose.py
"""

import tempfile
from pathlib import Path

import pandas as pd

import mnbatch
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export


def main(folder: Path) -> None:
    """Score two simulated donors, read the tables, and put their counts on a published curve."""
    simulate_export(folder / "sim", ExportPlan(donors=2, slides=1, cells=40, seed=1))
    print(mnbatch.scan(folder / "sim/export", layout="donor-slide-folders")[["slide_id", "donor", "files"]])
    mnbatch.run(
        folder / "sim/export", folder / "out", layout="donor-slide-folders", device="cpu", min_cells=1, workers=1
    )
    results = mnbatch.open_results(folder / "out")
    donors = results.donors()
    print(donors[["donor", "status", "bn_cells", "mnbn_cells", "mnbn_per_1000", "ci_low", "ci_high"]])
    called = results.cells().query("mn")
    print(f"{len(called)} cells called MN; the crop of the first is {results.crop(called.cell_id.iloc[0]).shape}")

    # A curve belongs to the way in which its slides were scored; counts of another way need a curve of their own.
    counts = donors.rename(columns={"donor": "id", "bn_cells": "N", "mnbn_cells": "X"})[["id", "N", "X"]]
    points = {"D": [0, 0.5, 1, 2, 3], "N": [4000] * 5, "X": [40, 90, 170, 420, 800]}
    curve = mnbatch.fit_curve(pd.DataFrame(points), endpoint="mnbn")
    doses = mnbatch.estimate_dose(counts, curve)
    print(doses[["id", "status", "dose_gy", "low_gy", "high_gy", "dose_class", "warnings"]].to_string(index=False))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))

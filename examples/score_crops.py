"""Score crops of cells without an export: simulated ones here, your own files or arrays in their place.

python examples/score_crops.py
"""

import numpy as np

import mnbatch
from mnbatch.simulate import CellSpec, draw_slide_appearance, simulate_cell


def main() -> None:
    """Eight simulated fluorescence cells, half of them with a micronucleus, and what the bundled model says."""
    rng = np.random.default_rng(1)
    stain = draw_slide_appearance(rng, "fluorescence")
    images = [simulate_cell(rng, CellSpec("fluorescence", n_mn=number % 2), stain).image for number in range(8)]
    with mnbatch.load_model(device="cpu", threads=1) as model:
        table = model.score(images)
        evidence = model.maps(images)[:, 2]
    table.insert(1, "truth", [number % 2 for number in range(8)])
    print(table[["image", "truth", "p_mn", "mn", "qc", "reason"]].to_string(index=False))
    strongest = np.unravel_index(evidence[1].argmax(), evidence[1].shape)
    print(f"strongest evidence in cell 1: row {strongest[0]}, column {strongest[1]} of a 13 x 13 grid over the crop")


if __name__ == "__main__":
    main()

"""How often the Lang-Reiczigel interval holds the true frequency: simulated laboratories, as a Markdown table.

python benchmarks/correction_coverage.py [runs]
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np

from mnbatch.assay.classifier_error import CountedRate, ErrorRates, correct_fraction

SENSITIVITY = 0.85
VALIDATED = ((74, 39), (300, 300), (2000, 2000))
SPECIFICITIES = (0.97, 0.99, 0.999)
FREQUENCIES = (0.0065, 0.02, 0.1)
CELLS = (200, 1000)


def laboratory(rng: np.random.Generator, validated: tuple[int, int], sp: float) -> ErrorRates:
    """Rates as one laboratory would count them on its validation cells."""
    found, spared = int(rng.binomial(validated[0], SENSITIVITY)), int(rng.binomial(validated[1], sp))
    return ErrorRates(CountedRate(found, validated[0]), CountedRate(spared, validated[1]), "simulated")


def main(runs: int) -> None:
    """Print coverage and mean width (per 1000) for each combination."""
    rng = np.random.default_rng(20141)
    print("| validated (MN, no MN) | Sp | true per 1000 | BN cells | coverage | mean width per 1000 | no interval |")
    print("|---|---|---|---|---|---|---|")
    for validated, sp, true, cells in product(VALIDATED, SPECIFICITIES, FREQUENCIES, CELLS):
        inside, widths, none = 0, [], 0
        for _ in range(runs):
            calls = int(rng.binomial(cells, true * SENSITIVITY + (1 - true) * (1 - sp)))
            found = correct_fraction(calls, cells, laboratory(rng, validated, sp))
            if found.low is None or found.high is None:
                none += 1
                continue
            inside += found.low <= true <= found.high
            widths.append(1000 * (found.high - found.low))
        print(
            f"| {validated[0]}, {validated[1]} | {sp:g} | {1000 * true:g} | {cells} | {inside / runs:.3f} "
            f"| {np.mean(widths):.1f} | {none / runs:.3f} |"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)

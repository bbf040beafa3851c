"""The smallest detection limit that confirmed counts can have: the background known exactly, slides alike; as Markdown.

    python benchmarks/detection_floor.py

Counts are binomial with the curve and the mean sensitivities of `coverage_chain.py`. The decision threshold is the
largest count that unexposed donors exceed in at most 5 of 100; the detection limit is the dose that exceeds it in 9 of
10 donors, and beside it the dose that does in 5 of 10. Backgrounds of persons are alike, or log-normal with log-sd 0.6
and known as such. Nothing is simulated: a method that must learn the background from a curve cannot do better.
"""

from __future__ import annotations

import numpy as np
from coverage_chain import COEFFICIENTS, RATES
from scipy.optimize import brentq
from scipy.special import bdtrc

CELLS = (500, 1000, 2000, 3000)
ALPHA, POWERS = 0.05, (0.9, 0.5)


def floor(sensitivity: float, cells: int, people: float) -> list[float]:
    """Doses in Gy that are above the threshold with each of `POWERS`."""
    z = np.linspace(-4, 4, 801)
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    background, alpha, beta = COEFFICIENTS
    persons = background * np.exp(people * z - people**2 / 2)

    def above(events: int, dose: float) -> float:
        return float(weight @ bdtrc(events, cells, sensitivity * (persons + alpha * dose + beta * dose**2)))

    threshold = next(k for k in range(cells) if above(k, 0.0) <= ALPHA)
    return [float(brentq(lambda d, p=power: above(threshold, d) - p, 0, 5)) for power in POWERS]


def main() -> None:
    """Print the table."""
    print("| cells of the donor | " + " | ".join(map(str, CELLS)) + " |\n" + "|---" * (len(CELLS) + 1) + "|")
    for stain in ("fluorescence", "giemsa"):
        for people in (0.0, 0.6):
            (sensitivity, _), _ = RATES[stain]  # type: ignore[misc]
            found = [floor(sensitivity, cells, people) for cells in CELLS]
            name = "persons alike" if not people else f"backgrounds differ (log-sd {people:g})"
            print(f"| {stain}, {name} | " + " | ".join(f"{a:.2f} ({b:.2f})" for a, b in found) + " |")


if __name__ == "__main__":
    main()

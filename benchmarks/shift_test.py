"""How often the test of a shift of the scores fires, with and without the spread of slides; simulated, as Markdown.

    python benchmarks/shift_test.py [--slides 100] [--seed 3]

Scores of cells with and without a micronucleus have fixed densities (beta), of which every slide has its own
(Dirichlet), with the spread of right calls that `coverage_chain.py` gives. A laboratory has 16 validation slides of
1000 cells and one slide of 1000 cells with 8 or 70 per 1000 MNBN cells, which differs as they do or twice as much.
"""

from __future__ import annotations

import argparse

import numpy as np
from coverage_chain import RATES

from mnbatch.assay.score_mixture import EDGES, SHIFT_LEVEL, ScoreHistogram, SlideSpread, expected_count
from mnbatch.assay.slide_errors import ValidationSlide, estimate_fraction, score_spreads

BINS = len(EDGES) - 1
CALLED = BINS // 2
"""Bins from 0.5 on."""


def density(right: float, mn: bool) -> np.ndarray:
    """Shares of the bins with a stated share of right calls, highest at the end that is right."""
    weight = 1.4 ** np.arange(BINS) if mn else 1.4 ** -np.arange(float(BINS))
    called = np.arange(BINS) >= CALLED
    share = np.where(called, weight / weight[called].sum(), weight / weight[~called].sum())
    return share * np.where(called == mn, right, 1 - right)


def slide(rng: np.random.Generator, stain: str, cells: int, with_mn: int, spread: float) -> tuple[np.ndarray, ...]:
    """Counts by bin of cells with and without a micronucleus, with densities of its own."""
    found = []
    for (mean, sd), n, mn in zip(RATES[stain], (with_mn, cells - with_mn), (True, False), strict=True):  # type: ignore[arg-type]
        size = mean * (1 - mean) / (spread * sd) ** 2 - 1
        found.append(rng.multinomial(n, rng.dirichlet(size * density(mean, mn) + 1e-9)))
    return tuple(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=100)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    print(
        "| stain, per 1000, spread | fires without | with spread | interval holds | holds where it does not fire |\n"
        "|---|---|---|---|---|"
    )
    for stain in ("fluorescence", "giemsa"):
        for with_mn in (8, 70):
            for spread in (1.0, 2.0):
                rows = []
                for i in range(options.slides):
                    rng = np.random.default_rng([options.seed, i, with_mn])
                    known = [slide(rng, stain, 1000, 65, 1.0) for _ in range(16)]
                    card = ScoreHistogram(EDGES, *(tuple(sum(k[j] for k in known).tolist()) for j in (0, 1)), "card")
                    counts = [
                        ValidationSlide(
                            1000, 65, int((m + f)[CALLED:].sum()), int(m[CALLED:].sum()), tuple(m), tuple(f)
                        )
                        for m, f in known
                    ]
                    mn, nomn = slide(rng, stain, 1000, with_mn, spread)
                    seen = mn + nomn
                    own = SlideSpread(*score_spreads(tuple(counts), CALLED), (1000,))
                    fired = [expected_count(seen, card, spread=s).shift_p < SHIFT_LEVEL for s in (None, own)]
                    e = estimate_fraction(int(seen[CALLED:].sum()), [1000], counts)
                    held = e.low is not None and e.high is not None and e.low <= with_mn / 1000 <= e.high
                    rows.append((*fired, held))
                a = np.array(rows, float)
                quiet = a[a[:, 1] == 0, 2]
                means = [*a.mean(axis=0), quiet.mean() if len(quiet) else np.nan]
                print(f"| {stain}, {with_mn}, {spread:g} | " + " | ".join(f"{x:.2f}" for x in means) + " |", flush=True)


if __name__ == "__main__":
    main()

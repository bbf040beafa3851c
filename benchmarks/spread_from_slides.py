"""Can slides of known donors show that slides differ more than the validation slides did? Simulated, as Markdown.

    python benchmarks/spread_from_slides.py [--labs 4000] [--seed 5]

Errors of slides are those of `coverage_chain.py`. A laboratory has 16 validation slides of 1000 cells, and donors of
two slides of 500 cells each at doses from 0 to 2 Gy, whose slides differ as the validation slides do, or twice as much.
The statistic is the mean over donors of half the squared difference of their slides' shares of called cells, over what
the validation slides predict of it (their spread and counting). It fires above the 99 % quantile of laboratories with
the stated spread; the last line is a curve of two slides of 1000 cells at eight doses.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
from coverage_chain import CURVE_DOSES, RATES, VALIDATION, frequency

Floats = npt.NDArray[np.float64]
DOSES = (0.0, 0.0, 0.25, 0.5, 1.0, 2.0)


def beta(rng: np.random.Generator, mean: float, sd: float, shape: tuple[int, ...]) -> Floats:
    """Rates of slides."""
    size = mean * (1 - mean) / sd**2 - 1
    return rng.beta(mean * size, (1 - mean) * size, shape)


def squared_differences(rng: np.random.Generator, stain: str, spread: float, pairs: tuple[int, Floats, int]) -> Floats:
    """(labs, pairs): half the squared difference of the shares called of two slides."""
    labs, true, cells = pairs
    (se, se_sd), (sp, sp_sd) = RATES[stain]  # type: ignore[misc]
    shape = (labs, len(true), 2)
    q = true[:, None] * beta(rng, se, spread * se_sd, shape)
    q = q + (1 - true[:, None]) * (1 - beta(rng, sp, spread * sp_sd, shape))
    called = rng.binomial(cells, q) / cells
    return np.asarray((called[..., 0] - called[..., 1]) ** 2 / 2, dtype=np.float64)


def predicted(rng: np.random.Generator, stain: str, pairs: tuple[int, Floats, int]) -> Floats:
    """(labs, pairs): variance of a slide's share called, from 16 validation slides: moments, less counting."""
    labs, true, cells = pairs
    n, with_mn = VALIDATION
    variance, mean = [], []
    for (rate, sd), size in zip(RATES[stain], (with_mn, n - with_mn), strict=True):  # type: ignore[arg-type]
        share = rng.binomial(size, beta(rng, rate, sd, (labs, 16))) / size
        m = share.mean(axis=1)
        mean.append(m)
        variance.append(np.maximum(share.var(axis=1, ddof=1) - m * (1 - m) / size, 0.0))
    q = true * mean[0][:, None] + (1 - true) * (1 - mean[1][:, None])
    between = true**2 * variance[0][:, None] + (1 - true) ** 2 * variance[1][:, None]
    return np.asarray(between + q * (1 - q) / cells, dtype=np.float64)


def fires(rng: np.random.Generator, stain: str, pairs: tuple[int, Floats, int]) -> tuple[float, float]:
    """Share of laboratories with twice the spread that are told, and the median ratio there."""
    known = predicted(rng, stain, pairs)
    same, twice = ((squared_differences(rng, stain, s, pairs) / known).mean(axis=1) for s in (1.0, 2.0))
    return float((twice > np.quantile(same, 0.99)).mean()), float(np.median(twice))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    print("| two slides each of | fluorescence: told, ratio | Giemsa: told, ratio |\n|---|---|---|")
    rows = [(f"{d} donors", np.resize(DOSES, d), 500) for d in (1, 3, 6, 12, 24, 48)]
    for name, doses, cells in [*rows, ("a curve's 8 doses", np.array(CURVE_DOSES), 1000)]:
        rng = np.random.default_rng([options.seed, len(doses), cells])
        true = np.array([frequency(float(d)) for d in doses])
        found = [fires(rng, stain, (options.labs, true, cells)) for stain in ("fluorescence", "giemsa")]
        print(f"| {name} | " + " | ".join(f"{told:.2f}, {ratio:.1f}" for told, ratio in found) + " |", flush=True)


if __name__ == "__main__":
    main()

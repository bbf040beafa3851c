"""Sorting many donors at once: the probability that a dose is below or above 1 and 2 Gy, and what follows from it.

Prior: before the count every dose from 0 to 10 Gy (or the curve's highest, if that is more) is held equally likely.
The probability of a class is the share of prior times profile likelihood that is in it. A sheltered population has
more low doses than this prior says, so high classes are overstated for it; the prior is given with every result.

The classes are disjoint and cover every dose, a donor is sorted into the likeliest, and the verdict on 1 Gy follows
from the probability that the dose is above it. Whether a count is above the decision threshold is another question,
about the count; it takes no part here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.component_doses import log_likelihoods
from mnbatch.dosimetry.dose_estimation import DoseResult, counts_of
from mnbatch.dosimetry.dose_intervals import Profile
from mnbatch.dosimetry.likelihood_fits import Floats
from mnbatch.dosimetry.variance_components import components_of

CLASSES = ("< 1 Gy", "1 to 2 Gy", "> 2 Gy")
BORDERS = (1.0, 2.0)
HIGHEST_GY = 10.0
DECIDED = 0.95
"""A verdict needs this probability; with less it is open."""

_STEPS = 400
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Triage:
    """The likeliest class of a donor's dose with the probability of each, in the order of `CLASSES`; they sum to 1."""

    category: str
    probabilities: tuple[float, ...]
    prior: str

    @property
    def probability(self) -> float:
        """Probability of the class that the donor is sorted into."""
        return self.probabilities[CLASSES.index(self.category)]

    @property
    def above(self) -> tuple[float, ...]:
        """P(dose above 1 Gy), P(dose above 2 Gy): each is what it says, whatever the class."""
        return tuple(min(1.0, sum(self.probabilities[i + 1 :])) for i in range(len(BORDERS)))

    @property
    def verdict(self) -> str:
        """Whether the dose is above 1 Gy, where that is decided."""
        p = self.above[0]
        return "above 1 Gy" if p >= DECIDED else "below 1 Gy" if 1 - p >= DECIDED else "open: above or below 1 Gy"

    def to_json(self) -> dict[str, Any]:
        """Class, probability of each class, probabilities above the borders, verdict, prior."""
        chances = dict(zip(CLASSES, (round(p, 6) for p in self.probabilities), strict=True))
        above = {f"> {border:g} Gy": round(p, 6) for border, p in zip(BORDERS, self.above, strict=True)}
        verdict = {"category": self.category, "probabilities": chances, "above": above, "verdict": self.verdict}
        return {**verdict, "prior": self.prior}


def triage(results: Sequence[DoseResult], curve: Curve, g: float = 1.0) -> list[Triage | None]:
    """Class of each result; None for one without a dose."""
    top = max(HIGHEST_GY, curve.highest_dose or 0.0)
    prior = f"every dose from 0 to {top:g} Gy equally likely before the count"
    sorted_: list[Triage | None] = [None] * len(results)
    usable = [i for i, result in enumerate(results) if result.status == "ok"]
    for start in range(0, len(usable), _CHUNK):
        chunk = usable[start : start + _CHUNK]
        for i, row in zip(chunk, _probabilities([results[i] for i in chunk], curve, g, top), strict=True):
            sorted_[i] = Triage(CLASSES[int(np.argmax(row))], tuple(float(p) for p in row), prior)
    return sorted_


def _probabilities(results: Sequence[DoseResult], curve: Curve, g: float, top: float) -> Floats:
    """(n, 3); doses on a grid that is fine near zero, where intervals are short."""
    edges = top * np.linspace(0, 1, _STEPS + 1) ** 2
    low, high = edges[:-1], edges[1:]
    value = _deviances(results, curve, g, (low + high) / 2)
    weight = np.exp(-(value - value.min(axis=1, keepdims=True)) / 2)
    shares = np.stack([_within(weight, low, high, *pair) for pair in pairwise((0.0, *BORDERS, top))], axis=1)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


def _deviances(results: Sequence[DoseResult], curve: Curve, g: float, doses: Floats) -> Floats:
    """(n, doses): -2 log likelihood of each dose by the method of the results, but for a constant."""
    if results[0].method != "components":
        return Profile(curve, counts_of(results, curve), g)(doses[None, :])
    known = components_of(curve)
    return np.stack([-2 * log_likelihoods(known, doses, result.as_slides, g) for result in results])


def _within(weight: Floats, low: Floats, high: Floats, start: float, end: float) -> Floats:
    """Weight between two doses; a step of the grid counts with the part that is between them."""
    part = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None)
    return np.asarray((weight * part).sum(axis=1), dtype=np.float64)

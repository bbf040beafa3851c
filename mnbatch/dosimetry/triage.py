"""Sorting many donors at once: which dose class each belongs to, and how sure that is.

Prior: before the count every dose from 0 to 10 Gy (or the curve's highest, if that is more) is held equally likely.
The probability of a class is the share of prior times profile likelihood that is in it. A sheltered population has
more low doses than this prior says, so high classes are overstated for it; the prior is given with every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.dose_estimation import DoseResult, counts_of
from mnbatch.dosimetry.dose_intervals import Profile
from mnbatch.dosimetry.likelihood_fits import Floats

CLASSES = ("below detection", "< 1 Gy", "1 to 2 Gy", "> 2 Gy")
HIGHEST_GY = 10.0
LOWEST_GY = 1.0
"""`below detection` ends at the detection limit, and here where few cells put that limit higher."""

_STEPS = 400
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Triage:
    """The class of a donor with the probability of each class, in the order of `CLASSES`; they sum to 1."""

    category: str
    probabilities: tuple[float, ...]
    prior: str

    @property
    def probability(self) -> float:
        """Probability of the class that the donor is sorted into."""
        return self.probabilities[CLASSES.index(self.category)]

    def to_json(self) -> dict[str, Any]:
        """Class, probability of each class, prior."""
        chances = dict(zip(CLASSES, (round(p, 6) for p in self.probabilities), strict=True))
        return {"category": self.category, "probabilities": chances, "prior": self.prior}


def triage(results: Sequence[DoseResult], curve: Curve, g: float = 1.0) -> list[Triage | None]:
    """Class of each result; None for one without a dose.

    A count that the background explains is `below detection`; any other goes where it most probably belongs.
    """
    top = max(HIGHEST_GY, curve.highest_dose or 0.0)
    prior = f"every dose from 0 to {top:g} Gy equally likely before the count"
    sorted_: list[Triage | None] = [None] * len(results)
    usable = [i for i, result in enumerate(results) if result.status == "ok"]
    for start in range(0, len(usable), _CHUNK):
        chunk = usable[start : start + _CHUNK]
        for i, row in zip(chunk, _probabilities([results[i] for i in chunk], curve, g, top), strict=True):
            below = results[i].below_detection
            category = CLASSES[0] if below else CLASSES[1 + int(np.argmax(row[1:]))]
            sorted_[i] = Triage(category, tuple(float(p) for p in row), prior)
    return sorted_


def _probabilities(results: Sequence[DoseResult], curve: Curve, g: float, top: float) -> Floats:
    """(n, 4); doses on a grid that is fine near zero, where intervals are short."""
    edges = top * np.linspace(0, 1, _STEPS + 1) ** 2
    low, high = edges[:-1], edges[1:]
    value = Profile(curve, counts_of(results, curve), g)(((low + high) / 2)[None, :])
    weight = np.exp(-(value - value.min(axis=1, keepdims=True)) / 2)
    detection = np.array([min(result.detection_dose or 0.0, LOWEST_GY) for result in results])[:, None]
    zero = np.zeros_like(detection)
    ends = [zero, detection, zero + LOWEST_GY, zero + 2.0, zero + top]
    shares = np.stack([_within(weight, low, high, *pair) for pair in pairwise(ends)], axis=1)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


def _within(weight: Floats, low: Floats, high: Floats, start: Floats, end: Floats) -> Floats:
    """Weight between two doses; a step of the grid counts with the part that is between them."""
    part = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None)
    return np.asarray((weight * part).sum(axis=1), dtype=np.float64)

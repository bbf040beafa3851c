"""Frequency against cells scored: whether it had settled, and whether a part of the slide is unlike the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnbatch.assay.calls import PER, CalledCell
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.report import words

WIDTH, HEIGHT = 600, 150
POINTS = 120
LEAST = 50
"""Cells before which a running frequency says nothing."""


@dataclass(frozen=True, slots=True)
class Cumulative:
    """A line and its band as SVG points in a box of `WIDTH` x `HEIGHT`; `top` is the axis' end, per 1000 cells."""

    line: str
    band: str
    top: str
    cells: str
    text: str


def cumulative(cells: Sequence[CalledCell]) -> Cumulative | None:
    """The running MNBN frequency with its exact interval, in the order of the slide; None for under `LEAST` cells."""
    calls = np.array([cell.mn for cell in cells if cell.mn is not None], dtype=bool)
    if len(calls) < LEAST:
        return None
    number = np.unique(np.linspace(LEAST, len(calls), POINTS).astype(int))
    found = np.cumsum(calls)[number - 1]
    rates = PER * found / number
    limits = np.array([clopper_pearson(int(x), int(n)) for x, n in zip(found, number, strict=True)]) * PER
    top = max(float(rates.max()), float(np.median(limits[:, 1]))) * 1.15 or 1.0
    x = WIDTH * number / len(calls)

    def points(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
        y = HEIGHT - HEIGHT * np.clip(values / top, 0, 1)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    return Cumulative(
        line=" ".join(points(rates)),
        band=" ".join([*points(limits[:, 1]), *reversed(points(limits[:, 0]))]),
        top=f"{top:.3g}",
        cells=words.whole(len(calls)),
        text=f"MNBN per 1000 cells after each number of cells: {rates[0]:.1f} after {number[0]}, "
        f"{rates[len(rates) // 2]:.1f} after {number[len(rates) // 2]}, {rates[-1]:.1f} after all {len(calls)}.",
    )

"""What the fields of a slide have in common: its stain, and the median diameter of its nuclei.

Crops are cut at a multiple of the slide's median nucleus diameter, so some fields must be examined before the first
crop is cut. The threads that wait for the answer examine the fields: no thread blocks a worker that it needs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

FEWEST_FIELDS = 4
ENOUGH_NUCLEI = 100
MOST_FIELDS = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one field or region.

    Attributes:
        diameters: of its main nuclei, pixels.
        background: fluorescence, giemsa or unknown.
    """

    diameters: tuple[float, ...] = ()
    stain: str = "unknown"


@dataclass(frozen=True, slots=True)
class SlideTraits:
    """The answer.

    Attributes:
        nucleus_diameter: median over the sampled main nuclei, pixels; None where no nucleus was seen.
        background: what most fields with nuclei show; "unknown" where none was seen.
    """

    nucleus_diameter: float | None
    stain: str


class Survey(Generic[T]):
    """Looks at evenly spaced fields of a slide until it has seen enough nuclei.

    The answer is the same whatever the number of threads: it is made from the shortest run of the sample, in its
    order, that holds at least 4 fields and 100 nuclei, or from all of it (at most 24 fields).

    Args:
        fields: all fields of the slide, in order.
        stain: examines one; an exception counts as nothing seen, the reading of that field will say why.
    """

    def __init__(self, fields: Sequence[T], look: Callable[[T], Seen]) -> None:
        self._look = look
        self._sample = spread(fields, MOST_FIELDS)
        self._seen: dict[int, Seen] = {}
        self._next = 0
        self._changed = threading.Condition()
        self._traits: SlideTraits | None = None

    def traits(self) -> SlideTraits:
        """The answer; examines fields itself where that is still to be done."""
        while True:
            with self._changed:
                if self._traits is None:
                    self._traits = self._decided()
                if self._traits is not None:
                    return self._traits
                if self._next == len(self._sample):
                    self._changed.wait()
                    continue
                mine = self._next
                self._next += 1
            seen = Seen()
            try:
                seen = self._look(self._sample[mine])
            except Exception:  # noqa: BLE001 - it comes up again, with its field, where the field is read
                pass
            finally:
                with self._changed:
                    self._seen[mine] = seen
                    self._changed.notify_all()

    def _decided(self) -> SlideTraits | None:
        nuclei = 0
        run: list[Seen] = []
        for index in range(len(self._sample)):
            if index not in self._seen:
                return None
            run.append(self._seen[index])
            nuclei += len(run[-1].diameters)
            if len(run) >= FEWEST_FIELDS and nuclei >= ENOUGH_NUCLEI:
                break
        return _traits(run)


def spread(fields: Sequence[T], most: int) -> list[T]:
    """At most `most` of the fields, evenly spaced, coarse first: any run from the start is spread over the slide."""
    count = min(most, len(fields))
    picked = [fields[(2 * i + 1) * len(fields) // (2 * count)] for i in range(count)]
    order = sorted(range(count), key=lambda i: int(f"{i:08b}"[::-1], 2))
    return [picked[i] for i in order]


def _traits(run: Sequence[Seen]) -> SlideTraits:
    diameters = [diameter for seen in run for diameter in seen.diameters]
    stains = Counter(seen.stain for seen in run if seen.diameters and seen.stain != "unknown")
    stain = max(sorted(stains), key=lambda name: stains[name]) if stains else "unknown"
    return SlideTraits(float(np.median(diameters)) if diameters else None, stain)

"""Which fields overlap, and where, by the positions of the stage; what the pictures say goes before it.

A stage's axes may run against the picture's, so eight ways are possible. Until something is known of it x goes right
and y down; the first two fields whose pictures, or several cells, agree decide it for the slide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float64]
Shift = tuple[float, float]
"""From the place of a cell in the later field to that in the earlier one, pixels."""

_STAGE_ERROR = 1.0
"""Nucleus diameters by which a position may be wrong: about 10 um, several times what stages are made for."""

_ONE_SHIFT = 0.25
"""Nucleus diameters by which shifts of cells of two fields may differ, as for pictures."""

_ENOUGH_TURNED = 3
"""Cells in the same places that are enough for axes that are turned. As usual, or as known, one is enough."""

_ONLY_ONE = 0.5
"""Nucleus diameters by which a position may be wrong where one cell alone speaks for it, and the axes are not known."""

_SAID = 2
"""Cells in what should be an overlap that the other field has not, from which on it is a contradiction."""

_WAYS: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = tuple(
    rows for a in (1, -1) for b in (1, -1) for rows in (((a, 0), (0, b)), ((0, a), (b, 0)))
)
"""The ways in which a stage's axes may run, the usual one first."""


class Placed(Protocol):
    """A field with its place.

    Attributes are those of a field that was seen: (height, width), the stage's position and the size of a pixel in
    micrometres, (n, 2) places of cells that its edge does not cut, and median diameter of nuclei in pixels.
    """

    size: tuple[int, int]
    stage: tuple[float, float] | None
    um: float | None
    whole: Places
    diameter: float


@dataclass(slots=True)
class StageOverlaps:
    """What the positions of a slide's fields say.

    Attributes:
        way: how the axes run; None until two fields say it.
        agreeing, against: pairs of fields of which the cells are where the positions say, and are not.
        unsure: pairs of which they are not, while it was not known how the axes run.
    """

    way: int | None = None
    agreeing: int = 0
    against: int = 0
    unsure: int = 0

    def neighbours(self, new: Placed, earlier: Sequence[Placed]) -> list[int]:
        """Numbers of the earlier fields that may overlap with this one, whichever way the axes run."""
        if new.stage is None or not new.um:
            return []
        (x, y), reach = new.stage, max(new.size) * new.um
        return [
            number
            for number, other in enumerate(earlier)
            if other.stage is not None and abs(other.stage[0] - x) < reach and abs(other.stage[1] - y) < reach
        ]

    def shift(self, new: Placed, other: Placed, seen: Shift | None, agree: Callable[[Shift], bool]) -> Shift | None:
        """The shift between two fields, None where they do not overlap.

        Args:
            seen: by the pictures, which are believed; None where they show no overlap.
            agree: whether the cells in the overlap are in both fields.
        """
        moved = _moved(new, other)
        if moved is None:
            return seen
        near = max(4.0, _STAGE_ERROR * max(new.diameter, other.diameter))
        ways = range(len(_WAYS)) if self.way is None else (self.way,)
        if seen is not None:
            self._note(next((way for way in ways if _away(_turned(moved, way), seen) <= near), None))
            return seen
        found = [(way, _by_cells(new, other, _turned(moved, way), near)) for way in ways]
        fits = [(one[1], -way, one[0]) for way, one in found if one and self._is_enough(way, *one, moved, near)]
        for count, way, shift in sorted(fits, reverse=True):
            if agree(shift):
                self._note(-way if count > 1 else self.way, known=True)
                return shift
        if _cells_in_overlap(new, other, _turned(moved, self.way or 0)) >= _SAID:
            self._note(None)
        return None

    def _is_enough(self, way: int, shift: Shift, count: int, moved: Places, near: float) -> bool:
        if self.way is not None or count >= _ENOUGH_TURNED:
            return True
        return way == 0 and (count > 1 or _away(_turned(moved, 0), shift) <= _ONLY_ONE * near)

    def warnings(self) -> tuple[str, ...]:
        """What a reader of the slide's number must know."""
        against = self.against + (self.unsure if self.way is None else 0)
        if not against:
            return ()
        pairs = self.agreeing + against
        return (
            f"the stage positions in its files contradict its pictures for {against} of {pairs} pairs of fields; "
            "there overlaps were sought in the pictures alone",
        )

    def _note(self, way: int | None, *, known: bool = False) -> None:
        """Keep what a pair of fields says: how the axes run, or (None, unless it is known to fit) that it does not."""
        if way is not None or known:
            self.way, self.agreeing = way, self.agreeing + 1
        elif self.way is None:
            self.unsure += 1
        else:
            self.against += 1


def _moved(new: Placed, other: Placed) -> Places | None:
    """Distance of two stages' positions, pixels; None where it is not known, or where both stood at one place."""
    if new.stage is None or other.stage is None or not new.um or new.um != other.um or new.size != other.size:
        return None
    # Programs that know no position write the same one for all fields.
    return None if new.stage == other.stage else (np.array(new.stage) - np.array(other.stage)) / new.um


def _turned(moved: Places, way: int) -> Shift:
    x, y = np.array(_WAYS[way], np.float64) @ moved
    return float(x), float(y)


def _away(one: Shift, other: Shift) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def _by_cells(new: Placed, other: Placed, shift: Shift, near: float) -> tuple[Shift, int] | None:
    """The shift close to a stated one in which most whole cells agree, and their number."""
    if not len(new.whole) or not len(other.whole):
        return None
    shifts = (other.whole[None] - new.whole[:, None]).reshape(-1, 2)
    shifts = shifts[np.hypot(*(shifts - np.array(shift)).T) <= near]
    if not len(shifts):
        return None
    tolerance = max(2.0, _ONE_SHIFT * max(new.diameter, other.diameter))
    close = np.hypot(*np.moveaxis(shifts[:, None] - shifts[None], -1, 0)) <= tolerance
    most = close[int(close.sum(axis=1).argmax())]
    x, y = np.median(shifts[most], axis=0)
    return (float(x), float(y)), int(most.sum())


def _cells_in_overlap(new: Placed, other: Placed, shift: Shift) -> int:
    """Whole cells of either field that the other one should show, further than a diameter from its edge."""
    edge = max(new.diameter, other.diameter)
    size = np.array(other.size[::-1])
    both = (new.whole + np.array(shift), other.whole - np.array(shift))
    return max(int(((places >= edge) & (places < size - edge)).all(axis=1).sum()) for places in both)

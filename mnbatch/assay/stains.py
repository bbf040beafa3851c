"""Which stain a slide has, from the looks of all of its cells; and what becomes of cells that contradict it.

The answer depends on how many cells have which look, and on nothing else: no order of files changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mnbatch.assay.cells import LOOKS, Look

MIXED_SHARE = 0.1
"""Of the cells whose stain is recognised: with a larger share of another stain a slide is two, and fails."""

CLEAR_MAJORITY = 0.7
"""Of the readable cells without those of another stain: fewer of one stain, and the slide's is unknown."""

NAMES: dict[str, str] = {"fluorescence": "fluorescence", "giemsa": "Giemsa", "unknown": "neither"}


@dataclass(frozen=True, slots=True)
class SlideStain:
    """The stain that a slide's cells are called with.

    Attributes:
        look: of the slide.
        forced: a person said so (`--stain`): cells that contradict are said, and counted.
    """

    look: Look
    forced: bool

    def contradicts(self, look: Look) -> bool:
        """Whether a cell of this look shows another stain; one that shows neither follows its slide."""
        return "unknown" not in (look, self.look) and look != self.look


def likely_look(counts: Mapping[Look, int]) -> Look:
    """The stain that most cells show; "unknown" where none shows any. A tie goes to the first of `LOOKS`."""
    look = max(LOOKS, key=lambda look: counts.get(look, 0))
    return look if counts.get(look, 0) else "unknown"


def slide_look(counts: Mapping[Look, int]) -> Look:
    """Look of a slide that is no mixture: what at least 7 of 10 of its cells show, else "unknown".

    Args:
        counts: look -> readable cells.
    """
    look = likely_look(counts)
    others = sum(counts.get(other, 0) for other in LOOKS if other != look)
    kept = sum(counts.values()) - others
    return look if kept and not mixture(counts) and counts.get(look, 0) >= CLEAR_MAJORITY * kept else "unknown"


def mixture(counts: Mapping[Look, int]) -> str:
    """What was seen, where a slide holds two stains; "" where it does not.

    Args:
        counts: look -> readable cells.
    """
    seen = sorted(((counts.get(look, 0), look) for look in LOOKS), key=lambda item: -item[0])
    total = sum(count for count, _ in seen)
    if not total or total - seen[0][0] <= MIXED_SHARE * total:
        return ""
    return ", ".join(f"{NAMES[look]} {count} cells" for count, look in seen if count)

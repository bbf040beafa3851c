"""Which stain a slide has, from the stains of all of its cells; and what becomes of cells that contradict it.

The answer depends on how many cells have which stain, and on nothing else: no order of files changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mnbatch.assay.cells import STAINS, Stain

MIXED_SHARE = 0.1
"""Of the cells whose stain is recognised: with a larger share of another stain a slide is two, and fails."""

CLEAR_MAJORITY = 0.7
"""Of the readable cells without those of another stain: fewer of one stain, and the slide's is unknown."""

NAMES: dict[str, str] = {"fluorescence": "fluorescence", "giemsa": "Giemsa", "unknown": "neither"}


@dataclass(frozen=True, slots=True)
class SlideStain:
    """The stain that a slide's cells are called with.

    Attributes:
        stain: of the slide.
        forced: a person said so (`--stain`): cells that contradict are said, and counted.
    """

    stain: Stain
    forced: bool

    def contradicts(self, stain: Stain) -> bool:
        """Whether a cell of this stain shows another stain; one that shows neither follows its slide."""
        return "unknown" not in (stain, self.stain) and stain != self.stain


def likely_stain(counts: Mapping[Stain, int]) -> Stain:
    """The stain that most cells show; "unknown" where none shows any. A tie goes to the first of `LOOKS`."""
    stain = max(STAINS, key=lambda stain: counts.get(stain, 0))
    return stain if counts.get(stain, 0) else "unknown"


def slide_stain(counts: Mapping[Stain, int]) -> Stain:
    """Stain of a slide that is no mixture: what at least 7 of 10 of its cells show, else "unknown".

    Args:
        counts: look -> readable cells.
    """
    stain = likely_stain(counts)
    others = sum(counts.get(other, 0) for other in STAINS if other != stain)
    kept = sum(counts.values()) - others
    return stain if kept and not mixture(counts) and counts.get(stain, 0) >= CLEAR_MAJORITY * kept else "unknown"


def mixture(counts: Mapping[Stain, int]) -> str:
    """What was seen, where a slide holds two stains; "" where it does not.

    Args:
        counts: look -> readable cells.
    """
    seen = sorted(((counts.get(stain, 0), stain) for stain in STAINS), key=lambda item: -item[0])
    total = sum(count for count, _ in seen)
    if not total or total - seen[0][0] <= MIXED_SHARE * total:
        return ""
    return ", ".join(f"{NAMES[stain]} {count} cells" for count, stain in seen if count)

"""What a crawl met and no slide has: images without a place in the layout, and empty folders where a slide would be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mnbatch.assay.cells import Skipped
from mnbatch.imaging.walk import EMPTY, UNFITTING

_SHOWN = 3


@dataclass(slots=True)
class Unplaced:
    """Gathered while the export is read.

    Attributes:
        images: folder -> images in it that the layout has no place for.
        empty: folders without anything.
    """

    images: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)

    def note(self, skipped: Skipped) -> None:
        """Take what was left out, if it is of these."""
        if skipped.reason.startswith(UNFITTING):
            self.images[skipped.path.rpartition("/")[0] or "the export itself"] += 1
        elif skipped.reason == EMPTY:
            self.empty.append(skipped.path)

    def sentences(self, layout: str, *, named: bool) -> list[str]:
        """What a person has to know; none where everything has its place.

        Args:
            named: folders may be named; under pseudonyms they may not.
        """
        said = []
        if self.images:
            number = self.images.total()
            where = _some([f"{folder}: {count}" for folder, count in self.images.items()]) if named else ""
            said.append(
                f"{number} {'image' if number == 1 else 'images'} without a place in the layout {layout} "
                f"{_be(number)} in no slide and not counted{where}; `mnbatch scan EXPORT --explain` names each"
            )
        if self.empty:
            number = len(self.empty)
            where = _some(self.empty) if named else ""
            said.append(
                f"{number} {'folder' if number == 1 else 'folders'} where a slide would be {_be(number)} empty{where}: "
                "was the copying of a slide broken off?"
            )
        return said


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})"

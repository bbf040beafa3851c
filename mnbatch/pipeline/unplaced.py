"""What a crawl met and no slide has: images without a place, and folders at a slide's place without images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mnbatch.assay.cells import Skipped
from mnbatch.imaging.walk import EMPTY, HIDDEN_IMAGES, TOO_LARGE, UNFITTING, UNREAD

_SHOWN = 3


@dataclass(slots=True)
class Unplaced:
    """Gathered while the export is read.

    Attributes:
        images: folder -> images in it that the layout has no place for.
        empty: folders without anything.
        unread: folders with files of which none is read as an image.
        large: archives that are too large to look through.
        hidden: folder -> packed or misnamed images in it that --input leaves out of their slide.
    """

    images: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)
    hidden: Counter[str] = field(default_factory=Counter)

    def note(self, skipped: Skipped) -> None:
        """Take what was left out, if it is of these."""
        if skipped.reason.startswith(UNFITTING):
            self.images[_folder_of(skipped)] += 1
        elif skipped.reason == EMPTY:
            self.empty.append(skipped.path)
        elif skipped.reason == UNREAD:
            self.unread.append(skipped.path)
        elif skipped.reason == TOO_LARGE:
            self.large.append(skipped.path)
        elif skipped.reason == HIDDEN_IMAGES:
            self.hidden[_folder_of(skipped)] += 1

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
        if self.hidden:
            number = self.hidden.total()
            where = _some([f"{folder}: {count}" for folder, count in self.hidden.items()]) if named else ""
            said.append(
                f"{number} {'file' if number == 1 else 'files'} beside the images of their slides may be more of them, "
                f"packed or under another extension, and {_be(number)} not counted, as --input says{where}: unpack or "
                "rename them if they belong to the slide, else take them out"
            )
        if self.large:
            number = len(self.large)
            where = _some(self.large) if named else ""
            said.append(
                f"{number} {'archive' if number == 1 else 'archives'}, too large to look through, {_hold(number)} no "
                f"image in the part that was{where}: unpack what belongs to a slide, and take the rest out"
            )
        if self.unread:
            number = len(self.unread)
            where = _some(self.unread) if named else ""
            said.append(
                f"{number} {'folder' if number == 1 else 'folders'} where a slide would be "
                f"{_hold(number)} no image that is read{where}: if its files are cells or fields, "
                "export them as TIFF or PNG; `mnbatch scan EXPORT --explain` names each"
            )
        if self.empty:
            number = len(self.empty)
            where = _some(self.empty) if named else ""
            said.append(
                f"{number} {'folder' if number == 1 else 'folders'} where a slide would be {_be(number)} empty{where}: "
                "was the copying of a slide broken off?"
            )
        return said


def _folder_of(skipped: Skipped) -> str:
    return skipped.path.rpartition("/")[0] or "the export itself"


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _hold(number: int) -> str:
    return "holds" if number == 1 else "hold"


def _some(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})"

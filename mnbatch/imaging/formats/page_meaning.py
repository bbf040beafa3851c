"""What the pages of a TIFF mean for a slide: smaller versions found by content, and what content makes doubtful."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import tifffile

from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Reason, say
from mnbatch.imaging.formats.likeness_of_pages import (
    SAME_CELL,
    SAME_FIELD,
    SAME_LEVEL,
    Glimpse,
    glimpse,
    in_turn,
    likeness,
    likeness_of_fields,
    may_be_level,
    other_focus,
)
from mnbatch.imaging.formats.page_choice import Chosen, UnclearError, chosen_pictures, described
from mnbatch.imaging.formats.page_structure import Picture, Structure, structure_of
from mnbatch.imaging.formats.picture_reading import glance
from mnbatch.imaging.formats.pixels import DECODING_ERRORS
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TiffHeader

Own = Literal["cells", "positions"]
"""What a page is that is a picture of its own: the crop of a cell, or a camera field."""

_MOST_PAIRS = 7
_TURNS = 12
_NOTHING = 1e-6
_MOST_SAMPLES = 4
MOST_CHANNELS = 8


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a TIFF holds and what of it is read.

    Attributes:
        found: its pictures, without smaller versions.
        chosen: cells or fields that are read.
        levels: full-resolution pages by their tags that show another page smaller.
    """

    found: Structure
    chosen: tuple[Chosen, ...]
    levels: int = 0

    def described(self) -> str:
        """What the pages are and what is read of them, in words; "" for one ordinary picture."""
        smaller = f"{self.levels} smaller versions left out" if self.levels else ""
        return "; ".join(filter(None, (described(self.found, self.chosen), smaller)))


def meaning_of(tiff: tifffile.TiffFile, header: TiffHeader, options: PageOptions, own: Own) -> Meaning:
    """What the pages of a TIFF are, and which of them are read.

    Args:
        own: what a page is that is a picture of its own.

    Raises:
        UnclearError: it has to be said by a person; the reason names the option.
    """
    return _Looked(tiff, header, options, own).meaning()


class _Looked:
    def __init__(self, tiff: tifffile.TiffFile, header: TiffHeader, options: PageOptions, own: Own) -> None:
        self._tiff, self._header, self._options, self._own = tiff, header, options, own
        self._seen: dict[Picture, Glimpse | None] = {}

    def meaning(self) -> Meaning:
        structure = self._believed(structure_of(self._tiff, self._header))
        self._check_below(structure)
        found = self._without_levels(structure)
        levels = len(structure.pictures) - len(found.pictures) + len(structure.beyond) - len(found.beyond)
        options = self._options
        if found.length("unstated") > 1 and options.pages is None:
            options = self._questioned(found)
        return Meaning(found, chosen_pictures(found, options), levels)

    def _believed(self, found: Structure) -> Structure:
        """Programs call the cells of a stack channels; so many channels, and without a name, no microscope has."""
        if found.samples > 1:
            unknown = self._options.channel is None and not found.names and self._own == "cells"
            if found.samples > _MOST_SAMPLES and unknown:
                raise UndecodableError(say("channels", count=found.samples))
            return found
        channels = [length for axis, length in found.axes if axis == "channels" and length > MOST_CHANNELS]
        if not channels or found.names or self._options.channel is not None or self._own == "positions":
            return found
        axes = tuple(("unstated" if axis == "channels" else axis, length) for axis, length in found.axes)
        return replace(found, axes=axes)

    def _check_below(self, found: Structure) -> None:
        """SubIFDs hold smaller versions; a program that keeps pictures there would lose them here."""
        for index in dict.fromkeys(picture.directory for picture in found.pictures):
            page = self._header.directories[index] if index < len(self._header.directories) else None
            for offset in page.children if page is not None else ():
                try:
                    self._tiff.filehandle.seek(offset)
                    below = tifffile.TiffPage(self._tiff, (index, 0))
                except DECODING_ERRORS:
                    continue
                if page is not None and not below.is_reduced and below.imagewidth >= page.width:
                    raise UnclearError(say("sub-directories"))

    def _without_levels(self, found: Structure) -> Structure:
        """Without pages that show another one smaller, known by their form and content."""
        firsts = [picture for picture in found.pictures if _is_first(found, picture)]
        beyond = [self._beyond(index) for index in found.beyond]
        if len({picture.size for picture in (*firsts, *beyond)}) < 2:
            return found
        small = {picture for picture in (*firsts, *beyond) if self._is_level(picture, (*firsts, *beyond))}
        rest = tuple(index for index, picture in zip(found.beyond, beyond, strict=True) if picture not in small)
        return _without(
            replace(found, beyond=rest), {_own_place(found, picture) for picture in firsts if picture in small}
        )

    def _beyond(self, index: int) -> Picture:
        page = self._header.directories[index]
        return Picture(index, size=(page.height, page.width))

    def _is_level(self, picture: Picture, others: Sequence[Picture]) -> bool:
        larger = [other for other in others if may_be_level(picture.size, other.size)]
        before = [other for other in larger if other.directory < picture.directory][-1:]
        after = [other for other in larger if other.directory > picture.directory][:1]
        return any(self._alike(picture, other, likeness) >= SAME_LEVEL for other in (*before, *after))

    def _alike(self, one: Picture, other: Picture, measure: Callable[[Glimpse, Glimpse], float]) -> float:
        """Likeness of two pictures; 0 where one cannot be read, which its own reading will say."""
        pair = [self._glimpse(picture) for picture in (one, other)]
        return 0.0 if pair[0] is None or pair[1] is None else measure(pair[0], pair[1])

    def _glimpse(self, picture: Picture) -> Glimpse | None:
        if picture not in self._seen:
            try:
                seen = glimpse(glance(self._tiff, self._header, picture))
                # A picture of one value shows nothing that could be compared.
                self._seen[picture] = seen if seen.contrast > _NOTHING else None
            except (*DECODING_ERRORS, UndecodableError):
                self._seen[picture] = None
        return self._seen[picture]

    def _questioned(self, found: Structure) -> PageOptions:
        """What pages are that nothing is said of: each one of its own, unless their content makes that doubtful.

        Raises:
            UnclearError: it does.
        """
        open_axes = [length for axis, length in found.axes if axis == "unstated"]
        if len(open_axes) > 1:
            raise UnclearError(say("pages-two-axes", shown=" x ".join(map(str, open_axes))))
        firsts = [picture for picture in found.pictures if _is_first(found, picture)]
        sizes = list(dict.fromkeys(f"{width} x {height}" for height, width in (p.size for p in firsts)))
        if len(sizes) > 1:
            if self._own == "positions":
                raise UnclearError(say("pages-sizes", shown=", ".join(sizes[:4]), own=self._own_words))
            return self._options
        same = self._same_scene(firsts)
        asked = self._options.channel is not None and found.samples == 1 and not self._colour(firsts[0])
        if same and asked and found.length("channels") == 1:
            return replace(self._options, pages="channels")
        if same:
            raise UnclearError(say("pages-same-scene", count=len(firsts), own=self._own_words))
        turn = self._in_turn(firsts) if found.length("channels") == 1 else 0
        if turn:
            raise UnclearError(say("pages-in-turn", count=len(firsts), turn=turn, own=self._own))
        if asked and found.length("channels") == 1:
            raise UnclearError(say("pages-other-scenes", count=len(firsts), own=self._own_words))
        return self._options

    @property
    def _own_words(self) -> Reason:
        return say("own-cells") if self._own == "cells" else say("own-positions")

    def _colour(self, picture: Picture) -> bool:
        return self._header.directories[picture.directory].samples > 1

    def _in_turn(self, pictures: Sequence[Picture]) -> int:
        """Pages of a turn, where stains or planes follow each other in turn; 0 for none."""
        seen = [self._glimpse(picture) for picture in pictures[:_TURNS]]
        known = [one for one in seen if one is not None]
        turn = in_turn(known) if len(known) == len(seen) else 0
        return turn if turn and len(pictures) % turn == 0 else 0

    def _same_scene(self, pictures: Sequence[Picture]) -> bool:
        """Whether pages that follow each other show one scene in other focus or contrast."""
        if self._own == "positions":
            starts, measure, limit = [0], likeness_of_fields, SAME_FIELD
        else:
            starts = sorted({i * (len(pictures) - 1) // _MOST_PAIRS for i in range(_MOST_PAIRS)})
            measure, limit = likeness, SAME_CELL
        if float(np.median([self._alike(pictures[i], pictures[i + 1], measure) for i in starts])) < limit:
            return False
        sample = [self._glimpse(pictures[i]) for i in sorted({*starts, *(i + 1 for i in starts)})]
        return other_focus([seen for seen in sample if seen is not None])


def _own_axes(found: Structure) -> list[int]:
    return [i for i, (axis, _) in enumerate(found.axes) if axis in ("positions", "unstated")]


def _own_place(found: Structure, picture: Picture) -> tuple[int, ...]:
    return tuple(picture.at[i] for i in _own_axes(found))


def _is_first(found: Structure, picture: Picture) -> bool:
    """Whether it is the first channel, plane and time of its position."""
    own = _own_axes(found)
    return all(place == 0 for i, place in enumerate(picture.at) if i not in own)


def _without(found: Structure, dropped: set[tuple[int, ...]]) -> Structure:
    """The structure without some positions."""
    if not dropped:
        return found
    own = _own_axes(found)
    kept = [picture for picture in found.pictures if _own_place(found, picture) not in dropped]
    places = list(dict.fromkeys(_own_place(found, picture) for picture in kept))
    rest = [i for i in range(len(found.axes)) if i not in own]
    name = found.axes[own[0]][0]
    axes = (((name, len(places)),) if len(places) > 1 else ()) + tuple(found.axes[i] for i in rest)
    moved = [
        replace(
            picture,
            at=((places.index(_own_place(found, picture)),) if len(places) > 1 else ())
            + tuple(picture.at[i] for i in rest),
        )
        for picture in kept
    ]
    assert len(moved) <= math.prod(length for _, length in axes)
    return replace(found, axes=axes, pictures=tuple(moved))

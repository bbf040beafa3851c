"""What readers of microscopes' own formats have in common, and which of them are installed.

A reader is another package, behind the extra `mnbatch[vendor]`: a worker process imports it when a file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Protocol

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.page_choice import UnclearError
from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.wholeness.cut_tails import check_tail
from mnbatch.imaging.wholeness.lost_sectors import Piece, check_blocks

INSTALL = "pip install 'mnbatch[vendor]'"

MOST_POSITIONS = 100_000
"""Fields in one file; more are refused before the metadata of any are read."""


@dataclass(frozen=True, slots=True)
class VendorContent:
    """What a file says that it holds.

    Attributes:
        positions, times, channels, planes: lengths of the axes.
        names: of the channels, as far as they are known.
        um_across, um_down: of a pixel, micrometres; None where nothing is said.
        places: of each position where the stage stood, micrometres; empty where the format does not say it.
        width, height: of the pictures of all positions, where the format has them of one size; else 0.
    """

    positions: int
    times: int
    channels: int
    planes: int
    names: tuple[str, ...] = ()
    um_across: float | None = None
    um_down: float | None = None
    width: int = 0
    height: int = 0
    places: tuple[tuple[float, float] | None, ...] = ()


class VendorFile(Protocol):
    """An open file."""

    @property
    def content(self) -> VendorContent:
        """What it holds."""

    def size(self, position: int, channel: int) -> tuple[int, int]:
        """(width, height) of the pictures of a position, before any of them is read."""

    def read(self, position: int, time: int, channel: int, plane: int) -> Decoded:
        """One picture, (height, width) or (height, width, 3), as its values were stored."""


@dataclass(frozen=True, slots=True)
class VendorFormat:
    """A format as the registry lists it.

    Attributes:
        name: for messages.
        extensions: lower case, without the dot.
        module: what must be importable.
        open: opens a file; whatever it raises means that it cannot be read.
    """

    name: str
    extensions: tuple[str, ...]
    module: str
    open: Callable[[str], AbstractContextManager[VendorFile]]

    @property
    def installed(self) -> bool:
        """Whether its reader is."""
        return find_spec(self.module) is not None


def one_description(described: Sequence[VendorContent]) -> VendorContent:
    """The images of a file as positions of one; those of each follow each other.

    Args:
        described: what each image holds.

    Raises:
        UnclearError: they are none, or not of one kind (an overview or a merged picture next to fields).
        UndecodableError: they are too many.
    """
    if not described:
        raise UnclearError(say("no-image-inside"))
    positions = sum(one.positions for one in described)
    if positions > MOST_POSITIONS:
        raise UndecodableError(say("many-planes", count=positions))
    first = described[0]
    for other in described[1:]:
        if replace(other, positions=first.positions, places=first.places) != first:
            raise UnclearError(say("images-differ", count=len(described), one=_said(first), other=_said(other)))
    places = tuple(place for one in described for place in one.places)
    return replace(first, positions=positions, places=places if len(places) == positions else ())


def _said(content: VendorContent) -> str:
    parts = f"{content.channels} channels, {content.planes} planes, {content.times} times"
    size = f" of {content.width} x {content.height} pixels" if content.width else ""
    um = f" at {content.um_across:.4g} um" if content.um_across else ""
    return f"{parts}{size}{um}"


def checked_axes(sizes: Mapping[str, int], known: str) -> None:
    """Refuse a file with an axis that is no position, channel, focal plane or time.

    Args:
        sizes: letter -> length.
        known: letters that the reader serves.

    Raises:
        UnclearError: another one is longer than 1.
    """
    odd = [f"{axis} ({length})" for axis, length in sizes.items() if axis not in known and length > 1]
    if odd:
        raise UnclearError(say("axis-unknown", axes=", ".join(odd)))


def check_even(values: Decoded) -> None:
    """Look for a picture that ends in zeros: room that was made for a copy that broke off.

    Raises:
        DamageError: it does.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        samples = values.shape[2] if values.ndim == 3 else 1
        stride = values.shape[1] * samples * values.dtype.itemsize
        piece = Piece(offset=0, data=values.tobytes(), stride=stride, kind=values.dtype, samples=samples)
        check_blocks([piece])
        check_tail(piece)

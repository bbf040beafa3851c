"""What readers of microscopes' own formats have in common, and which of them are installed.

A reader is another package, behind the extra `mnbatch[vendor]`: a worker process imports it when a file is read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from mnbatch.imaging.formats.pixels import Decoded

INSTALL = "pip install 'mnbatch[vendor]'"


@dataclass(frozen=True, slots=True)
class VendorContent:
    """What a file says that it holds.

    Attributes:
        positions, times, channels, planes: lengths of the axes.
        names: of the channels, as far as they are known.
        um_across, um_down: of a pixel, micrometres; None where nothing is said.
    """

    positions: int
    times: int
    channels: int
    planes: int
    names: tuple[str, ...] = ()
    um_across: float | None = None
    um_down: float | None = None


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

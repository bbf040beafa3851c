"""LIF of LAS X through liffile (BSD-3-Clause).

Each image of the file is a position, and so is each tile of a mosaic. Images of different kinds (an overview, a merged
mosaic next to its tiles) make the slide fail: which of them are to be counted is for a person to say. Never tried on a
file of a real microscope: the tests read small files that they write themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.page_choice import UnclearError
from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.formats.vendor_files import (
    VendorContent,
    VendorFile,
    VendorFormat,
    check_even,
    checked_axes,
    one_description,
)
from mnbatch.imaging.wholeness.lost_sectors import DamageError

_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3, "inch": 25_400.0}
_DESCRIPTION = "./Data/Image/ImageDescription"
_DIM_X, _DIM_Y = "1", "2"


class _LifFile:
    def __init__(self, file: Any) -> None:
        self._images = list(file.images)
        described = [_content(image) for image in self._images]
        self.content = one_description(described)
        self._places = [(i, tile) for i, one in enumerate(described) for tile in range(one.positions)]

    def size(self, position: int, channel: int) -> tuple[int, int]:
        return self.content.width, self.content.height

    def read(self, position: int, time: int, channel: int, plane: int) -> Decoded:
        index, tile = self._places[position]
        image = self._images[index]
        if image.nbytes > image.memory_block.size:
            raise DamageError("its memory block is shorter than its pictures")
        at = {"M": tile, "T": time, "C": channel, "Z": plane}
        values = np.asarray(image.frame(**{axis: place for axis, place in at.items() if axis in image.sizes}))
        check_even(values)
        return values


def _content(image: Any) -> VendorContent:
    """What an image says of itself.

    Raises:
        UnclearError: it is no picture, or has axes or samples that are not served.
    """
    if image.is_flim:
        raise UnclearError(say("axis-unknown", axes="photon arrival times (FLIM)"))
    sizes = dict(image.sizes)
    checked_axes(sizes, "MTCZYXS")
    samples = sizes.get("S", 1)
    if tuple(image.frames.frame_dims) not in (("Y", "X"), ("Y", "X", "S")) or samples not in (1, 3):
        raise UnclearError(say("axis-unknown", axes=", ".join(image.frames.frame_dims)))
    across, down = (_um(image.xml_element, dimension) for dimension in (_DIM_X, _DIM_Y))
    return VendorContent(
        positions=sizes.get("M", 1),
        times=sizes.get("T", 1),
        channels=sizes.get("C", 1),
        planes=sizes.get("Z", 1),
        names=_names(image.xml_element) if samples == 1 else (),
        um_across=across,
        um_down=down,
        width=sizes["X"],
        height=sizes["Y"],
        places=_places(image.xml_element),
    )


def _places(element: Any) -> tuple[tuple[float, float] | None, ...]:
    """Where the stage stood for each tile, micrometres; LAS X writes metres."""
    tiles = element.findall(".//Attachment[@Name='TileScanInfo']/Tile")
    try:
        return tuple((float(tile.get("PosX")) * 1e6, float(tile.get("PosY")) * 1e6) for tile in tiles)
    except (TypeError, ValueError):
        return ()


def _um(element: Any, dimension: str) -> float | None:
    """Of a pixel. The length of a dimension goes from the middle of its first pixel to that of its last."""
    for found in element.findall(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        if found.get("DimID") != dimension:
            continue
        count, unit = int(found.get("NumberOfElements", 0)), _UM.get(found.get("Unit", ""))
        if unit is None or count < 2:
            return None
        # Rounded, so that images of one objective do not differ in the last digits of the XML.
        return round(abs(float(found.get("Length", 0))) * unit / (count - 1), 5) or None
    return None


def _names(element: Any) -> tuple[str, ...]:
    """Of the channels in the order of their bytes: the dye where it is stated, else the colour of their display."""
    channels = element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
    channels.sort(key=lambda channel: int(channel.get("BytesInc", 0)))
    return tuple(_dye(channel) or channel.get("LUTName", "") for channel in channels)


def _dye(channel: Any) -> str:
    for stated in channel.findall("./ChannelProperty"):
        if stated.findtext("Key", "") == "DyeName":
            return str(stated.findtext("Value", ""))
    return ""


@contextmanager
def _open(path: str) -> Iterator[VendorFile]:
    with import_module("liffile").LifFile(path) as file:
        yield _LifFile(file)


LIF = VendorFormat("LIF", ("lif",), "liffile", _open)

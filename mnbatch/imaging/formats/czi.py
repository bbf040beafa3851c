"""CZI of ZEN through pylibCZIrw, Zeiss's own library (LGPL-3.0; a package of its own, installed by the user).

Each scene is a position; tiles of a scene are put together by the library. Never tried on a file of a real microscope:
the tests read files that the same library wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.formats.vendor_files import VendorContent, VendorFile, VendorFormat

_UM = 1e6


class _CziFile:
    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._box: Mapping[str, tuple[int, int]] = reader.total_bounding_box
        self._scenes: Mapping[int, Any] = reader.scenes_bounding_rectangle
        self._numbers = sorted(self._scenes)
        described = _under(reader.metadata, "ImageDocument", "Metadata")
        channels = _listed(_under(described, "Information", "Image", "Dimensions", "Channels").get("Channel"))
        sizes = {
            str(item.get("@Id")): float(item.get("Value") or 0) * _UM
            for item in _listed(_under(described, "Scaling", "Items").get("Distance"))
        }
        self.content = VendorContent(
            positions=max(1, len(self._numbers)),
            times=self._length("T"),
            channels=self._length("C"),
            planes=self._length("Z"),
            names=tuple(str(channel.get("@Name") or "") for channel in channels),
            um_across=sizes.get("X") or None,
            um_down=sizes.get("Y") or None,
            places=self._places(sizes.get("X"), sizes.get("Y")),
        )

    def _places(self, across: float | None, down: float | None) -> tuple[tuple[float, float], ...]:
        """Left and top of each scene in the plane of all of them, micrometres."""
        if not across or not down:
            return ()
        boxes = [self._scenes[number] for number in self._numbers]
        return tuple((float(box.x) * across, float(box.y) * down) for box in boxes)

    def _length(self, axis: str) -> int:
        first, end = self._box.get(axis, (0, 1))
        return max(1, end - first)

    def size(self, position: int, channel: int) -> tuple[int, int]:
        if not self._numbers:
            return self._length("X"), self._length("Y")
        box = self._scenes[self._numbers[position]]
        return int(box.w), int(box.h)

    def read(self, position: int, time: int, channel: int, plane: int) -> Decoded:
        at = {"T": time, "C": channel, "Z": plane}
        place = {axis: self._box[axis][0] + index for axis, index in at.items() if axis in self._box}
        scene = self._numbers[position] if self._numbers else None
        values = np.asarray(self._reader.read(plane=place, scene=scene))
        # Colours are stored blue first.
        return values[..., 0] if values.shape[-1] == 1 else np.ascontiguousarray(values[..., 2::-1])


def _under(content: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content if isinstance(content, Mapping) else {}


def _listed(content: Any) -> list[Mapping[str, Any]]:
    """Elements of an XML that are a list only where there are several."""
    found = content if isinstance(content, list) else [content]
    return [one for one in found if isinstance(one, Mapping)]


@contextmanager
def _open(path: str) -> Iterator[VendorFile]:
    with import_module("pylibCZIrw.czi").open_czi(path) as reader:
        yield _CziFile(reader)


CZI = VendorFormat("CZI", ("czi",), "pylibCZIrw", _open)

"""ND2 of NIS-Elements through nd2 (BSD-3-Clause).

Points of an XY loop are positions. nd2 gives zeros where a frame is absent (an acquisition that was stopped, a file
that was cut); such a picture is unreadable. Never tried on a file of a real microscope: the tests read small files that
they write themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.formats.vendor_files import VendorContent, VendorFile, VendorFormat, check_even, checked_axes
from mnbatch.imaging.wholeness.lost_sectors import DamageError


class _Nd2File:
    def __init__(self, file: Any) -> None:
        self._file = file
        sizes = dict(file.sizes)
        checked_axes(sizes, "PTZCYXS")
        self._channels = sizes.get("C", 1)
        across, down = _pixel_size(file)
        self.content = VendorContent(
            positions=sizes.get("P", 1),
            times=sizes.get("T", 1),
            channels=self._channels,
            planes=sizes.get("Z", 1),
            names=tuple(str(one.channel.name or "") for one in file.metadata.channels or ()),
            um_across=across,
            um_down=down,
            width=sizes.get("X", 1),
            height=sizes.get("Y", 1),
            places=_places(file),
        )

    @functools.cached_property
    def _frames(self) -> dict[tuple[int, ...], int]:
        """Number of the frame of each position, time and plane; made after their count is known to be bounded."""
        loops: Sequence[Mapping[str, int]] = self._file.loop_indices or ({},)
        return {tuple(at.get(axis, 0) for axis in "PTZ"): index for index, at in enumerate(loops)}

    def size(self, position: int, channel: int) -> tuple[int, int]:
        return self.content.width, self.content.height

    def read(self, position: int, time: int, channel: int, plane: int) -> Decoded:
        frame = np.asarray(self._file.read_frame(self._frames[position, time, plane]))
        if not frame.any():
            raise DamageError("its frame is absent")
        # (channels, height, width) or (height, width), with three colours behind them or not.
        high, wide = self.content.height, self.content.width
        values = frame.reshape(self._channels, high, wide, -1)[channel]
        check_even(values)
        # A copy: the file is mapped into memory, and closed before its pictures are used.
        return np.array(values[..., 0] if values.shape[-1] == 1 else values)


def _places(file: Any) -> tuple[tuple[float, float] | None, ...]:
    """Where the stage stood at each point of an XY loop, micrometres."""
    for loop in file.experiment or ():
        if getattr(loop, "type", "") == "XYPosLoop":
            stood = (point.stagePositionUm for point in loop.parameters.points)
            return tuple((float(at.x), float(at.y)) for at in stood)
    return ()


def _pixel_size(file: Any) -> tuple[float | None, float | None]:
    """Width and height, micrometres; nd2 says 1 where nothing is calibrated."""
    channels = file.metadata.channels or ()
    if not channels or not all(channels[0].volume.axesCalibrated[:2]):
        return None, None
    across, down = channels[0].volume.axesCalibration[:2]
    return float(across), float(down)


@contextmanager
def _open(path: str) -> Iterator[VendorFile]:
    with import_module("nd2").ND2File(path) as file:
        yield _Nd2File(file)


ND2 = VendorFormat("ND2", ("nd2",), "nd2", _open)

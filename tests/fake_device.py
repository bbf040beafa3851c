"""A device for tests and benchmarks: its time a cell, its memory and the moment of its loss are set."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mnbatch.assay.cells import UInt8Array
from mnbatch.inference.device_engine import DeviceLostError, lost_device
from mnbatch.inference.network_scores import Scores

MAPS_SIDE = 13


def fake_score(crop: UInt8Array) -> float:
    """What every fake device says of a crop, 0..1: a checksum of some of its pixels."""
    return zlib.crc32(np.ascontiguousarray(crop[::16, ::16]).tobytes()) / 0xFFFFFFFF


@dataclass
class FakeEngine:
    """An `Engine` without a network.

    Attributes:
        minibatch: cells a pass; halved where `memory` holds fewer.
        seconds_a_cell: how long it is busy.
        waits: results are never there before they are asked for.
        memory: cells that fit; None for any number.
        lost_after: cells after which it is lost; None for never.
        cells: that it was given.
        most_open: most results that waited to be taken at once.
    """

    minibatch: int = 4
    in_flight: int = 2
    device_name: str = "fake:0"
    precision: str = "fp32"
    seconds_a_cell: float = 0.0
    waits: bool = False
    memory: int | None = None
    lost_after: int | None = None
    cells: int = 0
    passes: list[int] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    closed: bool = False
    _free_at: float = 0.0

    def submit(self, crops: Sequence[UInt8Array]) -> _FakePending:
        """See `Engine`."""
        self.check()
        while self.memory is not None and self.minibatch > self.memory:
            self.minibatch //= 2
        self.passes += [len(crops[first : first + self.minibatch]) for first in range(0, len(crops), self.minibatch)]
        self.cells += len(crops)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self._free_at = max(self._free_at, time.monotonic()) + self.seconds_a_cell * len(crops)
        values = np.array([fake_score(crop) for crop in crops])
        maps = np.zeros((len(crops), 3, MAPS_SIDE, MAPS_SIDE), np.float32)
        return _FakePending(self, Scores(values, maps), self._free_at)

    def check(self) -> None:
        """Raises DeviceLostError once it is lost."""
        if self.lost_after is not None and self.cells >= self.lost_after:
            raise lost_device(self.device_name, RuntimeError("CUDA error: simulated\nmore of it"))

    def close(self) -> None:
        """See `Engine`."""
        self.closed = True


@dataclass
class _FakePending:
    engine: FakeEngine
    scores: Scores
    due: float

    def done(self) -> bool:
        return not self.engine.waits and time.monotonic() >= self.due

    def result(self) -> Scores:
        try:
            self.engine.check()
        except DeviceLostError:
            self.engine.open = 0
            raise
        time.sleep(max(0.0, self.due - time.monotonic()))
        self.engine.open -= 1
        return self.scores

"""Several GPUs of one kind as one engine: one queue, the least busy device takes the next minibatch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mnbatch.assay.cells import UInt8Array
from mnbatch.errors import MnbatchError
from mnbatch.inference.device_engine import DeviceLostError
from mnbatch.inference.engines import Engine, Pending
from mnbatch.inference.network_scores import Scores

_log = logging.getLogger(__name__)


class SeveralDevices:
    """Engines that run the same model with minibatches of one size, so that a score does not depend on which ran it.

    A device that is lost leaves the others the cells that it had; when the last one is lost the run ends. To be used
    from one thread, as every engine.

    Args:
        engines: one a device, at least one.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = list(engines)
        self._open = dict.fromkeys(range(len(engines)), 0)
        self._given = [0] * len(engines)
        self.precision = engines[0].precision
        self.device_name = f"{len(engines)} devices: {', '.join(engine.device_name for engine in engines)}"

    @property
    def minibatch(self) -> int:
        """Cells a pass of the largest; one that ran out of memory takes as many in several passes."""
        return max(self._engines[place].minibatch for place in self._open)

    @property
    def in_flight(self) -> int:
        """That of all which are left."""
        return sum(self._engines[place].in_flight for place in self._open)

    def submit(self, crops: Sequence[UInt8Array]) -> Pending:
        """See `Engine`.

        Raises:
            MnbatchError: no device is left, or one has no memory for a single cell.
        """
        return _Elsewhere(self, crops)

    def launch(self, crops: Sequence[UInt8Array]) -> tuple[int, Pending]:
        """Start on the device with the most room: its place, and what it computes; raises as `submit` does."""
        while True:
            place = max(self._open, key=self._room)
            try:
                pending = self._engines[place].submit(crops)
            except DeviceLostError as error:
                self.lost(place, error)
                continue
            self._open[place] += 1
            self._given[place] += 1
            return place, pending

    def _room(self, place: int) -> tuple[int, int]:
        """How many minibatches a device could take; of equals the one that had fewer."""
        return self._engines[place].in_flight - self._open[place], -self._given[place]

    def taken(self, place: int) -> None:
        """A result of this device was taken."""
        if place in self._open:
            self._open[place] -= 1

    def lost(self, place: int, error: DeviceLostError) -> None:
        """Go on without a device; raises `error` where it was the last."""
        if place not in self._open:
            return
        if len(self._open) == 1:
            raise error
        del self._open[place]
        _log.warning("%s Going on with %d of %d devices.", error.message, len(self._open), len(self._engines))

    def close(self) -> None:
        """See `Engine`."""
        for place, engine in enumerate(self._engines):
            try:
                engine.close()
            except MnbatchError:
                if place in self._open:
                    raise


class _Elsewhere:
    """One minibatch; it keeps its crops until its scores are there, for another device to score."""

    def __init__(self, devices: SeveralDevices, crops: Sequence[UInt8Array]) -> None:
        self._devices = devices
        self._crops = tuple(crops)
        self._place, self._pending = devices.launch(self._crops)
        self._scores: Scores | None = None

    def done(self) -> bool:
        """Whether `result` will not wait; of a lost device, True."""
        try:
            return self._scores is not None or self._pending.done()
        except DeviceLostError:
            return True

    def result(self) -> Scores:
        """See `Pending`."""
        while self._scores is None:
            try:
                self._scores = self._pending.result()
            except DeviceLostError as error:
                self._devices.lost(self._place, error)
                self._place, self._pending = self._devices.launch(self._crops)
                continue
            self._devices.taken(self._place)
            self._crops = ()
        return self._scores

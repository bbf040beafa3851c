"""Memory that a worker process and its parent share: pixels lie where both see them and pass through no pipe.

A pipe copies each crop of 384 pixels, 150 to 440 KB, into the parent's memory, which was the largest part of what a
cell cost there. The memory is a file without a name (`memfd_create`): nothing is left of it when both processes have
ended, however they end, and it takes nothing of `/dev/shm`. Where a system has no such files, messages go through the
pipe as a whole; so does what finds no free slot, or does not fit in one.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SLOTS = 10
"""A worker; enough for what its parent holds of it at once: decoded and waiting, packed, and being scored."""

SLOT_BYTES = 9 << 20
"""Sixteen crops of 384 pixels in three channels, with their JPEGs, take up to 8.5 MiB."""

_ALIGNED = 64


class SharedSlots:
    """The parent's side.

    Args:
        number: of the open file, which is closed with the last array that lies in it.

    Attributes:
        number: to be handed to the worker.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._memory = mmap.mmap(number, SLOTS * SLOT_BYTES)
        self._lent: list[weakref.ref[npt.NDArray[np.uint8]] | None] = [None] * SLOTS

    def free(self) -> int | None:
        """A slot in which no array lies any longer; None where all are in use."""
        for slot, lent in enumerate(self._lent):
            if lent is None or lent() is None:
                return slot
        return None

    def arrays(self, slot: int, lengths: Sequence[int]) -> list[Any]:
        """The memory of arrays that the worker put there; the slot is free when none of them is left."""
        import numpy as np

        whole = np.frombuffer(self._memory, np.uint8, SLOT_BYTES, slot * SLOT_BYTES)
        self._lent[slot] = weakref.ref(whole)
        return [whole[start : start + length] for start, length in _places(lengths)]

    def close_number(self) -> None:
        """The worker has it now; the memory itself stays."""
        os.close(self.number)


def open_slots() -> SharedSlots | None:
    """New ones; None where the system has none to give."""
    if not hasattr(os, "memfd_create"):
        return None
    number = -1
    try:
        number = os.memfd_create("mnbatch")
        os.truncate(number, SLOTS * SLOT_BYTES)
        return SharedSlots(number)
    except OSError:
        if number >= 0:
            with contextlib.suppress(OSError):
                os.close(number)
        return None


class WorkerSlots:
    """The worker's side.

    Args:
        number: of the open file.
    """

    def __init__(self, number: int) -> None:
        self._memory = memoryview(mmap.mmap(number, SLOTS * SLOT_BYTES))
        os.close(number)

    def put(self, slot: int, arrays: Sequence[memoryview]) -> bool:
        """Copy arrays into a slot that the parent named; False where they do not fit."""
        lengths = [len(array) for array in arrays]
        if sum(length + _ALIGNED for length in lengths) > SLOT_BYTES:
            return False
        first = slot * SLOT_BYTES
        for array, (start, length) in zip(arrays, _places(lengths), strict=True):
            self._memory[first + start : first + start + length] = array
        return True


def _places(lengths: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Start and length of each, aligned."""
    start = 0
    for length in lengths:
        yield start, length
        start += -(-length // _ALIGNED) * _ALIGNED

"""What a process that reads images and its parent say to each other: each message a pickle and the arrays in it.

Nothing here needs arrays: a parent that only asks what an export holds starts without them.
"""

from __future__ import annotations

import itertools
import os
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mnbatch.assay.cells import Slide
    from mnbatch.imaging.fields.field_options import FieldOptions
    from mnbatch.imaging.preparation import Preparation
    from mnbatch.pipeline.shared_slots import SharedSlots, WorkerSlots

LENGTH = struct.Struct("<Q")
_START = struct.Struct("<2Q")
_PARTS_AT_ONCE = 64
OPEN_SLIDES = 4
"""Slides that a worker keeps open; reading goes from slide to slide, and a stain-ahead reaches into the next."""

LOOKS = frozenset(("vote", "show", "strip"))
"""Operations on a file or a slide that is not opened to be scored."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opening:
    """A slide as a worker has to open it.

    Attributes:
        keep_jpeg: also encode each crop to be kept.
    """

    slide: Slide
    preparation: Preparation
    fields: FieldOptions
    keep_jpeg: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One piece of work.

    Attributes:
        operation: `tasks`, `contrast_range`, `stain`, `read`, `read_together`, `hash` (of a slide), `vote` (on a
            file), `show` or `strip` (of a slide that is not opened).
        key: of the slide it is about; "" where it is about none.
        opening: the slide, where this worker does not know it yet (see `Known`).
        seconds: deadline.
        slot: of shared memory, where the pixels of the answer may be put (see `shared_slots`).
    """

    operation: str
    key: str
    opening: Opening | None
    arguments: tuple[Any, ...]
    seconds: float
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: a value, an error of the slide or file, or `memory`: there was not enough."""

    value: Any = None
    error: BaseException | None = None
    memory: bool = False


class Known(OrderedDict[str, T]):
    """What is known of the slides asked about latest. Parent and worker keep one each and do the same to it: so the
    parent knows what the worker knows, and a slide with all its files travels once."""

    def use(self, key: str, value: T) -> T:
        """Note a use; `value` where the key is new."""
        value = self.setdefault(key, value)
        self.move_to_end(key)
        while len(self) > OPEN_SLIDES:
            self.popitem(last=False)
        return value


def send(stream: IO[bytes], message: object, slots: WorkerSlots | None = None, slot: int | None = None) -> None:
    """Write one message: where its arrays are, how many parts, the length of each, a pickle, and the memory of each
    array of it.

    So pixels go from their array into the pipe, and from the pipe into an array; or into memory that both sides see.

    Args:
        slots, slot: where the arrays may be put instead.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    shared = slots is not None and slot is not None and slots.put(slot, arrays)
    parts = [memoryview(head), *arrays]
    lengths = struct.pack(f"<{2 + len(parts)}Q", int(shared), len(parts), *map(len, parts))
    _write(stream, [memoryview(lengths), *(parts[:1] if shared else parts)])


def _write(stream: IO[bytes], parts: list[memoryview]) -> None:
    """All parts at once where the system can: each write of its own would wake the reader."""
    if not hasattr(os, "writev"):
        for part in parts:
            stream.write(part)
        stream.flush()
        return
    while parts:
        written = os.writev(stream.fileno(), parts[:_PARTS_AT_ONCE])
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if written:
            parts[0] = parts[0][written:]


def receive(stream: IO[bytes], slots: SharedSlots | None = None, slot: int | None = None) -> Any:
    """Read one message.

    Args:
        slots, slot: where the other side may have put its arrays.

    Raises:
        EOFError: the other side ended.
    """
    shared, count = _START.unpack(_read(stream, _START.size))
    head, *lengths = struct.unpack(f"<{count}Q", _read(stream, count * LENGTH.size))
    pickled = _read(stream, head)
    if shared:
        assert slots is not None
        assert slot is not None
        return pickle.loads(pickled, buffers=slots.arrays(slot, lengths))
    # All arrays with one reading: each of its own would give the interpreter away, and wait for it again.
    memory = _read(stream, sum(lengths))
    ends = itertools.accumulate(lengths)
    arrays = [memory[end - length : end] for length, end in zip(lengths, ends, strict=True)]
    return pickle.loads(pickled, buffers=arrays)


def _read(stream: IO[bytes], length: int) -> memoryview:
    """So many bytes, in memory of their own."""
    data = bytearray(length)
    if stream.readinto(data) < length:  # type: ignore[attr-defined]
        raise EOFError
    return memoryview(data)

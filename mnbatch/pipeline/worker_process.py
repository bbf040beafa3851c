"""The process in which files are decoded: it can be ended, whatever a file does to a decoder.

It reads requests from its standard input and writes answers to its standard output, one after the other, each a pickle
and the arrays in it (`send`). Neither side believes the other more than itself: what is untrusted are the files, not
the two processes.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from mnbatch.assay.cells import CellCrop, ReadItem, Slide
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.inputs import vote_on
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_cells  # noqa: F401 - loaded before the first request, not while it waits
from mnbatch.imaging.slide_look import contact_strip, look_at_slide
from mnbatch.imaging.stain_recognition import grey_of
from mnbatch.pipeline.sources import CropSource, WorkerSource, hash_of, open_source
from mnbatch.results.stored_crops import encode_crop

LENGTH = struct.Struct("<Q")
_PARTS_AT_ONCE = 64
OPEN_SLIDES = 4
"""Slides that a worker keeps open; reading goes from slide to slide, and a stain-ahead reaches into the next."""

T = TypeVar("T")

ALARM_GRACE = 30.0
"""Seconds after a deadline at which the kernel ends a worker whose parent did not, because it is gone."""

PARENT_LOOK_SECONDS = 2.0


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
    """

    operation: str
    key: str
    opening: Opening | None
    arguments: tuple[Any, ...]
    seconds: float


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


class Opened:
    """A slide in a worker, opened when it is first needed."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self._source: WorkerSource | None = None

    def source(self) -> WorkerSource:
        """Its cells; raises SlideError where it cannot be opened."""
        if self._source is None:
            self._source = open_source(self.opening.slide, self.opening.preparation, self.opening.fields)
        return self._source


def send(stream: IO[bytes], message: object) -> None:
    """Write one message: how many parts, the length of each, then a pickle and the memory of each array of it.

    So pixels go from their array into the pipe, and from the pipe into an array: no copy is made on either side.
    """
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(head), *(array.raw() for array in arrays)]
    lengths = struct.pack(f"<{1 + len(parts)}Q", len(parts), *map(len, parts))
    _write(stream, [memoryview(lengths), *parts])


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


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side ended.
    """
    (count,) = LENGTH.unpack(_read(stream, LENGTH.size))
    lengths = struct.unpack(f"<{count}Q", _read(stream, count * LENGTH.size))
    head, *arrays = (_read(stream, length) for length in lengths)
    return pickle.loads(head, buffers=arrays)


def _read(stream: IO[bytes], length: int) -> memoryview:
    """So many bytes, in memory of their own."""
    data = memoryview(np.empty(length, np.uint8))
    if stream.readinto(data) < length:  # type: ignore[attr-defined]
        raise EOFError
    return data


def main(memory_bytes: int) -> None:
    """Answer requests until the parent ends.

    Args:
        memory_bytes: that may be allocated beyond what the loaded program needs.
    """
    requests, answers = _own_streams()
    _let_the_parent_decide()
    _limit_memory(memory_bytes)
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()
    known: Known[Opened] = Known()
    send(answers, "ready")
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        _set_alarm(request.seconds + ALARM_GRACE)
        answer = _answer(request, known)
        _set_alarm(0)
        send(answers, answer)


def _answer(request: Request, known: Known[Opened]) -> Answer:
    try:
        return Answer(_done(request, known))
    except MemoryError:
        return Answer(memory=True)
    except Exception as error:  # noqa: BLE001 - it is raised again in the parent, where it belongs to its slide
        error.add_note("".join(traceback.format_exception(error)))
        return Answer(error=_sendable(error))


def _done(request: Request, known: Known[Opened]) -> Any:
    if request.operation == "vote":
        return vote_on(*request.arguments)
    if request.operation == "show":
        return look_at_slide(*request.arguments)
    if request.operation == "strip":
        return contact_strip(*request.arguments)
    opened = known[request.key] if request.opening is None else Opened(request.opening)
    opened = known.use(request.key, opened)
    if request.operation == "hash":
        return hash_of(opened.opening.slide, *request.arguments)
    source = opened.source()
    if request.operation == "read":
        return _packed(source.read(*request.arguments), opened.opening.keep_jpeg)
    if request.operation == "read_together":
        assert isinstance(source, CropSource)
        return [_packed(items, opened.opening.keep_jpeg) for items in source.read_together(*request.arguments)]
    return getattr(source, request.operation)(*request.arguments)


def _packed(items: Sequence[ReadItem], keep_jpeg: bool) -> list[ReadItem]:
    """As they travel: with JPEGs where they are kept, grey pixels as one channel (see `unpacked`)."""
    return [_packed_crop(item, keep_jpeg) if isinstance(item, CellCrop) else item for item in items]


def _packed_crop(crop: CellCrop, keep_jpeg: bool) -> CellCrop:
    jpeg = encode_crop(crop.pixels) if keep_jpeg else crop.jpeg
    grey = grey_of(crop.pixels)
    return replace(crop, jpeg=jpeg, pixels=crop.pixels if grey is None else grey)


def unpacked(items: Sequence[ReadItem]) -> list[ReadItem]:
    """Items as the source gave them, from what a worker sent."""
    return [_unpacked_crop(item) if isinstance(item, CellCrop) and item.pixels.ndim == 2 else item for item in items]


def _unpacked_crop(crop: CellCrop) -> CellCrop:
    return replace(crop, pixels=np.broadcast_to(crop.pixels[..., None], (*crop.pixels.shape, 3)))


def _sendable(error: Exception) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error of a library that cannot travel goes as its text
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note("".join(getattr(error, "__notes__", ())))
        return plain
    return error


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The two pipes, moved out of the way of libraries that print."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    return requests, answers


def _let_the_parent_decide() -> None:
    """Signals of the terminal or of a batch system reach the whole group; only the parent acts on them."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _limit_memory(allowed: int) -> None:
    """Allocations beyond this fail (MemoryError); where the platform has no such limit, nothing is done."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + allowed
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _end_with_the_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))

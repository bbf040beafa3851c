"""What a process that reads images and its parent say to each other: each message a length and a pickle.

Nothing here needs arrays: a parent that only asks what an export holds starts without them.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mnbatch.assay.cells import Slide
    from mnbatch.imaging.fields.field_options import FieldOptions
    from mnbatch.imaging.preparation import Preparation

LENGTH = struct.Struct("<Q")
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


def send(stream: IO[bytes], message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message, protocol=5)
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side ended.
    """
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)

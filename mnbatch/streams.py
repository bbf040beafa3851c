"""stdout and stderr that may be closed, full or left by their reader: work goes on, and what is lost is known.

`guarded_streams` puts a `GuardedStream` in the place of both, so that every print of ours or of a library is safe in
one place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

CLOSED = "closed"
KEPT_LETTERS = 4000
"""Of the last text, to be printed on the other stream when it is lost."""


class GuardedStream:
    """A text stream whose faults end nothing.

    Args:
        stream: what it writes to; None where there is none (`>&-`).

    Attributes:
        lost: why nothing can be written any more, in words; "" while all is well.
        left: the reader went away (`| head`), who wants to hear no more.
        text: the last letters that were written.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost = "" if stream is not None else CLOSED
        self.left = False
        self.text = ""

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        self.text = (self.text + text)[-KEPT_LETTERS:]
        self._try("write", text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        self._try("flush")

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return self._stream is not None and not self.lost and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        # Whatever else is asked of a stream (encoding, buffer, fileno).
        if self._stream is None:
            raise AttributeError(name)
        return getattr(self._stream, name)

    def _try(self, what: str, *arguments: str) -> None:
        if self._stream is None or self.lost:
            return
        try:
            getattr(self._stream, what)(*arguments)
        except (OSError, ValueError) as error:
            self.left = isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET)
            self.lost = (isinstance(error, OSError) and error.strerror) or str(error)
            _to_nowhere(self._stream)


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard sys.stdout and sys.stderr while the block runs."""
    _hold_standard_descriptors()
    before = sys.stdout, sys.stderr
    for stream in before:
        if stream is not None and hasattr(stream, "reconfigure"):
            # Names of files come from file systems and may hold what the terminal's encoding has not.
            stream.reconfigure(errors="backslashreplace")
    guarded = [GuardedStream(stream) for stream in before]
    sys.stdout, sys.stderr = cast(TextIO, guarded[0]), cast(TextIO, guarded[1])
    try:
        yield
    finally:
        for stream in guarded:
            stream.flush()
        sys.stdout, sys.stderr = before


def tell(text: str) -> None:
    """A line for the person at stderr; on stdout where stderr takes none."""
    print(text, file=sys.stderr, flush=True)
    if lost_outputs().get("stderr"):
        print(text, flush=True)


def lost_outputs() -> dict[str, str]:
    """Which of stdout and stderr take nothing any more, and why; a reader that left (`| head`) is none of them."""
    found = {}
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, GuardedStream):
            stream.flush()
            if stream.lost and not stream.left:
                found[name] = stream.lost
    return found


def lost_text() -> str:
    """The last that stdout was to hold, where it was lost."""
    return sys.stdout.text if isinstance(sys.stdout, GuardedStream) and lost_outputs().get("stdout") else ""


def _to_nowhere(stream: TextIO) -> None:
    """Let what the stream still holds go away in peace: Python flushes it once more at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


def _hold_standard_descriptors() -> None:
    """Open the null device where 0, 1 or 2 is closed: the next file opened would get the number, and prints in it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)

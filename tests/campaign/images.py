"""Damaged images through the product's own way of reading: what is wrong is said, or is no more than 2 % of the pixels.

Nineteen encodings, fourteen kinds of damage (tests/campaign/mutations.py). A watchdog ends what hangs; memory
is measured in the reading process.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

from mnbatch.assay.cells import ReadTask, SourceFile
from mnbatch.errors import SlideError
from mnbatch.imaging.formats.loading import DecodedPage, load
from tests.campaign.mutations import Mutant, mutants, wrong_share
from tests.campaign.verdicts import Verdict

ALL = 10_000
HARMLESS = 0.02
SECONDS = 20
MOST_BYTES = 1 << 30
IN_ORDER = frozenset({"bit flips", "swapped pages", "duplicated page", "header field"})
"""Damage that can leave a file in order: other pixels, and nothing in the file that says so."""

_NOTHING = np.zeros((0, 0))
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "bmp": ".bmp"}


class _Hung(BaseException):
    pass


@contextlib.contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """End what takes longer, also inside of a loop in Python."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Images:
    """See the module.

    Args:
        folder: an empty one.
        size: share of the files.
    """

    name = "images"
    wrong = frozenset({"crashed", "hung", "memory", "counted silently"})

    def __init__(self, folder: Path, seed: int = 2026, size: float = 1.0) -> None:
        self._folder, self._seed, self._count = folder, seed, max(1, round(ALL * size))
        self._made = enumerate(mutants(seed, self._count))
        self._number, self._mutant = -1, None

    def cases(self) -> list[str]:
        """One a file."""
        return [str(number) for number in range(self._count)]

    def check(self, case: str) -> Verdict:
        """Read the damaged file."""
        mutant = self._of(int(case))
        stem = mutant.encoding.split()[0]
        path = self._folder / f"cell{SUFFIXES.get(stem, '.tif')}"
        path.write_bytes(mutant.data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        try:
            with deadline(SECONDS):
                word, detail = self._read(path, mutant)
        except _Hung:
            word, detail = "hung", f"after {SECONDS} s"
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            word, detail = "crashed", f"{type(error).__name__}: {error}"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > MOST_BYTES:
            word, detail = "memory", f"{grown >> 20} MiB"
        return Verdict(
            self.name, case, word, f"{mutant.name}: {detail}, {time.monotonic() - started:.2f} s" if detail else ""
        )

    def close(self) -> None:
        """Nothing is left running."""

    def _of(self, number: int) -> Mutant:
        """The mutant of a number; they are made in turn."""
        if number < self._number:
            self._made, self._number = enumerate(mutants(self._seed, self._count)), -1
        while self._number < number:
            self._number, self._mutant = next(self._made)  # type: ignore[assignment]
        assert self._mutant is not None
        return self._mutant

    def _read(self, path: Path, mutant: Mutant) -> tuple[str, str]:
        """A word for what the reader made of it."""
        try:
            pages = _pages(path)
        except SlideError:
            return "slide fails", ""
        said = {page.page or 0 for page in pages if page.decoded is None}
        if len(said) == len(pages):
            return "unreadable", ""
        found = {page.page or 0: page.decoded for page in pages if page.decoded is not None}
        counted = [number for number in range(len(mutant.reference)) if number not in said]
        reference = tuple(mutant.reference[number] for number in counted)
        arrays = [found.get(number, _NOTHING) for number in counted]
        share = wrong_share(reference, arrays) * len(counted) / len(mutant.reference) if counted else 0.0
        if share <= HARMLESS:
            return ("said in part", "") if said else ("harmless", "")
        detail = f"{100 * share:.0f} % wrong"
        if said and max(said) >= len(mutant.reference):
            return "said in part", ""
        return ("in order, other pixels" if mutant.mutation in IN_ORDER else "counted silently"), detail


def _pages(path: Path) -> list[DecodedPage]:
    """As a run reads a file of a gallery."""
    stat = path.stat()
    file = SourceFile(path.name, stat.st_size, stat.st_mtime_ns)
    return list(load(ReadTask("slide", str(path.parent), file))[1])

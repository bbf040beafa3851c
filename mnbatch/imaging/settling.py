"""Slides that a scanner or a copy may still be writing: found by age, by looking twice, and by names of copies.

Files arrive over network shares, where change notifications cannot be relied on; so the files are examined.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mnbatch.assay.cells import Skipped, Slide, SourceFile, Waits
from mnbatch.assay.reasons import Named, Reason, say
from mnbatch.imaging.formats.folder_images import digest_of, state_of

_GAP_SECONDS = 1.0
"""Least time between the two looks (less when --settle is less)."""

_WAITING = 256
"""Slides that wait for their second check; bounds memory, and the checks of many slides share one wait."""

UNFINISHED_SECONDS = 3600.0
"""A copy that is not finished by its name and did not change for longer is one that broke off."""

CLOCKS_DIFFER = 60.0
"""Seconds that the clock of a file server may be ahead without a word."""

Rested = Callable[[Slide, str], bool]
"""Whether an earlier run saw a slide in this state, long enough ago."""


@dataclass(frozen=True, slots=True)
class _FirstLook:
    slide: Slide
    folders: dict[str, int]
    at: float


def when_settled(
    slides: Iterable[Slide],
    settle_seconds: float | None,
    explain: Callable[[Skipped], None],
    rested: Rested | None = None,
) -> Iterator[Slide]:
    """Pass slides on in their order, those that are not settled with the reason in `waits`.

    A slide is settled when its newest file is at least `settle_seconds` old and neither its files (size,
    time) nor the folders that hold them changed between two looks. One whose files are dated in the future is settled
    when `rested` knows the same sizes, times and contents from an earlier run. With None or 0 every slide is taken as
    it is, except one with a copy in its place that is not finished.
    """
    if not settle_seconds:
        yield from (_without_looks(slide, explain) for slide in slides)
        return
    gap = min(_GAP_SECONDS, settle_seconds)
    looks = _Looks(settle_seconds, gap, explain, rested or (lambda slide, state: False))
    waiting: deque[_FirstLook] = deque()
    for slide in slides:
        waiting.append(_FirstLook(slide, _folder_times(slide), time.monotonic()))
        while waiting and (len(waiting) > _WAITING or _age(waiting[0]) >= gap):
            yield looks.second(waiting.popleft())
    while waiting:
        yield looks.second(waiting.popleft())


def arrived(root: Path, path: str, written: float, now: float) -> float:
    """When a file was last changed, seconds since the epoch.

    Copying programs set the time of writing to the original's, so the time at which the file system last changed its
    entry counts, too. A time of writing in the future is one that a wrong clock set, and does not count.
    """
    try:
        entered = state_of(os.path.join(root, path)).ctime_ns / 1e9
    except OSError:
        return written
    return max(entered, written) if written <= now else entered


def unfinished_since(root: Path, file: SourceFile) -> float:
    """Seconds since a copy that is not finished was last changed."""
    now = time.time()
    return now - arrived(root, file.path, file.mtime_ns / 1e9, now)


@dataclass(frozen=True, slots=True)
class _Looks:
    """What decides at the second look."""

    settle: float
    gap: float
    explain: Callable[[Skipped], None]
    rested: Rested

    def second(self, first: _FirstLook) -> Slide:
        slide = first.slide
        if slide.unfinished:
            return _without_looks(slide, self.explain)
        now = time.time()
        age = now - max(arrived(slide.root, file.path, file.mtime_ns / 1e9, now) for file in slide.everything)
        if age < -CLOCKS_DIFFER:
            return self._dated_ahead(slide)
        if age < self.settle:
            return _left(slide, say("waits-young", age=f"{max(age, 0):.0f}", settle=self.settle), self.explain)
        time.sleep(max(0.0, self.gap - _age(first)))
        if not _unchanged(slide, first.folders):
            return _left(slide, say("waits-changed"), self.explain)
        return slide

    def _dated_ahead(self, slide: Slide) -> Slide:
        state = _state_of(slide, content=True)
        if self.rested(slide, state):
            return slide
        waits = Waits(say("waits-ahead", settle=self.settle), state, rests=True)
        self.explain(Skipped(slide.path, f"left for the next run: {waits.why}"))
        return replace(slide, waits=waits)


def _without_looks(slide: Slide, explain: Callable[[Skipped], None]) -> Slide:
    if not slide.unfinished:
        return slide
    path = slide.unfinished[0].path
    count = len(slide.unfinished)
    return _left(slide, say("waits-unfinished", count=count, file=Named("file", path)), explain)


def _left(slide: Slide, why: Reason, explain: Callable[[Skipped], None]) -> Slide:
    explain(Skipped(slide.path, f"left for the next run: {why}"))
    return replace(slide, waits=Waits(why, _state_of(slide)))


def _state_of(slide: Slide, *, content: bool = False) -> str:
    """Digest over paths, sizes and times of a slide's files; of those dated in the future over their bytes, too."""
    found = hashlib.blake2b(digest_size=16)
    for file in (*slide.everything, *slide.unfinished):
        path = os.path.join(slide.root, file.path)
        found.update(f"{file.path}\0{_state(slide.root, file.path)}\0".encode("utf-8", "surrogateescape"))
        if content:
            found.update(_bytes_of(path))
    return found.hexdigest()


def _bytes_of(path: str) -> bytes:
    try:
        return digest_of(path, hashlib.blake2b)
    except OSError as error:
        return f"{error.errno}".encode()


def _age(first: _FirstLook) -> float:
    return time.monotonic() - first.at


def _unchanged(slide: Slide, folders: dict[str, int]) -> bool:
    if _folder_times(slide) != folders:
        return False
    return all(_state(slide.root, file.path) == (file.size, file.mtime_ns) for file in slide.everything)


def _state(root: Path, path: str) -> tuple[int, int]:
    try:
        state = state_of(os.path.join(root, path))
    except PermissionError:
        return 0, 0
    except OSError:
        # As the walk has it: what is there and cannot be examined (a link that leads nowhere) has not changed.
        return (0, 0) if os.path.lexists(os.path.join(root, path)) else (-1, -1)
    return state.size, state.mtime_ns


def _folder_times(slide: Slide) -> dict[str, int]:
    """Modification times of the folders of a slide: a file that is added or removed changes them."""
    folders = {file.path.rpartition("/")[0] for file in slide.everything}
    return {folder: _folder_time(os.path.join(slide.root, folder)) for folder in folders}


def _folder_time(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0

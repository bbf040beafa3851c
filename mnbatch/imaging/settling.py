"""Slides that a scanner may still be writing: found by age, and by looking twice.

Files arrive over network shares, where change notifications cannot be relied on; so the files are looked at.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mnbatch.assay.cells import Skipped, Slide

_GAP_SECONDS = 1.0
"""Least time between the two looks (less when --settle is less)."""

_WAITING = 256
"""Slides that wait for their second look; bounds memory, and the looks of many slides share one wait."""


@dataclass(frozen=True, slots=True)
class _FirstLook:
    slide: Slide
    folders: dict[str, int]
    at: float


def when_settled(
    slides: Iterable[Slide], settle_seconds: float | None, explain: Callable[[Skipped], None]
) -> Iterator[Slide]:
    """Pass slides on in their order, those that are not settled with `settled=False`.

    A slide is settled when its newest file is at least `settle_seconds` old and neither its files (size,
    time) nor the folders that hold them changed between two looks. None or 0 passes every slide as it is.
    """
    if not settle_seconds:
        yield from slides
        return
    gap = min(_GAP_SECONDS, settle_seconds)
    waiting: deque[_FirstLook] = deque()
    for slide in slides:
        waiting.append(_FirstLook(slide, _folder_times(slide), time.monotonic()))
        while waiting and (len(waiting) > _WAITING or _age(waiting[0]) >= gap):
            yield _second_look(waiting.popleft(), settle_seconds, gap, explain)
    while waiting:
        yield _second_look(waiting.popleft(), settle_seconds, gap, explain)


def _second_look(first: _FirstLook, settle: float, gap: float, explain: Callable[[Skipped], None]) -> Slide:
    slide = first.slide
    newest = max(file.mtime_ns for file in slide.everything) / 1e9
    age = time.time() - newest
    if age < settle:
        when = f"{age:.0f} s old" if age >= 0 else "dated in the future"
        explain(Skipped(slide.path, f"left for the next run: its newest file is {when} (--settle {settle:g})"))
        return replace(slide, settled=False)
    time.sleep(max(0.0, gap - _age(first)))
    if not _unchanged(slide, first.folders):
        explain(Skipped(slide.path, "left for the next run: it changed while it was looked at"))
        return replace(slide, settled=False)
    return slide


def _age(first: _FirstLook) -> float:
    return time.monotonic() - first.at


def _unchanged(slide: Slide, folders: dict[str, int]) -> bool:
    if _folder_times(slide) != folders:
        return False
    return all(_state(slide.root, file.path) == (file.size, file.mtime_ns) for file in slide.everything)


def _state(root: Path, path: str) -> tuple[int, int]:
    try:
        status = os.stat(os.path.join(root, path))
    except PermissionError:
        return 0, 0
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _folder_times(slide: Slide) -> dict[str, int]:
    """Modification times of the folders of a slide: a file that is added or removed changes them."""
    folders = {file.path.rpartition("/")[0] for file in slide.everything}
    return {folder: _state(slide.root, folder)[1] for folder in folders}

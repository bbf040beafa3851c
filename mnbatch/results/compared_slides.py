"""Which slides of OUT were compared with each other, and which showed the same: kept, so that a slide is compared once.

A slide stands for itself by what was compared: the checksums of its stored result, its donor and the rules. Where any
of these changed, it is compared again with all others. Kept in `runs/`: it is no part of the results.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mnbatch import __version__
from mnbatch.errors import StorageError
from mnbatch.intake import read_json
from mnbatch.results.checksums import content_checksum
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord

RULES = 1
"""Raised when `mnbatch.assay.same_scene_slides` or `same_scene_fields` find others."""

MOST_ALIKE = 100_000
"""Pairs that are kept; with more the slides are compared anew each time."""

CHECKSUM = "checksum"


def compared_as(record: SlideRecord, donor: str) -> str:
    """What a slide was compared as; "" where its files cannot be told from others: a version that made no checksums."""
    if not record.checksums:
        return ""
    return content_checksum({
        "rules": [__version__, RULES], "donor": donor, "input": record.input, "cells": record.cells,
        "files": dict(record.checksums),
    })  # fmt: skip


@dataclass(slots=True)
class ComparedSlides:
    """What comparisons found.

    Attributes:
        slides: slide_id -> what it was compared as; each with every other one.
        alike: slides that showed the same cells or fields, copies of each other too.
        changed: whether it differs from what is kept.
    """

    slides: Mapping[str, str] = field(default_factory=dict)
    alike: frozenset[tuple[str, str]] = frozenset()
    changed: bool = False

    def has(self, slide_id: str, key: str) -> bool:
        """Whether a slide was compared as it is now."""
        return bool(key) and self.slides.get(slide_id) == key

    def replace(self, slides: Mapping[str, str], alike: Iterable[tuple[str, str]]) -> None:
        """Take over the latest comparison: of these slides each with every other one."""
        found = frozenset(alike)
        self.changed = self.changed or dict(slides) != dict(self.slides) or found != self.alike
        self.slides, self.alike = dict(slides), found

    def keep(self, paths: OutPaths) -> None:
        """Write it, where it changed. The caller holds OUT."""
        if not self.changed or len(self.alike) > MOST_ALIKE:
            return
        check_still_held(paths.lock)
        content = {"slides": dict(self.slides), "alike": sorted(map(list, self.alike))}
        text = json.dumps({**content, CHECKSUM: content_checksum(content)})
        # Without it the next report takes longer; that is no reason to fail this one.
        with contextlib.suppress(StorageError), storage_errors(paths.runs):
            paths.runs.mkdir(exist_ok=True)
            write_atomically(paths.compared, text.encode() + b"\n")
            self.changed = False


def read_compared(paths: OutPaths) -> ComparedSlides:
    """What is kept; nothing where there is none, or it is not what was written."""
    try:
        content = read_json(paths.compared)
        if content.pop(CHECKSUM) != content_checksum(content):
            return ComparedSlides()
        slides = {str(name): str(key) for name, key in content["slides"].items()}
        return ComparedSlides(slides, frozenset((str(one), str(other)) for one, other in content["alike"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ComparedSlides()

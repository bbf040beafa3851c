"""What in OUT is not what was written: records, stored results, annotations, trails, and what reports made of them.

It finds accidents and edits by hand. Who can write to OUT can write checksums too: it is not a signature.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnbatch.csvfile import CsvError, read_stored
from mnbatch.errors import MnbatchError
from mnbatch.intake import read_bytes
from mnbatch.report import gallery_page
from mnbatch.report.derived_files import read_summary, write_if_changed
from mnbatch.results.annotations import altered_trail, read, read_seals
from mnbatch.results.checksums import (
    SEAL,
    Seals,
    checksum,
    content_checksum,
    file_checksum,
    is_chained,
    name_of,
    sealed_files,
)
from mnbatch.results.commit import altered, damage, has_checksum, is_damaged, read_record
from mnbatch.results.paths import GENERATION_PREFIX, OutPaths, SlidePaths
from mnbatch.results.records import SlideRecord
from mnbatch.review.trail import reviewed_slides

RESTORE = "Restore it from a copy."
SCORE_AGAIN = "Run the same `mnbatch run` again, which scores the slide again, or restore OUT from a copy."
REPORT_AGAIN = "Make it again: mnbatch report OUT --force."
OLD = "written by an earlier version of mnbatch, which made no checksum"

State = Literal["wrong", "not checkable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written, or of which that cannot be told.

    Attributes:
        path: below OUT.
        next_step: "" where nothing is to be done.
    """

    state: State
    path: str
    text: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """All that was found, and how many files were checked."""

    files: int
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What was damaged, altered or lost."""
        return tuple(finding for finding in self.findings if finding.state == "wrong")


def verify_out(paths: OutPaths) -> Verified:
    """Look at everything that has a checksum; nothing is changed."""
    looked: list[Finding | None] = [*_slides(paths), *_annotations(paths), *_report(paths)]
    return Verified(len(looked), tuple(finding for finding in looked if finding is not None))


def write_seal(paths: OutPaths) -> None:
    """Keep the checksums of the tables and pages of the whole batch and of its donors."""
    files = [paths.index, paths.slides_csv, paths.donors_csv, paths.donors_xlsx]
    names = ("index.html", "sheet.html", gallery_page.PAGE)
    files += [path for name in names for path in sorted(paths.donors.glob(f"*/{name}"))]
    content = {"files": {name_of(paths.root, path): file_checksum(path) for path in files if path.exists()}}
    text = json.dumps({**content, SEAL: content_checksum(content)}, indent=1)
    write_if_changed(paths.report_seal, text.encode() + b"\n")


def _slides(paths: OutPaths) -> Iterator[Finding | None]:
    names = sorted(os.listdir(paths.slides)) if paths.slides.is_dir() else []
    for name in names:
        yield from _slide(paths, paths.slide(name))
    yield from (
        Finding("wrong", f"slides/{gone}", "the slide is in slides.csv, and its folder is gone", SCORE_AGAIN)
        for gone in sorted(_tabled(paths) - set(names))
    )


def _slide(paths: OutPaths, slide: SlidePaths) -> Iterator[Finding | None]:
    where = name_of(paths.root, slide.record)
    try:
        record = read_record(slide)
    except MnbatchError as error:
        yield Finding("wrong", where, error.message, error.next_step)
        return
    if record is None:
        left = slide.root.is_dir() and any(_is_generation(name) for name in os.listdir(slide.root))
        yield Finding("wrong", where, "it is missing, although scores are stored", SCORE_AGAIN) if left else None
        return
    if is_damaged(record):
        yield Finding("wrong", where, record.reason, record.next_step)
        return
    yield None if has_checksum(slide) else Finding("not checkable", where, OLD)
    yield from _generation(paths, slide, record)
    yield from _derived(paths, slide)


def _is_generation(name: str) -> bool:
    return name.startswith(GENERATION_PREFIX) and name[1:].isdigit()


def _generation(paths: OutPaths, slide: SlidePaths, record: SlideRecord) -> Iterator[Finding | None]:
    if record.generation is None:
        return
    root = slide.generation(record.generation).root
    for name, size in record.sizes.items():
        wrong = damage(slide, record.model_copy(update={"sizes": {name: size}}), [name])
        where = name_of(paths.root, root / name)
        if wrong:
            yield Finding("wrong", where, wrong, SCORE_AGAIN)
        else:
            yield None if name in record.checksums else Finding("not checkable", where, f"{OLD}; its size is right")


def _derived(paths: OutPaths, slide: SlidePaths) -> Iterator[Finding | None]:
    if not slide.summary.exists():
        return
    summary = read_summary(slide.summary)
    if summary is None:
        text = "it was altered, or is of another version of mnbatch"
        yield Finding("wrong", name_of(paths.root, slide.summary), text, "Make it again: mnbatch report OUT.")
        return
    for name, stated in summary.checksums.items():
        yield _file(paths, slide.root / name, stated, REPORT_AGAIN)


def _file(paths: OutPaths, path: Path, stated: str, next_step: str) -> Finding | None:
    wrong = altered(path, stated)
    return Finding("wrong", name_of(paths.root, path), wrong, next_step) if wrong else None


def _tabled(paths: OutPaths) -> set[str]:
    """Slides of slides.csv; none where it cannot be read, which is found elsewhere."""
    try:
        return {row["slide_id"] for row in read_stored(read_bytes(paths.slides_csv), ["slide_id"])}
    except (OSError, CsvError):
        return set()


def _annotations(paths: OutPaths) -> Iterator[Finding | None]:
    try:
        seals = read_seals(paths)
    except MnbatchError as error:
        yield Finding("wrong", name_of(paths.root, paths.journal), error.message, error.next_step)
        return
    where = name_of(paths.root, paths.checksums)
    if seals.damaged:
        text = f"{seals.damaged}: annotations cannot be checked"
        yield Finding("wrong", where, text, f"{RESTORE} Or check the annotations and delete it.")
    elif paths.checksums.exists():
        yield None
    yield from _sealed_files(paths, seals)
    trails = [paths.review_trail(slide_id) for slide_id in reviewed_slides(paths)]
    more = [
        path
        for path in (paths.signatures, paths.acknowledged, paths.forgotten)
        if path.exists() or _head(paths, path, seals)
    ]
    for path in [*trails, *more]:
        yield _trail(paths, path, seals)


def _head(paths: OutPaths, path: Path, seals: Seals) -> bool:
    return name_of(paths.annotations, path) in seals.trails


def _sealed_files(paths: OutPaths, seals: Seals) -> Iterator[Finding | None]:
    known = {
        name_of(paths.annotations, p): p
        for p in (paths.samples, paths.validation, paths.laboratory, paths.dosing, paths.review_plan)
    }
    for name in sorted({*seals.files, *(name for name, path in known.items() if path.exists())}):
        path = paths.annotations / name
        data = read(paths, path)
        where = name_of(paths.root, path)
        if name not in seals.files:
            yield None if seals.damaged else Finding("not checkable", where, OLD)
        elif data is None:
            yield Finding("wrong", where, "it is missing", f"{RESTORE} Or give it again.")
        elif checksum(data) != seals.files[name]:
            yield Finding("wrong", where, "it was changed by hand", f"{RESTORE} Or give it again.")
        else:
            yield None


def _trail(paths: OutPaths, path: Path, seals: Seals) -> Finding | None:
    where, data = name_of(paths.root, path), read(paths, path)
    wrong = altered_trail(paths, path, data)
    if wrong:
        return Finding("wrong", where, f"it was changed by hand: {'; '.join(wrong)}", RESTORE)
    if name_of(paths.annotations, path) in seals.trails:
        return None
    if seals.damaged or not is_chained(data or b""):
        return None if seals.damaged else Finding("not checkable", where, OLD)
    return Finding("wrong", where, "how it ends is not known: annotations/checksums.json lacks it", RESTORE)


def _report(paths: OutPaths) -> Iterator[Finding | None]:
    try:
        files = sealed_files(paths.report_seal)
    except FileNotFoundError:
        if paths.slides_csv.exists():
            yield Finding("not checkable", "slides.csv", f"{OLD}; `mnbatch report OUT` makes it again")
        return
    except (OSError, ValueError):
        text = "it was altered, or cannot be read"
        yield Finding("wrong", name_of(paths.root, paths.report_seal), text, "Make it again: mnbatch report OUT.")
        return
    yield from (_file(paths, paths.root / name, stated, REPORT_AGAIN) for name, stated in files.items())

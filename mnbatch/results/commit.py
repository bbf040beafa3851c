"""The commit record on disk: read, switched in one step, and whatever it does not name swept away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from mnbatch.errors import StorageError
from mnbatch.results.files import write_atomically
from mnbatch.results.paths import GENERATION_PREFIX, STAGING_PREFIX, SlidePaths
from mnbatch.results.records import SlideRecord


def read_record(paths: SlidePaths) -> SlideRecord | None:
    """The record of a slide's directory; None where nothing was committed.

    Raises:
        StorageError: when the record is there and cannot be understood.
    """
    try:
        data = paths.record.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"Cannot read {paths.record}: {error.strerror}.", "Check permissions of OUT.") from error
    try:
        return SlideRecord.model_validate_json(data)
    except ValidationError as error:
        raise StorageError(
            f"{paths.record} is not a slide record of this version of mnbatch ({error.error_count()} faults).",
            "Use the version that wrote it, or delete this slide's directory and run again.",
        ) from error


def write_record(paths: SlidePaths, record: SlideRecord) -> None:
    """Replace a slide's record in one durable step: the commit."""
    text = record.model_dump_json(indent=1)
    write_atomically(paths.record, text.encode() + b"\n", durable=True)


def sweep_slide(paths: SlidePaths, record: SlideRecord | None) -> None:
    """Remove staged and superseded generations: whatever the record does not name."""
    keep = record.generation if record is not None else None
    for entry in list(os.scandir(paths.root)):
        stale_generation = entry.name.startswith(GENERATION_PREFIX) and entry.name[1:].isdigit() and entry.name != keep
        if entry.is_dir(follow_symlinks=False) and (stale_generation or entry.name.startswith(STAGING_PREFIX)):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name.startswith(".tmp-"):
            Path(entry.path).unlink(missing_ok=True)


def has_leftovers(paths: SlidePaths) -> bool:
    """Whether an interrupted run left something to sweep."""
    names = [entry.name for entry in os.scandir(paths.root)]
    generations = [name for name in names if name.startswith(GENERATION_PREFIX) and name[1:].isdigit()]
    return any(name.startswith((STAGING_PREFIX, ".tmp-")) for name in names) or len(generations) > 1


def next_generation(paths: SlidePaths) -> str:
    """Name of the generation that a commit would make."""
    record = read_record(paths)
    if record is None or record.generation is None:
        return f"{GENERATION_PREFIX}1"
    return f"{GENERATION_PREFIX}{int(record.generation[len(GENERATION_PREFIX) :]) + 1}"


def damage(paths: SlidePaths, record: SlideRecord) -> str:
    """What is wrong with a scored slide's generation, from the sizes of its files; "" where nothing is."""
    if record.generation is None:
        return ""
    folder = paths.generation(record.generation).root
    for name, size in record.sizes.items():
        try:
            actual = (folder / name).stat().st_size
        except OSError as error:
            return f"{folder / name} cannot be read ({error.strerror})"
        if actual != size:
            return f"{folder / name} has {actual} bytes, {size} were written"
    return ""

"""The laboratory's own statement in OUT's annotations."""

from __future__ import annotations

from pathlib import Path

from mnbatch.assay.laboratory import NO_LABORATORY, Laboratory, parse_laboratory
from mnbatch.errors import StorageError, UsageError
from mnbatch.intake import read_text, reason
from mnbatch.results.annotations import change, read
from mnbatch.results.paths import OutPaths


def read_laboratory(path: Path) -> tuple[Laboratory, str]:
    """The file as it is, checked, and its text.

    Raises:
        UsageError: it cannot be read or used.
    """
    try:
        content = read_text(path)
        return parse_laboratory(content), content
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The laboratory's file {path} cannot be used: {reason(error)}.",
            "Correct it and give it again with --laboratory; docs/layouts.md shows one.",
        ) from error


def keep_laboratory(paths: OutPaths, path: Path) -> None:
    """Put a laboratory.toml into force for the reports of OUT.

    Raises:
        UsageError: it cannot be read or used.
        StorageError: OUT cannot be written.
    """
    _, content = read_laboratory(path)
    data = content.encode("utf-8")
    if read(paths, paths.laboratory) != data:
        change(paths, replace={paths.laboratory: data})


def load_laboratory(paths: OutPaths) -> Laboratory:
    """The statement in force; an empty one where none was given.

    Raises:
        StorageError: it is there and cannot be read.
    """
    data = read(paths, paths.laboratory)
    if data is None:
        return NO_LABORATORY
    try:
        return parse_laboratory(data.decode("utf-8"))
    except ValueError as error:
        raise StorageError(
            f"{paths.laboratory} cannot be read: {reason(error)}.",
            "Give it again: mnbatch report OUT --laboratory laboratory.toml.",
        ) from error

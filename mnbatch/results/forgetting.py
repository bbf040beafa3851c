"""A slide's or a donor's data leave OUT: its results, pages, annotations, trails, logs and codes.

What is to go is written down first (`OUT/.forgetting.json`, for its owner alone); then it goes, in steps that can be
done any number of times; last, the note itself. A command that holds OUT completes what a kill left. What stays is a
line in `annotations/forgotten.jsonl` that says when and how much, without a name.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnbatch.csvfile import csv_bytes, read_stored
from mnbatch.errors import StorageError
from mnbatch.intake import parse_json, read_bytes
from mnbatch.results.annotations import altered_trail, erase, read
from mnbatch.results.checksums import CHAIN
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, sync_folder, write_atomically
from mnbatch.results.paths import OutPaths

_TEXT = frozenset({".csv", ".html", ".js", ".json", ".jsonl", ".md", ".geojson", ".txt", ".svg"})
_MOST_SEARCHED = 1 << 28


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to go.

    Attributes:
        slides: slide_ids.
        donors: donors of whom nothing stays.
        words: names and paths of the slides, and of these donors; also real names behind codes.
        codes: keys of private/names.json.
        cells: of all slides.
        at, by: when and who, for the line that stays.
        token: of this removal alone.
    """

    slides: tuple[str, ...]
    donors: tuple[str, ...]
    words: tuple[str, ...]
    codes: tuple[str, ...]
    cells: int
    at: str
    by: str
    token: str

    def mentions(self) -> re.Pattern[str]:
        """Finds a text that speaks of them; a name only as a whole word."""
        words = sorted({*self.words, *self.donors, *(html.escape(word) for word in self.words)}, key=len, reverse=True)
        ids = "|".join(map(re.escape, self.slides))
        whole = "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words if word)
        return re.compile(f"{ids}|{whole}" if whole else ids)


def begin(paths: OutPaths, removal: Removal) -> None:
    """Write down what is to go, and let it go; the caller holds OUT.

    Raises:
        StorageError: a trail was changed by hand, or something cannot be written; what was written down is completed by
            the next command that holds OUT.
    """
    _refuse_altered(paths)
    data = json.dumps(asdict(removal)).encode()
    write_atomically(paths.forgetting, data, durable=True, private=True)
    complete(paths)


def complete(paths: OutPaths) -> bool:
    """Do what was written down; the caller holds OUT. False where nothing was.

    Raises:
        StorageError: something cannot be removed or written yet.
    """
    removal = _pending(paths)
    if removal is None:
        return False
    check_still_held(paths.lock)
    with storage_errors(paths.root):
        _erase_annotations(paths, removal)
        for slide_id in removal.slides:
            _remove_tree(paths.slide(slide_id).root)
        _remove_pages(paths, removal)
        _clean_manifest(paths, removal)
        _clean_logs(paths, removal)
        _clean_codes(paths, removal)
        paths.forgetting.unlink()
        sync_folder(paths.root)
    return True


def left_mentions(paths: OutPaths, removal: Removal) -> list[str]:
    """Files of OUT that still hold a slide_id, path or donor's code that went; for a person to look at."""
    long = [word for word in (*removal.words, *removal.donors) if len(word) >= 4]
    pattern = Removal(removal.slides, (), tuple(long), (), 0, "", "", "").mentions()
    return [path.relative_to(paths.root).as_posix() for path in _texts(paths.root) if pattern.search(_text(path))]


def forgotten(paths: OutPaths) -> list[dict[str, Any]]:
    """The lines that stay, oldest first."""
    found = []
    for line in (read(paths, paths.forgotten) or b"").split(b"\n"):
        with contextlib.suppress(ValueError):
            row = parse_json(line) if line.strip() else None
            if isinstance(row, dict):
                found.append({name: value for name, value in row.items() if name != CHAIN})
    return found


def _pending(paths: OutPaths) -> Removal | None:
    try:
        content = parse_json(read_bytes(paths.forgetting))
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return Removal(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{paths.forgetting} cannot be understood: a removal was begun and not completed.",
            "Delete that file, and run `mnbatch forget` again.",
        ) from error


# Annotations: rows of tables and lines of trails, in one change.


def _refuse_altered(paths: OutPaths) -> None:
    """A trail that is written again would hide what was done to it by hand."""
    for path in (paths.signatures, paths.acknowledged, paths.forgotten):
        wrong = altered_trail(paths, path, read(paths, path))
        if wrong:
            raise StorageError(f"{path} was changed by hand: {'; '.join(wrong)}.", "Restore it from a copy first.")


def _erase_annotations(paths: OutPaths, removal: Removal) -> None:
    gone = set(removal.slides)
    tables = {
        paths.samples: _without(paths, paths.samples, lambda row: row["slide"] in gone),
        paths.validation: _without(paths, paths.validation, lambda row: row["cell_id"].split(":", 1)[0] in gone),
    }
    trails = {
        paths.signatures: _kept(paths, paths.signatures, lambda row: _signed(row, removal)),
        paths.acknowledged: _kept(paths, paths.acknowledged, lambda row: row.get("slide_id") in gone),
        paths.forgotten: _with_tombstone(paths, removal),
    }
    erase(
        paths,
        replace={path: data for path, data in tables.items() if data is not None},
        rewrite={path: rows for path, rows in trails.items() if rows is not None},
        remove=[path for slide_id in removal.slides for path in [paths.review_trail(slide_id)] if read(paths, path)],
    )


def _without(paths: OutPaths, path: Path, gone: Callable[[Mapping[str, str]], bool]) -> bytes | None:
    """A table without some of its rows; None where none of them goes."""
    data = read(paths, path)
    if not data:
        return None
    rows = list(read_stored(data))
    kept = [row for row in rows if not gone(row)]
    header = list(rows[0]) if rows else []
    return None if len(kept) == len(rows) else csv_bytes(header, [list(row.values()) for row in kept])


def _kept(paths: OutPaths, path: Path, gone: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]] | None:
    """Lines of a trail without some of them; None where none of them goes. A line that a kill tore goes, too."""
    data = read(paths, path)
    if data is None:
        return None
    rows, lines = [], [line for line in data.split(b"\n") if line.strip()]
    for line in lines:
        with contextlib.suppress(ValueError):
            row = parse_json(line)
            if isinstance(row, dict) and not gone(row):
                rows.append({name: value for name, value in row.items() if name != CHAIN})
    return None if len(rows) == len(lines) else rows


def _signed(row: Mapping[str, Any], removal: Removal) -> bool:
    """A sign-off of a donor that goes, or of a result that a slide was part of."""
    basis = row.get("basis")
    slides = basis.get("slides", {}) if isinstance(basis, dict) else {}
    return row.get("donor") in removal.donors or bool(set(removal.slides) & set(slides))


def _with_tombstone(paths: OutPaths, removal: Removal) -> list[dict[str, Any]] | None:
    there = forgotten(paths)
    if any(row.get("token") == removal.token for row in there):
        return None
    known = {"slides": len(removal.slides), "donors": len(removal.donors), "cells": removal.cells}
    return [*there, {"at": removal.at, "by": removal.by, **known, "token": removal.token}]


# What is derived, and what runs left.


def _remove_tree(folder: Path) -> None:
    # The record first: without it nothing in the folder is a result.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        (folder / "record.json").unlink()
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _remove_pages(paths: OutPaths, removal: Removal) -> None:
    """Tables and pages of the batch, and every derived file that speaks of them: the next report makes them again."""
    tables = (paths.slides_csv, paths.donors_csv, paths.donors_xlsx)
    for path in (paths.index, paths.index.with_suffix(".pdf"), *tables, paths.report_seal, paths.night):
        path.unlink(missing_ok=True)
    pattern = removal.mentions()
    for folder in _folders(paths.donors):
        if any(pattern.search(_text(path)) for path in _texts(folder)):
            shutil.rmtree(folder)
    for folder in _folders(paths.slides):
        mine = [path for path in _texts(folder) if not _is_stored(path, folder)]
        if any(pattern.search(_text(path)) for path in mine):
            for path in mine:
                path.unlink(missing_ok=True)


def _is_stored(path: Path, folder: Path) -> bool:
    """Whether a file of a slide is its result, which no report could make again."""
    first = path.relative_to(folder).parts[0]
    return first == "record.json" or re.fullmatch(r"g\d+", first) is not None


def _clean_manifest(paths: OutPaths, removal: Removal) -> None:
    content = _json(paths.manifest)
    if content is None:
        return
    slides = content.get("slides")
    if isinstance(slides, dict):
        content["slides"] = {name: known for name, known in slides.items() if name not in removal.slides}
    content = _redacted(content, removal.mentions(), keep=("export", "out"))
    mode = paths.manifest.stat().st_mode & 0o077
    data = json.dumps(content, indent=1).encode() + b"\n"
    write_atomically(paths.manifest, data, private=not mode, staged_in=paths.runs)


def _redacted(value: Any, pattern: re.Pattern[str], keep: Sequence[str] = ()) -> Any:
    if isinstance(value, dict):
        return {name: one if name in keep else _redacted(one, pattern, keep) for name, one in value.items()}
    if isinstance(value, list):
        return [_redacted(one, pattern, keep) for one in value]
    return pattern.sub("(removed)", value) if isinstance(value, str) else value


def _clean_logs(paths: OutPaths, removal: Removal) -> None:
    pattern = removal.mentions()
    # They name slides, and the next report makes them again.
    paths.near_cells.unlink(missing_ok=True)
    paths.report_rows.unlink(missing_ok=True)
    for path in sorted(paths.runs.glob("*.json*")) if paths.runs.is_dir() else []:
        lines = read_bytes(path).splitlines(keepends=True)
        kept = [line for line in lines if not pattern.search(_decoded(line))]
        if not kept:
            path.unlink()
        elif len(kept) < len(lines):
            write_atomically(path, b"".join(kept), private=not path.stat().st_mode & 0o077)


def _decoded(line: bytes) -> str:
    """A line of a log as its readers see it: names that are no ASCII are escaped in it."""
    try:
        return json.dumps(parse_json(line, finite=False), ensure_ascii=False)
    except ValueError:
        return line.decode("utf-8", "replace")


def _clean_codes(paths: OutPaths, removal: Removal) -> None:
    for name in ("names.json", "names.damaged.json"):
        path = paths.private / name
        content = _json(path)
        if content is not None:
            kept = {code: real for code, real in content.items() if code not in removal.codes}
            data = json.dumps(kept, indent=1, sort_keys=True).encode() + b"\n"
            write_atomically(path, data, durable=True, private=True)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = parse_json(read_bytes(path), finite=False)
    except FileNotFoundError:
        return None
    except ValueError:
        # It cannot be told what it holds.
        path.unlink()
        return None
    return content if isinstance(content, dict) else None


def _folders(root: Path) -> list[Path]:
    return [Path(e.path) for e in os.scandir(root) if e.is_dir(follow_symlinks=False)] if root.is_dir() else []


def _texts(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix in _TEXT and path.is_file() and path.stat().st_size <= _MOST_SEARCHED:
                yield path


def _text(path: Path) -> str:
    return read_bytes(path).decode("utf-8", "replace")

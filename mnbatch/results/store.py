"""The result store: a slide's scores are staged, fsynced and made true by replacing one small record."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from mnbatch.assay.cells import CellScore, Quality, ScoreRow, UnreadableCell
from mnbatch.assay.copies import DIGEST_BYTES, find_copies
from mnbatch.assay.calls import too_many_unreadable
from mnbatch.errors import StorageError
from mnbatch.results.files import storage_errors, sync_folder, write_atomically
from mnbatch.results.gallery import Gallery, encode_crop, pack_maps
from mnbatch.results.paths import GENERATION_PREFIX, STAGING_PREFIX, GenerationPaths, OutPaths, SlidePaths
from mnbatch.results.records import SlideRecord

COLUMNS = (
    "cell_id",
    "source",
    "page",
    "p_mn",
    "reason",
    "sharpness",
    "contrast",
    "saturated_fraction",
    "nuclei",
    "nucleus_fraction",
    "jpeg_bytes",
)


class SlideWriter:
    """Stages one slide's generation cell by cell; nothing is true before `commit`.

    Crops and maps go to the disk as they come, so memory does not grow with the slide but for one short row a cell.

    Args:
        paths: the slide's directory; made if absent.
        keep_gallery: also keep crops and maps.
    """

    def __init__(self, paths: SlidePaths, keep_gallery: bool) -> None:
        self._paths = paths
        self._keep_gallery = keep_gallery
        self._digests: list[bytes] = []
        self.cells = 0
        self.unreadable = 0
        with storage_errors(paths.root):
            paths.root.mkdir(parents=True, exist_ok=True)
            sweep_slide(paths, read_record(paths))
            staging = paths.root / f"{STAGING_PREFIX}{os.getpid()}"
            staging.mkdir()
            self._staged = GenerationPaths(staging)
            # A file name that is no valid UTF-8 is kept readable, not kept out.
            self._scores: IO[str] = self._staged.scores.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            self._rows = csv.writer(self._scores, lineterminator="\n")
            self._rows.writerow(COLUMNS)
            self._crops: IO[bytes] | None = self._staged.crops.open("wb") if keep_gallery else None
            self._maps: IO[bytes] | None = self._staged.maps.open("wb") if keep_gallery else None

    def add(self, item: CellScore | UnreadableCell) -> None:
        """Append one cell; the order of calls is the order of rows."""
        with storage_errors(self._paths.root):
            self.cells += 1
            if isinstance(item, UnreadableCell):
                self.unreadable += 1
                self._digests.append(bytes(DIGEST_BYTES))
                page = "" if item.page is None else item.page
                self._rows.writerow([item.cell_id, item.source, page, "", item.reason, "", "", "", "", "", ""])
                return
            self._digests.append(bytes.fromhex(item.crop.digest))
            self._rows.writerow(_score_fields(item, self._add_to_gallery(item)))

    def commit(self, record: SlideRecord) -> SlideRecord:
        """Make the staged generation and `record` true in one step; returns the record as written."""
        with storage_errors(self._paths.root):
            self._close(sync=True)
            name = f"{GENERATION_PREFIX}{_next_number(self._paths)}"
            self._staged.root.rename(self._paths.root / name)
            sync_folder(self._paths.root)
        whole = record.model_copy(
            update={"generation": name, "cells": self.cells, "unreadable": self.unreadable, "status": "scored"}
        )
        write_record(self._paths, whole)
        sweep_slide(self._paths, whole)
        return whole

    def abandon(self) -> None:
        """Drop what was staged."""
        self._close(sync=False)
        shutil.rmtree(self._staged.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._staged.root.exists():
            self.abandon()

    def _add_to_gallery(self, item: CellScore) -> int:
        if self._crops is None or self._maps is None:
            return 0
        jpeg = item.crop.jpeg or encode_crop(item.crop.pixels)
        self._crops.write(jpeg)
        self._maps.write(pack_maps(item.maps))
        return len(jpeg)

    def _close(self, *, sync: bool) -> None:
        self._staged.digests.write_bytes(b"".join(self._digests)) if sync else None
        for file in (self._scores, self._crops, self._maps):
            if file is None or file.closed:
                continue
            if sync:
                file.flush()
                os.fsync(file.fileno())
            file.close()
        if sync:
            with self._staged.digests.open("rb") as digests:
                os.fsync(digests.fileno())
            sync_folder(self._staged.root)


class Store:
    """Read access to OUT's slides, and the writing of records that need no scores.

    Args:
        out: the output directory.
    """

    def __init__(self, out: Path) -> None:
        self.paths = OutPaths(out.resolve())

    def writer(self, slide_id: str, *, keep_gallery: bool) -> SlideWriter:
        """Stage a new generation of a slide."""
        return SlideWriter(self.paths.slide(slide_id), keep_gallery)

    def record(self, slide_id: str) -> SlideRecord | None:
        """The slide's commit record, or None where nothing was committed."""
        return read_record(self.paths.slide(slide_id))

    def put_record(self, record: SlideRecord) -> None:
        """Replace the record of a slide whose generation stays as it is (a new call, a failure, a copy)."""
        paths = self.paths.slide(record.slide_id)
        with storage_errors(paths.root):
            paths.root.mkdir(parents=True, exist_ok=True)
        write_record(paths, record)
        sweep_slide(paths, record)

    def records(self) -> list[SlideRecord]:
        """All records, ordered by the slides' paths."""
        if not self.paths.slides.is_dir():
            return []
        found = (read_record(self.paths.slide(name)) for name in sorted(os.listdir(self.paths.slides)))
        return sorted((record for record in found if record is not None), key=lambda r: (r.path, r.slide_id))

    def scores(self, record: SlideRecord) -> list[ScoreRow]:
        """The stored scores of a scored slide, in the order of its cells."""
        return [_score_row(fields) for fields in self._read_scores(record)]

    def digests(self, record: SlideRecord) -> npt.NDArray[np.uint8]:
        """Pixel digests (n, 16) of a scored slide's cells; zeros for an unreadable one."""
        flat = np.fromfile(self._generation(record).digests, np.uint8)
        return flat.reshape(-1, DIGEST_BYTES)

    def gallery(self, record: SlideRecord) -> Gallery | None:
        """Crops and maps of a scored slide; None where none were kept."""
        generation = self._generation(record)
        if not generation.crops.exists():
            return None
        offsets: list[tuple[int, int] | None] = []
        positions: list[int | None] = []
        offset = kept = 0
        for fields in self._read_scores(record):
            length = int(fields["jpeg_bytes"] or 0)
            offsets.append((offset, length) if length else None)
            positions.append(kept if length else None)
            offset += length
            kept += bool(length)
        return Gallery(generation.crops, generation.maps, tuple(offsets), tuple(positions))

    def copies(self, records: Sequence[SlideRecord]) -> Mapping[str, Mapping[int, str]]:
        """For each slide, row -> cell_id of the original, for cells that are counted elsewhere.

        A slide with too many unreadable cells to be counted is no original: it would take cells from one that is.
        """
        usable = [r for r in records if r.status == "scored" and not _too_bad(r)]
        found = find_copies([(record.slide_id, self.digests(record)) for record in usable])
        by_id = {record.slide_id: record for record in usable}
        names: dict[str, list[ScoreRow]] = {}
        resolved: dict[str, dict[int, str]] = {}
        for slide_id, rows in found.items():
            for row, original in rows.items():
                if original.slide_id not in names:
                    names[original.slide_id] = self.scores(by_id[original.slide_id])
                resolved.setdefault(slide_id, {})[row] = names[original.slide_id][original.row].cell_id
        return resolved

    def sweep(self) -> None:
        """Remove what an interrupted run left staged, in every slide."""
        if not self.paths.slides.is_dir():
            return
        for entry in os.scandir(self.paths.slides):
            if entry.is_dir(follow_symlinks=False):
                paths = self.paths.slide(entry.name)
                if _has_leftovers(paths):
                    sweep_slide(paths, read_record(paths))

    def _generation(self, record: SlideRecord) -> GenerationPaths:
        if record.generation is None:
            raise ValueError(f"slide {record.slide_id} has no scores")
        return self.paths.slide(record.slide_id).generation(record.generation)

    def _read_scores(self, record: SlideRecord) -> Iterator[dict[str, str]]:
        path = self._generation(record).scores
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"The stored scores of slide {record.slide_id} cannot be read ({path}: {error.strerror}).",
                "Restore OUT from a copy, or delete this slide's directory and run again.",
            ) from error
        return csv.DictReader(io.StringIO(text, newline=""))


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


def _has_leftovers(paths: SlidePaths) -> bool:
    names = [entry.name for entry in os.scandir(paths.root)]
    generations = [name for name in names if name.startswith(GENERATION_PREFIX) and name[1:].isdigit()]
    return any(name.startswith((STAGING_PREFIX, ".tmp-")) for name in names) or len(generations) > 1


def _next_number(paths: SlidePaths) -> int:
    record = read_record(paths)
    if record is None or record.generation is None:
        return 1
    return int(record.generation[len(GENERATION_PREFIX) :]) + 1


def _too_bad(record: SlideRecord) -> bool:
    limit = record.call.max_bad_fraction if record.call else 1.0
    return too_many_unreadable(record.unreadable, record.cells, limit)


def _score_fields(item: CellScore, jpeg_bytes: int) -> list[object]:
    crop, quality = item.crop, item.crop.quality
    return [
        crop.cell_id,
        crop.source,
        "" if crop.page is None else crop.page,
        f"{item.p_mn:.7g}",
        "",
        f"{quality.sharpness:.5g}",
        f"{quality.contrast:.5g}",
        f"{quality.saturated_fraction:.5g}",
        quality.nuclei,
        f"{quality.nucleus_fraction:.5g}",
        jpeg_bytes or "",
    ]


def _score_row(fields: Mapping[str, str]) -> ScoreRow:
    page = int(fields["page"]) if fields["page"] else None
    if not fields["p_mn"]:
        return ScoreRow(fields["cell_id"], fields["source"], page, None, fields["reason"], None)
    quality = Quality(
        sharpness=float(fields["sharpness"]),
        contrast=float(fields["contrast"]),
        saturated_fraction=float(fields["saturated_fraction"]),
        nuclei=int(fields["nuclei"]),
        nucleus_fraction=float(fields["nucleus_fraction"]),
    )
    return ScoreRow(fields["cell_id"], fields["source"], page, float(fields["p_mn"]), "", quality)

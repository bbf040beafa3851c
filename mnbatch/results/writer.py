"""Stages one slide's generation and makes it true."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import CellScore, UnreadableCell
from mnbatch.assay.copies import DIGEST_BYTES
from mnbatch.assay.field_records import FieldReport
from mnbatch.assay.near_copies import SPECTRUM_BYTES, THUMBNAIL_BYTES, Likeness
from mnbatch.csvfile import CsvWriter
from mnbatch.results.checksums import HashedFile
from mnbatch.results.commit import next_generation, read_record, staging_name, sweep_slide, write_record
from mnbatch.results.field_rows import FieldWriter
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_error, storage_errors, sync_folder
from mnbatch.results.paths import GenerationPaths, SlidePaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.score_rows import COLUMNS, row_text, score_row, unreadable_row
from mnbatch.results.stored_crops import encode_crop, pack_maps

_MAPS_AT_ONCE = 64


class SlideWriter:
    """Stages one slide's generation cell by cell; nothing is true before `commit`.

    Crops and maps go to the disk as they come, so memory does not grow with the slide but for one short row a cell.

    Args:
        paths: the slide's directory; made if absent.
        keep_crops: also keep crops and maps.
    """

    def __init__(self, paths: SlidePaths, keep_crops: bool) -> None:
        self._paths = paths
        self._keep_crops = keep_crops
        self._digests: list[bytes] = []
        self.cells = 0
        self.unreadable = 0
        with storage_errors(paths.root):
            paths.root.mkdir(parents=True, exist_ok=True)
            sweep_slide(paths, read_record(paths))
            staging = paths.root / staging_name(paths)
            staging.mkdir()
            self._staged = GenerationPaths(staging)
            self._hashed: dict[str, HashedFile] = {}
            self._scores: IO[bytes] = self._bytes(self._staged.scores)
            CsvWriter(self._scores, COLUMNS)
            self._spectra: IO[bytes] = self._bytes(self._staged.spectra)
            # The crops show more than thumbnails do, where there are any.
            self._thumbnails: IO[bytes] | None = None if keep_crops else self._bytes(self._staged.thumbnails)
            self._crops: IO[bytes] | None = self._bytes(self._staged.crops) if keep_crops else None
            self._maps: IO[bytes] | None = self._bytes(self._staged.maps) if keep_crops else None
            self._unpacked: list[npt.NDArray[np.float32]] = []
            self._fields: FieldWriter | None = None

    def add(self, item: CellScore | UnreadableCell) -> None:
        """Append one cell; the order of calls is the order of rows."""
        # No `with storage_errors`, which once a cell would cost as much as the rest.
        try:
            self._add(item)
        except OSError as error:
            raise storage_error(error, self._paths.root) from error

    def _add(self, item: CellScore | UnreadableCell) -> None:
        self.cells += 1
        if isinstance(item, UnreadableCell):
            self.unreadable += 1
            self._digests.append(bytes(DIGEST_BYTES))
            self._add_likeness(None)
            row = unreadable_row(item)
        else:
            crop = item.crop
            self._digests.append(bytes.fromhex(crop.digest))
            self._add_likeness(crop.likeness)
            jpeg_bytes = self._keep_crop(item)
            row = score_row(item, crop.row or row_text(crop, jpeg_bytes))
        self._scores.write(row.encode() + b"\n")

    def add_field(self, report: FieldReport) -> None:
        """Append what was found in one field."""
        with storage_errors(self._paths.root):
            if self._fields is None:
                self._fields = FieldWriter(self._staged)
                self._hashed |= self._fields.hashed
            self._fields.add(report)

    def commit(self, record: SlideRecord) -> SlideRecord:
        """Make the staged generation and `record` true in one step; returns the record as written.

        Raises:
            LockHeldError: another run took OUT over.
            StorageError: it cannot be written.
        """
        check_still_held(self._paths.lock)
        with storage_errors(self._paths.root):
            self._close()
            sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self._staged.root)}
            checksums = {name: file.checksum for name, file in sorted(self._hashed.items())}
            name = self._place()
            sync_folder(self._paths.root)
        known = {"generation": name, "sizes": dict(sorted(sizes.items())), "checksums": checksums, "status": "scored"}
        whole = record.model_copy(update=known | {"cells": self.cells, "unreadable": self.unreadable})
        before = read_record(self._paths)
        write_record(self._paths, whole)
        sweep_slide(self._paths, whole, superseded=before.generation if before else None)
        return whole

    def _place(self) -> str:
        """Rename what is staged to the next generation; its name."""
        while True:
            name = next_generation(self._paths)
            try:
                self._staged.root.rename(self._paths.root / name)
            except OSError as error:
                # Another process of the same run took this name a moment ago (a slide that was given to two).
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                continue
            return name

    def abandon(self) -> None:
        """Drop what was staged; on a full disk, too, where closing a file fails."""
        for file in self._open_files():
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self._staged.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._staged.root.exists():
            self.abandon()

    def _add_likeness(self, likeness: Likeness | None) -> None:
        self._spectra.write(likeness.spectrum if likeness else bytes(SPECTRUM_BYTES))
        if self._thumbnails is not None:
            self._thumbnails.write(likeness.thumbnail if likeness else bytes(THUMBNAIL_BYTES))

    def _keep_crop(self, item: CellScore) -> int:
        if self._crops is None or self._maps is None:
            return 0
        jpeg = item.crop.jpeg or encode_crop(item.crop.pixels)
        self._crops.write(jpeg)
        self._unpacked.append(item.maps)
        if len(self._unpacked) == _MAPS_AT_ONCE:
            self._pack_maps()
        return len(jpeg)

    def _pack_maps(self) -> None:
        if self._unpacked and self._maps is not None:
            self._maps.write(pack_maps(np.stack(self._unpacked)))
            self._unpacked.clear()

    def _bytes(self, path: Path) -> IO[bytes]:
        self._hashed[path.name], file = HashedFile.buffered(path)
        return file

    def _close(self) -> None:
        self._pack_maps()
        digests = self._bytes(self._staged.digests)
        digests.write(b"".join(self._digests))
        for file in (*self._open_files(), digests):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        sync_folder(self._staged.root)

    def _open_files(self) -> list[IO[Any]]:
        fields = () if self._fields is None else self._fields.files
        own = (self._scores, self._spectra, self._thumbnails, self._crops, self._maps)
        files: tuple[IO[Any] | None, ...] = (*own, *fields)
        return [file for file in files if file is not None and not file.closed]

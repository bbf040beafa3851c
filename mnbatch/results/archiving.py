"""New generations of scores that are there already: without their pictures, or taken over from another OUT."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mnbatch.assay.near_copies import THUMBNAIL_BYTES
from mnbatch.errors import StorageError
from mnbatch.results.checksums import HashedFile, file_checksum
from mnbatch.results.commit import next_generation, staging_name, sweep_slide, write_record
from mnbatch.results.damage import PICTURES
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, sync_folder
from mnbatch.results.paths import GenerationPaths, SlidePaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store
from mnbatch.results.stored_crops import StoredCrops, thumbnail_of


def drop_pictures(store: Store, record: SlideRecord) -> SlideRecord:
    """Commit the slide's scores without crops, maps and overviews; what near copies are told by is kept, made of them.

    Returns:
        The record as written; the same where there were no pictures.

    Raises:
        StorageError: the stored result is damaged, or something cannot be written; the slide is as it was.
    """
    if record.generation is None or not set(PICTURES) & record.sizes.keys():
        return record
    store.check(record, pictures=True)
    crops = store.crops(record)

    def more(staged: GenerationPaths) -> dict[str, str]:
        return {} if crops is None else {staged.thumbnails.name: _write_thumbnails(staged.thumbnails, crops)}

    paths = store.paths.slide(record.slide_id)
    names = [name for name in record.sizes if name not in PICTURES]
    return commit_copy(paths, record, paths.generation(record.generation), names, more)


def commit_copy(
    paths: SlidePaths,
    record: SlideRecord,
    source: GenerationPaths,
    names: Sequence[str],
    more: Callable[[GenerationPaths], dict[str, str]] = lambda _: {},
) -> SlideRecord:
    """Commit a generation made of files of another one, each compared with its checksum while it is copied.

    Args:
        paths: of the slide that it becomes a generation of.
        record: as it is to be, with the checksums of `source`.
        names: of the files that are taken.
        more: writes further files; returns their checksums.

    Raises:
        StorageError: a file is not what was written, or something cannot be written; the slide is as it was.
    """
    staged = GenerationPaths(paths.root / staging_name(paths))
    with storage_errors(paths.root):
        staged.root.mkdir(parents=True)
        try:
            checksums = {name: _copied(source.root / name, staged.root / name, record) for name in names}
            checksums |= more(staged)
            sync_folder(staged.root)
            sizes = {entry.name: entry.stat().st_size for entry in os.scandir(staged.root)}
            check_still_held(paths.lock)
            generation = next_generation(paths)
            staged.root.rename(paths.root / generation)
            sync_folder(paths.root)
        except BaseException:
            shutil.rmtree(staged.root, ignore_errors=True)
            raise
    known = {"sizes": dict(sorted(sizes.items())), "checksums": dict(sorted(checksums.items()))}
    whole = record.model_copy(update={**known, "generation": generation})
    write_record(paths, whole)
    sweep_slide(paths, whole)
    return whole


def _copied(source: Path, target: Path, record: SlideRecord) -> str:
    shutil.copyfile(source, target)
    found = file_checksum(target)
    if record.checksums.get(source.name, found) != found:
        raise StorageError(f"{source} is not what was written.", "Restore it from a copy, or score the slide again.")
    _sync(target)
    return found


def _write_thumbnails(path: Path, crops: StoredCrops) -> str:
    """As `SlideWriter` writes them where no crops are kept; made of the JPEG, as a comparison of crops does."""
    hashed, file = HashedFile.buffered(path)
    with file:
        for row in range(len(crops.offsets)):
            jpeg = crops.jpeg(row)
            file.write(bytes(THUMBNAIL_BYTES) if jpeg is None else thumbnail_of(jpeg).tobytes())
        file.flush()
        os.fsync(file.fileno())
    return hashed.checksum


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

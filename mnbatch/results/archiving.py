"""A slide's result without its pictures: a new generation of the same scores, checked and committed like any other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mnbatch.assay.near_copies import THUMBNAIL_BYTES
from mnbatch.errors import StorageError
from mnbatch.results.checksums import HashedFile, file_checksum
from mnbatch.results.commit import next_generation, staging_name, sweep_slide, write_record
from mnbatch.results.lock import check_still_held
from mnbatch.results.out_files import storage_errors, sync_folder
from mnbatch.results.paths import GenerationPaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import PICTURES, Store
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
    paths = store.paths.slide(record.slide_id)
    before = paths.generation(record.generation)
    staged = GenerationPaths(paths.root / staging_name(paths))
    crops = store.crops(record)
    with storage_errors(paths.root):
        staged.root.mkdir()
        try:
            checksums = _keep(before, staged, record)
            if crops is not None:
                checksums[staged.thumbnails.name] = _write_thumbnails(staged.thumbnails, crops)
            sync_folder(staged.root)
            whole = _committed_name(store, record, staged, checksums)
        except BaseException:
            shutil.rmtree(staged.root, ignore_errors=True)
            raise
    write_record(paths, whole)
    sweep_slide(paths, whole)
    return whole


def _keep(before: GenerationPaths, staged: GenerationPaths, record: SlideRecord) -> dict[str, str]:
    checksums = {}
    for name in record.sizes:
        if name in PICTURES:
            continue
        shutil.copyfile(before.root / name, staged.root / name)
        checksums[name] = file_checksum(staged.root / name)
        if record.checksums.get(name, checksums[name]) != checksums[name]:
            raise StorageError(f"{staged.root / name} was not written as it was read.", "Check the disk; run again.")
        _sync(staged.root / name)
    return checksums


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


def _committed_name(
    store: Store, record: SlideRecord, staged: GenerationPaths, checksums: dict[str, str]
) -> SlideRecord:
    paths = store.paths.slide(record.slide_id)
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(staged.root)}
    check_still_held(paths.lock)
    name = next_generation(paths)
    staged.root.rename(paths.root / name)
    sync_folder(paths.root)
    known = {"generation": name, "sizes": dict(sorted(sizes.items())), "checksums": dict(sorted(checksums.items()))}
    return record.model_copy(update=known)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

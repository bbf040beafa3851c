"""Make an OUT small that is kept for years: pages without galleries, on request results without pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.app.rebuild import Rebuilt, choose_options, make_reports, open_store
from mnbatch.errors import StorageError
from mnbatch.intake import read_bytes
from mnbatch.results.archiving import drop_pictures
from mnbatch.results.lock import hold_out
from mnbatch.results.manifest import write_archived

if TYPE_CHECKING:
    from mnbatch.results.paths import OutPaths
    from mnbatch.results.store import Store


@dataclass(frozen=True, slots=True)
class Archived:
    """What an OUT took, and takes now.

    Attributes:
        before, after: bytes of all files.
        slides: slides whose pictures were left out by this command.
        skipped: slides whose stored result is damaged: nothing of them was changed.
        altered: tables that are not those of before; empty where all is well.
    """

    before: int
    after: int
    slides: tuple[str, ...]
    skipped: tuple[str, ...]
    altered: tuple[str, ...]
    rebuilt: Rebuilt


def archive(out: Path, *, pictures: bool = True) -> Archived:
    """Fold an OUT: no gallery pages, whose pictures are in the store too; the results stay, and can be reported.

    Args:
        pictures: keep crops and maps in the store (one file each a slide), so that `report --gallery` shows them again;
            False leaves them out for good.

    Raises:
        NoInputError: OUT holds no results.
        LockHeldError: a run holds OUT.
        StorageError: something cannot be written; what was whole is kept.
    """
    store = open_store(out)
    with hold_out(store.paths):
        make_reports(store)
        tables = {path: read_bytes(path) for path in _tables(store.paths)}
        before = room(store.paths.root)
        done, skipped = ((), ()) if pictures else _drop(store)
        write_archived(store.paths, pictures=pictures)
        rebuilt = make_reports(store, choose_options(store.paths).options)
        altered = tuple(path.name for path, data in tables.items() if read_bytes(path) != data)
    return Archived(
        before=before,
        after=room(store.paths.root),
        slides=tuple(done),
        skipped=tuple(skipped),
        altered=altered,
        rebuilt=rebuilt,
    )


def room(root: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(root) for name in names)


def _tables(paths: OutPaths) -> Sequence[Path]:
    return [path for path in (paths.slides_csv, paths.donors_csv) if path.exists()]


def _drop(store: Store) -> tuple[list[str], list[str]]:
    done, skipped = [], []
    for record in store.records():
        try:
            if drop_pictures(store, record) != record:
                done.append(record.slide_id)
        except StorageError:
            # A damaged result stays as it is: what is left of it may be of use.
            if not store.damage(record, pictures=True):
                raise
            skipped.append(record.slide_id)
    return done, skipped

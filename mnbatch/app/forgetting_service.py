"""Remove a slide or a donor from OUT: what would go, and the removal itself."""

from __future__ import annotations

import getpass
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mnbatch.app.rebuild import Rebuilt, make_reports, open_store
from mnbatch.app.slide_choice import slide_of
from mnbatch.errors import MnbatchError, UsageError
from mnbatch.intake import nearest, read_json, short
from mnbatch.results.annotations import load_samples
from mnbatch.results.batch import read_batch
from mnbatch.results.forgetting import Removal, begin, complete, left_mentions
from mnbatch.results.lock import hold_out
from mnbatch.results.manifest import now
from mnbatch.results.planned_slides import settle_plans
from mnbatch.results.roster import donor_of

if TYPE_CHECKING:
    from mnbatch.results.records import SlideRecord
    from mnbatch.results.store import Store


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What went, or would go.

    Attributes:
        slides: slide_ids, copies of them too.
        donors: donors of whom nothing stays.
        cells, files, bytes: stored of these slides.
        still_there: slides that are in the export yet: the next run would score them again.
        left: files of OUT that still mention something of them; empty for a dry run.
        rebuilt: the reports without them; None for a dry run.
    """

    slides: tuple[str, ...]
    donors: tuple[str, ...]
    cells: int
    files: int
    bytes: int
    still_there: tuple[str, ...]
    left: tuple[str, ...] = ()
    rebuilt: Rebuilt | None = None


def forget(out: Path, *, slide: str | None = None, donor: str | None = None, dry_run: bool = False) -> Forgotten:
    """Remove the data of one slide (and of its copies), or of all slides of a donor, from OUT.

    Args:
        slide: slide_id, path or name.
        donor: code as in donors.csv.
        dry_run: only say what would go.

    Raises:
        NoInputError: OUT holds no results.
        UsageError: no such slide or donor, or not exactly one of the two is given.
        LockHeldError: another command holds OUT.
        StorageError: a trail was changed by hand, or something cannot be removed; a removal that was begun is completed
            by the next command that holds OUT.
    """
    if (slide is None) == (donor is None):
        raise UsageError("Give either --slide or --donor.", "`slides.csv` and `donors.csv` list them.")
    store = open_store(out)
    with hold_out(store.paths):
        if not dry_run:
            complete(store.paths)
            # Slides that no job scored are slides of OUT: what is to go is told from what stays by the names of all.
            settle_plans(store)
        records, samples = store.records(), load_samples(store.paths)
        going = _of_slide(records, slide) if slide is not None else _of_donor(records, samples, donor or "")
        removal = _removal(store, records, going, samples)
        found = _found(store, going, removal)
        if dry_run:
            return found
        begin(store.paths, removal)
        rebuilt = make_reports(store)
        left = tuple(left_mentions(store.paths, removal))
    return replace(found, left=left, rebuilt=rebuilt)


def _of_slide(records: Sequence[SlideRecord], name: str) -> list[SlideRecord]:
    one = slide_of(records, name)
    same = {one.slide_id, one.copy_of} - {None}
    return [record for record in records if record.slide_id in same or record.copy_of in same]


def _of_donor(
    records: Sequence[SlideRecord], samples: Mapping[str, Mapping[str, str]], donor: str
) -> list[SlideRecord]:
    of = {record.slide_id: donor_of(record, samples) for record in records}
    mine = {slide_id for slide_id, name in of.items() if name == donor}
    if not mine:
        like = nearest(donor, sorted({name for name in of.values() if name}))
        raise UsageError(
            f"OUT has no donor {short(donor)}.",
            (f"Did you mean {like}? " if like else "donors.csv lists them. ")
            + "After a removal that was interrupted, `mnbatch report` brings the pages up to date.",
        )
    return [record for record in records if record.slide_id in mine or record.copy_of in mine]


def _removal(
    store: Store,
    records: Sequence[SlideRecord],
    going: Sequence[SlideRecord],
    samples: Mapping[str, Mapping[str, str]],
) -> Removal:
    ids = {record.slide_id for record in going}
    staying = [record for record in records if record.slide_id not in ids]
    left = {donor for record in staying for donor in (donor_of(record, samples), record.donor)}
    donors = {donor for record in going for donor in (donor_of(record, samples), record.donor) if donor} - left
    kept_words = {word for record in staying for word in (record.path, record.name)}
    words = {word for record in going for word in (record.path, record.name)} - kept_words - {".", ""}
    codes, real = _codes(store, going, donors, staying)
    return Removal(
        slides=tuple(sorted(ids)),
        donors=tuple(sorted(donors)),
        words=tuple(sorted(words | real)),
        codes=tuple(sorted(codes)),
        cells=sum(record.cells for record in going),
        at=now(),
        by=_user(),
        token=secrets.token_hex(8),
    )


def _codes(
    store: Store, going: Sequence[SlideRecord], donors: set[str], staying: Sequence[SlideRecord]
) -> tuple[set[str], set[str]]:
    """Codes in private/names.json of what goes, and the real names behind those of slides and donors."""
    try:
        content = read_json(store.paths.private / "names.json")
    except (OSError, ValueError):
        return set(), set()
    names = {str(code): str(name) for code, name in content.items()} if isinstance(content, dict) else {}
    codes = {record.slide_id for record in going} | donors
    sources = {code for record in going for code in _sources(store, record)}
    kept = {code for record in staying for code in _sources(store, record)}
    parts = [_parts(names, some) for some in (sources, kept)]
    codes |= (sources - kept) | {
        c for c, name in names.items() if c.startswith("folder-") and name in parts[0] - parts[1]
    }
    codes &= names.keys()
    return codes, {names[code] for code in codes} - {""}


def _sources(store: Store, record: SlideRecord) -> set[str]:
    if record.generation is None:
        return set()
    try:
        return {row.source for row in store.scores(record)} | {field.source for field in store.fields(record)}
    except (MnbatchError, OSError, ValueError):
        # A damaged result cannot say which files it had.
        return set()


def _parts(names: Mapping[str, str], codes: set[str]) -> set[str]:
    return {part for code in codes if code in names for part in PurePosixPath(names[code]).parent.parts}


def _found(store: Store, going: Sequence[SlideRecord], removal: Removal) -> Forgotten:
    files = [p for one in going for p in store.paths.slide(one.slide_id).root.rglob("*") if p.is_file()]
    return Forgotten(
        slides=removal.slides,
        donors=removal.donors,
        cells=removal.cells,
        files=len(files),
        bytes=sum(path.lstat().st_size for path in files),
        still_there=tuple(record.slide_id for record in going if _in_export(store, record)),
    )


def _in_export(store: Store, record: SlideRecord) -> bool:
    """Whether the slide's place in the export is there; not known under pseudonyms."""
    batch = read_batch(store.paths)
    if batch is None or record.pseudonymised:
        return False
    return (Path(batch.export) / record.path).exists()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def as_document(found: Forgotten) -> str:
    """For programs."""
    content = {name: getattr(found, name) for name in ("slides", "donors", "cells", "files", "bytes", "still_there")}
    return json.dumps(content | {"left": found.left}, indent=1)

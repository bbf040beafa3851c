"""The result store: what OUT holds of each slide, read back; new generations come from `mnbatch.results.writer`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from mnbatch.assay.calls import too_many_unreadable
from mnbatch.assay.cells import Quality, ScoreRow, Stain
from mnbatch.assay.copies import (
    DIGEST_BYTES,
    CellAt,
    Copied,
    Elsewhere,
    Original,
    SharedCell,
    find_copies,
    find_runs,
    find_shared,
    locate,
)
from mnbatch.assay.field_records import FoundAt
from mnbatch.assay.near_copies import SIDE, SPECTRUM_BYTES, THUMBNAIL_BYTES, compare_nearest
from mnbatch.csvfile import read_stored
from mnbatch.errors import StorageError
from mnbatch.intake import read_bytes, reason
from mnbatch.results.annotations import settle
from mnbatch.results.commit import has_leftovers, read_record, sweep_slide, write_record
from mnbatch.results.compared_slides import ComparedSlides, read_compared
from mnbatch.results.damage import PICTURES, damage
from mnbatch.results.field_rows import StoredField, found_at, read_fields, read_found
from mnbatch.results.forgetting import complete
from mnbatch.results.lock import check_still_held, is_joined
from mnbatch.results.near_cells import NearCells, read_near_cells, slides_of
from mnbatch.results.out_files import storage_errors
from mnbatch.results.paths import GenerationPaths, OutPaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.score_rows import COLUMNS
from mnbatch.results.sibling_slides import Sibling, find_siblings
from mnbatch.results.stored_crops import MAPS, StoredCrops, thumbnail_of
from mnbatch.results.whole_files import WholeFiles, read_whole, state_of
from mnbatch.results.writer import SlideWriter

SCORE_COLUMNS = COLUMNS[: COLUMNS.index("q_2")]
"""What scores.csv has had from the first version on."""


class Store:
    """Read access to OUT's slides, and the writing of records that need no scores.

    Args:
        out: the output directory.

    Attributes:
        whole: files that need not be read to know that they are whole; None: all are read.
    """

    def __init__(self, out: Path) -> None:
        self.paths = OutPaths(out.resolve())
        self._looked_at: dict[tuple[str, bool], tuple[object, str]] = {}
        # Kept from the last call: a review server asks again with every decision.
        self._near: tuple[object, list[tuple[CellAt, CellAt]]] | None = None
        self._near_before: NearCells | None = None
        self._near_changed = False
        # Of the slides that are being compared, and of those that were asked about last: small, and read once.
        self._spectra_read: dict[str, npt.NDArray[np.uint8]] = {}
        self._digests_read: tuple[object, list[tuple[str, npt.NDArray[np.uint8]]]] | None = None
        self._siblings: tuple[object, Mapping[str, Sibling]] | None = None
        self._asked: tuple[Sequence[SlideRecord], list[SlideRecord]] | None = None
        self._compared: ComparedSlides | None = None
        self.whole: WholeFiles | None = None
        # Of one slide alone: a batch would not fit into memory.
        self._latest: tuple[object, _Stored] | None = None

    def writer(self, slide_id: str, *, keep_crops: bool) -> SlideWriter:
        """Stage a new generation of a slide."""
        return SlideWriter(self.paths.slide(slide_id), keep_crops)

    def record(self, slide_id: str) -> SlideRecord | None:
        """The slide's commit record, or None where nothing was committed."""
        return read_record(self.paths.slide(slide_id))

    def put_record(self, record: SlideRecord) -> None:
        """Replace the record of a slide whose generation stays as it is (a new call, a failure, a copy)."""
        paths = self.paths.slide(record.slide_id)
        with storage_errors(paths.root):
            paths.root.mkdir(parents=True, exist_ok=True)
        before = read_record(paths) if is_joined(paths.lock) else None
        write_record(paths, record)
        superseded = None if before is None or before.generation == record.generation else before.generation
        sweep_slide(paths, record, superseded=superseded)

    def forget(self, slide_id: str) -> None:
        """Remove a slide without scores: it was never scored, or its files belong to other slides now."""
        paths = self.paths.slide(slide_id)
        check_still_held(paths.lock)
        with storage_errors(paths.root):
            shutil.rmtree(paths.root)

    def records(self) -> list[SlideRecord]:
        """All records, ordered by the slides' paths."""
        if not self.paths.slides.is_dir():
            return []
        found = (read_record(self.paths.slide(name)) for name in sorted(os.listdir(self.paths.slides)))
        return sorted((record for record in found if record is not None), key=lambda r: (r.path, r.slide_id))

    def damage(self, record: SlideRecord, *, pictures: bool = False) -> str:
        """What is wrong with the slide's stored result; "" where nothing is.

        Checksums are made of what the numbers come from; files that did not change are not read twice.

        Args:
            pictures: make them of crops, maps and overviews, too, which are a hundred times larger.
        """
        if record.generation is None:
            return ""
        paths = self.paths.slide(record.slide_id)
        names = [name for name in record.sizes if pictures or name not in PICTURES]
        files = state_of(paths.generation(record.generation).root, record.sizes)
        stated = [record.generation, record.cells, record.sizes, record.checksums]
        known = self._looked_at.get((record.slide_id, pictures))
        if known is None or known[0] != (stated, files.lines):
            kept = f"results/{record.slide_id}"
            whole = not pictures and self.whole is not None and self.whole.has(kept, stated, files)
            known = ((stated, files.lines), "" if whole else damage(paths, record, names))
            if self.whole is not None and not pictures and not known[1]:
                self.whole.add(kept, stated, files)
            self._looked_at[record.slide_id, pictures] = known
        return known[1]

    def check(self, record: SlideRecord, *, pictures: bool = False) -> None:
        """As `damage`.

        Raises:
            StorageError: something is wrong with the slide's stored result.
        """
        wrong = self.damage(record, pictures=pictures)
        if wrong:
            raise _damaged(record, wrong)

    def scores(self, record: SlideRecord) -> list[ScoreRow]:
        """The stored scores of a scored slide, in the order of its cells.

        Raises:
            StorageError: its generation is damaged.
        """
        self.check(record)
        return list(self._stored(record).rows)

    def digests(self, record: SlideRecord) -> npt.NDArray[np.uint8]:
        """Pixel digests (n, 16) of a scored slide's cells; zeros for an unreadable one."""
        flat = np.fromfile(self._generation(record).digests, np.uint8)
        return flat.reshape(-1, DIGEST_BYTES)

    def crops(self, record: SlideRecord) -> StoredCrops | None:
        """Crops and maps of a scored slide; None where none were kept.

        Raises:
            StorageError: its generation is damaged.
        """
        crops = self._crops_of(record)
        if crops is not None:
            self.check(record, pictures=True)
        return crops

    def _crops_of(self, record: SlideRecord) -> StoredCrops | None:
        """The same, unchecked."""
        generation = self._generation(record)
        if generation.crops.name not in record.sizes and not generation.crops.exists():
            return None
        stored = self._stored(record)
        given = record.scored.maps if record.scored else MAPS
        return StoredCrops(generation.crops, generation.maps, stored.offsets, stored.positions, given)

    def fields(self, record: SlideRecord) -> list[StoredField]:
        """The fields of a scored slide; none for crops."""
        return read_fields(self._generation(record))

    def found(self, record: SlideRecord) -> Iterator[tuple[int, FoundAt]]:
        """Every cell that was found in the fields of a scored slide, with its field's number."""
        return read_found(self._generation(record))

    def overview(self, record: SlideRecord, field: StoredField) -> bytes:
        """Small JPEG of a field; b"" where none was kept.

        Raises:
            StorageError: its generation is damaged.
        """
        if field.overview is None:
            return b""
        self.check(record, pictures=True)
        with self._generation(record).overviews.open("rb") as file:
            file.seek(field.overview[0])
            return file.read(field.overview[1])

    def spectra(self, record: SlideRecord) -> npt.NDArray[np.uint8]:
        """What near copies are found by (n, SPECTRUM_BYTES); zeros for cells that are not compared."""
        if record.slide_id in self._spectra_read:
            return self._spectra_read[record.slide_id]
        if not self.keeps_spectra(record):
            return np.zeros((record.cells, SPECTRUM_BYTES), np.uint8)
        return np.fromfile(self._generation(record).spectra, np.uint8).reshape(-1, SPECTRUM_BYTES)

    def keeps_spectra(self, record: SlideRecord) -> bool:
        """Whether near copies of a scored slide's cells can be found; not of one that an earlier version scored."""
        return self._generation(record).spectra.name in record.sizes

    def thumbnails(self, record: SlideRecord) -> Callable[[int], npt.NDArray[np.uint8]]:
        """Gives the small grey picture (64, 64) of a cell of a scored slide by its row; zeros where it has none."""
        crops, kept = self._crops_of(record), self._generation(record).thumbnails
        if crops is not None:
            return lambda row: thumbnail_of(crops.jpeg(row) or b"")
        return lambda row: np.fromfile(kept, np.uint8, THUMBNAIL_BYTES, offset=row * THUMBNAIL_BYTES).reshape(
            SIDE, SIDE
        )

    def siblings(self, records: Sequence[SlideRecord], donors: Mapping[str, str]) -> Mapping[str, Sibling]:
        """Slides that show the cells or fields of another slide, in another plane or stain.

        Args:
            donors: slide_id -> donor, of slides that have one.
        """
        usable = self._usable(records)
        known = _known(usable), tuple(sorted(donors.items()))
        if self._siblings is None or self._siblings[0] != known:
            self._compared = read_compared(self.paths) if self._compared is None else self._compared
            try:
                self._spectra_read = {record.slide_id: self.spectra(record) for record in usable}
                near = self._near_copies(usable, self._digests_of(usable))
                self._siblings = known, find_siblings(self, usable, donors, near, self._compared)
            finally:
                self._spectra_read = {}
        return self._siblings[1]

    def compare_anew(self) -> None:
        """Forget which slides and cells were compared with each other."""
        self._compared, self._siblings = ComparedSlides(changed=True), None
        self._near_before, self._near = NearCells(), None

    def trust_states(self) -> None:
        """Do not read files again that were whole when an earlier report read them, and have not changed since."""
        self.whole = read_whole(self.paths)

    def keep_for_next(self) -> None:
        """Keep what the next report need not do again. The caller holds OUT."""
        if self._compared is not None:
            self._compared.keep(self.paths)
        if self._near_before is not None and self._near_changed:
            self._near_before.keep(self.paths)
            self._near_changed = False
        if self.whole is not None:
            self.whole.keep(self.paths)

    def _usable(self, records: Sequence[SlideRecord]) -> list[SlideRecord]:
        """Those that are counted as they are; of records that were asked about last, the same answer."""
        if self._asked is None or self._asked[0] is not records or not isinstance(records, tuple):
            usable = [r for r in records if r.status == "scored" and not _too_bad(r) and not self.damage(r)]
            self._asked = records, usable
        return self._asked[1]

    def copies(
        self,
        records: Sequence[SlideRecord],
        donors: Mapping[str, str] | None = None,
        failed: Collection[str] = (),
    ) -> Mapping[str, Elsewhere]:
        """For each slide, the cells that come again, and those that are counted elsewhere or for no donor.

        A slide that is not counted (too many unreadable cells, a damaged result, too many cells of another donor) is no
        original: it would take cells from one that is.

        Args:
            donors: slide_id -> donor, of slides that have one.
            failed: slides that are not counted for another reason.
        """
        usable = self._usable(records)
        by_id = {record.slide_id: record for record in usable}
        digests = self._digests_of(usable)
        near = self._near_copies(usable, digests)
        runs = find_runs(digests, near)
        shared = find_shared(digests, donors or {}, near, runs)
        failing = {slide_id for slide_id, rows in shared.items() if any(cell.fails for cell in rows.values())}
        failing |= set(failed)
        left = [item for item in digests if item[0] not in failing]
        found = find_copies(left, near, runs if len(left) == len(digests) else None)

        @cache
        def names(slide_id: str) -> list[str]:
            return [row.cell_id for row in self.scores(by_id[slide_id])]

        resolved: dict[str, dict[int, Copied | SharedCell | Original]] = {}
        for slide_id, rows in found.items():
            for row, copy in rows.items():
                resolved.setdefault(slide_id, {})[row] = Copied(names(copy.slide_id)[copy.row], copy.near)
                resolved.setdefault(copy.slide_id, {}).setdefault(copy.row, Original(slide_id, copy.near))
        for slide_id, others in shared.items():
            for row, other in others.items():
                cell = SharedCell(names(other.slide_id)[other.row], other.slide_id, other.fails, other.near)
                resolved.setdefault(slide_id, {})[row] = cell
        return resolved

    def _digests_of(self, usable: Sequence[SlideRecord]) -> list[tuple[str, npt.NDArray[np.uint8]]]:
        """Of slides that `_usable` gave; read once for all that is asked of the same ones."""
        if self._digests_read is None or self._digests_read[0] is not usable:
            self._digests_read = usable, [(record.slide_id, self.digests(record)) for record in usable]
        return self._digests_read[1]

    def _near_copies(
        self, records: Sequence[SlideRecord], digests: Sequence[tuple[str, npt.NDArray[np.uint8]]]
    ) -> list[tuple[CellAt, CellAt]]:
        """Pairs of cells that show the same picture with other pixels."""
        known = _known(records)
        if self._near is not None and self._near[0] == known:
            return self._near[1]
        starts = np.concatenate([[0], np.cumsum([record.cells for record in records])])
        if not starts[-1]:
            return []
        spectra = np.concatenate([self.spectra(record) for record in records])
        # Of equal pixels the first is kept for all.
        stacked = np.concatenate([rows for _, rows in digests])
        again = np.ones(len(stacked), bool)
        again[np.unique(stacked, axis=0, return_index=True)[1]] = False
        spectra[again] = 0
        kept = cache(lambda number: self.thumbnails(records[number]))

        def thumbnail(index: int) -> npt.NDArray[np.uint8]:
            number, row = locate(index, starts)
            return kept(number)(row)

        def place(index: int) -> CellAt:
            number, row = locate(index, starts)
            return records[number].slide_id, row

        slides = slides_of(records)
        before = self._near_before = read_near_cells(self.paths) if self._near_before is None else self._near_before
        compared = compare_nearest(spectra, thumbnail, before.moved(slides))
        if slides != before.slides:
            self._near_before, self._near_changed = NearCells(slides, compared), True
        found = [(place(one), place(other)) for one, other in compared.alike.tolist()]
        self._near = known, found
        return found

    def sweep(self) -> None:
        """Remove what an interrupted run left staged, in every slide, and put saved annotations in their place."""
        settle(self.paths)
        complete(self.paths)
        if not self.paths.slides.is_dir():
            return
        for entry in os.scandir(self.paths.slides):
            if entry.is_dir(follow_symlinks=False):
                paths = self.paths.slide(entry.name)
                if has_leftovers(paths):
                    sweep_slide(paths, read_record(paths), others=True)

    def _generation(self, record: SlideRecord) -> GenerationPaths:
        if record.generation is None:
            raise ValueError(f"slide {record.slide_id} has no scores")
        return self.paths.slide(record.slide_id).generation(record.generation)

    def _stored(self, record: SlideRecord) -> _Stored:
        """What scores.csv of a slide holds, parsed once for all that ask for it one after the other."""
        generation = self._generation(record)
        files = state_of(generation.scores.parent, [generation.scores.name])
        state = (record.slide_id, record.generation, files.lines)
        if self._latest is None or self._latest[0] != state:
            try:
                self._latest = state, _parsed(read_stored(read_bytes(generation.scores), SCORE_COLUMNS))
            except (OSError, ValueError, KeyError) as error:
                raise _damaged(record, f"{generation.scores} cannot be read: {reason(error)}") from error
        return self._latest[1]


@dataclass(frozen=True, slots=True)
class _Stored:
    """scores.csv of a slide: its rows, and where each one's picture and maps are (see `StoredCrops`)."""

    rows: tuple[ScoreRow, ...]
    offsets: tuple[tuple[int, int] | None, ...]
    positions: tuple[int | None, ...]


def _parsed(lines: Iterable[dict[str, str]]) -> _Stored:
    rows: list[ScoreRow] = []
    offsets: list[tuple[int, int] | None] = []
    positions: list[int | None] = []
    offset = kept = 0
    for fields in lines:
        rows.append(_score_row(fields))
        length = int(fields["jpeg_bytes"] or 0)
        offsets.append((offset, length) if length else None)
        positions.append(kept if length else None)
        offset += length
        kept += bool(length)
    return _Stored(tuple(rows), tuple(offsets), tuple(positions))


def _known(records: Sequence[SlideRecord]) -> object:
    """What tells whether anything changed in the results of these slides."""
    return tuple((r.slide_id, r.generation, r.each_its_own, *sorted(r.checksums.items())) for r in records)


def _damaged(record: SlideRecord, what: str) -> StorageError:
    return StorageError(
        f"The stored result of slide {record.slide_id} is damaged: {what}.",
        "Run again to score it again, or restore OUT from a copy.",
    )


def _too_bad(record: SlideRecord) -> bool:
    limit = record.call.max_bad_fraction if record.call else 1.0
    return too_many_unreadable(record.unreadable, record.cells, limit)


def _score_row(fields: Mapping[str, str]) -> ScoreRow:
    page = int(fields["page"]) if fields["page"] else None
    found = found_at({**fields, "reason": ""})
    if not fields["p_mn"]:
        return ScoreRow(
            cell_id=fields["cell_id"],
            source=fields["source"],
            page=page,
            p_mn=None,
            reason=fields["reason"],
            quality=None,
            found=found,
        )
    quality = Quality(
        sharpness=float(fields["sharpness"]),
        contrast=float(fields["contrast"]),
        saturated_fraction=float(fields["saturated_fraction"]),
        nuclei=int(fields["nuclei"]),
        nucleus_fraction=float(fields["nucleus_fraction"]),
    )
    zoom = float(fields.get("zoom") or 1)
    p_mn, ratios = float(fields["p_mn"]), _ratios(fields)
    stain = cast(Stain, fields.get("stain") or fields.get("look") or "unknown")
    return ScoreRow(
        cell_id=fields["cell_id"],
        source=fields["source"],
        page=page,
        p_mn=p_mn,
        reason="",
        quality=quality,
        ratios=ratios,
        zoom=zoom,
        found=found,
        stain=stain,
        crop_px=int(fields.get("crop_px") or 0) or None,
    )


def _ratios(fields: Mapping[str, str]) -> tuple[float, float] | None:
    """None from a model that answers yes or no, and from a version of mnbatch that had no other."""
    second, third = fields.get("q_2"), fields.get("q_3")
    return (float(second), float(third)) if second and third else None

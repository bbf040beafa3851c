"""Calls slides and writes their table and page where these are out of date."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from mnbatch.assay.calls import SlideCall
from mnbatch.assay.estimates import Estimates, slide_estimates
from mnbatch.assay.laboratory import NO_LABORATORY, Laboratory
from mnbatch.assay.own_cells import ValidatedCell
from mnbatch.assay.sample_sheet import DETAILS, REPORT_TEXTS, TARGETS, is_background
from mnbatch.csvfile import is_number
from mnbatch.dosimetry.detection_limits import Control
from mnbatch.report import gallery_page, page_content, rendering, tables
from mnbatch.report.confirmation import ConfirmedFrequency, confirmed_frequency
from mnbatch.report.control_charts import called_with
from mnbatch.report.control_samples import NO_CONTROLS, BatchControls
from mnbatch.report.derived_files import SlideSummary, digest, files_match, read_summary, remove_files, write_if_changed
from mnbatch.report.field_context import surroundings
from mnbatch.report.field_exports import FOLDER, geojson_files, write_label_masks
from mnbatch.report.field_exports import MASKS_FOLDER as MASKS
from mnbatch.report.field_pictures import fields_view
from mnbatch.report.items import SlideItem
from mnbatch.report.page_pictures import Candidate, gallery_view
from mnbatch.report.statistics import ground_of, person_of, statistics_of
from mnbatch.results.checksums import checksum, file_checksum
from mnbatch.results.dosing_settings import scoring_mode
from mnbatch.results.lock import check_still_held
from mnbatch.results.model_errors import validation_of
from mnbatch.results.out_files import storage_errors, write_atomically
from mnbatch.results.paths import SlidePaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Roster, Samples
from mnbatch.results.store import Store
from mnbatch.results.stored_crops import StoredCrops
from mnbatch.results.whole_files import state_of
from mnbatch.review.queue import Queue, draw_queue, load_plan
from mnbatch.review.review_status import SlideReview, review_without_result, slide_review
from mnbatch.review.trail import Trail, read_trail, reviewed_slides, trail_digest

DONOR_LETTERS = 48
DERIVED = ("cells.csv", "index.html", "summary.json")


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a reader may choose.

    Attributes:
        gallery: cells shown a page in each part of the gallery; 0 for none.
        min_cells: a donor with fewer BN cells is `insufficient`.
        geojson: also write the cells of fields and whole slides as GeoJSON for QuPath.
        label_masks: also write them as label images.
        force: make everything again, whatever the stamps say.
    """

    gallery: int = 24
    min_cells: int = 200
    geojson: bool = False
    label_masks: bool = False
    force: bool = False

    @property
    def more(self) -> list[str]:
        """What is asked for beyond tables and pages."""
        return [name for name, on in (("geojson", self.geojson), ("label_masks", self.label_masks)) if on]


@dataclass(frozen=True, slots=True)
class Context:
    """What a slide's report depends on in addition to its own record.

    Attributes:
        roster: which slides and cells count.
        also_found: slide_id -> names of byte-identical slides that were not taken.
        validated: the laboratory's own scored cells.
        controls: control slides by model and threshold (see `mnbatch.report.control_charts`).
        batch_controls: the batch's control samples against their ranges.
        laboratory: what the laboratory states for its reports.
        export: last folder of the export's path; under pseudonyms its code.
    """

    samples: Samples
    roster: Roster
    also_found: Mapping[str, tuple[str, ...]]
    validated: Sequence[ValidatedCell] = ()
    controls: Mapping[str, Control] = field(default_factory=dict)
    batch_controls: BatchControls = NO_CONTROLS
    laboratory: Laboratory = NO_LABORATORY
    export: str = ""


@dataclass(frozen=True, slots=True)
class SlideData:
    """What OUT holds of a slide, read once for all of its pages and files.

    Attributes:
        call, next_step: see `Roster.call`.
        crops: None where no page shows pictures, or none are kept.
        trail: decisions of its review.
    """

    record: SlideRecord
    call: SlideCall
    next_step: str
    crops: StoredCrops | None
    trail: Trail


class SlideBuilder:
    """Brings slides up to date one by one.

    Attributes:
        built: number of slides whose files were made again.
        stamps: slide_id -> stamp of all that the slide's files show.
        damaged: whether a stored result was not what was written, or could not be read.
    """

    def __init__(self, store: Store, context: Context, options: ReportOptions) -> None:
        self.store = store
        self.options = options
        self.context = context
        self._plan = load_plan(store.paths)
        self._planned = asdict(self._plan)
        self._reviewed = frozenset(reviewed_slides(store.paths))
        self._validated = digest([asdict(cell) for cell in context.validated])
        self._beside: set[str] = set()
        # Of slides that were asked about before they are made: a stamp takes a look at all of a slide's results.
        self._asked: dict[str, str] = {}
        self.built = 0
        self.stamps: dict[str, str] = {}
        self.damaged = False

    def out_of_date(self, records: Iterable[SlideRecord]) -> list[SlideRecord]:
        """Slides whose files were made of something else than what is there now; the files are not looked at."""
        asked = [(record, self._stamp(record)) for record in records]
        self._asked = {record.slide_id: stamp for record, stamp in asked}
        return [record for record, stamp in asked if self._known(record, stamp) is None]

    def were_made(self, slide_ids: Set[str]) -> None:
        """Slides of which another process has just made the files."""
        self._beside |= slide_ids
        self.built += len(slide_ids)

    def _known(self, record: SlideRecord, stamp: str) -> SlideSummary | None:
        if self.options.force and record.slide_id not in self._beside:
            return None
        known = read_summary(self.store.paths.slide(record.slide_id).summary)
        return known if known is not None and known.stamp == stamp else None

    def item(self, record: SlideRecord) -> SlideItem:
        """The slide as other pages show it; its own files are made again if anything in them has changed."""
        paths = self.store.paths.slide(record.slide_id)
        stamp = self._asked.pop(record.slide_id, "") or self._stamp(record)
        self.stamps[record.slide_id] = stamp
        known = self._known(record, stamp)
        if known is not None and self._match(paths, known):
            return self._item(record, known.call(), known.next_step, known.review, known.estimates, known.confirmed)
        return self._build(record, stamp)

    def _match(self, paths: SlidePaths, known: SlideSummary) -> bool:
        """Whether the slide's files are those that were written."""
        whole, name, stated = self.store.whole, f"pages/{paths.root.name}", [known.sizes, known.checksums]
        state = state_of(paths.root, known.sizes)
        if whole is not None and whole.has(name, stated, state):
            return True
        found = files_match(paths.root, known.sizes, known.checksums)
        if found and whole is not None:
            whole.add(name, stated, state)
        return found

    def candidates(self, record: SlideRecord) -> list[Candidate]:
        """The slide's counted cells for a donor's gallery; none, and nothing is read, where no cells are shown."""
        if not self.options.gallery:
            return []
        call, _ = self.context.roster.call(record, pictures=True)
        href = rendering.href(f"../../slides/{record.slide_id}/index.html")
        return self._candidates(record, call, self._crops(record, call), record.name, href) if call.frequency else []

    def _stamp(self, record: SlideRecord) -> str:
        slide_id, context = record.slide_id, self.context
        damage = self.store.damage(record)
        self.damaged = self.damaged or bool(damage)
        return digest(
            record.model_dump_json(),
            [(row, str(other)) for row, other in sorted(context.roster.copies.get(slide_id, {}).items())],
            dict(context.samples.get(slide_id, {})),
            context.also_found.get(slide_id, ()),
            [self.options.gallery, *self.options.more] if self.options.more else self.options.gallery,
            self._planned,
            trail_digest(self.store.paths, slide_id) if slide_id in self._reviewed else "",
            self._validated,
            repr(context.controls.get(called_with(record))),
            # Not where OUT is on this machine.
            damage.replace(f"{self.store.paths.root}{os.sep}", ""),
            *((asdict(context.roster.known[slide_id]),) if slide_id in context.roster.known else ()),
            *filter(None, [context.batch_controls.state]),
        )

    def _read(self, record: SlideRecord) -> SlideData:
        call, next_step = self.context.roster.call(record, pictures=bool(self.options.gallery))
        trail = read_trail(self.store.paths, record.slide_id)
        return SlideData(record, call, next_step, self._crops(record, call), trail)

    def _crops(self, record: SlideRecord, call: SlideCall) -> StoredCrops | None:
        return self.store.crops(record) if call.cells and self.options.gallery else None

    def _build(self, record: SlideRecord, stamp: str) -> SlideItem:
        data = self._read(record)
        call = data.call
        if self.options.gallery and self.store.damage(record, pictures=True):
            # Pictures are checked only when pages are made: the next report has to check again.
            self.damaged = True
            self.stamps[record.slide_id] = stamp = digest(stamp, "pictures")
        review, queue = self._review(data)
        validation = validation_of(record, self.context.validated)
        estimates = slide_estimates(call, validation)
        confirmed = confirmed_frequency([review], [validation], estimates)
        item = self._item(record, call, data.next_step, review, estimates, confirmed)
        candidates = self._candidates(record, call, data.crops, "", "")
        extra = self._gallery(item, data, queue, stamp)
        link = gallery_page.PAGE if extra else ""
        fields = fields_view(self.store, record, call.cells, self.options.gallery)
        page = page_content.slide_page(item, call.cells, gallery_view(candidates, self.options.gallery), link, fields)
        self._write(record, stamp, item, {"index.html": rendering.render_slide(page, stamp)} | extra)
        self.built += 1
        # What is listed of the slide elsewhere holds no cells: a batch of 2000 slides would not fit
        # into memory.
        return self._item(record, _without_cells(call), data.next_step, review, estimates, confirmed)

    def _gallery(self, item: SlideItem, data: SlideData, queue: Queue | None, stamp: str) -> dict[str, bytes]:
        """The gallery page and its files; empty where none is wanted or no pictures are kept."""
        record = item.record
        if queue is None or data.crops is None:
            return {}
        given = self.context.samples.get(record.slide_id, {}).get("um_per_pixel", "")
        files = gallery_page.slide_files(
            record,
            item.call.cells,
            data.crops,
            queue,
            data.trail,
            around=surroundings(self.store, record, item.call.cells, geojson=self.options.geojson),
            um_per_pixel=float(given) if is_number(given) else None,
        )
        if not files:
            return {}
        shown = ((record.slide_id, record.name, f"{gallery_page.FOLDER}/"),)
        sign = rendering.href(f"../../donors/{item.donor_folder}/index.html") if item.donor_folder else ""
        page = gallery_page.CellPage(
            name=record.name, kind="Slide", back="index.html", up="../../index.html", slides=shown, sign=sign
        )
        return {gallery_page.PAGE: rendering.render_gallery(page, stamp)} | files

    def _write(self, record: SlideRecord, stamp: str, item: SlideItem, pages_: dict[str, bytes]) -> None:
        paths, call = self.store.paths.slide(record.slide_id), item.call
        check_still_held(paths.lock)
        files = dict(pages_)
        if call.cells:
            files[paths.cells_csv.name] = tables.cells_csv(call.cells)
        else:
            remove_files(paths.root, [paths.cells_csv.name])
        with storage_errors(paths.root):
            shutil.rmtree(paths.root / FOLDER, ignore_errors=True)
            paths.root.mkdir(parents=True, exist_ok=True)
            if self.options.geojson and record.fields is not None and call.cells:
                files |= geojson_files(self.store, record, call.cells)
                (paths.root / FOLDER).mkdir()
            masks = self._write_masks(record, call, paths.root)
        sweep_gallery(paths.root, files)
        if gallery_page.PAGE in files:
            with storage_errors(paths.root):
                (paths.root / gallery_page.FOLDER).mkdir(exist_ok=True)
        for name, data in files.items():
            write_if_changed(paths.root / name, data)
        sizes = dict(sorted(({name: len(data) for name, data in files.items()} | masks).items()))
        checksums = {name: checksum(data) for name, data in files.items()}
        checksums |= {name: file_checksum(paths.root / name) for name in masks}
        # Last, so that a kill in between leaves a stamp that does not match.
        write_atomically(
            paths.summary,
            replace(
                SlideSummary.of(
                    stamp=stamp,
                    call=call,
                    next_step=item.call_next_step,
                    sizes=sizes,
                    review=item.review,
                    estimates=item.estimates,
                    confirmed=item.confirmed,
                ),
                checksums=dict(sorted(checksums.items())),
            ).to_bytes(),
        )

    def _write_masks(self, record: SlideRecord, call: SlideCall, root: Path) -> dict[str, int]:
        """Label images of a slide of fields, straight to the disk: they grow with the slide. Name -> bytes."""
        shutil.rmtree(root / MASKS, ignore_errors=True)
        if not self.options.label_masks or record.fields is None or not call.cells:
            return {}
        (root / MASKS).mkdir()
        return write_label_masks(self.store, record, call.cells, root / MASKS)

    def _review(self, data: SlideData) -> tuple[SlideReview, Queue | None]:
        """The state of the slide's review, and what is to be reviewed; none of a slide that is not counted."""
        if data.call.frequency is None:
            return review_without_result(data.trail), None
        queue = draw_queue(data.record, data.call.cells, self._plan)
        return slide_review(queue, data.trail), queue

    def _candidates(
        self, record: SlideRecord, call: SlideCall, crops: StoredCrops | None, name: str, href: str
    ) -> list[Candidate]:
        if record.call is None or self.options.gallery == 0:
            return []
        return [
            Candidate(
                cell=cell, row=row, pictures=crops, threshold=record.call.threshold, slide_name=name, slide_href=href
            )
            for row, cell in enumerate(call.cells)
            if cell.mn is not None
        ]

    def _item(
        self,
        record: SlideRecord,
        call: SlideCall,
        next_step: str,
        review: SlideReview,
        estimates: Estimates,
        confirmed: ConfirmedFrequency | None,
    ) -> SlideItem:
        row = self.context.samples.get(record.slide_id, {})
        sample = sample_columns(row, record.pseudonymised)
        donor = row.get("donor") or record.donor
        folder = donor_folder(donor) if donor else ""
        also_found = self.context.also_found.get(record.slide_id, ())
        control = self.context.controls.get(called_with(record))
        ground = ground_of(is_background(row), control, [scoring_mode(record)], review.number, person_of([row]))
        statistics = statistics_of(call.frequency, call.mn, estimates, ground)
        return SlideItem(
            record=record,
            call=call,
            donor=donor,
            donor_folder=folder,
            sample=sample,
            also_found=also_found,
            call_next_step=next_step,
            review=review,
            estimates=estimates,
            statistics=statistics,
            controls=self.context.batch_controls,
            confirmed=confirmed,
        )


def sweep_gallery(folder: Path, keep: Collection[str]) -> None:
    """Remove what an earlier report left of a gallery."""
    within = folder / gallery_page.FOLDER
    there = sorted(os.listdir(within)) if within.is_dir() else []
    remove_files(within, [name for name in there if f"{gallery_page.FOLDER}/{name}" not in keep])
    if gallery_page.PAGE not in keep:
        remove_files(folder, [gallery_page.PAGE])


def sample_columns(row: Mapping[str, str], pseudonymised: bool) -> dict[str, str]:
    """What the sheet states in addition to the donor; free text may hold names, so pseudonyms leave it out."""
    kept = {name: row.get(name, "") for name in (*tables.SAMPLE_COLUMNS, "control", *TARGETS, *DETAILS)}
    kept |= {name: f"{float(kept[name]):g}" for name in ("dose_gy", "age") if is_number(kept[name])}
    return kept | dict.fromkeys(("note", *REPORT_TEXTS), "") if pseudonymised else kept


def donor_folder(donor: str) -> str:
    """Folder of a donor's page: readable, safe on every file system, different for different codes."""
    plain = unicodedata.normalize("NFKD", donor).encode("ascii", "ignore").decode("ascii")
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:DONOR_LETTERS] or "donor"
    return f"{readable}-{hashlib.sha256(donor.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _without_cells(call: SlideCall) -> SlideCall:
    return replace(call, cells=())

"""What an export holds, whether an OUT is as it was written, and one chart over many of them.

Each function imports what it needs: a scan must not load what a chart does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnbatch.errors import NoInputError, UsageError
from mnbatch.renamed import current_input

if TYPE_CHECKING:
    from mnbatch.assay.cells import Skipped, Slide
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.imaging.inputs import Recognised
    from mnbatch.imaging.layouts import Layout
    from mnbatch.pipeline.workers import WorkerPool
    from mnbatch.report.control_charts import BatchPoint
    from mnbatch.report.verifying import Verified
    from mnbatch.results.roster import Missing

RECOGNISING_SECONDS, RECOGNISING_GIB = 60.0, 4.0
"""What looking at one file may take."""


@dataclass(frozen=True, slots=True)
class History:
    """Batches in one control chart.

    Attributes:
        points: every batch, in the order of time.
        outside: of these, batches beyond the limits of their method.
        missing: slides of all batches that are not counted, as folder/slide_id; and batches that cannot be read.
    """

    page: Path
    points: tuple[BatchPoint, ...]
    outside: tuple[BatchPoint, ...]
    missing: tuple[Missing, ...]

    @property
    def ahead(self) -> tuple[BatchPoint, ...]:
        """Batches that say a time which is still to come."""
        return tuple(point for point in self.points if point.ahead)


@dataclass(frozen=True, slots=True)
class ScannedSlide:
    """What is listed of a slide; its files are counted, not kept.

    Attributes:
        pages: what the pages of its files are and what of them is read; "" for ordinary pictures, or if not looked at.
        scenes: which of its files show one scene by their names, and what of them is read; "" where each is its own.
        asked: what a person has to say before it can be counted; "" for nothing.
        waits: why a run would leave it to the next one; "" for a slide that is settled.
        kind: crops, fields or wsi.
        cells: crops or fields in it, scans of a whole slide; None if not looked at. estimated: from a few files.
        width, height, values: of a picture of it: pixels, and what they are (`uint16 grey`); 0, 0 and "" if not
            looked at.
        um_per_pixel: what its files say; None where they say nothing.
        left_out: files and folders in its place that are not counted.
        unreadable: why a picture of the few that were looked at cannot be read; "" for none.
        stage_positions: its fields state where the stage stood.
        strip: its contact strip, where one was asked for and could be made.
    """

    slide_id: str
    slide: str
    donor: str | None
    path: str
    files: int
    bytes: int
    copy_of: str | None
    settled: bool
    dose_gy: float | None = None
    pages: str = ""
    asked: str = ""
    scenes: str = ""
    waits: str = ""
    kind: str = "crops"
    cells: int | None = None
    estimated: bool = False
    width: int = 0
    height: int = 0
    values: str = ""
    um_per_pixel: float | None = None
    left_out: int = 0
    unreadable: str = ""
    strip: str | None = None
    stage_positions: bool = False


@dataclass(frozen=True, slots=True)
class ScannedExport:
    """What `run` would find in an export.

    Attributes:
        skipped: files and folders that were not taken; empty unless they were asked for.
        reasons: reason -> how many were not taken for it; always counted.
    """

    export: str
    layout: Layout
    recognised: Recognised
    slides: tuple[ScannedSlide, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)


class NothingFoundError(NoInputError):
    """No slide was found in an export; `found` has the reasons, which are wanted all the more."""

    def __init__(self, error: NoInputError, found: ScannedExport) -> None:
        super().__init__(error.message, error.next_step)
        self.found = found


def verify_results(out: Path) -> Verified:
    """Whether everything in OUT that has a checksum is as it was written; nothing is changed.

    Raises:
        NoInputError: OUT holds no results.
    """
    from mnbatch.app.rebuild import open_store
    from mnbatch.report.verifying import verify_out

    return verify_out(open_store(out).paths)


def draw_history(root: Path, page: Path) -> History:
    """Write a control chart over the batches below a folder.

    Raises:
        NoInputError: there is no batch.
        StorageError: a file cannot be read or written.
    """
    from mnbatch.files import write_out_file
    from mnbatch.report.control_charts import chart_page, find_batches, limits, outside

    unread: list[Missing] = []
    points = find_batches(root.resolve(), unread)
    if not points:
        raise NoInputError(
            f"There is no batch of mnbatch below {root}.", "Give the folder that holds the --out folders."
        )
    write_out_file(page.resolve(), chart_page(points))
    beyond: list[BatchPoint] = []
    for method in dict.fromkeys(point.method for point in points):
        of = [point for point in points if point.method == method]
        chart = limits([point.per_1000 for point in of if point.per_1000 is not None])
        beyond += [point for point in of if outside(point.per_1000, chart)]
    missing = [replace(slide, slide_id=f"{p.folder}/{slide.slide_id}") for p in points for slide in p.missing]
    return History(page, tuple(points), tuple(beyond), (*missing, *unread))


def scan_export(
    export: Path,
    *,
    layout: str = "folder-per-slide",
    input: str = "auto",
    samples: Path | None = None,
    settle: float | None = None,
    keep_skipped: bool = False,
    options: PageOptions | None = None,
    look_into: bool = False,
    contact: Path | None = None,
) -> ScannedExport:
    """List the slides that a run would find; a few images are examined to tell what they are.

    Args:
        layout: name of a preset, or a pattern.
        input: crops, fields or wsi; auto recognises it.
        samples: sample sheet whose donors replace those of the paths.
        settle: mark slides younger than this, in seconds, as not settled.
        keep_skipped: also list each file that was not taken, with the reason.
        options: what a person says of files of one scene, and of pages.
        look_into: look into a few files of each slide for what they hold and what their pages are.
        contact: folder for a strip of pictures of each slide, `<slide_id>.png`.

    Raises:
        UsageError: no such layout or input, a sample sheet that cannot be used, or `contact` is in the export.
        NothingFoundError: no slide, or no such export (a NoInputError that holds what was seen).
        StorageError: it cannot be read.
    """
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.imaging.discovery import find_slides
    from mnbatch.imaging.layouts import parse_layout

    options = options or PageOptions()
    parse_layout(layout)  # a wrong one is refused before any image is read
    if contact is not None:
        from mnbatch.results.batch import refuse_out_in_export

        refuse_out_in_export(export, contact)
    recognised = _recognised(current_input(input), export, layout)
    found = ScannedExport(str(export), parse_layout(layout, recognised.kind), recognised)
    skips = _Skips(keep_skipped)
    slides: list[ScannedSlide] = []
    crawled: list[Slide] = []
    try:
        for slide in find_slides(
            export,
            layout=layout,
            settle_seconds=settle,
            explain=skips.note,
            kind=recognised.kind,
            stated=input != "auto",
            options=options,
        ):
            slides.append(_listed(slide))
            if look_into or contact is not None:
                crawled.append(slide)
    except NoInputError as error:
        raise NothingFoundError(error, skips.added_to(found)) from error
    if samples is not None:
        slides = _with_donors_of(samples, slides)
    if look_into or contact is not None:
        slides = _with_looks(slides, crawled, options, contact)
    return replace(skips.added_to(found), slides=tuple(slides))


class _Skips:
    """What a crawl did not take."""

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._skipped: list[Skipped] = []
        self._reasons: Counter[str] = Counter()

    def note(self, skipped: Skipped) -> None:
        self._reasons[skipped.reason] += 1
        if self._keep:
            self._skipped.append(skipped)

    def added_to(self, found: ScannedExport) -> ScannedExport:
        return replace(found, skipped=tuple(self._skipped), reasons=dict(self._reasons))


def _recognised(input: str, export: Path, layout: str) -> Recognised:
    from mnbatch.imaging.inputs import KINDS, Recognised, recognise_input

    if input == "auto":
        from mnbatch.pipeline.workers import WorkerPool

        with WorkerPool(1, RECOGNISING_SECONDS, RECOGNISING_GIB, looking=True) as pool:
            return recognise_input(export, layout, pool.vote)
    for kind in KINDS:
        if input == kind:
            return Recognised(kind, "as --input says")
    raise UsageError(f"--input cannot be '{input}'.", f"Use auto or one of {', '.join(KINDS)}.")


def _listed(slide: Slide) -> ScannedSlide:
    return ScannedSlide(
        slide_id=slide.slide_id,
        slide=slide.name,
        donor=slide.donor,
        path=slide.path,
        files=len(slide.files),
        bytes=sum(file.size for file in slide.everything),
        copy_of=slide.copy_of,
        settled=slide.settled,
        asked=" ".join(slide.refused or ()),
        scenes="" if slide.named is None else slide.named.described(),
        waits=slide.waits.why if slide.waits else "",
        kind=slide.kind,
        left_out=len(slide.skipped),
    )


def _with_looks(
    slides: list[ScannedSlide], crawled: list[Slide], options: PageOptions, contact: Path | None
) -> list[ScannedSlide]:
    from mnbatch.pipeline.workers import WorkerPool

    with WorkerPool(1, RECOGNISING_SECONDS, RECOGNISING_GIB, looking=True) as pool:
        return [_with_look(one, slide, pool, options, contact) for one, slide in zip(slides, crawled, strict=True)]


def _with_look(
    one: ScannedSlide, slide: Slide, pool: WorkerPool, options: PageOptions, contact: Path | None
) -> ScannedSlide:
    if slide.copy_of or slide.refused:
        return one
    look, asked = pool.look(slide, options)
    seen = replace(
        one,
        pages=look.pages,
        asked=asked,
        cells=None if asked else look.cells,
        estimated=look.estimated,
        width=look.width,
        height=look.height,
        values=look.values,
        um_per_pixel=look.um_per_pixel,
        unreadable=look.unreadable,
        stage_positions=look.placed,
    )
    return seen if contact is None else replace(seen, strip=_strip(slide, pool, options, contact))


def _strip(slide: Slide, pool: WorkerPool, options: PageOptions, contact: Path) -> str | None:
    from mnbatch.files import storage_errors, write_out_file

    picture = pool.strip(slide, options)
    if not picture:
        return None
    path = contact / f"{slide.slide_id}.png"
    with storage_errors(contact):
        contact.mkdir(parents=True, exist_ok=True)
    write_out_file(path.resolve(), picture)
    return str(path)


def _with_donors_of(sheet: Path, slides: list[ScannedSlide]) -> list[ScannedSlide]:
    from mnbatch.assay.sample_sheet import match_samples, read_samples

    matched = match_samples(read_samples(sheet), [(one.slide_id, one.slide, one.path) for one in slides])
    found = [(one, matched.get(one.slide_id)) for one in slides]
    return [one if row is None else replace(one, donor=row.donor, dose_gy=row.dose_gy) for one, row in found]

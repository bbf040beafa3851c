"""From scores to counts: the threshold, the quality flags, copies and unreadable cells, per slide and per donor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from mnbatch.assay.cells import Quality, ScoreRow
from mnbatch.assay.copies import Copied, Elsewhere, Original, SharedCell
from mnbatch.assay.field_records import FoundAt
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.assay.mn_counts import NOT_COUNTED, CellCount, MnFrequency
from mnbatch.assay.stains import NAMES, SlideStain

# Quality flags: what a person should know of a cell; a flag never excludes it.


FLAGS: tuple[str, ...] = ("blurred", "weak_stain", "several_cells", "no_nucleus", "saturated")

BORDER_FLAG = "border"
"""Of a cell of a field that reaches the field's edge; only scored with --cells all, in a crop that is filled up."""


@dataclass(frozen=True, slots=True)
class QualityRules:
    """Thresholds of the flags; how often each is raised on real crops is in docs/layouts.md.

    Attributes:
        version: changes with any threshold or with the way the measures are taken; part of the call key.
        least_sharpness: below it `blurred`. 8 is an edge blurred by 5 % of the nuclear diameter (Gaussian
            sigma, 1 / (8 sqrt(2 pi))), which smears the smallest micronuclei (a sixteenth of it) away.
        least_contrast: below it `weak_stain` (share of the file's full range).
        most_nuclei: above it `several_cells`; a binucleated cell has two, and neighbours that the crop's
            border cuts are not counted.
        least_nucleus_fraction: below it `no_nucleus` (share of the crop).
        most_nucleus_fraction: above it `no_nucleus` too: what was found is the background.
        most_saturated: above it `saturated` (share of nuclear pixels).
    """

    version: int = 1
    least_sharpness: float = 8.0
    least_contrast: float = 0.18
    most_nuclei: int = 2
    least_nucleus_fraction: float = 0.01
    most_nucleus_fraction: float = 0.8
    most_saturated: float = 0.4


def quality_flags(quality: Quality, rules: QualityRules) -> tuple[str, ...]:
    """Flags of one cell in the order of `FLAGS`; empty for an ordinary cell.

    Without a nucleus there is no outline whose sharpness could be judged, so `blurred` is not raised then.
    """
    has_nucleus = rules.least_nucleus_fraction <= quality.nucleus_fraction <= rules.most_nucleus_fraction
    raised = (
        has_nucleus and quality.sharpness < rules.least_sharpness,
        quality.contrast < rules.least_contrast,
        quality.nuclei > rules.most_nuclei,
        not has_nucleus,
        quality.saturated_fraction > rules.most_saturated,
    )
    return tuple(flag for flag, is_raised in zip(FLAGS, raised, strict=True) if is_raised)


# From scores to counts: the threshold, the quality flags, copies and unreadable cells, per slide and per donor.
#
# Everything here is a pure function of stored scores and stated rules, so a report can be made again at any time.


PER = 1000
"""Frequencies are given per 1000 binucleated cells."""

SlideStatus = Literal["done", "partial", "failed", "waiting"]
"""`partial`: some of the slide's fields could not be used; its counts are those of the others.
`waiting`: not scored yet, left to the next run."""

DonorStatus = Literal["done", "partial", "insufficient", "failed", "waiting"]
"""`waiting`: all of the donor's slides are."""


@dataclass(frozen=True, slots=True)
class CallRules:
    """What turns scores into counts.

    Attributes:
        threshold: a cell is called MN when p_mn >= threshold.
        max_bad_fraction: a slide with a larger share of unreadable cells is failed.
        quality: rules of the quality flags.
    """

    threshold: float
    max_bad_fraction: float = 0.1
    quality: QualityRules = field(default_factory=QualityRules)

    def key(self, score_key: str) -> str:
        """Digest (16 hex digits) of the score key and these rules."""
        text = json.dumps([score_key, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class CalledCell:
    """One cell as reported; p_mn, mn and count are None for an excluded cell, whose reason is then given.

    `count` is None, too, where the model answers yes or no; `found` where the cell came as a crop. `zoom`: see
    `mnbatch.assay.cells.CellCrop`; `crop_px`: see `mnbatch.assay.cells.ScoreRow`.
    """

    cell_id: str
    source: str
    page: int | None
    p_mn: float | None
    mn: bool | None
    qc: tuple[str, ...]
    reason: str
    count: CellCount | None = None
    zoom: float = 1.0
    found: FoundAt | None = None
    crop_px: int | None = None

    def um_of_picture(self, um_per_pixel: float | None) -> float | None:
        """Width of what its picture shows, um; None where it is not known.

        Args:
            um_per_pixel: pixel size that a person gave for the slide; None takes that of its field.
        """
        um = um_per_pixel or (self.found.um_per_pixel if self.found is not None else None)
        return None if um is None or self.crop_px is None else um * self.crop_px / self.zoom


@dataclass(frozen=True, slots=True)
class Frequency:
    """MNBN cells among binucleated cells with the exact 95 % interval, per 1000 BN cells.

    All three rates are None where no cell was counted: no cell is not the same as no micronucleus.
    """

    bn_cells: int
    mnbn_cells: int
    per_1000: float | None
    ci_low: float | None
    ci_high: float | None

    @classmethod
    def of(cls, mnbn_cells: int, bn_cells: int) -> Frequency:
        """Frequency of `mnbn_cells` among `bn_cells` with its Clopper-Pearson interval."""
        if bn_cells == 0:
            return cls(0, 0, None, None, None)
        low, high = clopper_pearson(mnbn_cells, bn_cells)
        return cls(bn_cells, mnbn_cells, PER * mnbn_cells / bn_cells, PER * low, PER * high)


@dataclass(frozen=True, slots=True)
class SlideCall:
    """The counts of one slide; `cells` keeps every cell, excluded ones too.

    Attributes:
        reason: why a failed slide is failed, "" otherwise.
        frequency: None for a failed slide.
        excluded_cells: cells that left the denominator (unreadable or copies).
        flagged_cells: counted cells with at least one quality flag.
        mn: micronuclei of the counted cells; None for a failed slide, and where `mn_reason` says why not.
        acknowledged: of a failed slide: a person has said that they know; `reason` has their words, too.
    """

    status: SlideStatus
    reason: str
    cells: tuple[CalledCell, ...]
    frequency: Frequency | None
    excluded_cells: int
    flagged_cells: int
    warnings: tuple[str, ...] = ()
    mn: MnFrequency | None = None
    mn_reason: str = ""
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class DonorCall:
    """The pooled counts of one donor's slides.

    Attributes:
        frequency: pooled over the slides that are done; None where none is.
        mn: likewise; None, too, where `mn_reason` says why not: then not all of these slides have counts.
        waiting_slide_ids: slides that are not scored yet; they are not among the failed ones.
    """

    donor: str
    status: DonorStatus
    reason: str
    slide_ids: tuple[str, ...]
    failed_slide_ids: tuple[str, ...]
    frequency: Frequency | None
    excluded_cells: int
    flagged_cells: int
    warnings: tuple[str, ...] = ()
    mn: MnFrequency | None = None
    mn_reason: str = ""
    waiting_slide_ids: tuple[str, ...] = ()


_SAVED_AGAIN = " (with other pixels)"


def call_slide(
    rows: Sequence[ScoreRow],
    rules: CallRules,
    copies: Elsewhere,
    mean_3plus: float | None = None,
    stain: SlideStain | None = None,
) -> SlideCall:
    """Call every cell of a slide and count.

    Args:
        rows: the slide's stored scores, in order.
        rules: threshold and quality rules.
        copies: cells that are counted elsewhere, or for no donor because they are of two donors; and counted ones that
            come again.
        mean_3plus: of the model's card: mean number of micronuclei of cells with 3 or more; None for a model that
            answers yes or no.
        stain: of the slide; cells of another one are not counted, unless it is forced.
    """
    strange = {i for i, row in enumerate(rows) if row.p_mn is not None and stain and stain.contradicts(row.stain)}
    foreign = strange if stain and not stain.forced else set()
    cells = tuple(
        _not_counted(row, rules, _other_stain(row, stain))
        if stain and i in foreign
        else _call_cell(row, rules, copies.get(i), mean_3plus)
        for i, row in enumerate(rows)
    )
    unreadable = sum(row.p_mn is None for row in rows)
    counted = [cell for cell in cells if cell.mn is not None]
    excluded = len(cells) - len(counted)
    flagged = sum(bool(cell.qc) for cell in counted)
    reason = _failure(len(rows), unreadable, rules) or _shared_failure(copies, len(rows) - unreadable)
    if not reason and not counted:
        reason = _nothing_counted(copies, foreign)
    if reason:
        return SlideCall(
            status="failed", reason=reason, cells=cells, frequency=None, excluded_cells=excluded, flagged_cells=flagged
        )
    frequency = Frequency.of(sum(bool(cell.mn) for cell in counted), len(counted))
    warnings = (
        *_slide_warnings(counted, copies, flagged, _slide_of(rows[0].cell_id) if rows else ""),
        *_stain_warnings(len(strange), len(rows) - unreadable, stain),
    )
    counts = [cell.count.n for cell in counted if cell.count is not None]
    # One cell without a count, and the sum would be of other cells than the denominator's.
    mn = MnFrequency.of(counts) if len(counts) == len(counted) else None
    mn_reason = "" if mn is not None else NOT_COUNTED
    return SlideCall(
        status="done",
        reason="",
        cells=cells,
        frequency=frequency,
        excluded_cells=excluded,
        flagged_cells=flagged,
        warnings=warnings,
        mn=mn,
        mn_reason=mn_reason,
    )


def with_skipped_fields(call: SlideCall, skipped: int, fields: int) -> SlideCall:
    """The call of a slide of which some fields could not be used: it is valid, and states it."""
    if not skipped or call.status == "failed":
        return call
    return replace(call, status="partial", reason=f"{skipped} of {fields} fields were skipped")


def too_many_unreadable(unreadable: int, total: int, max_bad_fraction: float) -> bool:
    """Whether a slide's unreadable cells are more than its results can bear."""
    return total == 0 or unreadable == total or unreadable / total > max_bad_fraction


def pool_donor(donor: str, calls: Sequence[tuple[str, SlideCall]], min_cells: int) -> DonorCall:
    """Pool a donor's slides: counts add up, and what is missing is said.

    Args:
        donor: the donor's code.
        calls: (slide_id, call) of every slide of the donor, failed ones too.
        min_cells: fewer BN cells than this make the donor `insufficient`. A donor with a failed or
            partial slide, or one that waits, is `partial`, whether or not the cells suffice; both are in the warnings.
    """
    done = [(slide_id, call) for slide_id, call in calls if call.frequency is not None]
    waiting = tuple(slide_id for slide_id, call in calls if call.status == "waiting")
    failed = tuple(slide_id for slide_id, call in calls if call.frequency is None and slide_id not in waiting)
    excluded = sum(call.excluded_cells for _, call in calls)
    flagged = sum(call.flagged_cells for _, call in done)
    slide_ids = tuple(slide_id for slide_id, _ in calls)
    if not done:
        nothing: DonorStatus = "failed" if failed else "waiting"
        reason = "no slide of this donor gave a result" if failed else "all slides of this donor wait to be scored"
        waits = (_waits(waiting, len(calls)),) if failed and waiting else ()
        return DonorCall(
            donor=donor,
            status=nothing,
            reason=reason,
            slide_ids=slide_ids,
            failed_slide_ids=failed,
            frequency=None,
            excluded_cells=excluded,
            flagged_cells=flagged,
            warnings=waits,
            waiting_slide_ids=waiting,
        )
    frequency = Frequency.of(
        sum(call.frequency.mnbn_cells for _, call in done if call.frequency),
        sum(call.frequency.bn_cells for _, call in done if call.frequency),
    )
    warnings = []
    if failed:
        warnings.append(f"{len(failed)} of {len(calls)} slides failed: {', '.join(failed)}")
    if waiting:
        warnings.append(_waits(waiting, len(calls)))
    if frequency.bn_cells < min_cells:
        warnings.append(f"{frequency.bn_cells} BN cells, fewer than the required {min_cells}")
    partial = [slide_id for slide_id, call in done if call.status == "partial"]
    if partial:
        warnings.append(f"of {len(partial)} of {len(calls)} slides some fields were skipped: {', '.join(partial)}")
    status: DonorStatus = (
        "partial" if failed or partial or waiting else "insufficient" if frequency.bn_cells < min_cells else "done"
    )
    reason = "; ".join(warnings)
    mn, mn_reason = _pool_mn(done)
    return DonorCall(
        donor=donor,
        status=status,
        reason=reason,
        slide_ids=slide_ids,
        failed_slide_ids=failed,
        frequency=frequency,
        excluded_cells=excluded,
        flagged_cells=flagged,
        warnings=tuple(warnings),
        mn=mn,
        mn_reason=mn_reason,
        waiting_slide_ids=waiting,
    )


def _waits(waiting: Sequence[str], slides: int) -> str:
    return f"{len(waiting)} of {slides} slides wait to be scored and are not counted yet: {', '.join(waiting)}"


def _pool_mn(done: Sequence[tuple[str, SlideCall]]) -> tuple[MnFrequency | None, str]:
    counted = [call.mn for _, call in done if call.mn is not None]
    without = [slide_id for slide_id, call in done if call.mn is None]
    if not without:
        return MnFrequency.pooled(counted), ""
    if not counted:
        return None, done[0][1].mn_reason
    return None, f"not available: {len(without)} of {len(done)} slides have no counts ({', '.join(without)})"


def _call_cell(
    row: ScoreRow, rules: CallRules, again: Copied | SharedCell | Original | None, mean_3plus: float | None
) -> CalledCell:
    if row.p_mn is None:
        return _not_counted(row, rules, row.reason)
    if isinstance(again, SharedCell):
        what = f"the same picture{_SAVED_AGAIN * again.near} as {again.cell_id} of another donor"
        return _not_counted(row, rules, f"{what}, counted for neither")
    if isinstance(again, Copied):
        return _not_counted(row, rules, f"copy{_SAVED_AGAIN * again.near} of {again.cell_id}, counted there")
    flags = _flags(row, rules)
    called = row.p_mn >= rules.threshold
    count = None
    if row.ratios is not None and mean_3plus is not None:
        count = CellCount.of(row.p_mn, row.ratios, called, mean_3plus)
    return CalledCell(
        cell_id=row.cell_id,
        source=row.source,
        page=row.page,
        p_mn=row.p_mn,
        mn=called,
        qc=flags,
        reason="",
        count=count,
        zoom=row.zoom,
        found=row.found,
        crop_px=row.crop_px,
    )


def _not_counted(row: ScoreRow, rules: CallRules, reason: str) -> CalledCell:
    return CalledCell(
        cell_id=row.cell_id,
        source=row.source,
        page=row.page,
        p_mn=None,
        mn=None,
        qc=_flags(row, rules),
        reason=reason,
        found=row.found,
    )


def _flags(row: ScoreRow, rules: CallRules) -> tuple[str, ...]:
    flags = quality_flags(row.quality, rules.quality) if row.quality is not None else ()
    return (*flags, BORDER_FLAG) if row.found is not None and row.found.at_border else flags


def _other_stain(row: ScoreRow, stain: SlideStain) -> str:
    return f"another stain: it looks like {NAMES[row.stain]}, its slide is {NAMES[stain.stain]}"


def _stain_warnings(strange: int, readable: int, stain: SlideStain | None) -> list[str]:
    if not strange or stain is None:
        return []
    if stain.forced:
        return [f"--stain {stain.stain} was given, but {strange} of {_cells(readable)} show another; all are counted"]
    return [f"{strange} of {_cells(readable)} not counted: another stain than the slide's {NAMES[stain.stain]}"]


def _failure(total: int, unreadable: int, rules: CallRules) -> str:
    if total == 0:
        return "the slide has no cell"
    if unreadable == total:
        return f"none of its {total} cells could be read"
    if too_many_unreadable(unreadable, total, rules.max_bad_fraction):
        share = f"{unreadable} of {total} cells ({unreadable / total:.1%})"
        return f"{share} could not be read; at most {rules.max_bad_fraction:.1%} are accepted (--max-bad-fraction)"
    return ""


def _nothing_counted(copies: Elsewhere, foreign: Collection[int]) -> str:
    """Why a slide has readable cells and counts none of them.

    Other slides are named by their ids, which are codes under pseudonyms.

    Args:
        foreign: rows of cells of another stain.
    """
    others = [cell for i, cell in copies.items() if i not in foreign]
    copied = [cell.cell_id.split(":", 1)[0] for cell in others if isinstance(cell, Copied)]
    shared = [cell.slide_id for cell in others if isinstance(cell, SharedCell)]
    parts = []
    if copied:
        parts.append(f"{_are(len(copied), 'a copy of a cell', 'copies of cells')} of {_slides(copied)}, counted there")
    if shared:
        same = _are(len(shared), "the same picture as a cell", "the same pictures as cells")
        parts.append(f"{same} of {_slides(shared)} of another donor, counted for neither")
    if foreign:
        parts.append(f"{_are(len(foreign), 'a cell', 'cells')} of another stain")
    return f"none of its readable cells is counted: {'; '.join(parts)}"


def _shared_failure(copies: Elsewhere, readable: int) -> str:
    """Why a slide fails that shares too many cells with a slide of another donor; the worst of several is named."""
    worst = max((cell for cell in copies.values() if isinstance(cell, SharedCell)), key=_fails, default=None)
    if worst is None or not worst.fails:
        return ""
    return (
        f"{worst.fails} of its {readable} readable cells are the same pictures as cells of slide {worst.slide_id}, "
        "which is of another donor: one of the two is wrong"
    )


def _of_these_near(cells: Sequence[Copied | Original | SharedCell]) -> str:
    near = sum(cell.near for cell in cells)
    return f", {near} of them with other pixels (saved again, turned or shifted)" if near else ""


def _are(number: int, one: str, several: str) -> str:
    return f"1 is {one}" if number == 1 else f"{number} are {several}"


def _slides(slide_ids: Iterable[str]) -> str:
    named = sorted(set(slide_ids))
    return f"slide{'s' * (len(named) != 1)} {' and '.join(named)}"


def _cells(number: int) -> str:
    return f"{number} cell{'s' * (number != 1)}"


def _fails(cell: SharedCell) -> int:
    return cell.fails


def _slide_of(cell_id: str) -> str:
    return cell_id.partition(":")[0]


def _slide_warnings(counted: Sequence[CalledCell], copies: Elsewhere, flagged: int, slide_id: str) -> tuple[str, ...]:
    warnings = []
    copied = [cell for cell in copies.values() if isinstance(cell, Copied)]
    within = [cell for cell in copied if _slide_of(cell.cell_id) == slide_id]
    outside = [cell for cell in copied if _slide_of(cell.cell_id) != slide_id]
    # What comes again in this slide itself is said of the copies.
    again = [cell for cell in copies.values() if isinstance(cell, Original) and cell.slide_id != slide_id]
    shared = [cell for cell in copies.values() if isinstance(cell, SharedCell)]
    for of, where in ((within, "copies of other cells of this slide"), (outside, "copies of cells counted elsewhere")):
        if of:
            warnings.append(f"{_cells(len(of))} not counted: {where}{_of_these_near(of)}")
    if again:
        slides = ", ".join(sorted({cell.slide_id for cell in again}))
        warnings.append(f"{_cells(len(again))} found again in {slides}{_of_these_near(again)}: counted here only")
    if shared:
        slides = ", ".join(sorted({cell.slide_id for cell in shared}))
        what = f"{_cells(len(shared))} not counted: the same pictures as cells of another donor ({slides})"
        warnings.append(f"{what}{_of_these_near(shared)}")
    if flagged > len(counted) / 2:
        warnings.append(
            f"{flagged} of {_cells(len(counted))} with a quality flag: check the slide before you use its frequency"
        )
    return tuple(warnings)

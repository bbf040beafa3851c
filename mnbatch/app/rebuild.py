"""Open an OUT, choose report options as the last run or plan had them, make its reports again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch.errors import LockHeldError
from mnbatch.results.annotations import load_samples
from mnbatch.results.forgetting import complete
from mnbatch.results.laboratory_file import keep_laboratory
from mnbatch.results.lock import hold_out
from mnbatch.results.manifest import read_manifest
from mnbatch.results.paths import OutPaths
from mnbatch.results.planned_slides import planned_options, refuse_unknown_token, settle_plans
from mnbatch.results.roster import Missing, Samples
from mnbatch.results.store import Store
from mnbatch.review.review_import import check_out

if TYPE_CHECKING:
    from mnbatch.assay.own_cells import ValidatedCell
    from mnbatch.report.build import ReportedSlide, ReportOptions, ReportSummary

WAIT_SECONDS = 10.0
"""For another command that makes reports; a run takes longer, and is not waited for."""


@dataclass(frozen=True, slots=True)
class ReportChoice:
    """Report options, and what a person should know of them.

    Attributes:
        note: names defaults that were taken because the last run's values are not known; "" for none.
    """

    options: ReportOptions
    note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The note, if there is one."""
        return (self.note,) if self.note else ()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Reports that were made again, or will be.

    Attributes:
        index: the batch page.
        made: what was found and built; None while a run holds OUT, which makes the reports itself when it ends.
        held: who holds OUT, where `made` is None.
        notes: what a person should know of the options.
        validation: own scored cells that were kept; None where none were given.
        contact_sheets: pictures that were written; None where none were asked for.
        planned: slides that a run or jobs of `mnbatch score` were to score and have not; some have an earlier result.
    """

    index: Path
    made: ReportSummary | None
    held: str = ""
    notes: tuple[str, ...] = ()
    validation: tuple[ValidatedCell, ...] | None = None
    contact_sheets: tuple[Path, ...] | None = None
    planned: tuple[Missing, ...] = ()

    @property
    def slides(self) -> tuple[ReportedSlide, ...]:
        """Every slide of the reports."""
        return self.made.slides if self.made else ()

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Slides that are not counted, each with its reason."""
        return (*self.failed, *self.waiting)

    @property
    def failed(self) -> tuple[Missing, ...]:
        """Slides that failed, each with its reason."""
        return self._with_status("failed")

    @property
    def waiting(self) -> tuple[Missing, ...]:
        """Slides that are not scored yet, each with its reason."""
        return self._with_status("waiting")

    @property
    def controls(self) -> str:
        """What is wrong with the batch's control samples; "" for nothing."""
        return self.made.controls.sentence if self.made else ""

    def _with_status(self, status: str) -> tuple[Missing, ...]:
        of = [slide for slide in self.slides if slide.status == status]
        return tuple(Missing(slide.slide_id, slide.reason, slide.acknowledged) for slide in of)

    @property
    def pages_built(self) -> int:
        """Pages that were out of date."""
        made = self.made
        return made.slides_built + made.donors_built + made.index_built if made else 0

    @property
    def text(self) -> str:
        """In one line, for a person."""
        if self.made is None:
            return f"The decisions are saved; the pages are made again when the run ends: {self.held}"
        return f"report: {self.index}"


def open_store(out: Path) -> Store:
    """The results in OUT.

    Raises:
        NoInputError: OUT holds none.
    """
    store = Store(out)
    check_out(store.paths, out)
    return store


def choose_options(
    paths: OutPaths,
    *,
    gallery: int | None = None,
    min_cells: int | None = None,
    geojson: bool | None = None,
    label_masks: bool | None = None,
    force: bool = False,
) -> ReportChoice:
    """What is given, else what a plan said whose jobs came after the last run, else what that run used, else the
    defaults; a default that is taken is noted."""
    from mnbatch.report.build import ReportOptions

    last = (read_manifest(paths) or {}).get("settings") or {}
    last = {**last, **planned_options(paths)}
    if paths.archived.exists():
        last = {**last, "gallery": 0}
    default = ReportOptions()
    options = ReportOptions(
        gallery=_first(gallery, last.get("gallery"), default.gallery),
        min_cells=_first(min_cells, last.get("min_cells"), default.min_cells),
        force=force,
        geojson=bool(last.get("geojson")) if geojson is None else geojson,
        label_masks=bool(last.get("label_masks")) if label_masks is None else label_masks,
    )
    given = {"gallery": gallery, "min_cells": min_cells}
    unknown = [name for name, value in given.items() if value is None and name not in last]
    if not unknown:
        return ReportChoice(options)
    taken = " and ".join(f"--{name.replace('_', '-')} {getattr(default, name)}" for name in unknown)
    note = (
        f"{paths.manifest} does not state what the last run used; {taken} is used. Say it with the command to be sure."
    )
    return ReportChoice(options, note)


def _first(*values: Any) -> int:
    return next(int(value) for value in values if isinstance(value, int))


def rebuild(
    store: Store,
    options: ReportOptions,
    *,
    validation: Path | None = None,
    laboratory: Path | None = None,
    contact_sheets: bool = False,
    after: str = "",
) -> Rebuilt:
    """Make the reports of OUT again, from the stored results alone.

    Args:
        options: from `choose_options`.
        validation: table of own scored cells, which is kept: frequencies are corrected with them from now on.
        laboratory: laboratory.toml, which is kept and printed on donors' sheets from now on.
        contact_sheets: also write a contact sheet of each slide.
        after: token of a run that is over; what its processes left of their hold is taken over.

    Raises:
        LockHeldError: another command holds OUT.
        UsageError: a line of `validation`, or `laboratory`, cannot be used; or `after` is the token of no job here.
        StorageError: a file cannot be read or written.
    """
    from mnbatch.report.page_pictures import write_contact_sheets
    from mnbatch.results.model_errors import keep_validation

    if after:
        refuse_unknown_token(store.paths, after)
    with hold_out(store.paths, over=after):
        if laboratory is not None:
            keep_laboratory(store.paths, laboratory)
        kept = None if validation is None else tuple(keep_validation(store, validation))
        made = make_reports(store, options, whole=False)
        sheets = tuple(write_contact_sheets(store, options.gallery)) if contact_sheets else None
    return replace(made, validation=kept, contact_sheets=sheets)


def rebuild_after_change(store: Store) -> Rebuilt:
    """Bring the reports up to date after decisions or the plan changed; a run that holds OUT does so when it ends.

    Returns:
        What was made; where a run holds OUT, a record that says so.

    Raises:
        StorageError: a file cannot be read or written.
    """
    try:
        with held_for_reports(store):
            return make_reports(store, whole=False)
    except LockHeldError as error:
        return Rebuilt(store.paths.index, None, held=error.message)


def held_for_reports(store: Store) -> contextlib.AbstractContextManager[object]:
    """OUT held while the block runs; another command that makes reports is waited for.

    Raises:
        LockHeldError: a run holds OUT.
    """
    return hold_out(store.paths, WAIT_SECONDS)


def make_reports(
    store: Store, options: ReportOptions | None = None, samples: Samples | None = None, *, whole: bool = True
) -> Rebuilt:
    """The reports brought up to date; the caller holds OUT.

    Args:
        options: None: as the last run, or the plan after it, had them.
        samples: by slide_id; None: the sample sheet in force.
        whole: the summary has doses and bases, too, also where nothing changed.

    Raises:
        StorageError: a file cannot be read or written.
    """
    from mnbatch.report.build import build_reports
    from mnbatch.report.unchanged import bring_up_to_date

    complete(store.paths)
    planned = settle_plans(store)
    choice = choose_options(store.paths) if options is None else ReportChoice(options)
    make = build_reports if whole else bring_up_to_date
    made = make(store, choice.options, load_samples(store.paths) if samples is None else samples)
    return Rebuilt(store.paths.index, made, notes=choice.notes, planned=planned)

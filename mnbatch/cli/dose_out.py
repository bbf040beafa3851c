"""`mnbatch dose OUT`: doses of scored donors into tables and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mnbatch.cli.common import name_missing
from mnbatch.errors import EXIT_SLIDES_FAILED, MismatchError, NoInputError

if TYPE_CHECKING:
    from mnbatch.dosimetry.dose_estimation import DoseResult
    from mnbatch.dosimetry.triage import Triage
    from mnbatch.report.build import ReportSummary
    from mnbatch.results.dosing_settings import Dosing
    from mnbatch.results.roster import Missing


@dataclass(frozen=True, slots=True)
class DosedOut:
    """Doses of an OUT; `missing`: donor -> its slides that are not counted, "" for slides without a donor."""

    pairs: Sequence[tuple[DoseResult, Triage | None]]
    missing: Mapping[str, Sequence[Missing]]


def dose_out(out: Path, dosing: Dosing) -> DosedOut:
    """Put the curve into force for OUT, bring the reports up to date and give every donor's result.

    Raises:
        NoInputError: OUT holds no results.
        MismatchError: no slide of OUT was scored as the curve's slides were; nothing is kept then.
    """
    from mnbatch.cli.report import report_options
    from mnbatch.report.build import build_reports
    from mnbatch.report.dose_report import mismatch
    from mnbatch.results.annotations import load_samples
    from mnbatch.results.dosing_settings import save_dosing
    from mnbatch.results.lock import hold_out
    from mnbatch.results.roster import open_roster
    from mnbatch.results.store import Store

    store = Store(out)
    if not store.paths.slides.is_dir():
        raise NoInputError(f"{out} holds no results of mnbatch.", "Give the --out directory of a run.")
    reason = mismatch(dosing, open_roster(store).records)
    if reason:
        raise MismatchError(
            f"This curve does not belong to {out}: {reason}.",
            "Fit a curve on slides scored the same way (`mnbatch curve fit OUT --doses`), or see --allow-mismatch.",
        )
    with hold_out(store.paths):
        save_dosing(store.paths, dosing)
        made = build_reports(store, report_options(store.paths), load_samples(store.paths))
    if not made.doses:
        raise NoInputError(f"No slide in {out} has a donor.", "Give a sample sheet: mnbatch run --samples.")
    typer.echo(f"report: {store.paths.index}", err=True)
    return DosedOut([(dose.result, dose.triage) for dose in made.doses], _missing(made))


def _missing(made: ReportSummary) -> dict[str, list[Missing]]:
    from mnbatch.results.roster import Missing

    donors = {slide_id: donor for donor, basis in made.bases.items() for slide_id in basis.slides}
    found: dict[str, list[Missing]] = {}
    for slide in made.slides:
        if slide.status == "failed":
            found.setdefault(donors.get(slide.slide_id, ""), []).append(Missing(slide.slide_id, slide.reason))
    return found


def leave(results: Sequence[DoseResult], what: str, missing: Sequence[Missing] = ()) -> None:
    """Say how many have no dose and which slides no dose holds, and leave with the exit code that goes with it."""
    not_counted = name_missing(missing)
    bad = sum(result.status != "ok" for result in results)
    if bad:
        typer.echo(f"{bad} of {len(results)} {what} have no dose; their reasons stand with them.", err=True)
    raise typer.Exit(EXIT_SLIDES_FAILED if bad else not_counted)

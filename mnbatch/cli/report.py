"""`mnbatch report`: tables and pages again, from the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, NoInputError

if TYPE_CHECKING:
    from mnbatch.report.build import ReportOptions
    from mnbatch.results.paths import OutPaths


def report(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    gallery: Annotated[
        int | None,
        typer.Option(
            min=0, max=5000, help="Cells a page shows in each part of the gallery; otherwise as in the last run."
        ),
    ] = None,
    min_cells: Annotated[
        int | None,
        typer.Option(min=0, help="A donor with fewer BN cells is `insufficient`; otherwise as in the last run."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            "--validation",
            help="Your own scored cells, a CSV with cell_id (or p_mn) and truth: frequencies are corrected with their "
            "sensitivity and specificity from now on.",
        ),
    ] = None,
    geojson: Annotated[
        bool | None,
        typer.Option("--geojson/--no-geojson", help="Cells of fields for QuPath; otherwise as in the last run."),
    ] = None,
    label_masks: Annotated[
        bool | None,
        typer.Option("--label-masks/--no-label-masks", help="Label images of fields; otherwise as in the last run."),
    ] = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Also write slides/<id>/contact-sheet.png, for slides and talks.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make everything again, not only what is out of date.")
    ] = False,
) -> None:
    """Make tables and pages of OUT again, from the stored results: no model, no export and no GPU is needed.

    Exit codes: 0 all slides done; 3 some slides failed; 4 OUT holds no results; 10 unreadable or disk
    full; 11 OUT is held by a run.
    """
    from mnbatch.report.build import build_reports
    from mnbatch.report.page_pictures import write_contact_sheets
    from mnbatch.results.annotations import load_samples
    from mnbatch.results.lock import hold_out
    from mnbatch.results.model_errors import keep_validation
    from mnbatch.results.store import Store

    store = Store(out)
    if not store.paths.slides.is_dir():
        raise NoInputError(f"{out} holds no results of mnbatch.", "Give the --out directory of a run.")
    options = report_options(store.paths, gallery, min_cells, force=force, geojson=geojson, label_masks=label_masks)
    with hold_out(store.paths):
        if validation is not None:
            kept = keep_validation(store, validation)
            typer.echo(f"validation: {len(kept)} cells, {sum(cell.truth for cell in kept)} with MN")
        made = build_reports(store, options, load_samples(store.paths))
        sheets = write_contact_sheets(store, options.gallery) if contact_sheet else []
    failed = [slide for slide in made.slides if slide.status == "failed"]
    typer.echo(f"slides: {len(made.slides)}, {len(made.slides) - len(failed)} done, {len(failed)} failed")
    pages = made.slides_built + made.donors_built + made.index_built
    typer.echo(f"pages made again: {pages}" if pages else "every page was up to date")
    for slide in failed:
        typer.echo(f"failed: {slide.slide_id}: {slide.reason}")
    if contact_sheet:
        typer.echo(f"contact sheets: {len(sheets)}")
    typer.echo(f"report: {store.paths.index}")
    raise typer.Exit(EXIT_SLIDES_FAILED if failed else EXIT_OK)


def report_options(
    paths: OutPaths,
    gallery: int | None = None,
    min_cells: int | None = None,
    *,
    force: bool = False,
    geojson: bool | None = None,
    label_masks: bool | None = None,
) -> ReportOptions:
    """What was typed, else what the last run used, else the defaults."""
    from mnbatch.report.build import ReportOptions
    from mnbatch.results.manifest import read_manifest

    last = (read_manifest(paths) or {}).get("settings") or {}
    unknown = [
        name for name, typed in (("gallery", gallery), ("min_cells", min_cells)) if typed is None and name not in last
    ]
    if unknown:
        taken = " and ".join(f"--{name.replace('_', '-')} {getattr(ReportOptions(), name)}" for name in unknown)
        typer.echo(
            f"mnbatch: {paths.manifest} does not say what the last run used; {taken} is taken. Give it to be sure.",
            err=True,
        )
    return ReportOptions(
        gallery=_first(gallery, last.get("gallery"), ReportOptions().gallery),
        min_cells=_first(min_cells, last.get("min_cells"), ReportOptions().min_cells),
        force=force,
        geojson=bool(last.get("geojson")) if geojson is None else geojson,
        label_masks=bool(last.get("label_masks")) if label_masks is None else label_masks,
    )


def _first(*values: Any) -> int:
    """The first value that is a number: what was typed, what the last run used, the default."""
    return next(int(value) for value in values if isinstance(value, int))

"""`mnbatch report`: tables and pages again, from the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED

if TYPE_CHECKING:
    from mnbatch.app.rebuild import Rebuilt


def report(
    out: Annotated[Path, typer.Argument(help="Output directory of `mnbatch run`.")],
    gallery: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=5000,
            help="Cells a page shows in each part of the gallery; otherwise as in the last plan or run.",
        ),
    ] = None,
    min_cells: Annotated[
        int | None,
        typer.Option(
            min=0, help="A donor with fewer BN cells is `insufficient`; otherwise as in the last plan or run."
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            "--validation",
            help="Your own scored cells, a CSV with cell_id (or p_mn) and truth: frequencies are corrected with their "
            "sensitivity and specificity from now on.",
        ),
    ] = None,
    laboratory: Annotated[
        Path | None,
        typer.Option("--laboratory", help="laboratory.toml: what donors' sheets state of the laboratory from now on."),
    ] = None,
    geojson: Annotated[
        bool | None,
        typer.Option(
            "--geojson/--no-geojson", help="Cells of fields for QuPath; otherwise as in the last plan or run."
        ),
    ] = None,
    label_masks: Annotated[
        bool | None,
        typer.Option(
            "--label-masks/--no-label-masks", help="Label images of fields; otherwise as in the last plan or run."
        ),
    ] = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Also write slides/<id>/contact-sheet.png, for slides and talks.")
    ] = False,
    pdf: Annotated[
        bool,
        typer.Option(
            "--pdf",
            help="Also make PDFs of the batch page and of donors' reports, with an installed Chromium or Chrome.",
        ),
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(help="Token of jobs of `mnbatch score` that have all ended: OUT is taken over from them at once."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make everything again, not only what is outdated.")] = False,
) -> None:
    """Make tables and pages of OUT again, from the stored results: no model, no export and no GPU is needed.

    Exit codes: 0 all slides done; 2 usage; 3 some slides failed, or were planned and not scored, or control samples
    are out of their range; 4 OUT holds no results; 10 unreadable or disk full; 11 OUT is held by a run.
    """
    from mnbatch.app.pdf_export import find_browser, write_pdfs
    from mnbatch.app.rebuild import choose_options, open_store, rebuild
    from mnbatch.cli.common import say_notes

    store = open_store(out)
    browser = find_browser() if pdf else ""
    chosen = choose_options(
        store.paths, gallery=gallery, min_cells=min_cells, geojson=geojson, label_masks=label_masks, force=force
    )
    say_notes(chosen.notes)
    done = rebuild(
        store,
        chosen.options,
        validation=validation,
        laboratory=laboratory,
        contact_sheets=contact_sheet,
        after=after or "",
    )
    if pdf:
        typer.echo(f"PDFs: {len(write_pdfs(store.paths, browser))}")
    _say(done)


def _say(done: Rebuilt) -> None:
    kept, failed, pages = done.validation, done.failed, done.pages_built
    if kept is not None:
        typer.echo(f"validation: {len(kept)} cells, {sum(cell.truth for cell in kept)} with MN")
    from mnbatch.assay.alike_names import alike_warning

    waiting = done.waiting
    counted = len(done.slides) - len(failed) - len(waiting)
    more = f", {len(waiting)} waiting" if waiting else ""
    typer.echo(f"slides: {len(done.slides)}, {counted} done, {len(failed)} failed{more}")
    typer.echo(f"pages made again: {pages}" if pages else "every page was up to date")
    for first, *others in done.made.alike_donors if done.made else ():
        typer.echo(f"warning: {alike_warning(first, others)}", err=True)
    for donor, warning in done.made.contradicted if done.made else ():
        typer.echo(f"warning: donor {donor}: {warning}", err=True)
    for slide in waiting:
        typer.echo(f"waiting: {slide}")
    listed = {slide.slide_id for slide in waiting}
    for slide in done.planned:
        if slide.slide_id not in listed:
            typer.echo(f"not scored again: {slide}")
    for slide in failed:
        typer.echo(f"failed: {slide}")
    if done.contact_sheets is not None:
        typer.echo(f"contact sheets: {len(done.contact_sheets)}")
    if done.controls:
        typer.echo(f"warning: {done.controls}", err=True)
    typer.echo(done.text)
    if done.planned:
        missed = f"{len(done.planned)} planned slide{'s' * (len(done.planned) != 1)}"
        typer.echo(
            f"warning: {missed} not scored: use `mnbatch run` on the export, or start the jobs of `mnbatch score` that "
            "are missing",
            err=True,
        )
    wrong = done.planned or done.controls or any(not slide.acknowledged for slide in failed)
    raise typer.Exit(EXIT_SLIDES_FAILED if wrong else EXIT_OK)

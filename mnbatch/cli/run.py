"""`mnbatch run`: an export in, reports out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnbatch.cli.common import config_file
from mnbatch.errors import MnbatchError, UsageError

if TYPE_CHECKING:
    from mnbatch.pipeline.run import RunOutcome
    from mnbatch.settings import ResolvedSettings

_INPUT = "What to read"
_MODEL = "How to score and call"
_OUTPUT = "What to write"
_OPERATION = "Operation"


def run(
    export: Annotated[Path | None, typer.Argument(help="Root of the scanner's export; never written to.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Output directory, outside the export.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Layout preset or pattern; see `mnbatch scan --explain`.", rich_help_panel=_INPUT),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(help="crops, fields or wsi; auto (default) recognises it.", rich_help_panel=_INPUT),
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(help="Of fields: score binucleated cells (default) or all nuclei.", rich_help_panel=_INPUT),
    ] = None,
    nuclear_channel: Annotated[
        str | None,
        typer.Option(help="Of images with several channels: number from 1, or name.", rich_help_panel=_INPUT),
    ] = None,
    cytoplasm_channel: Annotated[
        str | None,
        typer.Option(
            help="Of fields: a second channel, number from 1 or name, by whose cytoplasm nuclei are paired into cells.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    planes: Annotated[
        str | None,
        typer.Option(help="Of focal planes: sharpest, max, or the number of one from 1.", rich_help_panel=_INPUT),
    ] = None,
    time: Annotated[
        int | None, typer.Option(help="Of several times: the number of one from 1.", rich_help_panel=_INPUT)
    ] = None,
    pages: Annotated[
        str | None,
        typer.Option(
            help="What TIFF pages are that do not say it: cells, positions, channels, planes; or, slowest first, "
            "several with commas.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            help="How files of one scene are named: an instrument (operetta, imagexpress, ...), a pattern such as "
            "'{field}_z{plane}', plain, or auto (default).",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    um_per_pixel: Annotated[
        float | None, typer.Option(help="Pixel size of fields, in micrometres.", rich_help_panel=_INPUT)
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Sample sheet (CSV: slide, donor, dose_gy, ...).", rich_help_panel=_INPUT)
    ] = None,
    laboratory: Annotated[
        Path | None,
        typer.Option(help="laboratory.toml: what donors' sheets state of the laboratory.", rich_help_panel=_INPUT),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(help="Leave slides younger than SECONDS to the next run.", rich_help_panel=_INPUT),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundled model's name or a model directory.", rich_help_panel=_MODEL)
    ] = None,
    stain: Annotated[
        str | None,
        typer.Option(help="fluorescence or giemsa: force the stain, not recognise it.", rich_help_panel=_MODEL),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Call MN at p_mn >= THRESHOLD (default: the model card's).", rich_help_panel=_MODEL),
    ] = None,
    max_bad_fraction: Annotated[
        float | None,
        typer.Option(help="A larger share of unreadable cells fails a slide (default: 0.1).", rich_help_panel=_MODEL),
    ] = None,
    min_cells: Annotated[
        int | None,
        typer.Option(help="Fewer BN cells make a donor `insufficient` (default: 200).", rich_help_panel=_MODEL),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="auto, cpu, cuda, cuda:N, several GPUs of one kind (cuda:0,cuda:1) or all of them (default: auto).",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of the convolutions: auto (default: bf16 on a GPU, fp32 elsewhere), fp32 or bf16. Slides scored in "
            "another than the given one are scored again.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    minibatch: Annotated[
        str | None, typer.Option(help="Cells a minibatch, or auto (default).", rich_help_panel=_OPERATION)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that decode (default: one a core).", rich_help_panel=_OPERATION)
    ] = None,
    file_deadline: Annotated[
        float | None,
        typer.Option(help="Seconds that a file may take to be read (default: 120).", rich_help_panel=_OPERATION),
    ] = None,
    file_memory: Annotated[
        float | None,
        typer.Option(help="GiB of memory that reading a file may take (default: 4).", rich_help_panel=_OPERATION),
    ] = None,
    gallery: Annotated[
        int | None,
        typer.Option(help="Cells shown in each part of a page's gallery (default: 24).", rich_help_panel=_OUTPUT),
    ] = None,
    no_crops: Annotated[
        bool, typer.Option("--no-crops", help="Keep no crops and maps (10 kB a cell).", rich_help_panel=_OUTPUT)
    ] = False,
    no_gallery: Annotated[bool, typer.Option("--no-gallery", help="Old name of --no-crops.", hidden=True)] = False,
    geojson: Annotated[
        bool, typer.Option("--geojson", help="Cells of fields as GeoJSON for QuPath.", rich_help_panel=_OUTPUT)
    ] = False,
    label_masks: Annotated[
        bool, typer.Option("--label-masks", help="Cells of fields as label images.", rich_help_panel=_OUTPUT)
    ] = False,
    pseudonymise: Annotated[
        bool, typer.Option("--pseudonymise", help="Codes in place of source names.", rich_help_panel=_OUTPUT)
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash all files again, also unchanged ones.", rich_help_panel=_OPERATION)
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try slides again that failed.", rich_help_panel=_OPERATION)
    ] = False,
    export_moved: Annotated[
        bool, typer.Option("--export-moved", help="The export of this OUT has a new path.", rich_help_panel=_OPERATION)
    ] = False,
    reuse: Annotated[
        Path | None,
        typer.Option(help="Take over the scores of an earlier OUT where nothing differs.", rich_help_panel=_MODEL),
    ] = None,
    on_finish: Annotated[
        str | None,
        typer.Option(
            help="Shell command that gets a summary of the run as JSON on its stdin when the run has ended, however it "
            "did.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    on_finish_seconds: Annotated[
        float | None,
        typer.Option(help="Then it is ended (default: 60).", rich_help_panel=_OPERATION),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Score on a Dask cluster: tcp://host:8786, local:N (N processes here), or a file such as slurm.toml.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    cluster_timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds without a worker after which the run ends (default: 300).", rich_help_panel=_OPERATION
        ),
    ] = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print every setting and where it comes from; do nothing.")
    ] = False,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Say what a run would do with each slide; do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan-only: one JSON document on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong, on stderr.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line a slide, also in a log file.")] = False,
) -> None:
    """Score what is new or changed of an EXPORT and bring the reports in --out up to date.

    Exit codes: 0 all slides done; 2 usage; 3 some slides failed, or control samples are out of range; 4 no
    input; 5 things that do not belong together; 10 unreadable or disk full; 11 OUT is held by another run; 12
    model missing or altered; 130/143 interrupted (run again to go on).
    """
    from mnbatch.settings import resolve

    options: dict[str, Any] = {
        "export": export,
        "out": out,
        "layout": layout,
        "input": input,
        "cells": cells,
        "nuclear_channel": nuclear_channel,
        "cytoplasm_channel": cytoplasm_channel,
        "planes": planes,
        "time": time,
        "pages": pages,
        "names": names,
        "um_per_pixel": um_per_pixel,
        "samples": samples,
        "laboratory": laboratory,
        "settle": settle,
        "model": model,
        "stain": stain,
        "threshold": threshold,
        "max_bad_fraction": max_bad_fraction,
        "min_cells": min_cells,
        "device": device,
        "precision": precision,
        "minibatch": minibatch,
        "workers": workers,
        "file_deadline": file_deadline,
        "file_memory": file_memory,
        "gallery": gallery,
        # A flag that was not typed must not hide what environment or settings file say.
        "keep_crops": False if no_crops else None,
        "keep_gallery": False if no_gallery else None,
        "geojson": geojson or None,
        "label_masks": label_masks or None,
        "pseudonymise": pseudonymise or None,
        "verify": verify or None,
        "retry_failed": retry_failed or None,
        "export_moved": export_moved or None,
        "reuse": reuse,
        "on_finish": on_finish,
        "on_finish_seconds": on_finish_seconds,
        "cluster": cluster,
        "cluster_timeout": cluster_timeout,
    }
    resolved = resolve(options, config=config_file())
    if show_settings:
        _print_settings(resolved)
        return
    if plan_only or as_json:
        _print_plan(resolved, plan_only, as_json)
        return
    from mnbatch.app.run_service import run_and_tell
    from mnbatch.console import ConsoleProgress
    from mnbatch.results.manifest import note
    from mnbatch.streams import lost_outputs

    with ConsoleProgress(quiet=quiet, verbose=verbose) as progress:
        outcome = run_and_tell(resolved, progress)
    if quiet:
        _print_failures(outcome)
    else:
        _print_outcome(outcome, resolved)
    lost = lost_outputs()
    if lost and outcome.log is not None:
        with contextlib.suppress(MnbatchError):
            note(outcome.log, "output lost", level="warning", **lost)
    raise typer.Exit(outcome.exit_code)


def _print_settings(resolved: ResolvedSettings) -> None:
    for name, value in resolved.settings.model_dump(mode="json").items():
        shown = "" if value is None else value
        typer.echo(f"{name:18} {shown!s:30} {resolved.origins[name]}")


def _print_plan(resolved: ResolvedSettings, plan_only: bool, as_json: bool) -> None:
    from mnbatch.app.run_service import plan_of_run, plan_text

    if not plan_only:
        raise UsageError("--json is for --plan-only.", "`mnbatch status OUT --json` is about a run that was made.")
    if as_json:
        pieces, unplaced = plan_text(resolved)
        for piece in pieces:
            typer.echo(piece, nl=False)
    else:
        plans, unplaced = plan_of_run(resolved)
        for plan in plans:
            typer.echo(f"{plan.action}: {plan.slide_id}{f': {plan.why}' if plan.why else ''}")
    for sentence in unplaced:
        typer.echo(f"warning: {sentence}", err=True)


def _print_failures(outcome: RunOutcome) -> None:
    """What is wrong and was not said while the run went on: cron mails whatever is printed."""
    assert outcome.report is not None
    for slide in outcome.report.slides:
        failed = slide.status == "failed" and not slide.acknowledged
        wrong = failed or (slide.status == "waiting" and slide.slide_id in outcome.overdue)
        if wrong and slide.slide_id not in outcome.told:
            typer.echo(f"{slide.status}: {slide.slide_id}: {slide.reason}", err=True)


def _print_outcome(outcome: RunOutcome, resolved: ResolvedSettings) -> None:
    report = outcome.report
    assert report is not None
    failed = [slide for slide in report.slides if slide.status == "failed"]
    waiting = [slide for slide in report.slides if slide.status == "waiting"]
    done = len(report.slides) - len(failed) - len(waiting)
    more = f", {len(waiting)} waiting" if waiting else ""
    typer.echo(f"slides: {len(report.slides)} in OUT, {done} done, {len(failed)} failed{more}")
    if outcome.reused:
        typer.echo(f"scores taken over from {resolved.settings.reuse}: {len(outcome.reused)} slides")
    if outcome.scored or outcome.called or outcome.reused:
        typer.echo(
            f"this run: {len(outcome.scored)} scored, {len(outcome.called)} re-thresholded, "
            f"{len(outcome.kept)} unchanged"
        )
    else:
        typer.echo(f"this run: nothing to do, {len(outcome.kept)} slides unchanged")
    if outcome.waiting:
        typer.echo(f"left to the next run (still being written): {len(outcome.waiting)}")
    for slide in waiting:
        typer.echo(f"waiting: {slide.slide_id}: {slide.reason}")
    for slide in failed:
        typer.echo(f"failed: {slide.slide_id}: {slide.reason}")
    typer.echo(f"report: {(resolved.settings.out / 'index.html').resolve()}")

"""`mnbatch scan`: what slides an export holds, and with --explain what was skipped and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnbatch.cli.common import counted
from mnbatch.errors import EXIT_SLIDES_FAILED

if TYPE_CHECKING:
    from mnbatch.app.inspection import ScannedExport, ScannedSlide

_COLUMNS = ("slide_id", "donor", "slide", "files", "MB", "note")


def scan(
    export: Annotated[Path, typer.Argument(help="Root of the scanner's export; never written to.")],
    layout: Annotated[
        str,
        typer.Option(
            envvar="MNBATCH_LAYOUT",
            help="folder-per-slide, donor-slide-folders, flat-files, tiff-galleries, or a pattern such as "
            "'{donor}/{slide}/{cell}.tif'.",
        ),
    ] = "folder-per-slide",
    input: Annotated[
        str,
        typer.Option(envvar="MNBATCH_INPUT", help="crops, fields or wsi (whole slides); auto recognises it."),
    ] = "auto",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show which layout was used and why each file was skipped."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    samples: Annotated[
        Path | None,
        typer.Option(envvar="MNBATCH_SAMPLES", help="Sample sheet (CSV: slide, donor, dose_gy, ...)."),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(envvar="MNBATCH_SETTLE", min=0, help="Mark slides younger than SECONDS as not settled."),
    ] = None,
    nuclear_channel: Annotated[
        str | None,
        typer.Option(
            envvar="MNBATCH_NUCLEAR_CHANNEL", help="As for `run`; of pages with --explain; also the next four."
        ),
    ] = None,
    planes: Annotated[str | None, typer.Option(envvar="MNBATCH_PLANES", help="sharpest, max, or a number.")] = None,
    time: Annotated[int | None, typer.Option(envvar="MNBATCH_TIME", min=1, help="Number of a time.")] = None,
    pages: Annotated[
        str | None, typer.Option(envvar="MNBATCH_PAGES", help="cells, positions, channels or planes.")
    ] = None,
    names: Annotated[
        str, typer.Option(envvar="MNBATCH_NAMES", help="How files of one scene are named, as for `run`.")
    ] = "auto",
) -> None:
    """List the slides that `mnbatch run` would find in EXPORT; a few images are looked at to say what they are.

    With --explain a few files of each slide are looked into: what their pages are is said. The exit code is then 3
    where `run` would fail a slide because that is not clear, or with what was given.
    """
    from mnbatch.app.inspection import NothingFoundError, scan_export
    from mnbatch.assay.page_options import PageOptions
    from mnbatch.settings import check_pages, refuse_unknown_variables

    refuse_unknown_variables()
    said = PageOptions(nuclear_channel, planes, time, pages, None if names == "auto" else names)
    check_pages(said)
    try:
        found = scan_export(
            export,
            layout=layout,
            input=input,
            samples=samples,
            settle=settle,
            keep_skipped=explain,
            options=said,
            look_into=explain,
        )
    except NothingFoundError as error:
        if explain and not as_json:
            # Without a slide the reasons are all the more wanted.
            _print_explanation(error.found)
        raise
    if as_json:
        typer.echo(json.dumps(_document(found, explain), indent=1))
    else:
        if explain:
            _print_explanation(found)
        _print_table(found)
        _print_summary(found, explained=explain)
    if any(slide.asked for slide in found.slides):
        raise typer.Exit(EXIT_SLIDES_FAILED)


def _document(found: ScannedExport, explain: bool) -> dict[str, Any]:
    """All of it as one JSON document."""
    content: dict[str, Any] = {
        "export": found.export,
        "input": found.recognised.kind,
        "input_because": found.recognised.why,
        "layout": found.layout.name,
        "pattern": found.layout.pattern,
        "explanation": found.layout.explanation,
        "slides": [asdict(slide) for slide in found.slides],
        "skipped": sum(found.reasons.values()),
    }
    if explain:
        content["skipped_files"] = [asdict(skipped) for skipped in found.skipped]
    return content


def _note(slide: ScannedSlide) -> str:
    """Note on the slide for the user; "" for an ordinary one."""
    if slide.copy_of:
        return f"copy of {slide.copy_of}, not scored again"
    if slide.asked:
        return _printable(f"fails: {slide.asked}")
    return _printable(slide.scenes) if slide.settled else "still being written, left for the next run"


def _print_explanation(found: ScannedExport) -> None:
    from mnbatch.imaging.inputs import KINDS

    kind = found.recognised.kind
    typer.echo(f"Input {kind}: {KINDS[kind]} ({found.recognised.why}); --input overrides this.")
    typer.echo(f"Layout {found.layout.name}: {found.layout.explanation}.")
    if found.layout.pattern != found.layout.name:
        typer.echo(f"Its pattern is {found.layout.pattern}")
    for skipped in found.skipped:
        typer.echo(f"skipped: {_printable(skipped.path)}: {_printable(skipped.reason)}")
    for slide in found.slides:
        if slide.scenes:
            typer.echo(f"scenes: {_printable(slide.path)}: {_printable(slide.scenes)}")
        if slide.pages:
            typer.echo(f"pages: {_printable(slide.path)}: {_printable(slide.pages)}")
        if slide.asked:
            typer.echo(f"asked: {_printable(slide.path)}: {_printable(slide.asked)}")


def _print_table(found: ScannedExport) -> None:
    lines = [
        (
            row.slide_id,
            _printable(row.donor or "-"),
            _printable(row.slide),
            str(row.files),
            f"{row.bytes / 1e6:.1f}",
            _note(row),
        )
        for row in found.slides
    ]
    if sys.stdout.isatty():
        _print_rich(lines)
        return
    for line in (_COLUMNS, *lines):
        typer.echo("\t".join(line))


def _print_rich(lines: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in ("files", "MB") else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    Console().print(table)


def _print_summary(found: ScannedExport, *, explained: bool) -> None:
    """One or two lines on stderr: for the user, not for a pipe."""
    files = sum(row.files for row in found.slides)
    typer.echo(
        f"{counted(len(found.slides), 'slide')}, {counted(files, 'file')}; input {found.recognised.kind}, "
        f"layout {found.layout.name}",
        err=True,
    )
    if found.reasons and not explained:
        typer.echo(f"{sum(found.reasons.values())} files or folders were skipped; --explain shows why", err=True)
    without = sum(row.donor is None for row in found.slides)
    if without:
        typer.echo(
            f"{counted(without, 'slide')} without a donor, not pooled; a sample sheet (--samples) or the "
            "layout donor-slide-folders names donors",
            err=True,
        )


def _printable(text: str) -> str:
    """Names from file systems may hold line ends and terminal codes; those are spelled out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)

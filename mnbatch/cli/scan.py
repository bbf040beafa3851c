"""`mnbatch scan`: what slides an export holds, and with --explain what was skipped and why."""

from __future__ import annotations

import json
import os
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

_COLUMNS = (
    *("slide_id", "donor", "slide", "files", "MB", "note"),
    *("kind", "cells", "pixels", "um_per_pixel", "pages", "left_out"),
)
_SHOWN = ("donor", "slide", "kind", "files", "cells", "pixels", "um_per_pixel", "pages", "left_out", "MB", "note")
_NUMBERS = frozenset(("files", "cells", "pixels", "um_per_pixel", "left_out", "MB"))


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
        typer.Option(envvar="MNBATCH_NUCLEAR_CHANNEL", help="As for `run`; also the next five."),
    ] = None,
    cytoplasm_channel: Annotated[
        str | None,
        typer.Option(
            envvar="MNBATCH_CYTOPLASM_CHANNEL",
            help="Of fields: the channel by whose cytoplasm nuclei are paired.",
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
    contact: Annotated[
        Path | None,
        typer.Option("--contact", help="Folder, outside the export, for a strip of pictures of each slide (PNG)."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only list the slides; no file of them is looked into.")
    ] = False,
) -> None:
    """Show what `mnbatch run` would count in EXPORT, slide by slide, before anything is counted.

    Up to three files of each slide are looked into: what they hold, how large, which pages, which pixel size; what is
    left out (--explain names each) and what a person has to say. Exit code 3 where a slide would fail, so that
    something has to be said or put right first.
    """
    from mnbatch.app.inspection import NothingFoundError, scan_export
    from mnbatch.assay.page_options import NO_OPTIONS, PageOptions

    stated = None if names == "auto" else names
    said = PageOptions(nuclear_channel, planes, time, pages, names=stated, cytoplasm=cytoplasm_channel)
    if said != NO_OPTIONS or any(name.upper().startswith("MNBATCH_") for name in os.environ):
        # What settings are takes as long to load as the scan itself.
        from mnbatch.settings import check_pages, refuse_unknown_variables

        refuse_unknown_variables()
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
            look_into=not quick,
            contact=contact,
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
    if not slide.settled:
        return f"still being written, left for the next run: {_printable(slide.waits)}"
    return _printable(f"a picture cannot be read: {slide.unreadable}" if slide.unreadable else slide.scenes)


def _print_explanation(found: ScannedExport) -> None:
    from mnbatch.imaging.inputs import KINDS

    kind = found.recognised.kind
    typer.echo(f"Input {kind}: {KINDS[kind]} ({found.recognised.why}); --input overrides this.")
    typer.echo(f"Layout {found.layout.name}: {found.layout.explanation}.")
    if found.layout.pattern != found.layout.name:
        typer.echo(f"Its pattern is {found.layout.pattern}")
    if kind == "fields":
        typer.echo(
            "Fields that overlap: by the stage positions that files state, where the same cells are in the same "
            "places, and by their pictures, which decide where the two differ. A cell in an overlap is counted in the "
            "first field."
        )
    for skipped in found.skipped:
        typer.echo(f"skipped: {_printable(skipped.path)}: {_printable(skipped.reason)}")
    for slide in found.slides:
        if slide.scenes:
            typer.echo(f"scenes: {_printable(slide.path)}: {_printable(slide.scenes)}")
        if slide.pages:
            typer.echo(f"pages: {_printable(slide.path)}: {_printable(slide.pages)}")
        if slide.stage_positions:
            typer.echo(f"stage positions: {_printable(slide.path)}: its files state them")
        if slide.asked:
            typer.echo(f"asked: {_printable(slide.path)}: {_printable(slide.asked)}")


def _print_table(found: ScannedExport) -> None:
    rows = [_row(slide) for slide in found.slides]
    if sys.stdout.isatty():
        _print_rich(rows)
        return
    for line in (_COLUMNS, *([row[name] for name in _COLUMNS] for row in rows)):
        typer.echo("\t".join(line))


def _row(slide: ScannedSlide) -> dict[str, str]:
    """A slide as the table shows it; "" for what was not looked at."""
    about = "about " if slide.estimated else ""
    return {
        "slide_id": slide.slide_id,
        "donor": _printable(slide.donor or "-"),
        "slide": _printable(slide.slide),
        "files": str(slide.files),
        "MB": f"{slide.bytes / 1e6:.1f}",
        "note": _note(slide),
        "kind": slide.kind,
        "cells": "" if slide.cells is None else f"{about}{slide.cells}",
        "pixels": f"{slide.width} x {slide.height} {slide.values}".rstrip() if slide.width else "",
        "um_per_pixel": "" if slide.um_per_pixel is None else f"{slide.um_per_pixel:.4g}",
        "pages": _printable(slide.pages),
        "left_out": str(slide.left_out),
    }


def _print_rich(rows: Sequence[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    shown = [name for name in _SHOWN if name in ("slide", "note") or any(row[name] for row in rows)]
    for column in shown:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(row[name]) for name in shown))
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
    asked = sum(bool(row.asked) for row in found.slides)
    if asked:
        typer.echo(f"{counted(asked, 'slide')} would fail: see the notes; exit code 3", err=True)
    strips = sum(row.strip is not None for row in found.slides)
    if strips:
        typer.echo(f"{counted(strips, 'contact strip')} written", err=True)
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

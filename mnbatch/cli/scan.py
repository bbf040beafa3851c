"""`mnbatch scan`: what slides an export holds, and with --explain what was left out and why."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mnbatch.assay.cells import Skipped, Slide
    from mnbatch.imaging.inputs import Recognised
    from mnbatch.imaging.layouts import Layout

RECOGNISING_SECONDS, RECOGNISING_GIB = 60.0, 4.0
"""What looking at one file may take."""

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
        typer.Option(envvar="MNBATCH_INPUT", help="gallery, fields or wsi (whole slides); auto recognises it."),
    ] = "auto",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say which layout was taken and why each skipped file was skipped."),
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
) -> None:
    """List the slides that `mnbatch run` would find in EXPORT; a few images are looked at to say what they are."""
    from mnbatch.errors import NoInputError
    from mnbatch.imaging.discovery import find_slides
    from mnbatch.imaging.layouts import parse_layout
    from mnbatch.settings import refuse_unknown_variables

    refuse_unknown_variables()
    parse_layout(layout)  # a wrong one is refused before any image is looked at
    recognised = _recognised(input, export, layout)
    kind = recognised.kind
    found = _Findings(parse_layout(layout, kind), recognised, keep_skipped=explain)
    try:
        for slide in find_slides(export, layout=layout, settle_seconds=settle, explain=found.skip, kind=kind):
            found.add(slide)
    except NoInputError:
        if explain and not as_json:
            # Without a slide the reasons are all the more wanted.
            _print_explanation(found)
        raise
    if samples is not None:
        found.take_donors_from(samples)
    if as_json:
        typer.echo(json.dumps(found.document(export), indent=1))
        return
    if explain:
        _print_explanation(found)
    _print_table(found)
    _print_summary(found, explained=explain)


def _recognised(input: str, export: Path, layout: str) -> Recognised:
    from mnbatch.errors import UsageError
    from mnbatch.imaging.inputs import KINDS, Recognised, recognise_input

    if input == "auto":
        from mnbatch.pipeline.workers import WorkerPool

        with WorkerPool(1, RECOGNISING_SECONDS, RECOGNISING_GIB) as pool:
            return recognise_input(export, layout, pool.vote)
    for kind in KINDS:
        if input == kind:
            return Recognised(kind, "as --input says")
    raise UsageError(f"--input cannot be '{input}'.", f"Use auto or one of {', '.join(KINDS)}.")


@dataclass(slots=True)
class _Row:
    """What is listed of a slide; its files are counted, not kept."""

    slide_id: str
    slide: str
    donor: str | None
    path: str
    files: int
    bytes: int
    copy_of: str | None
    settled: bool
    dose_gy: float | None = None

    def note(self) -> str:
        """What a person should know of the slide; "" for an ordinary one."""
        if self.copy_of:
            return f"copy of {self.copy_of}, not scored again"
        return "" if self.settled else "still being written, left for the next run"


class _Findings:
    """What a crawl found, in order."""

    def __init__(self, layout: Layout, recognised: Recognised, *, keep_skipped: bool) -> None:
        self.layout = layout
        self.recognised = recognised
        self.rows: list[_Row] = []
        self.skipped: list[Skipped] = []
        self.reasons: Counter[str] = Counter()
        self._keep_skipped = keep_skipped

    def skip(self, skipped: Skipped) -> None:
        """Note what was not taken."""
        self.reasons[skipped.reason] += 1
        if self._keep_skipped:
            self.skipped.append(skipped)

    def add(self, slide: Slide) -> None:
        """Note a slide."""
        size = sum(file.size for file in slide.everything)
        row = _Row(
            slide.slide_id,
            slide.name,
            slide.donor,
            slide.path,
            len(slide.files),
            size,
            slide.copy_of,
            slide.settled,
        )
        self.rows.append(row)

    def take_donors_from(self, sheet: Path) -> None:
        """Let the sample sheet override the donors of the paths."""
        from mnbatch.assay.sample_sheet import match_samples, read_samples

        matched = match_samples(read_samples(sheet), [(row.slide_id, row.slide, row.path) for row in self.rows])
        for row in self.rows:
            sample = matched.get(row.slide_id)
            if sample is not None:
                row.donor, row.dose_gy = sample.donor, sample.dose_gy

    def document(self, export: Path) -> dict[str, Any]:
        """All of it as one JSON document."""
        content: dict[str, Any] = {
            "export": str(export),
            "input": self.recognised.kind,
            "input_because": self.recognised.why,
            "layout": self.layout.name,
            "pattern": self.layout.pattern,
            "explanation": self.layout.explanation,
            "slides": [asdict(row) for row in self.rows],
            "skipped": self.reasons.total(),
        }
        if self._keep_skipped:
            content["skipped_files"] = [asdict(skipped) for skipped in self.skipped]
        return content


def _print_explanation(found: _Findings) -> None:
    from mnbatch.imaging.inputs import KINDS

    kind = found.recognised.kind
    typer.echo(f"Input {kind}: {KINDS[kind]} ({found.recognised.why}); --input says otherwise.")
    typer.echo(f"Layout {found.layout.name}: {found.layout.explanation}.")
    if found.layout.pattern != found.layout.name:
        typer.echo(f"Its pattern is {found.layout.pattern}")
    for skipped in found.skipped:
        typer.echo(f"skipped: {_printable(skipped.path)}: {_printable(skipped.reason)}")


def _print_table(found: _Findings) -> None:
    lines = [
        (
            row.slide_id,
            _printable(row.donor or "-"),
            _printable(row.slide),
            str(row.files),
            f"{row.bytes / 1e6:.1f}",
            row.note(),
        )
        for row in found.rows
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


def _print_summary(found: _Findings, *, explained: bool) -> None:
    """One or two lines on stderr: they are for a person, not for a pipe."""
    files = sum(row.files for row in found.rows)
    typer.echo(
        f"{len(found.rows)} slides, {files} files; input {found.recognised.kind}, layout {found.layout.name}", err=True
    )
    if found.reasons and not explained:
        typer.echo(f"{found.reasons.total()} files or folders were not taken; --explain says why", err=True)
    without = sum(row.donor is None for row in found.rows)
    if without:
        typer.echo(
            f"{without} slides have no donor and will not be pooled; a sample sheet (--samples) or the "
            "layout donor-slide-folders names donors",
            err=True,
        )


def _printable(text: str) -> str:
    """Names from file systems may hold line ends and terminal codes; those are spelled out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)

"""`mnbatch simulate`: a scanner export with known truth, to try things on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mnbatch.errors import UsageError


def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New directory for the simulated export.")],
    donors: Annotated[int, typer.Option(help="Donors; they take the doses in turn.")] = 4,
    slides: Annotated[int, typer.Option(help="Slides a donor.")] = 2,
    cells: Annotated[int, typer.Option(help="Cells a slide.")] = 300,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    dose: Annotated[str, typer.Option(help="Doses in Gy, separated by commas.")] = "0,1,2,4",
    look: Annotated[str, typer.Option(help="fluorescence, giemsa or both (slides in turn).")] = "fluorescence",
    kind: Annotated[str, typer.Option(help="crops (a file a cell) or gallery (one TIFF a slide).")] = "crops",
    layout: Annotated[
        str, typer.Option(help="Of crops: donor-slide-folders, folder-per-slide or flat-files.")
    ] = "donor-slide-folders",
    fmt: Annotated[str, typer.Option("--format", help="tif, png or jpg.")] = "tif",
    bits: Annotated[int, typer.Option(help="Of fluorescence files, 8 or 16 (jpg has 8).")] = 16,
    size: Annotated[int, typer.Option(help="Width and height of a crop in px.")] = 224,
    variety: Annotated[float, typer.Option(help="0: all slides alike; 1: as unlike as laboratories are.")] = 0.6,
    odd_cells: Annotated[
        float, typer.Option("--odd-cells", help="Share of crops with one nucleus, or three and more.")
    ] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one a core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write beside other things in DIR.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line a slide on stderr.")] = False,
) -> None:
    """Draw a plausible scanner export with known truth into DIR.

    DIR/export is the export, DIR/samples.csv a sample sheet for `mnbatch run --samples`, and DIR/truth.csv
    what was drawn; `mnbatch run` never reads the truth. Micronuclei a cell follow a Poisson law around a
    published X-ray curve. The pictures are drawn: what is measured on them does not say how well real cells
    are scored.
    """
    from mnbatch.simulate.export import simulate_export
    from mnbatch.simulate.export_plan import ExportPlan

    options: dict[str, Any] = {
        "look": _choice("look", look, ("fluorescence", "giemsa", "both")),
        "fmt": _choice("format", fmt, ("tif", "png", "jpg")),
        "layout": _choice("layout", layout, ("donor-slide-folders", "folder-per-slide", "flat-files")),
        "bits": int(_choice("bits", str(bits), ("8", "16"))),
    }
    if _choice("kind", kind, ("crops", "gallery")) == "gallery":
        options["layout"] = "tiff-galleries"
    plan = ExportPlan(
        donors=donors,
        slides=slides,
        cells=cells,
        seed=seed,
        doses=_doses(dose),
        size=size,
        variety=variety,
        odd_cells=odd_cells,
        **options,
    )

    def progress(name: str) -> None:
        if not quiet:
            typer.echo(f"slide {name} drawn", err=True)

    made = simulate_export(directory, plan, force=force, workers=workers or os.cpu_count() or 1, progress=progress)
    typer.echo(f"export:  {made.export} ({made.slides} slides, {made.cells} cells, layout {plan.layout})")
    typer.echo(f"truth:   {made.truth} ({made.cells_with_mn} cells with {made.micronuclei} micronuclei)")
    typer.echo(f"samples: {made.samples}")


def _doses(text: str) -> tuple[float, ...]:
    """Doses in Gy from "0,1,2.5"."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"'{text}' is no list of doses in Gy.", "Use for example --dose 0,1,2,4.") from error


def _choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """The value, if it is one of those allowed."""
    if value not in allowed:
        raise UsageError(f"--{name} {value} is unknown.", f"Use {', '.join(allowed[:-1])} or {allowed[-1]}.")
    return value

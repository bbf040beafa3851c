"""`mnbatch simulate`: a scanner export with known truth, to try things on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mnbatch.errors import UsageError

_PANEL = "Fields and whole slides"


def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New directory for the simulated export.")],
    donors: Annotated[int, typer.Option(help="Donors; they take the doses in turn.")] = 4,
    slides: Annotated[int, typer.Option(help="Slides a donor.")] = 2,
    cells: Annotated[int, typer.Option(help="Cells a slide.")] = 300,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    dose: Annotated[str, typer.Option(help="Doses in Gy, separated by commas.")] = "0,1,2,4",
    stain: Annotated[str, typer.Option(help="fluorescence, giemsa or both (slides in turn).")] = "fluorescence",
    look: Annotated[str | None, typer.Option(help="Old name of --stain.", hidden=True)] = None,
    kind: Annotated[
        str,
        typer.Option(help="crops (a file a cell), gallery (one TIFF a slide), fields (camera), wsi (whole slides)."),
    ] = "crops",
    layout: Annotated[
        str, typer.Option(help="Of crops: donor-slide-folders, folder-per-slide or flat-files.")
    ] = "donor-slide-folders",
    fmt: Annotated[str, typer.Option("--format", help="tif, png or jpg; fields also ome.tif.")] = "tif",
    bits: Annotated[int, typer.Option(help="Of fluorescence files, 8 or 16 (jpg has 8).")] = 16,
    size: Annotated[int, typer.Option(help="Width and height of a crop in px.")] = 224,
    variety: Annotated[float, typer.Option(help="0: all slides alike; 1: as different as laboratories are.")] = 0.6,
    odd_cells: Annotated[
        float, typer.Option("--odd-cells", help="Share of crops with one nucleus, or three and more.")
    ] = 0.0,
    mnbn: Annotated[
        str, typer.Option(help="MNBN cells per 1000 binucleated cells instead of doses, as in 5,20,100.")
    ] = "",
    fields: Annotated[int, typer.Option(help="Fields a slide.", rich_help_panel=_PANEL)] = 20,
    field_size: Annotated[
        str, typer.Option("--field-size", help="Width x height in px.", rich_help_panel=_PANEL)
    ] = "1376x1040",
    slide_size: Annotated[
        str, typer.Option("--slide-size", help="Of a whole slide, width x height in px.", rich_help_panel=_PANEL)
    ] = "8192x8192",
    um_per_pixel: Annotated[
        float, typer.Option("--um-per-pixel", help="Pixel size in um, written into the files.", rich_help_panel=_PANEL)
    ] = 0.25,
    density: Annotated[float, typer.Option(help="Cells of all classes per mm2.", rich_help_panel=_PANEL)] = 400.0,
    mixture: Annotated[
        str, typer.Option(help="Shares of classes, as in mononucleated=40,binucleated=50.", rich_help_panel=_PANEL)
    ] = "",
    overlaps: Annotated[float, typer.Option(help="Share of cells that overlap.", rich_help_panel=_PANEL)] = 0.04,
    defocus: Annotated[
        float, typer.Option(help="Share of the area that is out of focus.", rich_help_panel=_PANEL)
    ] = 0.04,
    debris: Annotated[
        float, typer.Option(help="Amount of debris; 1 is that of the crops.", rich_help_panel=_PANEL)
    ] = 0.5,
    haze: Annotated[
        float,
        typer.Option(
            help="Cytoplasm that shows, as a share of the nuclei's brightness, with haze, uneven background and cells"
            " out of focus; fluorescence, as 0.05 to 0.4. 0: as stains usually are.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.0,
    brightness_spread: Annotated[
        float,
        typer.Option("--brightness-spread", help="With --haze: brightest / dimmest nucleus.", rich_help_panel=_PANEL),
    ] = 10.0,
    cytoplasm_channel: Annotated[
        bool,
        typer.Option(
            "--cytoplasm-channel",
            help="A second channel in which the cytoplasm is stained; with --format ome.tif.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    masks: Annotated[
        str,
        typer.Option(
            help="Label images of fields: none, apart (in DIR/masks), beside (*_mask.tif in the export).",
            rich_help_panel=_PANEL,
        ),
    ] = "none",
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one a core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write even if DIR has other files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line a slide on stderr.")] = False,
) -> None:
    """Draw a plausible scanner export with known truth into DIR.

    DIR/export is the export, DIR/samples.csv a sample sheet for `mnbatch run --samples`, and DIR/truth.csv
    what was drawn; `mnbatch run` never reads the truth. Micronuclei a cell follow a Poisson law around a
    published X-ray curve, or have the frequency of --mnbn. Fields and whole slides hold cells of all classes and
    debris. The pictures are drawn: what is measured on them does not say how well real cells are scored.
    """
    from mnbatch.renamed import warn_renamed
    from mnbatch.simulate.export_plan import ExportPlan
    from mnbatch.simulate.fields.field_export import simulate_fields
    from mnbatch.simulate.fields.field_plan import FORMATS, USUAL_MIXTURE, FieldPlan, parse_mixture
    from mnbatch.simulate.fields.haze import Haze
    from mnbatch.simulate.simulated_export import simulate_export

    if look is not None:
        warn_renamed("--look", "--stain")
        stain = look
    kind = _choice("kind", kind, ("crops", "gallery", "fields", "wsi"))
    fmt = _choice("format", fmt, FORMATS if kind == "fields" else ("tif", "png", "jpg"))
    options: dict[str, Any] = {
        "stain": _choice("stain", stain, ("fluorescence", "giemsa", "both")),
        "fmt": fmt if kind in ("crops", "gallery") else "tif",
        "layout": _choice("layout", layout, ("donor-slide-folders", "folder-per-slide", "flat-files")),
        "bits": int(_choice("bits", str(bits), ("8", "16"))),
    }
    if haze and kind in ("crops", "gallery"):
        raise UsageError("--haze is for fields and whole slides.", "Leave it out, or use --kind fields.")
    if cytoplasm_channel and kind in ("crops", "gallery"):
        raise UsageError("--cytoplasm-channel is for fields.", "Leave it out, or use --kind fields.")
    if kind == "gallery":
        options["layout"] = "tiff-galleries"
    plan = ExportPlan(
        donors=donors,
        slides=slides,
        cells=cells,
        seed=seed,
        doses=_numbers("dose", dose, "doses in Gy", "0,1,2,4"),
        size=size,
        variety=variety,
        odd_cells=odd_cells,
        mnbn=_numbers("mnbn", mnbn, "frequencies per 1000", "5,20,100"),
        **options,
    )

    def progress(name: str) -> None:
        if not quiet:
            typer.echo(f"slide {name} drawn", err=True)

    processes = workers or os.cpu_count() or 1
    if kind in ("crops", "gallery"):
        made = simulate_export(directory, plan, force=force, workers=processes, progress=progress)
        what = f"{made.cells} cells, layout {plan.layout}"
    else:
        whole = kind == "wsi"
        width, height = _sides("slide-size" if whole else "field-size", slide_size if whole else field_size)
        choices: dict[str, Any] = {
            "kind": kind,
            "fmt": fmt,
            "masks": _choice("masks", masks, ("none", "apart", "beside")),
            "haze": Haze(cytoplasm=haze, spread=brightness_spread) if haze else None,
            "cytoplasm_channel": cytoplasm_channel,
            "mixture": parse_mixture(mixture) if mixture else USUAL_MIXTURE,
        }
        on_slides = FieldPlan(
            export=plan,
            fields=fields,
            width=width,
            height=height,
            um_per_px=um_per_pixel,
            density=density,
            overlaps=overlaps,
            defocus=defocus,
            debris=debris,
            **choices,
        )
        made = simulate_fields(directory, on_slides, force=force, workers=processes, progress=progress)
        what = f"{made.cells} binucleated cells, {'whole slides' if whole else f'{fields} fields each'}"
    typer.echo(f"export:  {made.export} ({made.slides} slides, {what})")
    typer.echo(f"truth:   {made.truth} ({made.cells_with_mn} cells with {made.micronuclei} micronuclei)")
    typer.echo(f"samples: {made.samples}")


def _numbers(option: str, text: str, what: str, example: str) -> tuple[float, ...]:
    """Numbers from "0,1,2.5"."""
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(",") if part.strip())
    except ValueError as error:
        raise UsageError(f"'{text}' is not a list of {what}.", f"Use for example --{option} {example}.") from error


def _sides(option: str, text: str) -> tuple[int, int]:
    """Width and height from "1376x1040"."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise UsageError(
            f"--{option} {text} is not a width x height.", f"Use for example --{option} 2048x1536."
        ) from error
    return width, height


def _choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """The value, if it is one of those allowed."""
    if value not in allowed:
        raise UsageError(f"--{name} {value} is unknown.", f"Use {', '.join(allowed[:-1])} or {allowed[-1]}.")
    return value

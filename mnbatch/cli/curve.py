"""`mnbatch curve fit | show`: calibration curves from counts, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnbatch.cli.common import App, say_notes

if TYPE_CHECKING:
    from mnbatch.dosimetry.calibration_curve import Curve

curve_app = App(help="Fit and show calibration curves.", no_args_is_help=True)

_ENDPOINT = "mn counts micronuclei, mnbn cells with at least one."


@curve_app.command("fit")
def fit_command(
    source: Annotated[
        Path, typer.Argument(help="Table of counts (D and C0..C5, or D, N and X), or an OUT of `mnbatch run`.")
    ],
    out: Annotated[Path, typer.Option(help="Curve file to write.")] = Path("curve.json"),
    doses: Annotated[
        Path | None,
        typer.Option(help="Sample sheet with dose_gy, for an OUT; otherwise the one last given.", show_default=False),
    ] = None,
    model: Annotated[
        Literal["automatic", "linear", "linear-quadratic"], typer.Option(help="Shape of the curve.")
    ] = "automatic",
    family: Annotated[
        Literal["automatic", "poisson", "quasi-poisson", "nb1", "nb2", "binomial", "quasi-binomial"],
        typer.Option(help="Noise of the counts."),
    ] = "automatic",
    endpoint: Annotated[
        Literal["mn", "mnbn"] | None, typer.Option(help=_ENDPOINT + " A table is mn unless this option is given.")
    ] = None,
    counts: Annotated[
        Literal["automatic", "confirmed", "reviewed"],
        typer.Option(
            "--from", help="Of an OUT: the model's calls, called cells that a person confirmed, or complete reviews."
        ),
    ] = "automatic",
    scoring: Annotated[
        str, typer.Option(help="How the slides of a table were scored, such as 'manual'; kept with the curve.")
    ] = "",
    irradiation: Annotated[
        list[str] | None,
        typer.Option(
            help="How the samples were irradiated, KEY=TEXT, once for each of source, quality, dose_rate, temperature "
            "and calibration; kept with the curve and printed on donors' sheets.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fit a calibration curve, check it, write it and show it.

    Exit codes: 2 usage; 3 the data give no curve (rows that cannot be used, too few doses, no rise with dose); 4 OUT
    holds no results; 5 slides that were scored differently; 10 a file cannot be read or written.
    """
    from mnbatch.app.dosing_service import fit_and_write, fit_notes
    from mnbatch.dosimetry.curve_fitting import summary_lines

    curve = fit_and_write(
        source,
        out,
        doses=doses,
        model=model,
        family=family,
        endpoint=endpoint,
        scoring=scoring,
        irradiation=irradiation or (),
        counts=counts,
    )
    typer.echo("\n".join(summary_lines(curve)))
    say_notes(fit_notes(source, curve))
    typer.echo(f"curve: {out}")


@curve_app.command("show")
def show_command(
    curve: Annotated[str, typer.Argument(help="curve.json, or an example such as example:mayakannan2018.")],
    level: Annotated[float, typer.Option(help="Confidence of the band, above 0 and below 1.")] = 0.95,
    figure: Annotated[Path | None, typer.Option(help="Write the figure as SVG, too.", show_default=False)] = None,
) -> None:
    """Print a curve: coefficients, fit, yields with their band, figure.

    Exit codes: 2 usage; 3 no dose can be read from the curve; the reason is printed.
    """
    from mnbatch.app.dosing_service import check_level, refuse_faults, show_curve, write_curve_figure
    from mnbatch.dosimetry.curve_fitting import summary_lines

    check_level(level)
    shown = show_curve(curve)
    typer.echo("\n".join(summary_lines(shown.curve)))
    for warning in shown.warnings:
        typer.echo(f"note        {warning}")
    refuse_faults(shown, curve)
    typer.echo()
    typer.echo("\n".join(_table_and_plot(shown.curve, level)))
    if figure is not None:
        write_curve_figure(shown.curve, level, figure)
        typer.echo(f"figure: {figure}")


def _table_and_plot(curve: Curve, level: float, width: int = 50) -> list[str]:
    """Yields per 1000 cells at round doses, with the band drawn next to them: `(---o---)`."""
    import numpy as np

    top = curve.highest_dose or 5.0
    doses = np.linspace(0, top, 21)
    middle = 1000 * curve.yields(doses)
    low, high = (1000 * limit for limit in curve.band(doses, level))
    scale = (width - 1) / max(float(high.max()), 1e-9)
    lines = [f"dose, Gy   per 1000     {100 * level:g} % band   0{'':{width - 6}}{high.max():.0f}"]
    for d, y, a, b in zip(doses, middle, np.maximum(low, 0), high, strict=True):
        places = [round(float(value) * scale) for value in (a, y, b)]
        row = [" "] * width
        row[places[0] : places[2] + 1] = "-" * (places[2] + 1 - places[0])
        row[places[1]] = "o"
        lines.append(f"{d:8.2f}  {y:9.1f}  {a:7.1f} - {b:7.1f}  |{''.join(row).rstrip()}")
    return lines

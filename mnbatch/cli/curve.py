"""`mnbatch curve fit | show`: calibration curves from counts, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mnbatch.cli.common import App
from mnbatch.errors import NoInputError, UsageError

if TYPE_CHECKING:
    from mnbatch.dosimetry.calibration_curve import Curve, Endpoint
    from mnbatch.dosimetry.likelihood_fits import DosePoint

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
        typer.Option(help="Sample sheet with dose_gy, for an OUT; otherwise the one in force.", show_default=False),
    ] = None,
    model: Annotated[
        Literal["automatic", "linear", "linear-quadratic"], typer.Option(help="Shape of the curve.")
    ] = "automatic",
    family: Annotated[
        Literal["automatic", "poisson", "quasi-poisson", "nb1", "nb2", "binomial", "quasi-binomial"],
        typer.Option(help="Noise of the counts."),
    ] = "automatic",
    endpoint: Annotated[
        Literal["mn", "mnbn"] | None, typer.Option(help=_ENDPOINT + " A table is mn unless told otherwise.")
    ] = None,
    scoring: Annotated[
        str, typer.Option(help="How the slides of a table were scored, such as 'manual'; kept with the curve.")
    ] = "",
) -> None:
    """Fit a calibration curve, check it, write it and show it.

    Exit codes: 2 usage; 3 the data give no curve (rows that cannot be used, too few doses, no rise with dose); 4 OUT
    holds no results; 5 slides that were scored differently; 10 a file cannot be read or written.
    """
    from mnbatch.dosimetry.calibration_curve import dump_curve
    from mnbatch.dosimetry.curve_fitting import fit_curve, summary_lines
    from mnbatch.dosimetry.likelihood_fits import read_points
    from mnbatch.files import write_out_file

    points: list[DosePoint]
    stated: dict[str, Any]
    if source.is_dir():
        points, of, stated = _scored_points(source, doses, endpoint)
        stated |= {"note": scoring} if scoring else {}
    else:
        of, stated = endpoint or "mn", {"mode": scoring} if scoring else {}
        points = read_points(source, of)
    curve = fit_curve(points, of, model, family, stated)
    write_out_file(out, dump_curve(curve))
    typer.echo("\n".join(summary_lines(curve)))
    typer.echo(f"curve: {out}")


def _scored_points(
    out: Path, doses: Path | None, endpoint: Endpoint | None
) -> tuple[list[DosePoint], Endpoint, dict[str, Any]]:
    """Points of an OUT, with the doses of a sheet or of the one in force."""
    from mnbatch.assay.sample_sheet import match_samples, read_samples
    from mnbatch.results.annotations import load_samples
    from mnbatch.results.calibration import calibration_points, known_doses
    from mnbatch.results.store import Store

    store = Store(out)
    if not store.paths.slides.is_dir():
        raise NoInputError(f"{out} holds no results of mnbatch.", "Give the --out directory of a run.")
    if doses is None:
        known = known_doses(load_samples(store.paths))
    else:
        slides = [(r.slide_id, r.name, r.path) for r in store.records()]
        known = {i: s.dose_gy for i, s in match_samples(read_samples(doses), slides).items() if s.dose_gy is not None}
    return calibration_points(store, known, endpoint)


@curve_app.command("show")
def show_command(
    curve: Annotated[str, typer.Argument(help="curve.json, or an example such as example:mayakannan2018.")],
    level: Annotated[float, typer.Option(help="Confidence of the band, above 0 and below 1.")] = 0.95,
    figure: Annotated[Path | None, typer.Option(help="Write the figure as SVG, too.", show_default=False)] = None,
) -> None:
    """Print a curve: coefficients, fit, yields with their band, figure.

    Exit codes: 2 usage; 3 no dose can be read from the curve; the reason is printed.
    """
    from mnbatch.dosimetry.calibration_curve import load_curve, problems
    from mnbatch.dosimetry.curve_fitting import summary_lines
    from mnbatch.dosimetry.dose_estimation import curve_warnings
    from mnbatch.errors import CurveError

    if not 0 < level < 1:
        raise UsageError(f"The level {level:g} is no confidence level.", "Give a number between 0 and 1, such as 0.95.")
    loaded = load_curve(curve)
    typer.echo("\n".join(summary_lines(loaded)))
    for warning in curve_warnings(loaded):
        typer.echo(f"note        {warning}")
    faults = problems(loaded)
    if faults:
        raise CurveError(f"No dose can be read from {curve}: {'; '.join(faults)}.", "Fit another curve.")
    typer.echo()
    typer.echo("\n".join(_table_and_plot(loaded, level)))
    if figure is not None:
        from mnbatch.files import write_out_file
        from mnbatch.report.charts import standalone

        write_out_file(figure, standalone(loaded, level))
        typer.echo(f"figure: {figure}")


def _table_and_plot(curve: Curve, level: float, width: int = 50) -> list[str]:
    """Yields per 1000 cells at round doses, with the band drawn beside them: `(---o---)`."""
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

"""`mnbatch dose`: doses of bare counts, or of an OUT that mnbatch scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mnbatch.cli.common import as_json as missing_as_json
from mnbatch.cli.common import name_missing, say_notes
from mnbatch.errors import EXIT_SLIDES_FAILED, UsageError

if TYPE_CHECKING:
    from mnbatch.app.dosing_service import Dosed
    from mnbatch.dosimetry.dose_estimation import DoseResult
    from mnbatch.dosimetry.triage import Triage
    from mnbatch.results.dosing_settings import Dosing

_Suspected = tuple[float, Sequence[float | None]]
"""A suspected dose, and of each case how likely its counts are without it."""


def dose(
    out: Annotated[
        Path | None, typer.Argument(help="Output directory of `mnbatch run`; or give --cases.", show_default=False)
    ] = None,
    curve: Annotated[
        str, typer.Option(help="Calibration curve: curve.json, or an example such as example:mayakannan2018.")
    ] = "",
    cases: Annotated[
        Path | None, typer.Option(help="Table of counts: columns id and C0..C5, or id, N and X.", show_default=False)
    ] = None,
    method: Annotated[
        Literal["automatic", "profile", "components", "merkle", "delta"],
        typer.Option(
            help="How the interval is made; automatic: by components for curves of mnbatch's counts of cells, else by "
            "profile. See docs/statistics.md."
        ),
    ] = "automatic",
    level: Annotated[float, typer.Option(help="Confidence of the interval, above 0 and below 1.")] = 0.95,
    exposure_hours: Annotated[
        float, typer.Option(min=0, help="Duration of a protracted exposure; 0 is an acute one.")
    ] = 0.0,
    sensitivity: Annotated[
        str,
        typer.Option(
            help="For a curve without scorer's errors: found of true events, as 255/300; also give --specificity."
        ),
    ] = "",
    specificity: Annotated[
        str,
        typer.Option(help="For a curve without scorer's errors: cells without MN that were called so, as 1980/2000."),
    ] = "",
    suspected_gy: Annotated[
        float | None,
        typer.Option(
            min=0, help="A suspected dose: the JSON says how likely the counts are without it.", show_default=False
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Give doses even if case and curve were scored differently.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a case, one a line.")] = False,
    with_triage: Annotated[
        bool, typer.Option("--triage", help="Add the probabilities of the dose classes to each JSON object.")
    ] = False,
) -> None:
    """Estimate doses with intervals from a calibration curve.

    For research use. A case that gives no dose has its reason; the others are computed.

    With OUT the curve is kept there, and doses are in donors.csv and on donors' pages from then on.

    Exit codes: 0 every case has a dose; 2 usage; 3 at least one case has none, slides of OUT are not counted,
    or its control samples are out of range; 4 OUT holds no results; 5 OUT and curve do not belong together; 10
    unreadable or disk full; 11 OUT is held by a run.
    """
    if (out is None) == (cases is None):
        raise UsageError("Give either an OUT directory or --cases.", "`mnbatch dose --help` shows both.")
    if not curve:
        raise UsageError("No calibration curve is given.", "Give --curve curve.json; `mnbatch curve fit` makes one.")
    from mnbatch.app.dosing_service import dose_cases, dose_out, make_dosing, suspected_ratios

    dosing = make_dosing(
        curve,
        method=method,
        level=level,
        exposure_hours=exposure_hours,
        allow_mismatch=allow_mismatch,
        sensitivity=sensitivity,
        specificity=specificity,
    )
    if cases is not None:
        done = dose_cases(cases, dosing, with_triage=with_triage or not as_json)
    else:
        assert out is not None
        done = dose_out(out, dosing)
    say_notes((*done.notes, *_exposure_notes(dosing)))
    if out is not None:
        typer.echo(f"report: {done.index}", err=True)
    if as_json:
        ratios = None if suspected_gy is None else suspected_ratios(done.results, dosing, suspected_gy)
        suspected = None if suspected_gy is None or ratios is None else (suspected_gy, ratios)
        lines = _json_lines(done, with_triage, suspected, exposure_hours)
    else:
        lines = _text_lines(done.pairs)
    for line in lines:
        typer.echo(line)
    _leave(done, "cases" if cases is not None else "donors")


def _leave(done: Dosed, what: str) -> None:
    """Report how many have no dose, which slides have none and whether controls failed, and exit with the code."""
    not_counted = name_missing(done.not_counted)
    if done.controls:
        typer.echo(f"warning: {done.controls}", err=True)
    bad = sum(result.status != "ok" for result in done.results)
    if bad:
        typer.echo(f"{bad} of {len(done.results)} {what} have no dose; the reason is given for each.", err=True)
    raise typer.Exit(EXIT_SLIDES_FAILED if bad or done.controls else not_counted)


def _exposure_notes(dosing: Dosing) -> list[str]:
    hours = dosing.settings.exposure_hours
    if not hours:
        return []
    return [
        f"the doses are of an exposure over {hours:g} h (--exposure-hours, G = {dosing.options.g:.3f}): those of an "
        "acute exposure are smaller"
    ]


def _json_lines(done: Dosed, with_triage: bool, suspected: _Suspected | None, exposure_hours: float) -> Iterator[str]:
    for i, (result, found) in enumerate(done.pairs):
        content: dict[str, Any] = result.to_json()
        if exposure_hours:
            content["exposure_hours"] = exposure_hours
        if result.id in done.missing:
            content["slides_not_counted"] = missing_as_json(done.missing[result.id])
        if with_triage:
            content["triage"] = found.to_json() if found else None
        if suspected is not None:
            dose, ratios = suspected
            content["suspected"] = {"dose_gy": dose, "log10_background_over_suspected": ratios[i]}
        yield json.dumps(content, allow_nan=False)


def _text_lines(pairs: Sequence[tuple[DoseResult, Triage | None]]) -> Iterator[str]:
    """One case a line: who, dose with interval, class, counts, remarks."""
    width = max([len(result.id) for result, _ in pairs] + [4])
    yield f"{'id':<{width}}  {'dose, Gy':>9}  {'interval':>15}  {'class':<22}  {'X of N':>13}  remarks"
    for result, found in pairs:
        counted = "-" if result.n is None else f"{result.x} of {result.n}"
        yield (
            f"{result.id:<{width}}  {_gy(result.estimate):>9}  {_interval(result):>15}  {_class(found):<22}  "
            f"{counted:>13}  {'; '.join(_remarks(result))}"
        )
    prior = next((found.prior for _, found in pairs if found), "")
    if prior:
        yield f"class: the probability that the dose is in it, {prior}"


def _remarks(result: DoseResult) -> list[str]:
    limit = "" if result.detection_dose is None else f" (detection limit {result.detection_dose:.2f} Gy)"
    words = [f"not above the decision threshold{limit}"] if result.below_detection else []
    return [*([result.status] if result.status != "ok" else []), *words, *result.warnings]


def _class(found: Triage | None) -> str:
    return "-" if found is None else f"{found.category} ({100 * found.probability:.0f} %)"


def _gy(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(result: DoseResult) -> str:
    if result.lower is None:
        return "-"
    return f"{result.lower:.3f}-" + ("unbounded" if result.upper is None else f"{result.upper:.3f}")

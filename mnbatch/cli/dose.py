"""`mnbatch dose`: doses of bare counts, or of an OUT that mnbatch scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mnbatch.cli.common import as_json as missing_as_json
from mnbatch.errors import UsageError

if TYPE_CHECKING:
    from mnbatch.cli.dose_out import DosedOut
    from mnbatch.dosimetry.dose_estimation import DoseResult
    from mnbatch.dosimetry.triage import Triage
    from mnbatch.results.dosing_settings import Dosing


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
        Literal["profile", "merkle", "delta"], typer.Option(help="How the interval is made; see docs/statistics.md.")
    ] = "profile",
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
        str, typer.Option(help="For a curve without scorer's errors: cells rightly called free of MN, as 1980/2000.")
    ] = "",
    suspected_gy: Annotated[
        float | None,
        typer.Option(
            min=0, help="A suspected dose: the JSON says how likely the counts are without it.", show_default=False
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Give doses although case and curve were scored differently.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a case, one a line.")] = False,
    with_triage: Annotated[
        bool, typer.Option("--triage", help="Add the probabilities of the dose classes to each JSON object.")
    ] = False,
) -> None:
    """Estimate doses with intervals from a calibration curve.

    For research use. A case that gives no dose has its reason; the others are computed.

    With OUT the curve is kept there, and doses stand in donors.csv and on donors' pages from then on.

    Exit codes: 0 every case has a dose; 2 usage; 3 at least one case has none, or slides of OUT are not counted; 4 OUT
    holds no results; 5 OUT and curve do not belong together; 10 unreadable or disk full; 11 OUT is held by a run.
    """
    if (out is None) == (cases is None):
        raise UsageError("Give either an OUT directory or --cases.", "`mnbatch dose --help` shows both.")
    if not curve:
        raise UsageError("No calibration curve is given.", "Give --curve curve.json; `mnbatch curve fit` makes one.")
    if not 0 < level < 1:
        raise UsageError(f"The level {level:g} is no confidence level.", "Give a number between 0 and 1, such as 0.95.")
    from mnbatch.cli.dose_out import DosedOut, dose_out, leave
    from mnbatch.dosimetry.calibration_curve import load_curve
    from mnbatch.results.dosing_settings import DoseSettings, Dosing

    rates = _rates(sensitivity, specificity)
    source = curve if curve.startswith("example:") else Path(curve).name
    settings = DoseSettings(source, method, level, exposure_hours, allow_mismatch, *rates)
    dosing = Dosing(load_curve(curve), settings)
    if cases is not None:
        done = DosedOut(_dose_cases(cases, dosing, with_triage or not as_json), {})
    else:
        assert out is not None
        done = dose_out(out, dosing)
    lines = _json_lines(done, with_triage, dosing, suspected_gy) if as_json else _text_lines(done.pairs)
    for line in lines:
        typer.echo(line)
    missing = [slide for slides in done.missing.values() for slide in slides]
    leave([result for result, _ in done.pairs], "cases" if cases is not None else "donors", missing)


def _dose_cases(path: Path, dosing: Dosing, with_triage: bool) -> Sequence[tuple[DoseResult, Triage | None]]:
    from mnbatch.dosimetry.dose_estimation import assess, read_cases
    from mnbatch.dosimetry.triage import triage

    seen, options = dosing.seen, dosing.options
    results = assess(read_cases(path, seen.endpoint), seen, options)
    classes = triage(results, seen, options.g) if with_triage else [None] * len(results)
    return list(zip(results, classes, strict=True))


def _rates(sensitivity: str, specificity: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Both rates as (right, total), or neither."""
    if not sensitivity and not specificity:
        return None, None
    from mnbatch.dosimetry.scorer_error import counted_rate

    if not (sensitivity and specificity):
        raise UsageError("Sensitivity and specificity belong together.", "Give both --sensitivity and --specificity.")
    se, sp = counted_rate("--sensitivity", sensitivity), counted_rate("--specificity", specificity)
    return (se.right, se.total), (sp.right, sp.total)


def _json_lines(done: DosedOut, with_triage: bool, dosing: Dosing, suspected: float | None) -> Iterator[str]:
    ratios = _suspected([result for result, _ in done.pairs], dosing, suspected)
    for (result, found), ratio in zip(done.pairs, ratios, strict=True):
        content: dict[str, Any] = result.to_json()
        if result.id in done.missing:
            content["slides_not_counted"] = missing_as_json(done.missing[result.id])
        if with_triage:
            content["triage"] = found.to_json() if found else None
        if suspected is not None:
            content["suspected"] = {"dose_gy": suspected, "log10_background_over_suspected": ratio}
        yield json.dumps(content, allow_nan=False)


def _suspected(results: Sequence[DoseResult], dosing: Dosing, suspected: float | None) -> Sequence[float | None]:
    """Log10 of the likelihood of background over that of the suspected dose; None for a case without a dose."""
    usable = [result for result in results if result.status == "ok"]
    if suspected is None or not usable:
        return [None] * len(results)
    from mnbatch.dosimetry.dose_estimation import background_over_suspected, counts_of

    found = iter(
        background_over_suspected(dosing.seen, counts_of(usable, dosing.seen), suspected, dosing.options.g).tolist()
    )
    return [next(found) if result.status == "ok" else None for result in results]


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
        yield f"class: the probability that the dose lies in it, {prior}"


def _remarks(result: DoseResult) -> list[str]:
    below = ["below the detection limit" if result.detection_dose is None
             else f"below the detection limit of {result.detection_dose:.2f} Gy"]  # fmt: skip
    words = below if result.below_detection else []
    return [*([result.status] if result.status != "ok" else []), *words, *result.warnings]


def _class(found: Triage | None) -> str:
    return "-" if found is None else f"{found.category} ({100 * found.probability:.0f} %)"


def _gy(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(result: DoseResult) -> str:
    if result.lower is None:
        return "-"
    return f"{result.lower:.3f}-" + ("unbounded" if result.upper is None else f"{result.upper:.3f}")

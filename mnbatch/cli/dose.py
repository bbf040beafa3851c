"""`mnbatch dose`: doses of bare counts, or of an OUT that mnbatch scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mnbatch.errors import EXIT_OK, EXIT_SLIDES_FAILED, UsageError

if TYPE_CHECKING:
    from mnbatch.assay.curve import Curve
    from mnbatch.assay.dose_records import DoseOptions, DoseResult
    from mnbatch.assay.triage import Triage


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

    Exit codes: 0 every case has a dose; 2 usage; 3 at least one case has none; 5 OUT and curve do not belong together.
    """
    if (out is None) == (cases is None):
        raise UsageError("Give either an OUT directory or --cases.", "`mnbatch dose --help` shows both.")
    if not curve:
        raise UsageError("No calibration curve is given.", "Give --curve curve.json; `mnbatch curve fit` makes one.")
    if not 0 < level < 1:
        raise UsageError(f"The level {level:g} is no confidence level.", "Give a number between 0 and 1, such as 0.95.")
    from mnbatch.assay.curve_file import load_curve
    from mnbatch.assay.dose_records import DoseOptions
    from mnbatch.assay.protraction import protraction_factor

    options = DoseOptions(method, level, protraction_factor(exposure_hours), allow_mismatch)
    seen = _as_scored(load_curve(curve), sensitivity, specificity)
    assert cases is not None
    _dose_cases(cases, seen, options, as_json, with_triage)


def _dose_cases(path: Path, curve: Curve, options: DoseOptions, as_json: bool, with_triage: bool) -> None:
    from mnbatch.assay.cases import read_cases
    from mnbatch.assay.dosing import assess
    from mnbatch.assay.triage import triage

    results = assess(read_cases(path, curve.endpoint), curve, options)
    classes = triage(results, curve, options.g) if with_triage or not as_json else [None] * len(results)
    pairs = list(zip(results, classes, strict=True))
    for line in _json_lines(pairs, with_triage) if as_json else _text_lines(pairs):
        typer.echo(line)
    bad = sum(result.status != "ok" for result in results)
    if bad:
        typer.echo(f"{bad} of {len(results)} cases have no dose; their reasons stand with them.", err=True)
    raise typer.Exit(EXIT_SLIDES_FAILED if bad else EXIT_OK)


def _as_scored(curve: Curve, sensitivity: str, specificity: str) -> Curve:
    """The curve as a scorer with these errors sees it; as it is where none are given."""
    if not sensitivity and not specificity:
        return curve
    from mnbatch.assay.scorer_error import counted_rate, curve_seen_by

    if not (sensitivity and specificity):
        raise UsageError("Sensitivity and specificity belong together.", "Give both --sensitivity and --specificity.")
    return curve_seen_by(curve, counted_rate("--sensitivity", sensitivity), counted_rate("--specificity", specificity))


def _json_lines(pairs: Sequence[tuple[DoseResult, Triage | None]], with_triage: bool) -> Iterator[str]:
    for result, found in pairs:
        content: dict[str, Any] = result.to_json()
        if with_triage:
            content["triage"] = found.to_json() if found else None
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

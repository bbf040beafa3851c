"""Calibration curves, and doses of bare counts or of the donors of an OUT."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnbatch.app.person_curve import person_points, refuse_thin_background, unsure_notes
from mnbatch.app.rebuild import make_reports, open_store
from mnbatch.assay.alike_names import alike_donors, spelled
from mnbatch.assay.count_kinds import CountKind, kind_of, mode_of
from mnbatch.assay.sample_sheet import match_samples, read_samples
from mnbatch.dosimetry.calibration_curve import IRRADIATION, Curve, Endpoint, dump_curve, load_curve, problems
from mnbatch.dosimetry.calibration_tables import read_points, table_notes
from mnbatch.dosimetry.case_tables import unread_columns
from mnbatch.dosimetry.curve_fitting import Family, ModelChoice, fit_curve
from mnbatch.dosimetry.dose_estimation import (
    DoseResult,
    assess,
    background_over_suspected,
    counts_of,
    curve_warnings,
    read_cases,
)
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.dosimetry.plausible_curves import implausible
from mnbatch.dosimetry.scorer_error import counted_rate
from mnbatch.dosimetry.triage import Triage, triage
from mnbatch.errors import CurveError, MismatchError, NoInputError, UsageError
from mnbatch.files import write_out_file
from mnbatch.intake import short
from mnbatch.results.annotations import load_samples
from mnbatch.results.calibration import calibration_points, known_doses
from mnbatch.results.dosing_settings import MODE, DoseSettings, Dosing, save_dosing
from mnbatch.results.lock import hold_out
from mnbatch.results.roster import Missing, open_roster
from mnbatch.results.store import Store

if TYPE_CHECKING:
    from mnbatch.report.build import ReportSummary

Rate = tuple[int, int]
LONGEST_CONDITION = 400
NAMED_SLIDES = 5
RATES_NOTE = (
    "the stated sensitivity and specificity are those of all cells together: the intervals do not hold how much a "
    "scorer differs from slide to slide"
)


@dataclass(frozen=True, slots=True)
class Dosed:
    """Doses of cases or donors.

    Attributes:
        pairs: result and dose class of each; the class is None without a dose, or where none was asked for.
        missing: donor -> its slides that are not counted; "" for slides without a donor.
        index: the batch page; None for bare counts.
        notes: what a person should know of the table that was read, or of the reports that were made.
        controls: what is wrong with the batch's control samples; "" for nothing.
    """

    pairs: tuple[tuple[DoseResult, Triage | None], ...]
    missing: Mapping[str, Sequence[Missing]] = field(default_factory=dict)
    index: Path | None = None
    notes: tuple[str, ...] = ()
    controls: str = ""

    @property
    def results(self) -> tuple[DoseResult, ...]:
        """Without the classes."""
        return tuple(result for result, _ in self.pairs)

    @property
    def not_counted(self) -> tuple[Missing, ...]:
        """The missing slides of all donors."""
        return tuple(slide for slides in self.missing.values() for slide in slides)


@dataclass(frozen=True, slots=True, eq=False)
class ShownCurve:
    """A curve and what a reader must know of it.

    Attributes:
        faults: why no dose can be read from it; empty for a curve that can be used.
    """

    curve: Curve
    warnings: tuple[str, ...]
    faults: tuple[str, ...]


def check_level(level: float) -> None:
    """Refuse what is no confidence level.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(
            f"The level {level:g} is not a confidence level.", "Give a number between 0 and 1, such as 0.95."
        )


def make_dosing(
    curve: str,
    *,
    method: str = "automatic",
    level: float = 0.95,
    exposure_hours: float = 0.0,
    allow_mismatch: bool = False,
    sensitivity: str = "",
    specificity: str = "",
) -> Dosing:
    """A curve with how doses are to be read from it.

    Args:
        curve: path of curve.json, or an example such as `example:mayakannan2018`.
        sensitivity, specificity: of a scorer, for a curve that has not its errors: counts such as 255/300; "" for none.

    Raises:
        UsageError: no such example, a broken file, level or rate.
        StorageError: the file cannot be read.
    """
    check_level(level)
    se, sp = _rates(sensitivity, specificity)
    settings = DoseSettings(
        source=curve if curve.startswith("example:") else Path(curve).name,
        method=method,
        level=level,
        exposure_hours=exposure_hours,
        allow_mismatch=allow_mismatch,
        sensitivity=se,
        specificity=sp,
    )
    return Dosing(load_curve(curve), settings)


def _rates(sensitivity: str, specificity: str) -> tuple[Rate | None, Rate | None]:
    """Both rates as (right, total), or neither."""
    if not sensitivity and not specificity:
        return None, None
    if not (sensitivity and specificity):
        raise UsageError("Sensitivity and specificity belong together.", "Give both --sensitivity and --specificity.")
    se, sp = counted_rate("--sensitivity", sensitivity), counted_rate("--specificity", specificity)
    return (se.right, se.total), (sp.right, sp.total)


def dose_cases(cases: Path, dosing: Dosing, *, with_triage: bool = True) -> Dosed:
    """Doses of bare counts; a case that gives none has its reason, and the others are computed.

    Args:
        cases: table with id and C0..C5, or id, N and X.
        with_triage: also sort each case into a dose class.

    Raises:
        UsageError: the table has not these columns.
        StorageError: it cannot be read.
    """
    seen, options = dosing.seen, dosing.options
    results = assess(read_cases(cases, seen.endpoint), seen, options)
    classes = triage(results, seen, options.g) if with_triage else [None] * len(results)
    twins = [f"{' and '.join(map(spelled, group))} read the same" for group in alike_donors(r.id for r in results)]
    alike = f"ids that may be of one person: {'; '.join(twins)}" if twins else ""
    notes = tuple(filter(None, [unread_columns(cases), alike, RATES_NOTE if dosing.corrected else ""]))
    return Dosed(tuple(zip(results, classes, strict=True)), notes=notes)


def dose_out(out: Path, dosing: Dosing) -> Dosed:
    """Put the curve into force for OUT, bring the reports up to date and give every donor's result.

    Raises:
        NoInputError: OUT holds no results, or no slide of it has a donor.
        MismatchError: no slide of OUT was scored as the curve's slides were; nothing is kept then.
        LockHeldError: another command holds OUT.
        StorageError: a file cannot be read or written.
    """
    from mnbatch.report.dose_report import mismatch

    store = open_store(out)
    reason = mismatch(dosing, open_roster(store).records)
    if reason:
        raise MismatchError(
            f"This curve does not belong to {out}: {reason}.",
            "Fit a curve on slides scored the same way (`mnbatch curve fit OUT --doses`), or see --allow-mismatch.",
        )
    with hold_out(store.paths):
        save_dosing(store.paths, dosing)
        done = make_reports(store)
    assert done.made is not None
    if not done.made.doses:
        raise NoInputError(f"No slide in {out} has a donor.", "Give a sample sheet: mnbatch run --samples.")
    pairs = tuple((dose.result, dose.triage) for dose in done.made.doses)
    return Dosed(pairs, _missing(done.made), done.index, done.notes, done.controls)


def _missing(made: ReportSummary) -> dict[str, list[Missing]]:
    donors = {slide_id: donor for donor, basis in made.bases.items() for slide_id in basis.slides}
    found: dict[str, list[Missing]] = {}
    for slide in made.slides:
        if slide.status in ("failed", "waiting"):
            found.setdefault(donors.get(slide.slide_id, ""), []).append(
                Missing(slide.slide_id, slide.reason, slide.acknowledged)
            )
    return found


def suspected_ratios(results: Sequence[DoseResult], dosing: Dosing, suspected: float) -> list[float | None]:
    """Log10 of the likelihood of background over that of the suspected dose; None for a case without a dose."""
    usable = [result for result in results if result.status == "ok"]
    if not usable:
        return [None] * len(results)
    seen = dosing.seen
    found = iter(background_over_suspected(seen, counts_of(usable, seen), suspected, dosing.options.g).tolist())
    return [next(found) if result.status == "ok" else None for result in results]


def fit_and_write(
    source: Path,
    out: Path,
    *,
    doses: Path | None = None,
    model: ModelChoice = "automatic",
    family: Family = "automatic",
    endpoint: Endpoint | None = None,
    scoring: str = "",
    irradiation: Sequence[str] = (),
    counts: CountKind = "automatic",
) -> Curve:
    """Fit a calibration curve to a table of counts or to an OUT, check it and write it.

    Args:
        source: table with D and C0..C5, or D, N and X; or an OUT.
        out: file to write.
        doses: sample sheet with dose_gy, for an OUT; None: the one in force.
        endpoint: None: micronuclei for a table; for an OUT what its model counted.
        scoring: how the slides were scored; kept with the curve.
        counts: of an OUT: whose counts the curve is made of; kept in its `scoring`.
        irradiation: `key=text` of how the samples were irradiated, keys of `IRRADIATION`; kept with the curve.

    Raises:
        UsageError: an unknown key of `irradiation`, a table without these columns, or no slide has a known dose.
        CurveError: the data give no curve, a slide's review or confirmation is not complete, or a person found too
            few events at 0 Gy.
        NoInputError: OUT holds no results.
        MismatchError: slides that were scored differently.
        StorageError: a file cannot be read or written.
    """
    points: list[DosePoint]
    stated: dict[str, Any]
    conditions = _conditions(irradiation)
    if source.is_dir():
        points, of, stated = _scored_points(source, doses, endpoint, counts)
        stated |= {"note": scoring} if scoring else {}
    else:
        if counts != "automatic":
            raise UsageError(
                f"--from {counts} is of an OUT, and {source} is a table.",
                f"State it as --scoring '{mode_of(counts, MODE)}' if its counts were made so.",
            )
        of, stated = endpoint or "mn", {"mode": scoring} if scoring else {}
        points = read_points(source, of)
    curve = fit_curve(points, of, model, family, stated)
    if conditions:
        curve = replace(curve, about={**curve.about, "irradiation": conditions})
    write_out_file(out, dump_curve(curve))
    return curve


def _conditions(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        key, sign, text = one.partition("=")
        key = key.strip().replace("-", "_")
        if not sign or key not in IRRADIATION or not text.strip() or key in found:
            raise UsageError(
                f"--irradiation cannot be {short(one)!r}.",
                f"Write KEY=TEXT, each once; keys are {', '.join(IRRADIATION)}.",
            )
        found[key] = text.strip()[:LONGEST_CONDITION]
    return found


def fit_notes(source: Path, curve: Curve) -> tuple[str, ...]:
    """What a person should know of a fit: of its table, and of a curve that is not plausible.

    Raises:
        UsageError, StorageError: as `fit_and_write`.
    """
    own = _out_notes(source, curve) if source.is_dir() else table_notes(source)
    return (*own, *implausible(curve), *_unstated_conditions(curve))


def _unstated_conditions(curve: Curve) -> tuple[str, ...]:
    missing = [key for key in IRRADIATION if key not in curve.about.get("irradiation", {})]
    if not missing:
        return ()
    return (
        f"how the samples were irradiated is not stated ({', '.join(missing)}); reports list it as not given. Add "
        f"--irradiation {missing[0]}='...' for each",
    )


def _out_notes(out: Path, curve: Curve) -> list[str]:
    """Slides that are no part of the curve, and slides of a person's counts on which something is open."""
    kind, store = kind_of(curve.scoring), open_store(out)
    names = [point["name"] for point in curve.about["fit"]["points"]]
    notes = _without_dose(store, names)
    return notes if kind is None or kind == "automatic" else [*notes, *unsure_notes(store, names, kind)]


def _without_dose(store: Store, in_curve: Collection[str]) -> list[str]:
    records = open_roster(store).records
    others = [record.slide_id for record in records if record.slide_id not in in_curve]
    if not others:
        return []
    more = f" and {len(others) - NAMED_SLIDES} more" if len(others) > NAMED_SLIDES else ""
    return [
        f"{len(in_curve)} of {len(records)} slides of OUT are in the curve; without a dose in the sheet, and left out: "
        f"{', '.join(others[:NAMED_SLIDES])}{more}"
    ]


def _scored_points(
    out: Path, doses: Path | None, endpoint: Endpoint | None, counts: CountKind
) -> tuple[list[DosePoint], Endpoint, dict[str, Any]]:
    """Points of an OUT, with the doses of a sheet or of the one in force."""
    store = open_store(out)
    if doses is None:
        known = known_doses(load_samples(store.paths))
    else:
        slides = [(r.slide_id, r.name, r.path) for r in store.records()]
        known = {i: s.dose_gy for i, s in match_samples(read_samples(doses), slides).items() if s.dose_gy is not None}
    if counts == "automatic":
        return calibration_points(store, known, endpoint)
    automatic, _, stated = calibration_points(store, known, "mnbn")
    of: Endpoint = endpoint or "mnbn"
    points = person_points(store, automatic, of, counts)
    refuse_thin_background(points, counts)
    return points, of, {**stated, "mode": mode_of(counts, stated["mode"])}


def show_curve(curve: str) -> ShownCurve:
    """A curve, what a reader must know of it, and why no dose can be read from it.

    Args:
        curve: path of curve.json, or an example such as `example:mayakannan2018`.

    Raises:
        UsageError: no such example, or a broken file.
        StorageError: the file cannot be read.
    """
    loaded = load_curve(curve)
    return ShownCurve(loaded, tuple(curve_warnings(loaded)), tuple(problems(loaded)))


def refuse_faults(shown: ShownCurve, name: str) -> None:
    """Refuse a curve from which no dose can be read.

    Raises:
        CurveError: this is one.
    """
    if shown.faults:
        raise CurveError(f"No dose can be read from {name}: {'; '.join(shown.faults)}.", "Fit another curve.")


def write_curve_figure(curve: Curve, level: float, path: Path) -> None:
    """Write the figure of a curve with its band as SVG.

    Raises:
        StorageError: it cannot be written.
    """
    from mnbatch.report.charts import standalone

    write_out_file(path, standalone(curve, level))

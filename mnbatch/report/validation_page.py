"""index.html of a laboratory's validation: its parts as tables, each with what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mnbatch.assay.acceptance import Judged, Measured
from mnbatch.assay.validation_parts import (
    DoseAccuracy,
    Errors,
    Repeatability,
    ScorerAgreement,
    Share,
    dispersion,
)
from mnbatch.report import wording
from mnbatch.report.wording import NOT_KNOWN

VERDICT_MEANINGS = {
    "met": "The figure meets the limit; where intervals are judged, so does the whole interval.",
    "open": "The figure meets the limit and its interval reaches beyond it: more data would decide.",
    "not met": "The figure misses the limit.",
    "no data": "The data do not give this figure.",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval with its value, in per cent of a bar's width from 0 to 1; spoken: the same in words."""

    low: float
    value: float
    high: float
    spoken: str


Cell = str | Bar


@dataclass(frozen=True, slots=True)
class PartTable:
    """A table of a part; columns from `first_number` on hold numbers."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    first_number: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the dossier.

    Attributes:
        anchor: of its heading; what: what it shows, in a sentence.
        missing: what is not there and how it is made; empty where nothing is missing.
    """

    anchor: str
    title: str
    what: str
    missing: tuple[str, ...]
    tables: tuple[PartTable, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ValidationPage:
    """All that the page shows.

    Attributes:
        study: label and text, as the protocol states them.
        limits: the limits with their verdicts; judge: what is judged, in a sentence.
        verdict: in one sentence.
    """

    title: str
    verdict: str
    judge: str
    study: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    not_counted: tuple[str, ...]
    limits: PartTable | None
    parts: tuple[Part, ...]
    meanings: tuple[tuple[str, str], ...] = tuple(VERDICT_MEANINGS.items())


def limits_table(judged: Sequence[Judged]) -> PartTable | None:
    """Every limit, its figure and the verdict; None where none was set."""
    if not judged:
        return None
    rows = tuple(
        (
            one.words,
            one.verdict,
            f"{one.side} {one.limit:g}",
            _figure(one.measured),
            _limits(one.measured),
            one.measured.why or NOT_KNOWN,
        )
        for one in judged
    )
    return PartTable(
        "Limits of the laboratory's protocol",
        ("Figure", "Verdict", "Limit", "Found", "95 % interval", "Why there is none"),
        rows,
        first_number=9,
    )


def verdict_sentence(judged: Sequence[Judged]) -> str:
    """How many limits are met, and what the others are."""
    if not judged:
        return "No acceptance limits were set: the figures are shown, and nothing is judged."
    counts = [(word, sum(one.verdict == word for one in judged)) for word in VERDICT_MEANINGS]
    said = ", ".join(f"{number} {word}" for word, number in counts if number)
    return f"Of {wording.plural(len(judged), 'limit')} that the laboratory set: {said}."


def parts_of(
    errors: Errors, repeatability: Repeatability, scorers: ScorerAgreement, doses: DoseAccuracy
) -> tuple[Part, ...]:
    """The four parts, those without data too."""
    return _errors(errors), _repeatability(repeatability), _scorers(scorers), _doses(doses)


def _errors(errors: Errors) -> Part:
    rows = [(s.slide, *_counted(s.sensitivity), *_counted(s.specificity)) for s in errors.slides]
    rows += [("all cells together", *_counted(errors.all_se), *_counted(errors.all_sp))] if len(rows) > 1 else []
    tables = [
        PartTable(
            "Errors of each slide at the threshold in force",
            (
                "Slide",
                "Se, found of true",
                "Se",
                "95 % interval",
                "0 to 1",
                "Sp, spared of free",
                "Sp",
                "95 % interval",
                "0 to 1",
            ),
            tuple(rows),
        )
    ]
    if not errors.unknown:
        tables.append(_new_slide(errors))
    if not errors.slides:
        return Part(
            "errors",
            "Sensitivity and specificity by slide",
            _ERRORS,
            (NO_CELLS,),
            (),
            tuple(filter(None, [errors.left_out])),
        )
    missing = (f"What a new slide may have is not known: {errors.unknown}.",) if errors.unknown else ()
    notes = tuple(filter(None, [errors.left_out, _ALL_CELLS if len(errors.slides) > 1 else ""]))
    return Part("errors", "Sensitivity and specificity by slide", _ERRORS, missing, tuple(tables), notes)


NO_CELLS = (
    "No own scored cells are in force: score cells by eye and give them with "
    "`mnbatch report OUT --validation cells.csv`."
)
_ERRORS = (
    "What the model called of cells that a person of the laboratory scored. Intervals of a slide are exact "
    "(Clopper–Pearson)."
)
_ALL_CELLS = (
    "The line of all cells together takes them as independent, which cells of one slide are not: no limit is judged "
    "by it."
)


def _new_slide(errors: Errors) -> PartTable:
    rows = []
    for name, mean, where in (("Se", errors.new_se, errors.range_se), ("Sp", errors.new_sp, errors.range_sp)):
        between = NOT_KNOWN if where is None else f"{where[0]:.3f} to {where[1]:.3f}"
        rows.append((name, _figure(mean), _limits(mean), between))
    heads = ("Rate", "Mean of new slides", "95 % interval of the mean", "95 of 100 new slides")
    return PartTable("What a new slide of this kind is expected to have", heads, tuple(rows))


def _repeatability(found: Repeatability) -> Part:
    tables: list[PartTable] = []
    missing: list[str] = []
    if found.replicates:
        rows = tuple(
            (
                donor.donor,
                str(len(donor.counts)),
                ", ".join(f"{wording.rate(1000 * k / n)} ({k} of {n})" for _, k, n in donor.counts),
                f"{donor.chi2:.2f} / {donor.df}",
                _p(donor.p_value),
            )
            for donor in found.replicates
        )
        heads = ("Donor", "Slides", "MNBN per 1000, called", "Chi-squared / df", "p, all alike")
        tables.append(PartTable("Replicate slides of a donor in this OUT", heads, rows))
        tables.append(_spread_of(found))
    else:
        missing.append("No donor has two slides with cells and called cells: replicate slides cannot be compared.")
    if found.repeats:
        tables += [_repeats(found), _repeat_figures(found)]
    else:
        missing.append(
            f"No slide was measured twice: {found.none}. Scan slides again and run them into an OUT of their own."
        )
    notes = list(found.unmatched)
    same = sum(repeat.same_files for repeat in found.repeats)
    if same:
        notes.append(
            f"{wording.plural(same, 'slide')} of {len(found.repeats)} had the same files both times: this repeats the "
            "program alone, and neither scanning nor culture."
        )
    return Part("repeatability", "Repeatability", _REPEAT, tuple(missing), tuple(tables), tuple(notes))


_REPEAT = "How far slides of one donor, and two measurements of one slide, differ beyond counting."


def _spread_of(found: Repeatability) -> PartTable:
    df = sum(donor.df for donor in found.replicates)
    row = ("all donors", _figure(dispersion(found.replicates)), str(df))
    return PartTable("Dispersion of replicates: 1 is counting alone", ("", "Chi-squared / df", "df"), (row,))


def _repeats(found: Repeatability) -> PartTable:
    rows = tuple(
        (
            one.slide,
            "{} of {}".format(*one.first),
            "{} of {}".format(*one.second),
            f"{one.difference:+.1f}",
            _p(one.test.p_two_sided),
            f"{one.same} of {one.shared}" if one.shared else NOT_KNOWN,
        )
        for one in found.repeats
    )
    heads = ("Slide", "First", "Second", "Difference per 1000", "p, alike", "Same call")
    return PartTable("Slides measured twice: cells called MN of cells", heads, rows)


def _repeat_figures(found: Repeatability) -> PartTable:
    alone = NOT_KNOWN if found.counting_sd is None else f"{found.counting_sd:.2f}"
    rows = (
        ("Mean difference, per 1000", _figure(found.bias), _limits(found.bias)),
        ("Repeatability standard deviation, per 1000", _figure(found.sd), f"{alone} from counting alone"),
        ("Cells with the same call", _share(found.same_call), _limits(found.same_call.measured(""))),
    )
    return PartTable("Two measurements together", ("Figure", "Found", "95 % interval, or what counting gives"), rows)


def _scorers(found: ScorerAgreement) -> Part:
    tables: list[PartTable] = []
    missing: list[str] = []
    if found.slides:
        rows = [
            (
                one.slide,
                "complete" if one.complete else "unfinished",
                _share(one.confirmed),
                _limits(one.confirmed.measured("")),
                _figure(one.missed),
                _limits(one.missed),
                str(one.unsure),
                str(one.not_scorable),
            )
            for one in found.slides
        ]
        rows.append(
            (
                "all slides",
                "",
                _share(found.confirmed),
                _limits(found.confirmed.measured("")),
                _figure(found.missed),
                _limits(found.missed),
                str(sum(one.unsure for one in found.slides)),
                str(sum(one.not_scorable for one in found.slides)),
            )
        )
        heads = (
            "Slide",
            "Review",
            "Confirmed of called",
            "95 % interval",
            "Missed share",
            "95 % interval",
            "Unsure",
            "Not scorable",
        )
        tables.append(PartTable("Calls of the model against decisions of people", heads, tuple(rows), first_number=2))
    else:
        missing.append("No cell was reviewed: mnbatch review serve OUT.")
    if found.pairs:
        rows2 = tuple(
            (
                f"{one.first} and {one.second}",
                str(one.cells),
                f"{one.agreed} of {one.cells}",
                NOT_KNOWN if one.kappa is None else f"{one.kappa:.3f}",
            )
            for one in found.pairs
        )
        tables.append(PartTable("Two people on the same cells", ("Scorers", "Cells", "Decided alike", "Kappa"), rows2))
    else:
        missing.append("No two people decided the same cells: let a second person review, or plan with --double.")
    notes = (_MISSED, *found.left_out) if found.slides else found.left_out
    return Part("scorers", "Agreement with scorers", _SCORERS, tuple(missing), tuple(tables), notes)


_SCORERS = "What people decided of the model's calls, and of each other's cells."
_MISSED = (
    "Missed share: of the cells that were not called, the share with a micronucleus, from the reviewed ones with the "
    "weight of their part of the plan. Kappa depends on which cells were drawn. Who saw the call may have followed it: "
    "review blind (key b)."
)


def _doses(found: DoseAccuracy) -> Part:
    missing = [f"{found.none[0].upper()}{found.none[1:]}."] if found.none else []
    tables: list[PartTable] = []
    if found.samples:
        rows = tuple(
            (
                one.donor,
                f"{one.given:.2f}",
                NOT_KNOWN if one.estimate is None else f"{one.estimate:.2f}",
                NOT_KNOWN
                if one.low is None
                else f"{one.low:.2f} to " + ("not bounded" if one.high is None else f"{one.high:.2f}"),
                NOT_KNOWN if one.error is None else f"{one.error:+.2f}",
                _yes(one.held),
                _yes(one.above),
                one.why or NOT_KNOWN,
            )
            for one in found.samples
        )
        heads = ("Sample", "Given, Gy", "Found, Gy", "95 % interval", "Error, Gy", "Held", "Above threshold", "Remark")
        tables = [PartTable("Blind samples", heads, rows), _dose_figures(found)]
    notes = [f"Not blind, and in no figure: {text}." for text in found.not_blind]
    if found.curve:
        notes.append(f"Curve in force: {found.curve}.")
    return Part("doses", "Doses of blind samples", _DOSES, tuple(missing), tuple(tables), tuple(notes))


_DOSES = (
    "Doses that the curve in force gives, against doses that nobody who scored knew. Intervals are those of the dose "
    "settings."
)


def _dose_figures(found: DoseAccuracy) -> PartTable:
    e = found.errors
    rows = (
        ("Samples with a dose", f"{len(found.with_dose)} of {len(found.samples)}", NOT_KNOWN),
        ("Mean error without sign, Gy", f"{sum(e) / len(e):.3f}" if e else NOT_KNOWN, NOT_KNOWN),
        ("Largest error without sign, Gy", f"{max(e):.3f}" if e else NOT_KNOWN, NOT_KNOWN),
        ("Given dose in the interval", _share(found.held), _limits(found.held.measured(""))),
        ("Unexposed above the threshold", _share(found.false_alarms), _limits(found.false_alarms.measured(""))),
        ("Exposed not above it", _share(found.missed_exposures), _limits(found.missed_exposures.measured(""))),
    )
    return PartTable("All blind samples", ("Figure", "Found", "95 % interval"), rows)


def _counted(share: Share) -> tuple[Cell, ...]:
    if share.value is None or share.interval is None:
        return (NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN)
    low, high = share.interval
    bar = Bar(100 * low, 100 * share.value, 100 * high, f"{share.value:.3f}, from {low:.3f} to {high:.3f}")
    return (f"{share.right} of {share.total}", f"{share.value:.3f}", f"{low:.3f} to {high:.3f}", bar)


def _share(share: Share) -> str:
    return NOT_KNOWN if share.value is None else f"{share.value:.3f} ({share.right} of {share.total})"


def _figure(measured: Measured) -> str:
    return (
        NOT_KNOWN
        if measured.value is None
        else f"{measured.value:.3g}"
        if measured.value > 1
        else f"{measured.value:.3f}"
    )


def _limits(measured: Measured) -> str:
    if measured.low is None and measured.high is None:
        return NOT_KNOWN
    if measured.low is None:
        return f"up to {measured.high:.3f}"
    return f"{measured.low:.3f} to {measured.high:.3f}"


def _p(value: float) -> str:
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"


def _yes(said: bool | None) -> str:
    return NOT_KNOWN if said is None else "yes" if said else "no"

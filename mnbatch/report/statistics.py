"""The statistics of a counted frequency: corrected, expected, against the background, precision, dispersion."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import Frequency
from mnbatch.assay.estimates import Estimates
from mnbatch.assay.field_records import FEWEST_FOR_INDEX, USUAL_CBPI, USUAL_NDI, FieldCounts
from mnbatch.assay.heterogeneity import LEVEL
from mnbatch.assay.intervals import Precision, precision
from mnbatch.assay.mn_counts import Distribution, MnFrequency
from mnbatch.csvfile import is_number
from mnbatch.dosimetry.background_by_age import Person
from mnbatch.dosimetry.detection_limits import FEWEST_CONTROLS, Background, Control, compare_with_background
from mnbatch.report import wording
from mnbatch.results.dosing_settings import MODE_ALL_CELLS
from mnbatch.review.estimate import Estimate

SHIFTED = (
    "the scores are outside the range that the model was validated on (p = {p:.2g}): stain, focus or cells differ; "
    "no frequency is estimated, and the expected count cannot be relied on"
)

UNKNOWN_SPREAD = "how much the model itself differs between slides is not known, and not in the test"


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics that accompany one counted frequency.

    Attributes:
        background: None where `no_background` says why.
        control: the controls that it was compared with, if there are any.
        counts: micronuclei a cell, of a model that counts them.
    """

    estimates: Estimates
    background: Background | None
    control: Control | None
    precision: Precision
    counts: Distribution | None = None
    no_background: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known before the numbers are used."""
        p = self.estimates.shift_p
        return (SHIFTED.format(p=p),) if self.estimates.shifted and p is not None else ()


def statistics_of(
    frequency: Frequency | None,
    mn: MnFrequency | None,
    estimates: Estimates,
    ground: Ground,
    slides: int = 1,
) -> Statistics | None:
    """The statistics that accompany a frequency; None where there is no frequency.

    A model's count is compared with the laboratory's own controls, which have the same errors, and with no others: the
    literature's cells were scored by eye. So are reviewed ones, which are compared with it.

    Args:
        ground: what it may be compared with; slides: that it was counted on.
    """
    if frequency is None or not frequency.bn_cells:
        return None
    mnbn, cells, control = frequency.mnbn_cells, frequency.bn_cells, ground.control
    background, e = None, ground.reviewed
    if not ground.reason and e is not None and not ground.with_control:
        background = compare_with_background(round(e.mnbn), max(1, round(e.bn_cells)), None)
    elif not ground.reason and control is not None:
        scatter = control.scatter_of(cells / max(1, slides))
        background = compare_with_background(mnbn, cells, control, scatter, ground.person)
    counts = None if mn is None else mn.distribution
    return Statistics(
        estimates=estimates,
        background=background,
        control=control,
        precision=precision(mnbn, cells),
        counts=counts,
        no_background=ground.reason,
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """What a frequency is compared with.

    Attributes:
        control: controls scored in the same way; with_control: they show how much slides differ, and are taken.
        reviewed: the reviewed frequency of a complete review, for the literature.
        reason: why it is compared with nothing; "" otherwise.
        person: age and sex of the donor; None where they are not known.
    """

    control: Control | None
    with_control: bool
    reviewed: Estimate | None
    reason: str
    person: Person | None = None


def person_of(rows: Iterable[Mapping[str, str]]) -> Person | None:
    """Age and sex of a donor by its lines of the sample sheet; None where they do not say both, or differ."""
    stated = [(row.get("sex", ""), str(row.get("age", ""))) for row in rows]
    known = {(sex, float(age)) for sex, age in stated if sex and is_number(age)}
    silent = any(bool(sex) != is_number(age) for sex, age in stated)
    if len(known) != 1 or silent:
        return None
    (sex, age) = known.pop()
    return Person("f" if sex.lower() == "f" else "m", age)


def ground_of(
    is_control: bool,
    control: Control | None,
    modes: Collection[str],
    reviewed: Estimate | None,
    person: Person | None = None,
) -> Ground:
    """What a frequency is compared with, or why with nothing.

    Args:
        control: scored in the same way, if there is one.
        modes: `scoring_mode` of its slides.
        reviewed: of a complete review.
        person: age and sex of the donor, where they are known.
    """
    usable = control is not None and control.scatter_known
    reason = ""
    if is_control:
        reason = "is a control"
    elif not usable and MODE_ALL_CELLS in modes:
        reason = "none for --cells all: the literature's cells are binucleated"
    elif not usable and reviewed is None:
        reason = _why_not_compared(control)
    return Ground(control, usable, reviewed, reason, person)


def _why_not_compared(control: Control | None) -> str:
    if control is None:
        return "not compared: the calls were not reviewed, and the literature's cells were scored by eye"
    return (
        f"not compared: {wording.plural(control.slides, 'control slide')} cannot show how much slides of this model "
        f"differ; {FEWEST_CONTROLS} can"
    )


def disagreement(names: Sequence[str], compared: int, spread_known: bool = False) -> str:
    """Which of the `compared` slides disagree, as a warning of their donor; two cannot say which of them is wrong.

    Args:
        spread_known: what the model differs by from slide to slide is in the test.
    """
    more = (
        "" if spread_known else "; how much the model itself differs between slides is not known, and not in the test"
    )
    if compared == 2:
        return (
            f"the slides {names[0]} and {names[1]} disagree (Fisher's exact test, p < {LEVEL:g}{more}): check both "
            "before their sum is used"
        )
    return (
        f"disagreeing with the donor's other slides: {', '.join(names)} (Fisher's exact test, p times the number of "
        f"slides < {LEVEL:g}{more}): check them before the sum is used"
    )


def division_warnings(counts: FieldCounts) -> tuple[str, ...]:
    """Division indices outside of what cultures usually have."""
    found = counts.division()
    if found is None or found.cells < FEWEST_FOR_INDEX:
        return ()
    indices = (("NDI", found.ndi, USUAL_NDI), ("CBPI", found.cbpi, USUAL_CBPI))
    return tuple(
        f"{name} {value:.2f} is outside the usual {low:g} to {high:g}: check the culture, and whether cells of every "
        "class were found"
        for name, value, (low, high) in indices
        if value is not None and not low <= value <= high
    )


def interval_text(low: float | None, high: float | None) -> str:
    """Two rates per 1000 as "low–high"; "" where there is no interval."""
    return "" if low is None or high is None else f"{wording.rate(low)}–{wording.rate(high)}"

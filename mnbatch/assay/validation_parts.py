"""The figures of a laboratory's validation: errors by slide, repeatability, agreement with scorers, blind doses.

Records and arithmetic alone; where the counts come from is for `mnbatch.app.validation_service`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.acceptance import Measured
from mnbatch.assay.calls import PER
from mnbatch.assay.heterogeneity import compare_slides
from mnbatch.assay.intervals import RateComparison, clopper_pearson, compare_rates
from mnbatch.assay.slide_errors import ValidationSlide, predicted_rates, too_few


@dataclass(frozen=True, slots=True)
class Share:
    """`right` of `total` with its exact 95 % interval; no value without any."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        """As a fraction."""
        return self.right / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Clopper and Pearson's."""
        return clopper_pearson(self.right, self.total) if self.total else None

    def measured(self, why: str) -> Measured:
        """As a figure to be judged; `why` where there is none."""
        low, high = self.interval or (None, None)
        return Measured(self.value, low, high, "" if self.total else why)


# Sensitivity and specificity by slide.


@dataclass(frozen=True, slots=True)
class SlideErrors:
    """One slide whose cells have a known truth, at the threshold in force."""

    slide: str
    counts: ValidationSlide

    @property
    def sensitivity(self) -> Share:
        """Of its cells with a micronucleus, called."""
        return Share(self.counts.right, self.counts.n_mn)

    @property
    def specificity(self) -> Share:
        """Of its cells without one, not called."""
        return Share(self.counts.spared, self.counts.free)


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of the model on a laboratory's own scored cells.

    Attributes:
        slides: in the order of their names.
        new_se, new_sp: mean rate that a new slide of this kind is expected to have, with its 95 % interval, and
            `range_se`, `range_sp`: where 95 of 100 new slides are expected. None where fewer than 6 slides are known.
        unknown: why not; "" where they are known.
        left_out: cells of known truth that are in no slide's line, and why; "" for none.
    """

    slides: tuple[SlideErrors, ...]
    new_se: Measured
    new_sp: Measured
    range_se: tuple[float, float] | None
    range_sp: tuple[float, float] | None
    unknown: str = ""
    left_out: str = ""

    @property
    def all_se(self) -> Share:
        """All slides together."""
        return Share(sum(s.counts.right for s in self.slides), sum(s.counts.n_mn for s in self.slides))

    @property
    def all_sp(self) -> Share:
        """All slides together."""
        return Share(sum(s.counts.spared for s in self.slides), sum(s.counts.free for s in self.slides))

    @property
    def figures(self) -> dict[str, Measured]:
        """What limits may be set for."""
        return {
            "slides": Measured(float(len(self.slides))),
            "cells_with_mn": Measured(float(self.all_se.total)),
            "cells_without_mn": Measured(float(self.all_sp.total)),
            "sensitivity": self.new_se,
            "specificity": self.new_sp,
            "sensitivity_worst_slide": _worst([s.sensitivity for s in self.slides]),
            "specificity_worst_slide": _worst([s.specificity for s in self.slides]),
        }


def errors_by_slide(slides: Mapping[str, ValidationSlide], left_out: str = "") -> Errors:
    """Errors of each slide, and what they say of a new one (`mnbatch.assay.slide_errors`)."""
    rows = tuple(SlideErrors(name, slides[name]) for name in sorted(slides))
    counts = tuple(row.counts for row in rows)
    unknown = too_few(counts)
    if unknown:
        none = Measured(None, why=unknown)
        return Errors(rows, none, none, None, None, unknown, left_out)
    one_se, one_sp = predicted_rates(counts, (1,))
    se, sp = _mean_of(counts)
    return Errors(rows, se, sp, _middle(one_se), _middle(one_sp), "", left_out)


def _mean_of(counts: tuple[ValidationSlide, ...]) -> tuple[Measured, Measured]:
    """Mean rates over many new slides: what stays unsure of them with these slides."""
    many = predicted_rates(counts, (1,) * 200)
    se, sp = ((float(drawn.mean()), *_middle(drawn)) for drawn in many)
    return Measured(*se), Measured(*sp)


def _middle(drawn: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _worst(shares: Sequence[Share]) -> Measured:
    """The smallest value, with no interval: that of one slide chosen for being the worst means nothing."""
    known = [share.value for share in shares if share.value is not None]
    return Measured(min(known)) if known else Measured(None, why="no slide has such cells")


# Repeatability: replicate slides of a donor, and the same slides measured twice.


@dataclass(frozen=True, slots=True)
class Replicates:
    """The slides of one donor in this OUT.

    Attributes:
        counts: (slide, MNBN cells called, BN cells) of each.
        chi2, df: of equal frequencies; p_value: exact where the counts are small (`mnbatch.assay.heterogeneity`).
    """

    donor: str
    counts: tuple[tuple[str, int, int], ...]
    chi2: float
    df: int
    p_value: float


def replicates_of(donor: str, counts: Sequence[tuple[str, int, int]]) -> Replicates | None:
    """Replicate slides of a donor; None for fewer than two with cells, or without any event."""
    used = [(name, k, n) for name, k, n in counts if n]
    events, cells = sum(k for _, k, _ in used), sum(n for _, _, n in used)
    found = compare_slides([k for _, k, _ in used], [n for _, _, n in used])
    if found is None or not 0 < events < cells:
        return None
    share = events / cells
    chi2 = sum((k - n * share) ** 2 / (n * share * (1 - share)) for _, k, n in used)
    return Replicates(donor, tuple(used), chi2, len(used) - 1, found.p_value)


def dispersion(donors: Sequence[Replicates]) -> Measured:
    """Chi-squared over its degrees of freedom, all donors together; 1 where slides differ by counting alone."""
    df = sum(donor.df for donor in donors)
    if not df:
        return Measured(None, why="no donor has two slides with cells and events")
    return Measured(sum(donor.chi2 for donor in donors) / df)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A slide that was measured twice.

    Attributes:
        first, second: (MNBN cells called, BN cells).
        shared: cells that both measurements name alike and called; same: of these, called alike.
        same_files: the pictures are byte for byte the same: this repeats the program, and neither scan nor culture.
    """

    slide: str
    first: tuple[int, int]
    second: tuple[int, int]
    shared: int
    same: int
    same_files: bool

    @property
    def difference(self) -> float:
        """Second less first, MNBN per 1000."""
        return PER * (self.second[0] / self.second[1] - self.first[0] / self.first[1])

    @property
    def counting_variance(self) -> float:
        """Variance of the difference from counting alone, at the common frequency; (per 1000)^2."""
        share = (self.first[0] + self.second[0]) / (self.first[1] + self.second[1])
        return PER**2 * share * (1 - share) * (1 / self.first[1] + 1 / self.second[1])

    @property
    def test(self) -> RateComparison:
        """Exact comparison of the two."""
        return compare_rates(*self.second, *self.first)


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Replicates within the batch, and slides that were measured twice.

    Attributes:
        repeats: empty without a second OUT; unmatched: slides of either that the other lacks, or that are not counted.
    """

    replicates: tuple[Replicates, ...]
    repeats: tuple[Repeat, ...]
    unmatched: tuple[str, ...] = ()
    asked: bool = False

    @property
    def bias(self) -> Measured:
        """Mean difference per 1000, with a t interval from three slides on."""
        d = [repeat.difference for repeat in self.repeats]
        if len(d) < 3:
            return Measured(float(np.mean(d)) if d else None, why="" if d else self.none)
        from scipy.special import stdtrit

        half = float(stdtrit(len(d) - 1, 0.975)) * float(np.std(d, ddof=1)) / math.sqrt(len(d))
        return Measured(float(np.mean(d)), float(np.mean(d)) - half, float(np.mean(d)) + half)

    @property
    def sd(self) -> Measured:
        """Repeatability standard deviation of one measurement, sqrt(sum d^2 / 2 n), per 1000 (ISO 5725-2)."""
        d = [repeat.difference for repeat in self.repeats]
        return Measured(math.sqrt(sum(x * x for x in d) / (2 * len(d))) if d else None, why="" if d else self.none)

    @property
    def counting_sd(self) -> float | None:
        """The same if slides differed by counting alone."""
        v = [repeat.counting_variance for repeat in self.repeats]
        return math.sqrt(sum(v) / (2 * len(v))) if v else None

    @property
    def same_call(self) -> Share:
        """Cells called alike of those that both measurements name alike."""
        return Share(sum(r.same for r in self.repeats), sum(r.shared for r in self.repeats))

    @property
    def none(self) -> str:
        """Why there are no repeats."""
        return "no slide is counted in both" if self.asked else "no second measurement was given (--repeat)"

    @property
    def figures(self) -> dict[str, Measured]:
        """What limits may be set for."""
        bias = self.bias
        ends = [abs(end) for end in (bias.low, bias.high) if end is not None]
        size = Measured(abs(bias.value) if bias.value is not None else None, None, max(ends, default=None), bias.why)
        same = (
            "the two measurements name no cell alike: a new scan finds cells of its own" if self.repeats else self.none
        )
        return {
            "replicate_dispersion": dispersion(self.replicates),
            "repeated_slides": Measured(float(len(self.repeats))),
            "repeat_bias_per_1000": size,
            "repeat_sd_per_1000": self.sd,
            "repeat_same_call": self.same_call.measured(same),
        }


# Agreement with people.


@dataclass(frozen=True, slots=True)
class SlideAgreement:
    """What people decided of one slide's calls.

    Attributes:
        confirmed: called cells that people decided MN, of those decided MN or not.
        missed: share of all cells that were not called in which people would find a micronucleus, estimated from those
            that were reviewed, each part of the plan with its weight (`mnbatch.review.estimate`).
    """

    slide: str
    complete: bool
    confirmed: Share
    missed: Measured
    unsure: int
    not_scorable: int


@dataclass(frozen=True, slots=True)
class ScorerPair:
    """Two scorers on the same cells; `agreed` of `cells` decided alike."""

    first: str
    second: str
    cells: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class ScorerAgreement:
    """Model against people, and people against each other.

    Attributes:
        missed: as of a slide, of all slides together.
        left_out: slides with decisions that are in no figure, and why.
    """

    slides: tuple[SlideAgreement, ...]
    missed: Measured
    pairs: tuple[ScorerPair, ...]
    left_out: tuple[str, ...] = ()

    @property
    def confirmed(self) -> Share:
        """Of all slides: called cells that people decided MN."""
        shares = [slide.confirmed for slide in self.slides]
        return Share(sum(s.right for s in shares), sum(s.total for s in shares))

    @property
    def figures(self) -> dict[str, Measured]:
        """What limits may be set for."""
        kappas = [pair.kappa for pair in self.pairs if pair.kappa is not None]
        two = Measured(min(kappas)) if kappas else Measured(None, why="no two people decided the same cells")
        return {
            "confirmed_share": self.confirmed.measured("no called cell was reviewed (mnbatch review)"),
            "missed_share": self.missed,
            "scorer_kappa": two,
        }


# Doses of blind samples.


@dataclass(frozen=True, slots=True)
class BlindSample:
    """A sample whose dose was given by someone who did not score it.

    Attributes:
        estimate, low, high: Gy; None where there is no dose, for the reason in `why`; high is None with an estimate
            where the curve does not bound the dose.
        above: whether its count is above the decision threshold.
    """

    donor: str
    given: float
    estimate: float | None
    low: float | None
    high: float | None
    above: bool | None
    why: str = ""

    @property
    def error(self) -> float | None:
        """Estimate less given dose, Gy."""
        return None if self.estimate is None else self.estimate - self.given

    @property
    def held(self) -> bool | None:
        """Whether the interval holds the given dose."""
        if self.low is None:
            return None
        return self.low <= self.given and (self.high is None or self.given <= self.high)


@dataclass(frozen=True, slots=True)
class DoseAccuracy:
    """Blind samples.

    Attributes:
        none: why there are none; "" otherwise.
        not_blind: donors of the table that are in the curve, or whose dose is in the sample sheet, and so in no figure.
    """

    samples: tuple[BlindSample, ...]
    curve: str = ""
    none: str = ""
    not_blind: tuple[str, ...] = ()

    @property
    def with_dose(self) -> list[BlindSample]:
        """Those that have one."""
        return [sample for sample in self.samples if sample.estimate is not None]

    @property
    def held(self) -> Share:
        """Samples whose interval holds the given dose; one without a dose has none."""
        return Share(sum(bool(s.held) for s in self.samples), len(self.samples))

    @property
    def false_alarms(self) -> Share:
        """Unexposed samples above the decision threshold."""
        unexposed = [s for s in self.with_dose if s.given == 0]
        return Share(sum(bool(s.above) for s in unexposed), len(unexposed))

    @property
    def missed_exposures(self) -> Share:
        """Exposed samples that are not above it; one without a dose is not."""
        exposed = [s for s in self.samples if s.given > 0]
        return Share(sum(not s.above for s in exposed), len(exposed))

    @property
    def errors(self) -> list[float]:
        """Of each sample with a dose, Gy, without sign."""
        return [abs(s.error) for s in self.with_dose if s.error is not None]

    @property
    def figures(self) -> dict[str, Measured]:
        """What limits may be set for; no error is given where a sample has no dose: it might be the largest."""
        e, lost = self.errors, len(self.samples) - len(self.with_dose)
        why = self.none or f"{lost} of {len(self.samples)} blind samples have no dose"
        e = [] if lost else e
        return {
            "blind_samples": Measured(float(len(self.with_dose))),
            "dose_error_gy": Measured(max(e) if e else None, why="" if e else why),
            "dose_mean_error_gy": Measured(float(np.mean(e)) if e else None, why="" if e else why),
            "dose_in_interval": self.held.measured(why),
            "false_alarms": self.false_alarms.measured(self.none or "no unexposed blind sample has a dose"),
            "missed_exposures": self.missed_exposures.measured(self.none or "no exposed blind sample has a dose"),
        }

"""From how many events on a case is above its background, and what the background is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import betainc, gammaincinv

from mnbatch.assay.intervals import (
    binomial_p_greater,
    binomial_p_two_sided,
    compare_rates,
    poisson_p_greater,
    poisson_p_two_sided,
)
from mnbatch.dosimetry.background_by_age import AgeRegression, CountedControl, Person, fit_by_age

# Characteristic limits: from how many events on a case is above its background, and what would then be seen.
#
# The decision threshold is the largest count that the background alone still explains; a case with more events is
# above background. The detection limit is the smallest true mean that exceeds the decision threshold with the asked
# power (Currie, Anal Chem 40:586, 1968; exact Poisson instead of his normal approximation). There is no largest count.


Rule = Literal["one-sided", "two-sided"]
"""`one-sided` asks what the question is: more than background? `two-sided` is what R's poisson.test does by default."""


_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Characteristic limits in events among the case's cells.

    Attributes:
        decision_threshold: largest count that is not significant.
        detection_limit: smallest mean that is above it with probability 1 - beta.
    """

    decision_threshold: int
    detection_limit: float

    def per_cell(self, cells: int) -> tuple[float, float]:
        """Both as rates a cell."""
        return self.decision_threshold / cells, self.detection_limit / cells


def limits_of_rate(rate: float, cells: int, alpha: float = 0.05, beta: float = 0.1, rule: Rule = "one-sided") -> Limits:
    """Limits against a background that is known without error (one from the literature).

    Args:
        rate: background, events a cell.
        cells: cells scored of the case.
        alpha: probability of a false alarm, at most.
        beta: probability of missing a mean at the detection limit.

    Raises:
        ValueError: no cells, a negative rate, or alpha or beta outside 0..1.
    """
    _check(cells, alpha, beta)
    if rate < 0:
        raise ValueError(f"{rate} is not a background rate")
    mean = rate * cells
    test = poisson_p_greater if rule == "one-sided" else poisson_p_two_sided
    first = _first_significant(lambda y: poisson_p_greater(y, mean), alpha, int(mean) + 1)
    return _limits(_climb(lambda y: test(y, mean), alpha, first), beta)


def limits_of_control(
    control_events: int,
    control_cells: int,
    cells: int,
    alpha: float = 0.05,
    beta: float = 0.1,
    rule: Rule = "one-sided",
) -> Limits:
    """Limits against a control that was counted: the exact conditional test, which carries the control's own error.

    Args:
        control_events, control_cells: what was counted in the control.
        cells, alpha, beta, rule: as in `limits_of_rate`.

    Raises:
        ValueError: as there, or no cells of the control.
    """
    _check(cells, alpha, beta)
    if control_cells < 1 or control_events < 0:
        raise ValueError("a control needs cells and a count of 0 or more")
    share = cells / (cells + control_cells)

    def p_greater(y: int) -> float:
        return binomial_p_greater(y, y + control_events, share)

    def p_two_sided(y: int) -> float:
        return binomial_p_two_sided(y, y + control_events, share)

    start = int(control_events * cells / control_cells) + 1
    first = _first_significant(p_greater, alpha, start)
    return _limits(_climb(p_greater if rule == "one-sided" else p_two_sided, alpha, first), beta)


def limits_of_estimated_rate(
    rate: float,
    error: float,
    cells: int,
    scatter: float = 1.0,
    alpha: float = 0.05,
    beta: float = 0.1,
    *,
    spread: float = 0.0,
) -> Limits:
    """One-sided limits against a background that was itself estimated, for counts that scatter more than by counting.

    A case without exposure has the mean m = cells x rate and the variance scatter x m + spread x m^2 + (cells x
    error)^2: its own, and that of the estimate. This is the uncertainty at zero effect of ISO 11929; in place of its
    normal approximation the counts are negative binomial with these two moments (a Poisson count whose mean has a gamma
    distribution), which is the exact Poisson test where nothing is added. The detection limit is the mean that exceeds
    the threshold in 1 - beta of the cases, with scatter, spread and the same error.

    Args:
        rate, error: background and its standard error, events a cell.
        scatter: variance of a case's count over that of counting, at least 1.
        cells, alpha, beta: as in `limits_of_rate`.
        spread: variance of the means of unexposed people, over the square of their common mean.

    Raises:
        ValueError: as there, or a negative error.
    """
    _check(cells, alpha, beta)
    if rate < 0 or error < 0:
        raise ValueError(f"{rate} +- {error} is not a background rate")
    of_rate = (cells * error) ** 2

    def p_greater(events: int, mean: float) -> float:
        return _count_p_greater(events, mean, scatter * mean + spread * mean**2 + of_rate)

    mean = cells * rate
    first = _first_significant(lambda y: p_greater(y, mean), alpha, int(mean) + 1)
    low, high = mean, max(1.0, 2.0 * first)
    while p_greater(first, high) < 1 - beta:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if p_greater(first, middle) >= 1 - beta else (middle, high)
    return Limits(first - 1, high)


def _count_p_greater(events: int, mean: float, variance: float) -> float:
    """P(K >= events) of a count with this mean and variance: Poisson, or negative binomial where it varies more."""
    extra = variance - mean
    if events <= 0:
        return 1.0
    if mean <= 0 or extra <= 1e-9 * mean:
        return poisson_p_greater(events, mean)
    size = mean * mean / extra
    return float(betainc(events, size, mean / (mean + size)))


def _first_significant(p_value: Callable[[int], float], alpha: float, start: int) -> int:
    """Smallest count with p <= alpha; p falls with the count, and a count below `start` is no candidate."""
    low, step = start - 1, 1
    while p_value(low + step) > alpha:
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if p_value(middle) > alpha else (low, middle)
    return high


def _climb(p_value: Callable[[int], float], alpha: float, first: int) -> int:
    """The two-sided p is never below the one-sided one: its first significant count is at `first` or a little on."""
    while p_value(first) > alpha:
        first += 1
    return first


def _limits(first_significant: int, beta: float) -> Limits:
    threshold = first_significant - 1
    return Limits(threshold, float(gammaincinv(threshold + 1, 1 - beta)))


def _check(cells: int, alpha: float, beta: float) -> None:
    if cells < 1 or not 0 < alpha < 1 or not 0 < beta < 1:
        raise ValueError("limits need cells, and alpha and beta between 0 and 1")


# What a frequency is compared with: the laboratory's own controls, or the general population.


HUMN_MEDIAN = 6.5
HUMN_QUARTILES = (3.0, 12.0)
"""MNBN per 1000 BN cells in the general population, scored by eye (HUMN project, Bonassi et al., Environ Mol Mutagen
37:31, 2001). People differ that much; women have 19 % more than men."""

LITERATURE = "literature, all ages and both sexes"
POOLED = "own controls, all ages and both sexes"
TAIL = 0.025
"""On either side of what unexposed donors have."""

ALPHA, BETA = 0.05, 0.1
"""One-sided false alarms against the background, and misses at the detection limit."""

FEWEST_CONTROLS = 3
"""Control slides that show how much slides of one scoring differ; with fewer a model's counts are not compared."""

Source = Literal["control", "literature"]


@dataclass(frozen=True, slots=True)
class Control:
    """Slides that the sample sheet marks as controls, scored by one model at one threshold.

    Attributes:
        mnbn_cells, bn_cells: of all of them together.
        slides: how many; donors: of how many donors.
        low, high: smallest and largest frequency of one of these donors, per 1000 BN cells.
        scatter: Pearson's chi2 / df of the control slides about their common frequency, at least 1.
        slide_cells: mean number of cells of a control slide.
        by_age: what they have by age and sex, or why it cannot be said.
    """

    mnbn_cells: int
    bn_cells: int
    slides: int
    donors: int
    low: float
    high: float
    scatter: float = 1.0
    slide_cells: float = 0.0
    by_age: AgeRegression | str = ""

    @property
    def scatter_known(self) -> bool:
        """Whether these slides show how much slides differ that have one frequency."""
        return self.slides >= FEWEST_CONTROLS

    def scatter_of(self, cells: float) -> float:
        """Scatter of slides of another size: what differs between slides grows with their cells."""
        return 1 + (self.scatter - 1) * max(0.0, cells - 1) / max(1.0, self.slide_cells - 1)

    @property
    def per_1000(self) -> float:
        """Frequency of all of them together."""
        return 1000 * self.mnbn_cells / self.bn_cells


@dataclass(frozen=True, slots=True)
class Background:
    """A counted frequency compared with its background.

    Attributes:
        source: own control, or literature where there is none.
        per_1000: the background, MNBN per 1000 BN cells.
        p_greater: one-sided p of a count at least as high, if the case had the background's frequency. Only counting
            error is in it, not that people differ.
        limits: in MNBN cells among the cells counted.
        above: whether the count is above the decision threshold.
        basis: which background it is, and where it is not that of the donor's age and sex, why.
        by_age: it is that of the donor's age and sex.
        low_per_1000, high_per_1000: what 95 of 100 unexposed donors like this one have in so many cells, of a
            background by age and sex; None for others.
    """

    source: Source
    per_1000: float
    p_greater: float
    limits: Limits
    above: bool
    cells: int
    basis: str = ""
    by_age: bool = False
    low_per_1000: float | None = None
    high_per_1000: float | None = None

    @property
    def detection_limit_per_1000(self) -> float:
        """Smallest frequency that this many cells tell from the background in 9 of 10 cases."""
        return 1000 * self.limits.detection_limit / self.cells


def pool_controls(donors: Sequence[Sequence[tuple[int, int]]], people: Sequence[Person | None] = ()) -> Control | None:
    """Pool control slides.

    Args:
        donors: for each control donor, (MNBN cells, BN cells) of each of its slides.
        people: age and sex of each of them, as far as known; () where nothing is.

    Returns:
        None where no cell was counted.
    """
    sums = [(sum(k for k, _ in slides), sum(n for _, n in slides)) for slides in donors]
    counted = [(k, n) for k, n in sums if n]
    if not counted:
        return None
    rates = [1000 * k / n for k, n in counted]
    mnbn, cells = sum(k for k, _ in counted), sum(n for _, n in counted)
    slides = [(k, n) for donor in donors for k, n in donor if n]
    scatter = _scatter(slides, mnbn / cells)
    sizes = (sum(map(len, donors)), len(counted))
    by_age = fit_by_age(
        [CountedControl(k, n, person) for (k, n), person in zip(sums, people or [None] * len(sums), strict=True)]
    )
    return Control(
        mnbn_cells=mnbn,
        bn_cells=cells,
        slides=sizes[0],
        donors=sizes[1],
        low=min(rates),
        high=max(rates),
        scatter=scatter,
        slide_cells=cells / max(1, len(slides)),
        by_age=by_age,
    )


def _scatter(slides: Sequence[tuple[int, int]], share: float) -> float:
    if len(slides) < 2 or not 0 < share < 1:
        return 1.0
    chi2 = sum((k - n * share) ** 2 / (n * share * (1 - share)) for k, n in slides)
    return max(1.0, chi2 / (len(slides) - 1))


def compare_with_background(
    mnbn: int, cells: int, control: Control | None, scatter: float = 1.0, person: Person | None = None
) -> Background:
    """Compare a count with the control, or with the literature's median where there is none.

    Against controls that carry a regression by age and sex, with what they say of this person. Against other controls
    the exact conditional test carries the control's own counting error. Tests against pooled controls and literature
    are those of Poisson counts, which for a fraction of cells are slightly conservative.

    Args:
        scatter: variance of a count over that of counting, from slide to slide; against pooled controls both counts
            are divided by it, so that the exact test has that variance.
        person: age and sex of the case; None where they are not known.

    Raises:
        ValueError: no cells.
    """
    if control is None:
        rate = HUMN_MEDIAN / 1000
        limits = limits_of_rate(rate, cells, ALPHA, BETA)
        p = poisson_p_greater(mnbn, rate * cells)
        return Background(
            source="literature",
            per_1000=HUMN_MEDIAN,
            p_greater=p,
            limits=limits,
            above=mnbn > limits.decision_threshold,
            cells=cells,
            basis=LITERATURE,
        )
    if person is not None and isinstance(control.by_age, AgeRegression) and not control.by_age.why_not(person):
        return _compare_by_age(mnbn, cells, control.by_age, person)
    return _compare_with_pooled(mnbn, cells, control, scatter, _pooled_because(control, person))


def _compare_with_pooled(mnbn: int, cells: int, control: Control, scatter: float, basis: str) -> Background:
    own, all_cells = max(1, round(cells / scatter)), max(1, round(control.bn_cells / scatter))
    events, counted = round(control.mnbn_cells / scatter), min(own, round(mnbn / scatter))
    limits = limits_of_control(events, all_cells, own, ALPHA, BETA)
    p = compare_rates(counted, own, events, all_cells).p_greater
    above = counted > limits.decision_threshold
    if scatter > 1:
        back = cells / own
        limits = Limits(int((limits.decision_threshold + 0.5) * back), limits.detection_limit * back)
        above = mnbn > limits.decision_threshold
    return Background(
        source="control", per_1000=control.per_1000, p_greater=p, limits=limits, above=above, cells=cells, basis=basis
    )


def _pooled_because(control: Control, person: Person | None) -> str:
    """That all controls are one background, and why it is not that of the donor's age and sex."""
    if person is None:
        why = "age and sex of the donor are not given, or its lines of the sample sheet differ"
    elif isinstance(control.by_age, str):
        why = control.by_age
    else:
        why = control.by_age.why_not(person)
    return f"{POOLED}: {why}" if why else POOLED


def _compare_by_age(mnbn: int, cells: int, fitted: AgeRegression, person: Person) -> Background:
    """The count of an unexposed person has the mean and the variance that the regression predicts."""
    expected = fitted.expected(person)
    limits = limits_of_estimated_rate(
        expected.rate, expected.error, cells, alpha=ALPHA, beta=BETA, spread=fitted.spread
    )
    mean = cells * expected.rate
    variance = mean + fitted.spread * mean**2 + (cells * expected.error) ** 2

    def p_greater(events: int) -> float:
        return _count_p_greater(events, mean, variance)

    high = _first_significant(p_greater, TAIL, int(mean) + 1) - 1
    low = 0
    while p_greater(low + 1) >= 1 - TAIL:
        low += 1
    return Background(
        source="control",
        per_1000=1000 * expected.rate,
        p_greater=p_greater(mnbn),
        limits=limits,
        above=mnbn > limits.decision_threshold,
        cells=cells,
        basis=f"own controls by age and sex: what {fitted.donors} control donors let expect of {person.text}",
        by_age=True,
        low_per_1000=1000 * low / cells,
        high_per_1000=1000 * high / cells,
    )

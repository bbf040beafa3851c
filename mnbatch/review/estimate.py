"""The MNBN frequency that follows from a review, and where reviewers of the same cells differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from mnbatch.assay.calls import PER
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.assay.reader_slips import NO_SLIPS, DoubleRead, Slips

# Where reviewers of the same cells differ, and Cohen's kappa.


COUNT = " × "
"""Between a decision and the number of micronuclei."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two reviewers agree.

    Attributes:
        cells: decided by both.
        agreed: of these, decided alike.
        kappa: Cohen's (Educ Psychol Meas 20:37, 1960) over the four decisions; None where chance alone would agree.
    """

    first: str
    second: str
    cells: int
    agreed: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A cell that reviewers decided differently, or on which they counted another number of MN.

    Attributes:
        decisions: (reviewer, decision) of each; `mn × 2` where two micronuclei were counted.
        adjudicated: decisions of those who adjudicated the cell; they count in place of the reviewers'.
    """

    cell_id: str
    decisions: tuple[tuple[str, str], ...]
    adjudicated: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether the cell counts as one thing: by a third person, or because more than half decided alike."""
        words = self.adjudicated or tuple(word for _, word in self.decisions)
        return majority([word.partition(COUNT)[0] for word in words]) is not None

    @property
    def by_third(self) -> str:
        """What a third person said, as pages and the command print it; "" where nobody adjudicated."""
        if not self.adjudicated:
            return ""
        words = ", ".join(word.replace("_", " ") for word in sorted(set(self.adjudicated)))
        return f"adjudicated: {words}" if self.settled else f"adjudicators differ: {words}"


def majority(words: Sequence[str]) -> str | None:
    """The decision that is valid for a cell: that of all, or of more than half of three or more; None without one."""
    word, number = Counter(words).most_common(1)[0]
    return word if number == len(words) or (len(words) > 2 and 2 * number > len(words)) else None


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement beyond chance of paired decisions, at most 1; None without cells or when only one word was used."""
    if not pairs:
        return None
    total = len(pairs)
    observed = sum(a == b for a, b in pairs) / total
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(first[word] * second[word] for word in first) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def agreements(by_reviewer: Mapping[str, Mapping[str, str]]) -> tuple[Agreement, ...]:
    """Every pair of reviewers who share cells; `by_reviewer`: reviewer -> cell_id -> decision."""
    found = []
    for one, other in combinations(sorted(by_reviewer), 2):
        shared = by_reviewer[one].keys() & by_reviewer[other].keys()
        pairs = [(by_reviewer[one][cell], by_reviewer[other][cell]) for cell in sorted(shared)]
        if pairs:
            found.append(Agreement(one, other, len(pairs), sum(a == b for a, b in pairs), cohens_kappa(pairs)))
    return tuple(found)


def disagreements(
    by_reviewer: Mapping[str, Mapping[str, str]], adjudicated: Mapping[str, Sequence[str]] | None = None
) -> tuple[Disagreement, ...]:
    """Cells that were decided or adjudicated differently, in the order of their ids.

    Args:
        by_reviewer: reviewer -> cell_id -> decision, `mn × 2` for two micronuclei; `mn` alone fits any number.
        adjudicated: cell_id -> decisions of those who adjudicated it.
    """
    by_cell: dict[str, list[tuple[str, str]]] = {}
    for reviewer in sorted(by_reviewer):
        for cell_id, decision in by_reviewer[reviewer].items():
            by_cell.setdefault(cell_id, []).append((reviewer, decision))
    final = {cell_id: tuple(words) for cell_id, words in (adjudicated or {}).items()}
    return tuple(
        Disagreement(cell_id, tuple(by_cell.get(cell_id, ())), final.get(cell_id, ()))
        for cell_id in sorted(by_cell.keys() | final.keys())
        if differ([word for _, word in by_cell.get(cell_id, ())]) or differ(final.get(cell_id, ()))
    )


def differ(decided: Sequence[str]) -> bool:
    """Whether decisions on a cell are not the same: other words, or other numbers of MN where two were given."""
    words = {word.partition(COUNT)[0] for word in decided}
    return len(words) > 1 or len({word for word in decided if COUNT in word}) > 1


# The MNBN frequency that follows from a review: exact where a whole stratum was reviewed, an interval from the rest.
#
# Estimate: each stratum of M cells, of which n were reviewed, adds M x / n cells with micronuclei and M s / n scorable
# cells; the frequency is the ratio of the sums (Horvitz-Thompson in numerator and denominator).
#
# Interval of the slide's own cells: exact hypergeometric limits of each stratum's total (Cochran, "Sampling
# techniques", 1977, 3.6), combined by the square-and-add rule (MOVER: Zou and Donner, Stat Med 27:1693, 2008). With one
# stratum that was sampled, which is what a finished review of a slide is, the combination is that stratum's exact
# interval; 0 found in n of M gives an upper limit above zero.
#
# Unsure: the estimate uses the machine's call, and the interval covers both answers. Not scorable: the cell leaves
# the denominator; the share of such cells in the sample is extrapolated as everything else, and the limits of the
# denominator widen the interval.


LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Tally:
    """What was found in one stratum.

    Attributes:
        size: cells in the stratum.
        drawn: of these, how many the plan wants reviewed.
        looked: how many were; never more than `drawn`.
        mn, unsure, not_scorable: of those reviewed.
        called: the machine calls the cells of this stratum MN.
        twice, differing: of those reviewed, decided MN or not by two people, and decided differently by them.
        typed: cells with 1, 2, ... micronuclei as a person typed them; untyped: decided MN without a number;
            counts_differ: with different numbers of two people.
    """

    stratum: str
    size: int
    drawn: int
    looked: int
    mn: int
    unsure: int
    not_scorable: int
    called: bool
    twice: int = 0
    differing: int = 0
    typed: tuple[int, ...] = ()
    untyped: int = 0
    counts_differ: int = 0

    @property
    def missing(self) -> int:
        """Cells that are still to be reviewed."""
        return self.drawn - self.looked


@dataclass(frozen=True, slots=True)
class Estimate:
    """The reviewed frequency of a slide or donor, per 1000 scorable BN cells.

    Attributes:
        mnbn, bn_cells: estimated totals.
        low, high: limits for these cells only: they cover the cells that were not reviewed.
        ci_low, ci_high: the same with the counting error added, comparable with the automatic interval.
    """

    mnbn: float
    bn_cells: float
    per_1000: float
    low: float
    high: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True)
class _Total:
    point: float
    low: float
    high: float


def estimate(tallies: Sequence[Tally]) -> Estimate | None:
    """The frequency over strata (of one slide, or of all of a donor's).

    Returns:
        None where a stratum has cells and none was reviewed, or no cell is scorable: there is no number then.
    """
    strata = [tally for tally in tallies if tally.size]
    if not strata or any(tally.looked == 0 for tally in strata):
        return None
    found = _add([_micronuclei(tally) for tally in strata])
    scorable = _add([_scorable(tally) for tally in strata])
    if scorable.point <= 0:
        return None
    rate = found.point / scorable.point
    low = max(0.0, found.low / scorable.high)
    high = min(1.0, found.high / scorable.low) if scorable.low > 0 else 1.0
    ci_low, ci_high = _with_counting(rate, low, high, scorable.point)
    return Estimate(
        mnbn=found.point,
        bn_cells=scorable.point,
        per_1000=PER * rate,
        low=PER * low,
        high=PER * high,
        ci_low=PER * ci_low,
        ci_high=PER * ci_high,
    )


def slips_of(tallies: Sequence[Tally]) -> Slips:
    """What the double readings of these strata say."""
    found = NO_SLIPS
    for t in tallies:
        read = DoubleRead(t.twice, t.differing)
        found = found + (Slips(called=read) if t.called else Slips(others=read))
    return found


def with_slips(found: Estimate, tallies: Sequence[Tally], slips: Slips) -> Estimate:
    """The estimate with limits that also hold the reviewers' slips, as double readings tell them; the value is kept.

    A share p of cells decided MN, with a slip rate e, was (p - e) / (1 - 2 e) (as for any classifier with Se = Sp =
    1 - e: Rogan and Gladen). With the upper 97.5 % limit of e each stratum's total moves up or down; what the strata
    move in one direction is added to the limit on that side, all strata at their worst at once.
    """
    below = above = 0.0
    for t in (t for t in tallies if t.looked):
        e = (slips.called if t.called else slips.others).quantile(0.975) * (1 - min(1.0, t.twice / t.looked))
        p = (t.mn + (t.unsure if t.called else 0)) / t.looked
        moved = t.size * (min(1.0, max(0.0, (p - e) / (1 - 2 * e))) - p) if e < 0.5 else -t.size * p
        below, above = below - min(0.0, moved), above + max(0.0, moved)
    down, up = PER * below / found.bn_cells, PER * above / found.bn_cells
    return replace(
        found,
        low=max(0.0, found.low - down),
        high=min(float(PER), found.high + up),
        ci_low=max(0.0, found.ci_low - down),
        ci_high=min(float(PER), found.ci_high + up),
    )


def hypergeometric_limits(found: int, looked: int, size: int, level: float = LEVEL) -> tuple[int, int]:
    """Exact limits of the number of such cells among `size`, of which `looked` were drawn and `found` are such.

    The lower limit is the smallest total under which `found` or more has a probability above (1 - level) / 2, the upper
    one the largest under which `found` or fewer has.
    """
    tail = (1 - level) / 2
    lowest, highest = found, size - (looked - found)
    if looked == 0:
        return 0, size
    low = _first(lowest, highest, lambda total: 1 - _at_most(found - 1, size, total, looked) > tail)
    above = _first(lowest, highest + 1, lambda total: _at_most(found, size, total, looked) <= tail)
    return low, max(above - 1, low)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number from `low` to `high` for which `holds`, which never stops holding; `high` if none below."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _at_most(found: int, size: int, total: int, looked: int) -> float:
    """Probability of at most `found` among `looked` cells drawn from `size`, of which `total` are such."""
    k = np.arange(max(0, looked - (size - total)), min(found, total, looked) + 1, dtype=float)
    logs = _log_choose(total, k) + _log_choose(size - total, looked - k) - _log_choose(size, np.array([float(looked)]))
    return float(min(1.0, np.exp(logs).sum()))


def _log_choose(n: int, k: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs: npt.NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return logs


def _micronuclei(tally: Tally) -> _Total:
    used = tally.mn + (tally.unsure if tally.called else 0)
    low, _ = hypergeometric_limits(tally.mn, tally.looked, tally.size)
    _, high = hypergeometric_limits(tally.mn + tally.unsure, tally.looked, tally.size)
    return _Total(tally.size * used / tally.looked, low, high)


def _scorable(tally: Tally) -> _Total:
    number = tally.looked - tally.not_scorable
    low, high = hypergeometric_limits(number, tally.looked, tally.size)
    return _Total(tally.size * number / tally.looked, low, high)


def _add(parts: Sequence[_Total]) -> _Total:
    point = sum(part.point for part in parts)
    below = math.sqrt(sum((part.point - part.low) ** 2 for part in parts))
    above = math.sqrt(sum((part.high - part.point) ** 2 for part in parts))
    return _Total(point, point - below, point + above)


def _with_counting(rate: float, low: float, high: float, cells: float) -> tuple[float, float]:
    """Add the counting error (Clopper-Pearson of the rounded totals) to the limits, again square-and-add."""
    trials = max(1, round(cells))
    counted_low, counted_high = clopper_pearson(min(trials, round(rate * trials)), trials)
    below = math.hypot(rate - low, max(0.0, rate - counted_low))
    above = math.hypot(high - rate, max(0.0, counted_high - rate))
    return max(0.0, rate - below), min(1.0, rate + above)

"""Outcomes of several seeds as one row of a table, and the paper's statements held against them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from mnbatch.comparison.comparison_settings import METHOD, Start
from mnbatch.comparison.measurement import RESAMPLES, THRESHOLD, Outcome
from mnbatch.comparison.protocols import Protocol
from mnbatch.evaluation.performance import (
    Bools,
    Floats,
    Ranking,
    Units,
    area_under_roc,
    average_precision,
    f1_of,
    percentile_interval,
    resampled_weights,
)

# Outcomes of several seeds seen as one row of a table.


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with its ends: the range over seeds, or a 95 % interval (of one seed's figure, of a difference).

    Attributes:
        seeds: how many figures the mean is of.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class Row:
    """All finished seeds of one system.

    Attributes:
        name: of the system, see `TableCell.name`.
    """

    name: str
    start: Start
    protocol: Protocol
    outcomes: tuple[Outcome, ...]

    def figure(self, name: str) -> Spread | None:
        """A figure of the test part; None where no seed has it."""
        found = [outcome.figures[name] for outcome in self.outcomes if name in outcome.figures]
        values = [figure.value for figure in found if figure.value is not None]
        if len(values) == 1:
            only = next(figure for figure in found if figure.value is not None)
            return Spread(values[0], only.low, only.high, 1)
        return Spread(float(np.mean(values)), min(values), max(values), len(values)) if values else None

    def confusion(self, name: str) -> int:
        """Cells of this kind, summed over the seeds' test parts."""
        return sum(outcome.confusion[name] for outcome in self.outcomes)

    def mean(self, name: str) -> float:
        """Mean over the seeds of a number of `Outcome`, such as `train_seconds`."""
        return float(np.mean([getattr(outcome, name) for outcome in self.outcomes]))

    @property
    def milliseconds(self) -> tuple[float, float]:
        """Time a cell in training (forward, backward, step) and in testing."""
        training = 1000 * self.mean("train_seconds") / self.mean("trained_cells")
        return training, 1000 * self.mean("test_seconds") / self.mean("tested_cells")


def grouped(outcomes: Iterable[Outcome]) -> list[Row]:
    """Rows of finished outcomes, in the order in which their systems first come."""
    found: dict[tuple[str, Start, Protocol], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status == "done":
            found.setdefault((outcome.cell.name, outcome.start, outcome.protocol), []).append(outcome)
    return [Row(name, start, protocol, tuple(group)) for (name, start, protocol), group in found.items()]


def find_row(rows: Sequence[Row], name: str, start: Start, protocol: Protocol) -> Row | None:
    """The row of a system, if any seed of it is finished."""
    return next((row for row in rows if (row.name, row.start, row.protocol) == (name, start, protocol)), None)


def difference(first: Row | None, second: Row | None, figure: str) -> Spread | None:
    """A figure of the first row minus that of the second, on the same test cells, seed by seed.

    The ends are those of a 95 % interval: of a paired bootstrap for one seed, Student's over the seeds' differences
    for several. Splits of the same data overlap, so the latter is somewhat too narrow (Nadeau and Bengio 2003).

    Args:
        figure: "average_precision", "f1" or "auc".

    Returns:
        None where the rows have no seed in common, or the figure is undefined.
    """
    if first is None or second is None:
        return None
    by_seed = {outcome.seed: outcome for outcome in second.outcomes}
    pairs = [(outcome, by_seed[outcome.seed]) for outcome in first.outcomes if outcome.seed in by_seed]
    values = [float(_differences(*pair, figure, None)[0]) for pair in pairs]
    if not values or not np.isfinite(values).all():
        return None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
        mean = float(np.mean(values))
        return Spread(mean, mean - half, mean + half, len(values))
    low, high = percentile_interval(_differences(*pairs[0], figure, RESAMPLES)) or (None, None)
    return Spread(values[0], low, high, 1)


def _differences(first: Outcome, second: Outcome, figure: str, resamples: int | None) -> Floats:
    """The difference in each of the resamples, (resamples,); without resamples that of the data, (1,)."""
    labels = np.array(first.labels)
    if resamples is None:
        blocks = iter([np.ones((1, len(labels)))])
    else:
        index = np.array(first.clusters, dtype=np.intp) if first.clusters else None
        units = Units("cluster", index, len(labels) if index is None else int(index.max()) + 1)
        blocks = resampled_weights(labels, units, resamples, seed=1)
    found = []
    for weights in blocks:
        values = [_value(np.array(outcome.scores), labels, weights, figure) for outcome in (first, second)]
        found.append(values[0] - values[1])
    return np.concatenate(found)


def _value(scores: Floats, labels: Bools, weights: Floats, figure: str) -> Floats:
    """A figure under each row of weights, (m, n) -> (m,)."""
    if figure == "f1":
        called = scores >= THRESHOLD
        return f1_of(weights @ (called & labels), weights @ (called & ~labels), weights @ labels)
    counts = Ranking.of(scores, labels).counts(weights)
    return area_under_roc(*counts) if figure == "auc" else average_precision(*counts)


# The paper's statements on its table, each held against what was measured: like with like, on the same test cells.


Verdict = Literal["held", "did not hold", "undecided", "not testable"]

CROSS_ENTROPY = f"{METHOD} (cross-entropy)"
SLOWER = 1.5
"""From this ratio of times on a network counts as much slower; "significantly less efficient" has no number there."""

EXPLANATION = (
    "A statement held where the whole 95 % interval of the difference is on the paper's side of 0, did not hold where "
    "it is wholly on the other, and is undecided between the two. Where the paper says no more than better, the AUC "
    "decides, because AP and F1 depend on the share of cells with micronuclei. "
    "It is not testable where one of the two is no better than chance (its AUC's interval reaches 0.5). An interval of "
    "one seed is about the test cells alone; another seed may turn it round. "
    f"Times decide at a factor of {SLOWER:g}, in training and in testing. Statements without both systems are left out."
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement that one system is above another.

    Attributes:
        words: what the paper says.
        better, worse: names of the systems.
        figure: by which it is judged: a figure of the test part, or "time" (then `worse` is the slower one).
    """

    words: str
    better: str
    worse: str
    figure: Literal["average_precision", "f1", "auc", "time"] = "auc"


_CLASSIC = ("mobilenet", "vgg16", "googlenet", "resnet18", "resnet50")
CLAIMS: tuple[Claim, ...] = (
    Claim("the method is better than AlexNet", METHOD, "alexnet"),
    *(Claim(f"the method is better than {name}", METHOD, name) for name in _CLASSIC),
    *(
        Claim(f"the method's AP is above that of {name}", METHOD, name, "average_precision")
        for name in ("alexnet", *_CLASSIC)
    ),
    Claim("Alex-light is slightly better than AlexNet", "alex-light", "alexnet"),
    Claim("the method is better than Alex-light", METHOD, "alex-light"),
    Claim("focal loss is better than cross-entropy", METHOD, CROSS_ENTROPY),
    Claim("channel attention improves Alex-light", "alex-ca", "alex-light"),
    Claim("the method is better than Alex-CA", METHOD, "alex-ca"),
    Claim("the method is better than MSA-Net", METHOD, "msa-net"),
    *(Claim(f"{name} is better than AlexNet", name, "alexnet") for name in _CLASSIC[1:]),
    *(
        Claim(f"attention makes {name} better", f"{name}-att", name)
        for name in ("vgg16", "googlenet", "resnet18", "resnet50")
    ),
    Claim("the AP of VGG-Att is above the method's", "vgg16-att", METHOD, "average_precision"),
    *(
        Claim(f"the F1 of ResNet-Att ({name}) is above the method's", f"{name}-att", METHOD, "f1")
        for name in ("resnet18", "resnet50")
    ),
    *(
        Claim(f"{slow} is much slower than {fast}", fast, slow, "time")
        for slow in ("vgg16-att", "resnet18-att", "resnet50-att")
        for fast in (METHOD, "googlenet-att")
    ),
)
BETWEEN_PROTOCOLS = Claim("the method is better on TVAD than on TAD", METHOD, METHOD)


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement, where it was tested, and what came out."""

    claim: Claim
    start: Start
    protocol: Protocol
    verdict: Verdict
    shown: str


def judged(rows: Sequence[Row], show: Callable[[Spread, bool], str]) -> list[Finding]:
    """Every statement that the rows can test, for each start and protocol.

    Args:
        show: writes a difference, with its sign.
    """
    starts = dict.fromkeys(row.start for row in rows)
    protocols = dict.fromkeys(row.protocol for row in rows)
    return [finding for start in starts for finding in _of_start(rows, start, list(protocols), show)]


def _of_start(
    rows: Sequence[Row], start: Start, protocols: Sequence[Protocol], show: Callable[[Spread, bool], str]
) -> Iterable[Finding]:
    tvad, tad = find_row(rows, METHOD, start, "tvad"), find_row(rows, METHOD, start, "tad")
    found = difference(tvad, tad, "auc")
    if found is not None and tvad is not None and tad is not None:
        yield _compared(BETWEEN_PROTOCOLS, tvad, tad, found, show)
    for claim in CLAIMS:
        for protocol in protocols:
            better, worse = (find_row(rows, name, start, protocol) for name in (claim.better, claim.worse))
            if better is None or worse is None:
                continue
            if claim.figure == "time":
                yield _timed(claim, better, worse)
                continue
            found = difference(better, worse, claim.figure)
            if found is not None:
                yield _compared(claim, better, worse, found, show)


def _compared(claim: Claim, better: Row, worse: Row, found: Spread, show: Callable[[Spread, bool], str]) -> Finding:
    """A finding on figures; networks that learned nothing differ by luck, so they test nothing."""
    word = {"average_precision": "AP", "f1": "F1", "auc": "AUC"}[claim.figure]
    verdict = verdict_on(found) if beats_chance(better) and beats_chance(worse) else "not testable"
    seeds = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}"
    return Finding(claim, better.start, better.protocol, verdict, f"{word} {show(found, True)}, {seeds}")


def beats_chance(row: Row) -> bool:
    """Whether the AUC is above 0.5 by its whole interval, or in every seed."""
    auc = row.figure("auc")
    return auc is not None and auc.low is not None and auc.low > 0.5


def _timed(claim: Claim, fast: Row, slow: Row) -> Finding:
    ratios = [b / a for a, b in zip(fast.milliseconds, slow.milliseconds, strict=True)]
    verdict: Verdict = "undecided"
    if min(ratios) >= SLOWER:
        verdict = "held"
    elif max(ratios) < SLOWER:
        verdict = "did not hold"
    words = f"{ratios[0]:.1f} times the training, {ratios[1]:.1f} times the testing time"
    return Finding(claim, slow.start, slow.protocol, verdict, words)


def verdict_on(found: Spread) -> Verdict:
    """Held where all of the spread is above 0, did not hold where all is below."""
    if found.low is None or found.high is None:
        return "undecided"
    if found.low > 0:
        return "held"
    return "did not hold" if found.high < 0 else "undecided"

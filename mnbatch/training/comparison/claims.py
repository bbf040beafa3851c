"""The paper's statements on its table, each held against what was measured: like with like, on the same test cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mnbatch.training.comparison.grouping import Row, Spread, difference, find_row
from mnbatch.training.comparison.protocols import Protocol
from mnbatch.training.comparison.settings import METHOD, Start

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
    """One system is said to be above another.

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

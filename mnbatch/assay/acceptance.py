"""A laboratory's acceptance limits for its validation: a TOML file, and what the figures say to each limit."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mnbatch.intake import nearest, reason, short

Verdict = Literal["met", "open", "not met", "no data"]
"""`open`: the value meets the limit and its interval reaches beyond it, where intervals are judged."""
Judge = Literal["interval", "value"]
Side = Literal["at least", "at most"]

LIMITS: Mapping[str, tuple[Side, str]] = {
    "slides": ("at least", "slides with cells of known truth"),
    "cells_with_mn": ("at least", "cells of known truth with a micronucleus"),
    "cells_without_mn": ("at least", "cells of known truth without one"),
    "sensitivity": ("at least", "sensitivity, mean of a new slide"),
    "specificity": ("at least", "specificity, mean of a new slide"),
    "sensitivity_worst_slide": ("at least", "sensitivity of the worst slide"),
    "specificity_worst_slide": ("at least", "specificity of the worst slide"),
    "replicate_dispersion": ("at most", "dispersion of replicate slides (1 is counting alone)"),
    "repeated_slides": ("at least", "slides that were measured twice"),
    "repeat_bias_per_1000": (
        "at most",
        "mean difference of the second from the first measurement, per 1000, without sign",
    ),
    "repeat_sd_per_1000": ("at most", "repeatability standard deviation, MNBN per 1000"),
    "repeat_same_call": ("at least", "share of cells in both measurements with the same call"),
    "confirmed_share": ("at least", "share of called cells that people confirmed"),
    "missed_share": ("at most", "share of cells that were not called in which people found a micronucleus"),
    "scorer_kappa": ("at least", "smallest kappa between two scorers"),
    "blind_samples": ("at least", "blind samples with a dose"),
    "dose_error_gy": ("at most", "largest error of a dose, Gy, without sign"),
    "dose_mean_error_gy": ("at most", "mean error of the doses, Gy, without sign"),
    "dose_in_interval": ("at least", "share of intervals that hold the given dose"),
    "false_alarms": ("at most", "share of unexposed samples above the decision threshold"),
    "missed_exposures": ("at most", "share of exposed samples not above the decision threshold"),
}
"""Name of a limit -> on which side a figure must be, and what the figure is."""
TEXTS = ("title", "laboratory", "purpose", "samples", "prepared_by")
LONGEST = 800


@dataclass(frozen=True, slots=True)
class Protocol:
    """What the laboratory set before it looked at any figure.

    Attributes:
        texts: of `[study]`, keys of `TEXTS`, without empty ones.
        limits: name -> limit.
        judge: whether a whole 95 % interval must meet its limit, or the value alone.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    judge: Judge = "interval"


NO_PROTOCOL = Protocol()


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure that a limit may be set for.

    Attributes:
        value: None where the data do not give it, for the reason in `why`.
        low, high: 95 % interval; None where there is none: then the value alone is judged.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A limit with its figure and the verdict."""

    name: str
    side: Side
    limit: float
    measured: Measured
    verdict: Verdict

    @property
    def words(self) -> str:
        """What the figure is."""
        return LIMITS[self.name][1]


def parse_protocol(content: str) -> Protocol:
    """Read the file: `[study]` with texts, `[limits]` with numbers, and `judge` above them.

    Raises:
        ValueError: no TOML, an unknown table or key, or a value that cannot be a limit; says which.
    """
    try:
        data = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not valid TOML: {reason(error)}") from error
    _refuse_unknown("key or table", data, ("study", "limits", "judge"))
    study, limits, judge = data.get("study", {}), data.get("limits", {}), data.get("judge", "interval")
    if not isinstance(study, Mapping) or not isinstance(limits, Mapping):
        raise ValueError("study and limits are tables: write [study] and [limits]")
    if judge not in ("interval", "value"):
        raise ValueError(f"judge is interval or value, not {short(str(judge))}")
    _refuse_unknown("key in [study]", study, TEXTS)
    _refuse_unknown("key in [limits]", limits, tuple(LIMITS))
    texts = {key: _text(key, value) for key, value in study.items()}
    return Protocol(
        texts={key: text for key, text in texts.items() if text},
        limits={key: _limit(key, value) for key, value in limits.items()},
        judge="value" if judge == "value" else "interval",
    )


def _refuse_unknown(what: str, found: Mapping[str, object], known: tuple[str, ...]) -> None:
    for name in found:
        if name not in known:
            like = nearest(name, list(known))
            hint = f"did you mean {like}? " if like else ""
            raise ValueError(f"unknown {what}: {short(name)}; {hint}known are {', '.join(known)}")


def _text(name: str, value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else None
    if text is None or len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"study.{name} is no text of at most {LONGEST} characters")
    return text


def _limit(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"limits.{name} is no number of 0 or more")
    return float(value)


def judge_limits(protocol: Protocol, figures: Mapping[str, Measured]) -> tuple[Judged, ...]:
    """Every limit of the protocol with its figure.

    Args:
        figures: name of a limit -> figure; one that is not there has no data.
    """
    return tuple(_judged(protocol, figures))


def _judged(protocol: Protocol, figures: Mapping[str, Measured]) -> Iterator[Judged]:
    for name in (name for name in LIMITS if name in protocol.limits):
        side, limit = LIMITS[name][0], protocol.limits[name]
        measured = figures.get(name, Measured(None, why="not measured"))
        yield Judged(name, side, limit, measured, _verdict(side, limit, measured, protocol.judge))


def _verdict(side: Side, limit: float, measured: Measured, judge: Judge) -> Verdict:
    if measured.value is None:
        return "no data"
    sign = 1 if side == "at least" else -1
    if sign * measured.value < sign * limit:
        return "not met"
    worst = measured.low if side == "at least" else measured.high
    return "open" if judge == "interval" and worst is not None and sign * worst < sign * limit else "met"

"""Records of dosing: what goes in, how it is to be done, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mnbatch.assay.case_table import CaseCounts
from mnbatch.assay.limits import Limits

Method = Literal["profile", "merkle", "delta"]
Status = Literal["ok", "failed", "refused"]
"""`failed`: the row gives no count; `refused`: it does, and case and curve do not go together."""


@dataclass(frozen=True, slots=True)
class Case:
    """One donor, or one row of a table.

    Attributes:
        counts: None where nothing could be counted; `problem` then says why.
        problem: why there is no result although there may be counts (no id).
        note: a warning that has nothing to do with the dose.
        scoring: how it was scored, as far as stated; keys of `COMPARED` and "endpoint".
    """

    id: str
    counts: CaseCounts | None
    problem: str = ""
    scoring: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class DoseOptions:
    """How doses are computed.

    Attributes:
        level: confidence of the interval.
        g: protraction factor of the exposure, 1 for an acute one.
        allow_mismatch: give a dose although case and curve were scored differently, and say so.
    """

    method: Method = "profile"
    level: float = 0.95
    g: float = 1.0
    allow_mismatch: bool = False


@dataclass(frozen=True, slots=True)
class DoseResult:
    """What is known of one case; None is unknown, never zero.

    Attributes:
        n, x: cells and events as counted, never altered; `yield_` is x / n.
        dispersion_index, u: of the distribution; None for binomial cases and where it is not known or not defined.
        estimate, lower, upper: dose in Gy; upper is None where the curve does not bound the dose.
        below_detection: not more events than the curve's background alone explains.
        above_range: the estimate lies beyond the highest dose of the curve: it is extrapolated.
        limits: decision threshold and detection limit, in events among n cells; `detection_dose` the latter in Gy.
    """

    id: str
    status: Status
    n: int | None
    x: int | None
    yield_: float | None
    dispersion_index: float | None
    u: float | None
    method: Method
    level: float
    warnings: tuple[str, ...]
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    below_detection: bool | None = None
    above_range: bool | None = None
    limits: Limits | None = None
    decision_dose: float | None = None
    detection_dose: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON contract of a case."""
        return {
            "id": self.id,
            "status": self.status,
            "n": self.n,
            "x": self.x,
            "yield": self.yield_,
            "dispersion_index": self.dispersion_index,
            "u": self.u,
            "dose": {"estimate": self.estimate, "lower": self.lower, "upper": self.upper},
            "method": self.method,
            "level": self.level,
            "below_detection": self.below_detection,
            "above_range": self.above_range,
            "warnings": list(self.warnings),
        }

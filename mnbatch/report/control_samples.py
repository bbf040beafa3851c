"""Control samples of a batch against the range that the laboratory set for them: a batch whose controls miss it is
flagged on every page and in every table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mnbatch.assay.calls import PER
from mnbatch.assay.sample_sheet import TARGETS, is_background
from mnbatch.report import wording
from mnbatch.report.control_charts import called_with
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import Roster, Samples

Verdict = Literal["met", "missed", "not judged"]
WHAT_NOW = (
    "Find the cause (culture, stain, scanner, model) before any result of this batch is used; results are shown "
    "unchanged."
)


@dataclass(frozen=True, slots=True)
class ControlSample:
    """A control of the sample sheet: the slides of one donor with one range, scored in one way.

    Attributes:
        kind: negative (unexposed) or positive.
        slides, counted: slides of it, and those with a count.
        mnbn_cells, bn_cells: of these, as the model called them.
        low, high: the range, MNBN cells called per 1000 BN cells; None: no limit on that side.
        fewest: cells that it needs to be judged.
    """

    name: str
    kind: Literal["negative", "positive"]
    slides: int
    counted: int
    mnbn_cells: int
    bn_cells: int
    low: float | None
    high: float | None
    fewest: int

    @property
    def verdict(self) -> Verdict:
        """Whether its count is in the range; the ends belong to it."""
        if not self.bn_cells or self.bn_cells < self.fewest:
            return "not judged"
        rate = PER * self.mnbn_cells / self.bn_cells
        too_low = self.low is not None and rate < self.low
        return "missed" if too_low or (self.high is not None and rate > self.high) else "met"

    @property
    def wanted(self) -> str:
        """The range in words."""
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"

    @property
    def found(self) -> str:
        """What was counted, in words."""
        if not self.bn_cells:
            return "no cell was counted"
        rate = wording.rate(PER * self.mnbn_cells / self.bn_cells)
        text = f"{rate} per 1000 called ({self.mnbn_cells} of {wording.plural(self.bn_cells, 'cell')})"
        if self.verdict == "not judged":
            text += f", fewer than the {self.fewest} that --min-cells asks for"
        if self.counted < self.slides:
            text += f", {self.slides - self.counted} of {self.slides} slides not counted"
        return text

    @property
    def text(self) -> str:
        """Name, count and range in one line."""
        return f"{self.name} ({self.kind} control): {self.found}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class BatchControls:
    """The controls of a batch that have a range."""

    samples: tuple[ControlSample, ...] = ()

    @property
    def flagged(self) -> tuple[ControlSample, ...]:
        """Those that missed their range, or could not be judged."""
        return tuple(sample for sample in self.samples if sample.verdict != "met")

    @property
    def state(self) -> str:
        """For a table: `met`, `missed: ...`, `not judged: ...`, and empty where no control has a range."""
        if not self.flagged:
            return "met" if self.samples else ""
        return f"{self._worst}: {'; '.join(sample.text for sample in self.flagged)}"

    @property
    def sentence(self) -> str:
        """What every page says of it; "" where nothing is to be said."""
        if not self.flagged:
            return ""
        head = {
            "missed": "The controls of this batch are out of their range",
            "not judged": "The controls of this batch could not be judged",
        }[self._worst]
        return f"{head}: {'; '.join(sample.text for sample in self.flagged)}. {WHAT_NOW}"

    @property
    def _worst(self) -> Verdict:
        return "missed" if any(sample.verdict == "missed" for sample in self.flagged) else "not judged"


NO_CONTROLS = BatchControls()


def check_controls(roster: Roster, samples: Samples, fewest: int) -> BatchControls:
    """Compare every control of the sample sheet that has a range with its count.

    Args:
        fewest: cells that a control needs to be judged (`--min-cells`).
    """
    groups: dict[tuple[str, ...], list[SlideRecord | None]] = {}
    known = {record.slide_id: record for record in roster.records}
    for slide_id, row in sorted(samples.items()):
        if any(row.get(name) for name in TARGETS):
            record = known.get(slide_id)
            donor = row.get("donor") or (record.donor if record else None) or slide_id
            kind = "negative" if is_background(row) else "positive"
            limits = [row.get(name, "") for name in TARGETS]
            # A copy that was not counted has no way of its own: it belongs to the donor's others.
            groups.setdefault((donor, kind, *limits), []).append(record)
    return BatchControls(
        tuple(sample for key, records in sorted(groups.items()) for sample in _samples_of(key, records, roster, fewest))
    )


def _samples_of(
    key: Sequence[str], records: Sequence[SlideRecord | None], roster: Roster, fewest: int
) -> Iterator[ControlSample]:
    """One sample for each way in which the slides were scored; slides without a count belong to the first."""
    donor, kind, low, high = key
    counted: dict[str, list[tuple[int, int]]] = {}
    for record in records:
        frequency = roster.call(record)[0].frequency if record is not None else None
        if record is not None and frequency is not None and frequency.bn_cells:
            counted.setdefault(called_with(record), []).append((frequency.mnbn_cells, frequency.bn_cells))
    missing = len(records) - sum(map(len, counted.values()))
    for number, counts in enumerate(counted.values() or [[]]):
        yield ControlSample(
            name=donor,
            kind="negative" if kind == "negative" else "positive",
            slides=len(counts) + (missing if number == 0 else 0),
            counted=len(counts),
            mnbn_cells=sum(k for k, _ in counts),
            bn_cells=sum(n for _, n in counts),
            low=float(low) if low else None,
            high=float(high) if high else None,
            fewest=fewest,
        )

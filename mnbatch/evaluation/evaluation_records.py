"""What an evaluation was asked to do, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnbatch.assay.cells import Stain
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import UsageError
from mnbatch.evaluation.cell_scoring import ScoredCells
from mnbatch.evaluation.count_quality import CountsMeasured
from mnbatch.evaluation.evaluation_set import LabelledSet
from mnbatch.evaluation.paired_tests import DeLong, McNemar
from mnbatch.evaluation.performance import Bin, Floats, Measured
from mnbatch.evaluation.pointing_game import Pointing


@dataclass(frozen=True, slots=True)
class Request:
    """Options of `mnbatch evaluate`.

    Attributes:
        model, against: names of bundled models or paths.
        data: a folder with mn/ and nomn/, or a CSV.
        group_by: a column of the CSV for which every group is measured by itself.
        prevalence: share of cells with MN for which AP, precision and F1 are given again.
        masks: a folder of masks or a CSV that places crops in field masks; the pointing game is played then.
        bootstrap: resamples; seed: of the bootstrap.
        options: what a person said of channels, planes, times, pages and names, as for a run.
    """

    model: str
    data: Path
    group_by: str | None = None
    prevalence: float | None = None
    against: str | None = None
    masks: Path | None = None
    stain: Stain | None = None
    device: str = "auto"
    threads: int | None = None
    bootstrap: int = 2000
    seed: int = 1
    options: PageOptions = NO_OPTIONS

    def __post_init__(self) -> None:
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise UsageError(
                f"--prevalence is {self.prevalence:g}.", "Give a share between 0 and 1, as 0.065 for 6.5 %."
            )
        if self.bootstrap < 0:
            raise UsageError(f"--bootstrap is {self.bootstrap}.", "Give a number of resamples, or 0 for none.")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model was evaluated, for tables and pages."""

    asked_for: str
    name: str
    version: str
    digest: str
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Group:
    """One value of the group column."""

    name: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class Comparison:
    """A second model on the same cells: those that both models scored.

    Attributes:
        delong, mcnemar: None of drawn cells: both tests count every cell alike, and are not made of weighted ones.
    """

    model: ModelFacts
    measured: Measured
    delong: DeLong | None
    mcnemar: McNemar | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was found.

    Attributes:
        scored, scored_against: in the order of `data.cells`.
        calibration: of the first model.
        pointing: of the first model, where masks were given.
        warnings: sentences for the reader.
        counts: of the first model; None where it or the labels know no numbers of micronuclei.
        weights: how many cells each one stands for, in the order of `data.cells`; None where each stands for itself.
    """

    request: Request
    data: LabelledSet
    model: ModelFacts
    scored: ScoredCells
    overall: Measured
    calibration: tuple[Bin, ...]
    groups: tuple[Group, ...]
    comparison: Comparison | None
    scored_against: ScoredCells | None
    pointing: tuple[Pointing, ...]
    warnings: tuple[str, ...]
    counts: CountsMeasured | None = None
    weights: Floats | None = None

    @property
    def not_scored(self) -> list[tuple[str, str]]:
        """File and reason of every cell that the model did not score."""
        return [(file, why) for file, why in zip(self.data.files, self.scored.reasons, strict=True) if why]

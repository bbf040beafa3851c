"""The statistics of a counted frequency: corrected, expected, against the background, precision, dispersion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mnbatch.assay.calls import Frequency
from mnbatch.assay.estimates import Estimates
from mnbatch.assay.heterogeneity import LEVEL
from mnbatch.assay.intervals import Precision, precision
from mnbatch.assay.mn_counts import Distribution, MnFrequency
from mnbatch.dosimetry.detection_limits import Background, Control, compare_with_background
from mnbatch.report import wording
from mnbatch.results.dosing_settings import MODE_ALL_CELLS

SHIFTED = (
    "the scores are outside the range that the model was validated on (p = {p:.2g}): stain, focus or cells differ, and "
    "neither the correction nor the expected count can be relied on"
)


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
    control: Control | None,
    no_background: str,
) -> Statistics | None:
    """The statistics that accompany a frequency; None where there is no frequency.

    Args:
        no_background: why it is compared with no background (`why_no_background`).
    """
    if frequency is None or not frequency.bn_cells:
        return None
    mnbn, cells = frequency.mnbn_cells, frequency.bn_cells
    background = None if no_background else compare_with_background(mnbn, cells, control)
    counts = None if mn is None else mn.distribution
    return Statistics(estimates, background, control, precision(mnbn, cells), counts, no_background)


def why_no_background(is_control: bool, control: Control | None, modes: Collection[str]) -> str:
    """Why a frequency is compared with no background; "" where it is.

    Args:
        control: scored in the same way, if there is one; else the literature would be taken.
        modes: `scoring_mode` of its slides.
    """
    if is_control:
        return "is a control"
    if control is None and MODE_ALL_CELLS in modes:
        return "none for --cells all: the literature's cells are binucleated"
    return ""


def disagreement(names: Sequence[str], compared: int) -> str:
    """Which of the `compared` slides disagree, as a warning of their donor; two cannot say which of them is wrong."""
    if compared == 2:
        return (
            f"the slides {names[0]} and {names[1]} disagree (Fisher's exact test, p < {LEVEL:g}): check both before "
            "their sum is used"
        )
    return (
        f"disagreeing with the donor's other slides: {', '.join(names)} (Fisher's exact test, p times the number of "
        f"slides < {LEVEL:g}): check them before the sum is used"
    )


def corrected_text(found: Statistics | None) -> tuple[str, str]:
    """The corrected frequency and its interval for a row of a table; two empty texts where there is none."""
    if found is None or found.estimates.corrected is None:
        return "", ""
    e = found.estimates
    return wording.rate(e.corrected), interval_text(e.corrected_low, e.corrected_high)


def interval_text(low: float | None, high: float | None) -> str:
    """Two rates per 1000 as "low–high"; "" where there is no interval."""
    return "" if low is None or high is None else f"{wording.rate(low)}–{wording.rate(high)}"

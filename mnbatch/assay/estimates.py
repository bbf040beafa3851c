"""Estimates in addition to the counted frequency: corrected for classifier errors, and expected from all scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnbatch.assay.calls import PER, Frequency, SlideCall
from mnbatch.assay.classifier_error import correct_fraction
from mnbatch.assay.own_cells import Validation
from mnbatch.assay.score_mixture import SHIFT_LEVEL, count_scores, expected_count

CANNOT_HOLD = (
    "fewer cells are called MN than the specificity alone explains: these rates cannot hold for these cells, and no "
    "interval is given"
)
TOO_MANY = "more cells are called MN than the sensitivity allows: these rates cannot hold for these cells"
GUESSING = "the model is no better than guessing on the cells it was validated on"


@dataclass(frozen=True, slots=True)
class Estimates:
    """Frequencies in addition to the counted one, MNBN per 1000 BN cells; each None with its reason where not known.

    Attributes:
        corrected: Rogan-Gladen, within 0..1000; corrected_raw: the same as it comes.
        corrected_low, corrected_high: Lang-Reiczigel 95 % interval, which carries the doubt about the rates.
        sensitivity, specificity: (right, total) that were used; rates_data: what they were measured on.
        correction_note: why there is no correction or no interval; "" otherwise.
        expected, expected_low, expected_high: from all scores, as a mixture of cells of known truth.
        shift_p: p of scores at least as far from every such mixture, if they were one.
        expected_note: why there is none; "" otherwise.
        score_counts: counted cells in the bins of the cells of known truth; () where there are none.
    """

    corrected: float | None = None
    corrected_raw: float | None = None
    corrected_low: float | None = None
    corrected_high: float | None = None
    sensitivity: tuple[int, int] | None = None
    specificity: tuple[int, int] | None = None
    rates_data: str = ""
    correction_note: str = ""
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    shift_p: float | None = None
    expected_data: str = ""
    expected_note: str = ""
    score_counts: tuple[int, ...] = ()

    @property
    def shifted(self) -> bool:
        """Whether the scores are outside what the model was validated on."""
        return self.shift_p is not None and self.shift_p < SHIFT_LEVEL


def no_estimates(reason: str) -> Estimates:
    """Nothing but the reason."""
    return Estimates(correction_note=reason, expected_note=reason)


NO_ESTIMATES = no_estimates("no cell was counted")


def make_estimates(frequency: Frequency, score_counts: Sequence[int], validation: Validation) -> Estimates:
    """Estimates of a slide or of a donor's pooled slides.

    Args:
        frequency: as counted, of at least one cell.
        score_counts: the counted cells in the bins of `validation.scores`; empty where that is None.
        validation: how the model errs at the threshold that the frequency was counted with.
    """
    corrected = _corrected(frequency, validation)
    return Estimates(**corrected, **_expected(score_counts, validation), score_counts=tuple(score_counts))  # type: ignore[arg-type]


def slide_estimates(call: SlideCall, validation: Validation) -> Estimates:
    """Estimates of a called slide with its cells; nothing but the reason for one that is not counted."""
    if call.frequency is None or not call.frequency.bn_cells:
        return NO_ESTIMATES
    counts: Sequence[int] = ()
    if validation.scores is not None:
        scores = [cell.p_mn for cell in call.cells if cell.mn is not None and cell.p_mn is not None]
        counts = count_scores(scores, validation.scores.edges).tolist()
    return make_estimates(call.frequency, counts, validation)


def pooled_estimates(frequency: Frequency | None, slides: Sequence[tuple[Estimates, Validation]]) -> Estimates:
    """Estimates of a donor from those of its counted slides, which must share what is known of their model.

    Args:
        frequency: pooled; slides: of each counted slide its estimates and what they were made with.
    """
    if frequency is None or not slides:
        return no_estimates("no slide of this donor was counted")
    first, validation = slides[0]
    if len(slides) == 1:
        return first
    if any(other != validation for _, other in slides[1:]):
        return no_estimates("its slides were not scored by one model at one threshold")
    counts = [sum(column) for column in zip(*(slide.score_counts for slide, _ in slides), strict=True)]
    return make_estimates(frequency, counts, validation)


def _corrected(frequency: Frequency, validation: Validation) -> dict[str, object]:
    rates = validation.rates
    if rates is None:
        return {"correction_note": validation.rates_reason}
    se, sp = rates.sensitivity, rates.specificity
    used = {"sensitivity": (se.right, se.total), "specificity": (sp.right, sp.total), "rates_data": rates.data}
    if rates.youden <= 0:
        return {**used, "correction_note": GUESSING}
    found = correct_fraction(frequency.mnbn_cells, frequency.bn_cells, rates)
    values = {"corrected": PER * found.value, "corrected_raw": PER * found.raw, **used}
    if found.low is None or found.high is None:
        return {**values, "correction_note": CANNOT_HOLD if found.raw < 0.5 else TOO_MANY}
    return {**values, "corrected_low": PER * found.low, "corrected_high": PER * found.high}


def _expected(score_counts: Sequence[int], validation: Validation) -> dict[str, object]:
    if validation.scores is None:
        return {"expected_note": validation.scores_reason}
    found = expected_count(np.array(score_counts, np.int64), validation.scores)
    return {
        "expected": PER * found.fraction,
        "expected_low": PER * found.low,
        "expected_high": PER * found.high,
        "shift_p": found.shift_p,
        "expected_data": validation.scores.data,
    }

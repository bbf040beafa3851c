"""Estimates in addition to the counted frequency: corrected for classifier errors, and expected from all scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnbatch.assay.calls import PER, Frequency, SlideCall
from mnbatch.assay.own_cells import Validation
from mnbatch.assay.score_mixture import SHIFT_LEVEL, SlideSpread, count_scores, expected_count
from mnbatch.assay.slide_errors import estimate_fraction, predicted_spread, score_spreads, too_few

NOT_BY_SLIDE = "{reason}: nothing is corrected. Rates of all cells together say nothing of one slide"
SHIFTED_NOTE = (
    "the scores of these cells are outside the range that the model was validated on: the rates of those slides do not "
    "hold for them"
)
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
        corrected: from the calls and the rates that are to be expected of a new slide, within its interval;
            corrected_raw: the same as it comes.
        corrected_low, corrected_high: 95 % interval, which holds how much the rates differ from slide to slide.
        sensitivity, specificity: (right, total) that were used; rates_data: what they were measured on.
        correction_note: why there is no correction or no interval; "" otherwise.
        expected, expected_low, expected_high: from all scores, as a mixture of cells of known truth.
        shift_p: p of scores at least as far from every such mixture, if they were one.
        expected_note: why there is none; "" otherwise.
        score_counts: counted cells in the bins of the cells of known truth; () where there are none.
        validation_slides: how many slides the correction knows the model's errors from.
        called_spread: standard deviation over such slides of the share called, at the share that was estimated; None
            where nothing is corrected.
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
    validation_slides: int = 0
    called_spread: float | None = None

    @property
    def shifted(self) -> bool:
        """Whether the scores are outside what the model was validated on."""
        return self.shift_p is not None and self.shift_p < SHIFT_LEVEL


def no_estimates(reason: str) -> Estimates:
    """Nothing but the reason."""
    return Estimates(correction_note=reason, expected_note=reason)


NO_ESTIMATES = no_estimates("no cell was counted")


def make_estimates(
    frequency: Frequency, score_counts: Sequence[int], validation: Validation, sizes: Sequence[int] = ()
) -> Estimates:
    """Estimates of a slide or of a donor's pooled slides.

    Args:
        frequency: as counted, of at least one cell.
        score_counts: the counted cells in the bins of `validation.scores`; empty where that is None.
        validation: how the model errs at the threshold that the frequency was counted with.
        sizes: cells of each slide; () for one slide.
    """
    expected = _expected(score_counts, validation, sizes or (frequency.bn_cells,))
    shift = expected.get("shift_p")
    shifted = isinstance(shift, float) and shift < SHIFT_LEVEL
    corrected = _corrected(frequency, validation, sizes or (frequency.bn_cells,), shifted)
    return Estimates(**corrected, **expected, score_counts=tuple(score_counts))  # type: ignore[arg-type]


def slide_estimates(call: SlideCall, validation: Validation) -> Estimates:
    """Estimates of a called slide with its cells; nothing but the reason for one that is not counted."""
    if call.frequency is None or not call.frequency.bn_cells:
        return NO_ESTIMATES
    counts: Sequence[int] = ()
    if validation.scores is not None:
        scores = [cell.p_mn for cell in call.cells if cell.mn is not None and cell.p_mn is not None]
        counts = count_scores(scores, validation.scores.edges).tolist()
    return make_estimates(call.frequency, counts, validation)


def pooled_estimates(
    frequency: Frequency | None, slides: Sequence[tuple[Estimates, Validation]], sizes: Sequence[int]
) -> Estimates:
    """Estimates of a donor from those of its counted slides, which must share what is known of their model.

    Args:
        frequency: pooled; slides: of each counted slide its estimates and what they were made with; sizes: its cells.
    """
    if frequency is None or not slides:
        return no_estimates("no slide of this donor was counted")
    first, validation = slides[0]
    if len(slides) == 1:
        return first
    if any(other != validation for _, other in slides[1:]):
        unknown = dict.fromkeys(other.rates_reason for _, other in slides if other.rates is None)
        if unknown:
            return no_estimates("; ".join(unknown))
        return no_estimates("its slides were not scored by one model at one threshold")
    counts = [sum(column) for column in zip(*(slide.score_counts for slide, _ in slides), strict=True)]
    return make_estimates(frequency, counts, validation, sizes)


def _corrected(frequency: Frequency, validation: Validation, sizes: Sequence[int], shifted: bool) -> dict[str, object]:
    rates = validation.rates
    if rates is None:
        return {"correction_note": validation.rates_reason}
    se, sp = rates.sensitivity, rates.specificity
    used = {"sensitivity": (se.right, se.total), "specificity": (sp.right, sp.total), "rates_data": rates.data}
    if rates.youden <= 0:
        return {**used, "correction_note": GUESSING}
    unknown = too_few(validation.slides)
    if unknown or shifted:
        return {**used, "correction_note": NOT_BY_SLIDE.format(reason=unknown) if unknown else SHIFTED_NOTE}
    found = estimate_fraction(frequency.mnbn_cells, sizes, validation.slides)
    spread = predicted_spread(validation.slides, found.value)
    told = {"validation_slides": len(validation.slides), "called_spread": spread}
    values = {"corrected": PER * found.value, "corrected_raw": PER * found.raw, **used, **told}
    if found.low is None or found.high is None:
        return {**values, "correction_note": CANNOT_HOLD if found.raw < 0.5 else TOO_MANY}
    return {**values, "corrected_low": PER * found.low, "corrected_high": PER * found.high}


def _expected(score_counts: Sequence[int], validation: Validation, sizes: Sequence[int]) -> dict[str, object]:
    if validation.scores is None:
        return {"expected_note": validation.scores_reason}
    spread = None
    if not too_few(validation.slides):
        spreads = score_spreads(tuple(validation.slides), validation.scores.split)
        spread = SlideSpread(*spreads, tuple(n for n in sizes if n))
    found = expected_count(np.array(score_counts, np.int64), validation.scores, spread=spread)
    return {
        "expected": PER * found.fraction,
        "expected_low": PER * found.low,
        "expected_high": PER * found.high,
        "shift_p": found.shift_p,
        "expected_data": validation.scores.data,
    }

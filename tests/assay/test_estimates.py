import numpy as np

from mnbatch.assay.calls import Frequency
from mnbatch.assay.classifier_error import CountedRate, ErrorRates
from mnbatch.assay.estimates import CANNOT_HOLD, GUESSING, SHIFTED_NOTE, make_estimates, pooled_estimates
from mnbatch.assay.own_cells import Validation
from mnbatch.assay.score_mixture import ScoreHistogram, count_scores
from mnbatch.assay.slide_errors import ValidationSlide

RNG = np.random.default_rng(6)
SCORES = ScoreHistogram.of(np.r_[RNG.beta(6, 2, 200), RNG.beta(1, 20, 200)], np.arange(400) < 200, "made")


SLIDES = tuple(ValidationSlide(500, 20, 30 + i, 16 + i % 3) for i in range(8))


def validation(se=(62, 74), sp=(39, 39), scores=SCORES, slides=SLIDES):
    return Validation(ErrorRates(CountedRate(*se), CountedRate(*sp), "made"), "", scores, "", slides)


def test_both_estimates_stand_beside_the_count():
    counts = count_scores(np.r_[RNG.beta(6, 2, 40), RNG.beta(1, 20, 960)], SCORES.edges)
    found = make_estimates(Frequency.of(35, 1000), counts.tolist(), validation())
    assert found.corrected_low <= found.corrected < found.corrected_high
    assert found.validation_slides == 8
    assert (found.sensitivity, found.specificity, found.rates_data) == ((62, 74), (39, 39), "made")
    assert found.expected_low < 40 < found.expected_high
    assert not found.shifted
    assert found.score_counts == tuple(counts)


def test_what_is_not_known_has_a_reason_and_no_number():
    found = make_estimates(Frequency.of(3, 100), [], Validation(None, "no rates", None, "no scores"))
    assert (found.corrected, found.correction_note) == (None, "no rates")
    assert (found.expected, found.expected_note, found.shift_p) == (None, "no scores", None)
    guess = make_estimates(Frequency.of(3, 100), [], validation((1, 2), (1, 2), None))
    assert (guess.corrected, guess.correction_note) == (None, GUESSING)


def test_rates_that_cannot_hold_are_said():
    often = tuple(ValidationSlide(2000, 100, 90 + 380, 90) for _ in range(8))
    found = make_estimates(Frequency.of(0, 5000), [], validation((720, 800), (12160, 15200), None, often))
    assert (found.corrected, found.corrected_low, found.correction_note) == (0, None, CANNOT_HOLD)
    assert found.corrected_raw < 0


def test_without_slides_nothing_is_corrected():
    found = make_estimates(Frequency.of(35, 1000), [], validation(scores=None, slides=()))
    assert (found.corrected, found.corrected_low) == (None, None)
    assert "differ from slide to slide: nothing is corrected" in found.correction_note


def test_scores_outside_what_was_validated_forbid_the_estimate():
    counts = count_scores([0.45] * 1000, SCORES.edges).tolist()
    found = make_estimates(Frequency.of(35, 1000), counts, validation())
    assert found.shifted
    assert (found.corrected, found.correction_note) == (None, SHIFTED_NOTE)


def test_a_donor_pools_cells_and_scores():
    known = validation()
    halves = [count_scores(np.r_[RNG.beta(6, 2, 20), RNG.beta(1, 20, 480)], SCORES.edges).tolist() for _ in range(2)]
    slides = [(make_estimates(Frequency.of(k, 500), h, known), known) for k, h in zip((18, 15), halves, strict=True)]
    donor = pooled_estimates(Frequency.of(33, 1000), slides, [500, 500])
    assert donor == make_estimates(Frequency.of(33, 1000), np.sum(halves, axis=0).tolist(), known, [500, 500])
    assert pooled_estimates(Frequency.of(18, 500), slides[:1], [500]) == slides[0][0]


def test_slides_of_different_models_are_not_pooled():
    one, other = validation(), validation((10, 20))
    counts = count_scores([0.1] * 100, SCORES.edges).tolist()
    slides = [(make_estimates(Frequency.of(5, 100), counts, v), v) for v in (one, other)]
    donor = pooled_estimates(Frequency.of(10, 200), slides, [100, 100])
    assert donor.corrected is None
    assert "not scored by one model at one threshold" in donor.correction_note
    unknown = Validation(None, "no colour", None, "no colour")
    pair = [(make_estimates(Frequency.of(5, 100), [], v), v) for v in (validation(scores=None), unknown)]
    assert pooled_estimates(Frequency.of(10, 200), pair, [100, 100]).correction_note == "no colour"
    assert pooled_estimates(None, [], []).correction_note == "no slide of this donor was counted"

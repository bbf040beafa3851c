"""What a page says of a slide or donor whose called cells were confirmed."""

from dataclasses import replace

import pytest

from mnbatch.assay.calls import Frequency
from mnbatch.assay.estimates import NO_ESTIMATES, Estimates
from mnbatch.assay.own_cells import Validation
from mnbatch.assay.reader_slips import NO_SLIPS, DoubleRead, Slips
from mnbatch.assay.slide_errors import ValidationSlide
from mnbatch.report.confirmation import confirmed_frequency, slips_note
from mnbatch.report.headline import headline_of
from mnbatch.review.estimate import Tally, estimate, slips_of, with_slips
from mnbatch.review.person_counts import person_counts, why_no_counts
from mnbatch.review.review_status import NO_REVIEW, SlideReview, pool

SLIDES = tuple(ValidationSlide(1000, 65, 60 + 55, 60 - i % 3) for i in range(16))
KNOWN = Validation(None, "", None, "", SLIDES)
CARD = Validation(None, "the model's card gives no sensitivity and specificity with their counts", None, "")
FREQUENCY = Frequency.of(30, 500)


def confirmation(confirmed=6, looked=50, found=0, **change):
    tallies = (
        Tally("called", 30, 30, 30, confirmed, 0, 0, True),
        Tally("band", 0, 0, 0, 0, 0, 0, False),
        Tally("rest", 470, looked, looked, found, 0, 0, False),
    )
    kept = {"status": "complete", "reason": "", "tallies": tallies, "mode": "confirm", "estimate": estimate(tallies)}
    return SlideReview(**{**kept, **change})


def of(reviews, validation=KNOWN, estimates=NO_ESTIMATES, slips=NO_SLIPS):
    return confirmed_frequency(reviews, [validation] * len(reviews), estimates, slips)


def test_a_confirmation_is_a_headline_of_its_own_kind():
    found = of([confirmation(), confirmation()])
    assert (found.called, found.confirmed, found.looked, found.found) == (60, 12, 100, 0)
    head = headline_of(FREQUENCY, NO_ESTIMATES, pool([confirmation(), confirmation()]), found)
    assert (head.kind, head.per_1000) == ("confirmed", found.per_1000)
    assert found.low < 13 < found.high
    assert "confirmed 12 of 60 called cells and found 0 in 100 random negatives" in head.trust
    assert "16 validation slides" in head.trust
    assert "fewer than 30 cells were decided by two people" in head.trust
    assert "One slide" not in head.trust
    estimated = Estimates(corrected=5.0, corrected_low=1.0, corrected_high=9.0)
    assert headline_of(FREQUENCY, estimated, pool([confirmation()]), found).kind == "confirmed"
    assert headline_of(FREQUENCY, estimated, NO_REVIEW).kind == "estimated"
    assert not headline_of(FREQUENCY, estimated, NO_REVIEW).from_simulated
    simulated = replace(estimated, rates_data='the model card\'s "40 simulated slides"')
    head = headline_of(FREQUENCY, simulated, NO_REVIEW)
    assert head.from_simulated
    assert "how the model errs on real slides is not measured" in head.trust


def test_a_confirmation_is_no_review():
    review = confirmation()
    assert review.estimate is not None
    assert review.number is None
    assert "no complete review" in why_no_counts(review, "reviewed")
    assert person_counts(review, "confirmed").mnbn == 6


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (CARD, "it is not known how the model's errors differ from slide to slide"),
        (Validation(None, "", None, "", SLIDES[:1]), "1 validation slide with cells of both classes, and 6 are needed"),
    ],
)
def test_a_card_without_slides_and_one_slide_leave_the_random_negatives(validation, words):
    enough = of([confirmation(), confirmation()], validation)
    assert words in enough.note
    assert enough.high - enough.low > of([confirmation(), confirmation()]).high - enough.low
    few = of([confirmation()], validation)
    assert (few.per_1000, few.low, few.high) == (None, None, None)
    assert words in few.note
    assert "50 random negatives were looked at: 100 are needed" in few.note
    head = headline_of(FREQUENCY, NO_ESTIMATES, confirmation(), few)
    assert (head.kind, head.trust) == ("none", few.note)


def test_a_donor_with_one_slide_is_said():
    assert "One slide: whether another slide of this donor agrees is not known." in of([confirmation()]).note
    of_slide = of([confirmation()], slips=None).note
    assert "in the donor's interval alone" in of_slide
    assert "One slide" not in of_slide


def test_other_models_and_shifted_scores_do_not_lend_their_sensitivity():
    two = confirmed_frequency([confirmation()] * 2, [KNOWN, CARD], NO_ESTIMATES, NO_SLIPS)
    assert "not scored by one model" in two.note
    assert "outside the range" in of([confirmation()] * 2, estimates=Estimates(shift_p=0.001)).note


def test_what_is_not_complete_or_of_another_mode_has_no_confirmed_frequency():
    assert of([confirmation(), confirmation(status="unfinished")]) is None
    assert of([confirmation(mode="complete")]) is None
    assert of([]) is None


def test_slips_widen_reviewed_and_confirmed_intervals_and_are_said():
    double = (
        Tally("called", 60, 60, 60, 12, 0, 0, True, twice=40, differing=3),
        Tally("band", 50, 50, 50, 1, 0, 0, False, twice=20, differing=1),
        Tally("rest", 890, 100, 100, 2, 0, 0, False, twice=20, differing=1),
    )
    slips = slips_of(double)
    assert slips == Slips(DoubleRead(40, 3), DoubleRead(40, 2))
    plain = estimate(double)
    wide = with_slips(plain, double, slips)
    assert wide.per_1000 == plain.per_1000
    assert wide.ci_low < plain.ci_low
    assert wide.low < plain.low
    assert wide.ci_high >= plain.ci_high
    assert with_slips(plain, double, NO_SLIPS) == plain
    review = SlideReview("complete", "", double, wide)
    assert "as cells that two people decided show them" in headline_of(FREQUENCY, None, review, None, slips).trust
    assert "decided" not in headline_of(FREQUENCY, None, review).trust
    assert "called cells alone" in slips_note(Slips(called=DoubleRead(40, 1)))
    confirmed = of([confirmation(found=2)] * 2, slips=slips)
    assert confirmed.low < of([confirmation(found=2)] * 2).low
    assert "as cells that two people decided show them" in confirmed.note

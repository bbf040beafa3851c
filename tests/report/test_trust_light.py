"""The light of a result: what speaks against it is a reason of it, wherever it was noticed."""

from dataclasses import replace
from types import SimpleNamespace

from mnbatch.assay.sheet_doubts import Doubt
from mnbatch.report.trust_light import donor_light, slide_light
from mnbatch.review.estimate import Disagreement
from mnbatch.review.review_status import NO_REVIEW


def light(*differences: Disagreement):
    call = SimpleNamespace(frequency=None, status="failed", reason="no cell")
    review = replace(NO_REVIEW, disagreements=differences)
    controls = SimpleNamespace(flagged=())
    return slide_light(SimpleNamespace(call=call, review=review, controls=controls, statistics=None))  # type: ignore[arg-type]


def test_cells_that_reviewers_left_open_are_a_reason() -> None:
    """A light was green, nothing speaks against it, while two reviewers differed on six cells."""
    two = (("Ada", "mn"), ("Bo", "not_mn"))
    found = light(Disagreement("c1", two), Disagreement("c2", two, ("mn",)), Disagreement("c3", two))
    assert "Reviewers differ on 2 cells: have a third person decide." in found.reasons
    settled = light(Disagreement("c2", two, ("mn",)))
    assert not any("differ" in text for text in settled.reasons)


def test_a_sample_sheet_that_contradicts_itself_is_a_reason_of_the_donors_light() -> None:
    said = SimpleNamespace(column="sex", certain=True), SimpleNamespace(column="sampling_date", certain=False)
    donor = SimpleNamespace(
        call=SimpleNamespace(frequency=SimpleNamespace(bn_cells=900), status="done", reason=""),
        review=replace(NO_REVIEW, status="complete"),
        headline=SimpleNamespace(kind="reviewed", per_1000=9.0),
        controls=SimpleNamespace(flagged=()),
        statistics=None,
        dose=None,
        disagreeing=(),
        contradictions=said,
        doubts=(),
        behind=(),
        slides=(),
    )
    found = donor_light(donor)  # type: ignore[arg-type]
    assert (found.colour, len(found.reasons)) == ("amber", 1)
    assert found.reasons[0].startswith("The sample sheet contradicts itself on sex: ")
    donor.contradictions = said[1:]
    assert donor_light(donor).colour == "green"  # type: ignore[arg-type]
    donor.doubts = (Doubt("a warning alone"),)
    assert donor_light(donor).colour == "green"  # type: ignore[arg-type]
    donor.doubts = (Doubt("days", "the sample sheet has days that cannot be true"),)
    found = donor_light(donor)  # type: ignore[arg-type]
    assert (found.colour, found.reasons) == ("amber", ("The sample sheet has days that cannot be true.",))
    donor.doubts, donor.behind = (), ("newer files of these slides wait to be scored: s1",)
    found = donor_light(donor)  # type: ignore[arg-type]
    assert (found.colour, found.reasons) == ("amber", ("Newer files of these slides wait to be scored: s1.",))

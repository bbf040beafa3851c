"""Kappa and disagreements."""

import pytest
from sklearn.metrics import cohen_kappa_score

from mnbatch.review.decisions import Decision
from mnbatch.review.estimate import agreements, cohens_kappa, disagreements
from mnbatch.review.review_status import combined, differences


def test_kappa_is_cohens():
    first = ["mn"] * 20 + ["not_mn"] * 70 + ["unsure"] * 10
    second = ["mn"] * 15 + ["not_mn"] * 75 + ["mn"] * 4 + ["unsure"] * 6
    assert cohens_kappa(list(zip(first, second, strict=True))) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_is_not_made_up_where_it_is_not_defined():
    assert cohens_kappa([]) is None
    assert cohens_kappa([("mn", "mn")] * 5) is None


def test_only_shared_cells_are_compared_and_differences_listed():
    said = {"Ada": {"c1": "mn", "c2": "mn", "c3": "not_mn"}, "Bo": {"c2": "not_mn", "c3": "not_mn"}, "Cy": {"c9": "mn"}}
    (pair,) = agreements(said)
    assert (pair.first, pair.second, pair.cells, pair.agreed) == ("Ada", "Bo", 2, 1)
    (one,) = disagreements(said)
    assert (one.cell_id, one.decisions) == ("c2", (("Ada", "mn"), ("Bo", "not_mn")))


def test_other_numbers_of_mn_are_a_difference_and_no_number_is_none():
    told = {"Ada": {"a": "mn × 1", "b": "mn", "c": "mn × 2"}, "Bo": {"a": "mn × 2", "b": "mn × 3", "c": "mn × 2"}}
    assert [d.cell_id for d in disagreements(told)] == ["a"]


def _decision(reviewer, word, look=""):
    fixed = {"stratum": "called", "inclusion_probability": 1.0, "model_digest": "m", "result_key": "k"}
    return Decision("s", "c", word, None, reviewer, "2026-11-23T10:00:00+00:00", **fixed, look=look)


@pytest.mark.parametrize(
    ("words", "together"),
    [
        (["mn", "mn"], "mn"),
        (["mn", "not_mn"], "unsure"),
        (["mn", "not_mn", "mn"], "mn"),
        (["mn", "not_mn", "not_scorable"], "unsure"),
        (["mn", "mn", "not_mn", "not_mn"], "unsure"),
        (["mn", "not_mn", "not_mn!"], "not_mn"),
        (["mn", "mn", "not_mn!"], "not_mn"),
        (["mn", "not_mn", "mn!", "not_mn!"], "unsure"),
    ],
)
def test_a_third_decides_where_two_differ(words, together):
    """An exclamation mark: an adjudication."""
    decisions = [
        _decision(f"r{i}", word.rstrip("!"), "adjudication" if word.endswith("!") else "")
        for i, word in enumerate(words)
    ]
    assert combined({d.reviewer: {"c": d} for d in decisions}) == {"c": together}


@pytest.mark.parametrize(
    ("told", "third", "settled"),
    [
        ({"Ada": "mn", "Bo": "not_mn"}, {}, False),
        ({"Ada": "mn", "Bo": "not_mn"}, {"c": ["mn"]}, True),
        ({"Ada": "mn", "Bo": "not_mn"}, {"c": ["mn", "not_mn"]}, False),
        ({"Ada": "mn", "Bo": "mn"}, {"c": ["mn", "not_mn"]}, False),
        ({"Ada": "mn", "Bo": "not_mn"}, {"c": ["mn", "not_mn", "mn × 2"]}, True),
        ({"Ada": "mn × 1", "Bo": "not_mn", "Cy": "mn × 2"}, {}, True),
        ({"Ada": "mn", "Bo": "not_mn", "Cy": "not_scorable"}, {}, False),
    ],
)
def test_a_difference_is_settled_by_a_third_person_or_by_more_than_half(told, third, settled):
    (one,) = disagreements({who: {"c": word} for who, word in told.items()}, third)
    assert one.settled is settled
    assert one.by_third.startswith("adjudicat" if third else "")
    assert ("adjudicators differ" in one.by_third) is (bool(third) and not settled)


def test_adjudicators_who_differ_leave_the_cell_open_in_list_and_count_alike():
    said = [_decision("Ada", "mn"), _decision("Bo", "not_mn"), _decision("Cy", "mn", "adjudication")]
    said.append(_decision("Di", "not_mn", "adjudication"))
    by_reviewer = {d.reviewer: {"c": d} for d in said}
    (one,) = differences(by_reviewer)
    assert (combined(by_reviewer), one.settled) == ({"c": "unsure"}, False)
    assert one.by_third == "adjudicators differ: mn, not mn"

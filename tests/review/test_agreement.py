"""Kappa and disagreements."""

import pytest
from sklearn.metrics import cohen_kappa_score

from mnbatch.review.estimate import agreements, cohens_kappa, disagreements


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

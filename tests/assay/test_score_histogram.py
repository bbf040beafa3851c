import numpy as np
import pytest

from mnbatch.assay.score_mixture import EDGES, ScoreHistogram, count_scores, joined


def test_every_score_has_its_bin():
    scores = np.array([0.0, 0.001, 0.5, 0.9999, 1.0])
    counts = count_scores(scores, EDGES)
    assert counts.sum() == 5
    assert (counts[0], counts[1], counts[-1]) == (1, 1, 2)


def test_classes_are_counted_apart():
    found = ScoreHistogram.of([0.0, 0.2, 0.99, 1.0], [False, False, True, True], "made")
    assert (sum(found.mn), sum(found.nomn)) == (2, 2)
    assert found.mn[:10] == (0,) * 10


def test_joined_bins_keep_all_cells_and_hold_enough():
    rng = np.random.default_rng(0)
    scores = np.r_[rng.beta(5, 2, 74), rng.beta(1, 20, 39)]
    histogram = ScoreHistogram.of(scores, np.arange(113) < 74, "made")
    mn, nomn, slide = joined(histogram, count_scores(rng.random(500), EDGES))
    assert (mn.sum(), nomn.sum(), slide.sum()) == (74, 39, 500)
    assert 2 <= len(mn) <= 8
    assert min(mn / 74 + nomn / 39) >= 2 / 8


@pytest.mark.parametrize(
    ("edges", "mn", "nomn"),
    [
        ((0, 0.5, 1), (1, 2), (1,)),
        ((0, 0.5, 1), (0, 0), (1, 2)),
        ((0, 0.5, 1), (1, -1), (1, 2)),
        ((0, 0.6, 0.5, 1), (1, 1, 1), (1, 1, 1)),
        ((0.1, 0.5, 1), (1, 1), (1, 1)),
        ((0, 1), (1,), (1,)),
    ],
)
def test_what_is_no_histogram_is_refused(edges, mn, nomn):
    with pytest.raises(ValueError):
        ScoreHistogram(edges, mn, nomn, "made")

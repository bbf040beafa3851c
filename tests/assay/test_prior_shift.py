import numpy as np
import pytest

from mnbatch.assay.score_mixture import (
    EDGES,
    ClassSpread,
    ScoreHistogram,
    SlideSpread,
    count_scores,
    expected_count,
    mixing_proportion,
)


def made(rng, cells, prevalence, shift=0.0):
    """Scores of cells with and without MN: overlapping logistic normals, and the truth."""
    truth = rng.random(cells) < prevalence
    logits = np.where(truth, rng.normal(2.2, 1.6, cells), rng.normal(-3.5, 1.6, cells)) + shift
    return 1 / (1 + np.exp(-logits)), truth


def known(rng, with_mn=300, without=300):
    scores = np.r_[made(rng, with_mn, 1.1)[0], made(rng, without, -1)[0]]
    return ScoreHistogram.of(scores, np.arange(with_mn + without) < with_mn, "made")


def counts(scores):
    return count_scores(scores, EDGES)


def test_the_proportion_is_the_fixed_point_of_saerens_em():
    """The EM of the paper, written out: posteriors under the new prior, whose mean is the next prior."""
    slide, mn, nomn = np.array([[70, 20, 10]]), np.array([[0.1, 0.3, 0.6]]), np.array([[0.8, 0.15, 0.05]])
    prior = 0.5
    for _ in range(2000):
        posterior = prior * mn / (prior * mn + (1 - prior) * nomn)
        prior = float((slide * posterior).sum() / slide.sum())
    assert mixing_proportion(slide, mn, nomn)[0] == pytest.approx(prior, abs=1e-6)


def test_proportions_end_at_the_borders():
    mn, nomn = np.array([[0.1, 0.9]]), np.array([[0.9, 0.1]])
    assert mixing_proportion(np.array([[100, 0]]), mn, nomn)[0] == pytest.approx(0, abs=1e-6)
    assert mixing_proportion(np.array([[0, 100]]), mn, nomn)[0] == pytest.approx(1, abs=1e-6)


def test_the_interval_covers_and_the_prevalence_of_the_known_cells_does_not_matter():
    rng = np.random.default_rng(11)
    prevalence, inside, runs = 0.03, 0, 60
    for _ in range(runs):
        found = expected_count(counts(made(rng, 1000, prevalence)[0]), known(rng, 200, 300))
        inside += found.low <= prevalence <= found.high
    assert inside / runs >= 0.88


def test_few_known_cells_make_a_wide_interval():
    rng = np.random.default_rng(5)
    slide = counts(made(rng, 1000, 0.02)[0])
    few, many = expected_count(slide, known(rng, 74, 39)), expected_count(slide, known(rng, 1000, 1000))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_a_shift_of_the_scores_is_noticed_and_another_prevalence_is_not():
    rng = np.random.default_rng(2)
    histogram = known(rng)
    assert not expected_count(counts(made(rng, 1000, 0.3)[0]), histogram).shifted
    assert expected_count(counts(made(rng, 1000, 0.02, shift=1.5)[0]), histogram).shifted


def test_the_test_for_a_shift_seldom_cries_wolf():
    rng = np.random.default_rng(8)
    alarms = sum(expected_count(counts(made(rng, 500, 0.05)[0]), known(rng, 74, 60)).shift_p < 0.05 for _ in range(80))
    assert alarms <= 10


def test_the_same_scores_give_the_same_numbers():
    rng = np.random.default_rng(4)
    slide, histogram = counts(made(rng, 300, 0.1)[0]), known(rng)
    assert expected_count(slide, histogram) == expected_count(slide, histogram)


def test_no_score_has_no_expected_count():
    with pytest.raises(ValueError, match="no expected count"):
        expected_count(counts([]), known(np.random.default_rng(1)))


def test_slides_that_differ_as_validation_slides_do_are_rarely_shifted():
    rng = np.random.default_rng(5)
    mn, nomn = np.array([0.02, 0.06, 0.12, 0.3, 0.5]), np.array([0.6, 0.25, 0.1, 0.03, 0.02])
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    known = ScoreHistogram(
        edges, tuple(rng.multinomial(1000, mn).tolist()), tuple(rng.multinomial(9000, nomn)), "known"
    )
    u = 0.15
    fired = []
    for _ in range(30):
        own = [rng.dirichlet(f * (1 / u**2 - 1)) for f in (mn, nomn)]
        counts = rng.multinomial(1000, 0.05 * own[0] + 0.95 * own[1])
        spread = SlideSpread(ClassSpread(np.array([u])), ClassSpread(np.array([u])), (1000,))
        fired.append([expected_count(counts, known, spread=s).shifted for s in (None, spread)])
    without, with_spread = np.mean(fired, axis=0)
    assert without > 0.3
    assert with_spread < 0.1
    far = rng.multinomial(1000, [0.1, 0.1, 0.6, 0.1, 0.1])
    assert expected_count(far, known, spread=spread).shifted


def test_cells_with_several_micronuclei_are_no_shift_but_many_undecided_cells_are():
    rng = np.random.default_rng(8)
    table = known(rng)
    clear = np.concatenate([rng.uniform(0.9, 1.0, 60), made(rng, 940, 0.0)[0]])
    surest = np.concatenate([np.full(60, 0.9995), clear[60:]])
    undecided = np.concatenate([rng.uniform(0.3, 0.6, 250), clear[250:]])
    found = [expected_count(counts(scores), table).shift_p for scores in (clear, surest, undecided)]
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert found[2] < 0.01

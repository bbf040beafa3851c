import numpy as np
import pytest

from mnbatch.evaluation.performance import percentile_interval, resampled_weights, units_of

LABELS = np.arange(20) < 5


def drawn(units, resamples=400):
    return np.concatenate(list(resampled_weights(LABELS, units, resamples, seed=1)))


def test_cells_are_drawn_within_their_class():
    weights = drawn(units_of([""] * 20, "donor"))
    assert weights.shape == (400, 20)
    assert (weights[:, LABELS].sum(axis=1) == 5).all()
    assert (weights[:, ~LABELS].sum(axis=1) == 15).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(20), abs=0.2)


def test_cells_of_one_donor_are_drawn_together():
    names = [f"D{i % 4}" for i in range(20)]
    units = units_of(names, "donor")
    weights = drawn(units)
    assert units.count == 4
    for donor in range(4):
        assert (weights[:, donor::4] == weights[:, [donor]]).all()
    assert (weights[:, :4].sum(axis=1) == 4).all()
    assert "4 clusters (donor)" in units.method
    assert "only 4 clusters" in units.warning


def test_cells_without_a_name_are_clusters_of_their_own():
    assert units_of(["A", "A", "", ""], "slide").count == 3


def test_a_single_cluster_falls_back_to_cells_and_says_so():
    units = units_of(["A"] * 20, "slide")
    assert units.index is None
    assert "All cells are of one slide" in units.warning
    assert units_of([""] * 20, "slide").warning == ""


def test_cluster_interval_covers_what_the_cell_interval_misses():
    """Cells of a donor share an offset: the mean's interval over donors has to be about as wide as it truly varies."""
    rng = np.random.default_rng(2)
    donors = np.repeat(np.arange(30), 20)
    values = rng.normal(size=30)[donors] + 0.1 * rng.normal(size=600)
    labels = np.arange(600) % 2 == 0

    def width(units):
        means = np.concatenate([w @ values / w.sum(axis=1) for w in resampled_weights(labels, units, 1000, seed=3)])
        low, high = percentile_interval(means)  # type: ignore[misc]
        return high - low

    true_width = 2 * 1.96 * np.sqrt(1 / 30)  # 30 donors with standard deviation 1
    assert width(units_of([str(d) for d in donors], "donor")) == pytest.approx(true_width, rel=0.35)
    assert width(units_of([""] * 600, "donor")) < 0.4 * true_width


def test_same_seed_same_resamples():
    units = units_of([""] * 20, "donor")
    assert (drawn(units) == drawn(units)).all()


def test_interval_needs_half_of_the_resamples():
    values = np.array([0.1, 0.2, np.nan, np.nan, np.nan])
    assert percentile_interval(values) is None
    assert percentile_interval(values[:3]) is not None
    assert percentile_interval(np.zeros(0)) is None

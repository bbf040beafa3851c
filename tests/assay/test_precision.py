import pytest

from mnbatch.assay.intervals import clopper_pearson, expected_width, precision


@pytest.mark.parametrize(
    ("cells", "tier", "further"), [(150, None, 200), (200, 200, 500), (999, 500, 1000), (2500, 2000, None)]
)
def test_tiers(cells, tier, further):
    found = precision(2, cells)
    assert (found.tier, found.next_cells) == (tier, further)


def test_width_is_that_of_the_interval_and_shrinks_with_cells():
    low, high = clopper_pearson(13, 1000)
    found = precision(13, 1000)
    assert found.width == pytest.approx(high - low)
    low, high = clopper_pearson(26, 2000)
    assert found.next_width == pytest.approx(high - low)
    assert found.next_width < found.width


def test_none_and_all_have_a_width():
    assert expected_width(0.0, 200) == pytest.approx(clopper_pearson(0, 200)[1])
    assert expected_width(1.0, 200) == pytest.approx(1 - clopper_pearson(200, 200)[0])
    with pytest.raises(ValueError):
        precision(1, 0)

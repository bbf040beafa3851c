import pytest

from mnbatch.report import charts


def test_a_scale_always_shows_the_background_reference() -> None:
    assert charts.common_scale([]).top >= 12
    assert charts.common_scale([(0.0, 3.0)]).top >= 12


def test_a_scale_holds_ordinary_intervals_whole() -> None:
    scale = charts.common_scale([(10, 18), (40, 55), (20, 31)])
    assert scale.top >= 55
    assert not charts.interval(scale, 40, 30, 55).clipped


def test_a_slide_of_few_cells_does_not_flatten_the_others_and_is_marked() -> None:
    scale = charts.common_scale([(10, 18)] * 9 + [(0, 975)])
    assert scale.top < 100
    mark = charts.interval(scale, 0, 0, 975)
    assert mark.clipped
    assert mark.high == 100


@pytest.mark.parametrize("value", [0.7, 12, 20, 34, 55, 99, 100, 700, 999.9])
def test_ticks_are_round_and_reach_the_value(value: float) -> None:
    ticks = charts.nice_axis(value)
    assert ticks[0] == 0
    assert value <= ticks[-1] * (1 + 1e-9) <= value * 2.01
    assert all(len(f"{tick:g}") <= 4 for tick in ticks)


def test_histogram_counts_every_cell_once() -> None:
    histogram = charts.histogram([0.0, 0.01, 0.5, 0.999, 1.0], 0.5)
    assert sum(bin_.count for bin_ in histogram.bins) == 5


def test_bars_above_the_threshold_are_marked_and_the_bin_that_holds_it_is_split() -> None:
    histogram = charts.histogram([0.1, 0.43, 0.9], 0.43)
    low, middle, high = histogram.bins
    assert low.above_width == 0
    assert 0 < middle.above_width < middle.width
    assert middle.above_x == 43
    assert high.above_width == high.width


def test_a_higher_count_gives_a_higher_bar_within_the_drawing() -> None:
    one, many = charts.histogram([0.01] + [0.99] * 5000, 0.5).bins
    assert 0 < one.height < many.height <= charts.HISTOGRAM_HEIGHT

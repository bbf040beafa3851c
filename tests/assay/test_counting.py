"""Continuation ratios to probabilities, counts and the MN frequency; pooling, and what is not available."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbatch.assay.calls import CallRules, call_slide, pool_donor
from mnbatch.assay.cells import Quality, ScoreRow
from mnbatch.assay.copies import Copied
from mnbatch.assay.intervals import garwood
from mnbatch.assay.mn_counts import NOT_COUNTED, CellCount, MnFrequency, count_probabilities, likeliest_count

GOOD = Quality(sharpness=1e6, contrast=0.4, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)
SHARE = st.floats(0, 1)
RULES = CallRules(threshold=0.5)


def row(number: int, p_mn: float | None, ratios: tuple[float, float] | None = None) -> ScoreRow:
    quality = None if p_mn is None else GOOD
    return ScoreRow(f"s:{number}", f"{number}.png", None, p_mn, "" if quality else "torn", quality, ratios)


@given(SHARE, SHARE, SHARE)
def test_the_ratios_are_the_conditional_probabilities_of_the_four_classes(p_mn, q2, q3):
    p = count_probabilities(p_mn, (q2, q3))
    assert sum(p) == pytest.approx(1, abs=1e-12)
    assert sum(p[1:]) == pytest.approx(p_mn, abs=1e-12)
    assert sum(p[2:]) == pytest.approx(p_mn * q2, abs=1e-12)
    assert p[3] == pytest.approx(p_mn * q2 * q3, abs=1e-12)


def test_a_worked_example_of_one_cell():
    count = CellCount.of(0.8, (0.5, 0.25), called=True, mean_3plus=3.4)
    assert count.p == pytest.approx((0.2, 0.4, 0.3, 0.1))
    assert count.expected == pytest.approx(0.4 + 0.6 + 0.34)
    assert count.n == 1


@pytest.mark.parametrize(
    ("ratios", "likeliest"),
    [((0.4, 0.9), 1), ((0.5, 0.0), 1), ((0.6, 0.2), 2), ((0.7, 0.7), 3), ((0.55, 0.5), 1), ((1.0, 0.5), 2)],
)
def test_the_number_called_is_the_likeliest_of_a_cell_that_has_any(ratios, likeliest):
    assert likeliest_count(ratios) == likeliest


@given(SHARE, SHARE, SHARE)
def test_a_cell_has_a_micronucleus_exactly_if_it_is_called_mn(p_mn, q2, q3):
    for called in (True, False):
        assert (CellCount.of(p_mn, (q2, q3), called, 3.0).n > 0) == called


def test_the_frequency_has_garwoods_interval_and_is_the_sum_of_its_classes():
    mn = MnFrequency.of([0] * 90 + [1] * 6 + [2] * 3 + [3])
    assert (mn.bn_cells, mn.micronuclei, mn.cells) == (100, 15, (90, 6, 3, 1))
    low, high = garwood(15)
    assert (mn.per_1000, mn.ci_low, mn.ci_high) == pytest.approx((150, 10 * low, 10 * high))


def test_no_micronucleus_is_a_frequency_of_zero_with_an_upper_bound():
    mn = MnFrequency.of([0] * 1000)
    assert mn.per_1000 == mn.ci_low == 0
    assert mn.ci_high == pytest.approx(3.689, abs=1e-3)


@pytest.mark.parametrize("counts", [[], [0, 4], [-1]])
def test_a_frequency_of_no_cells_or_of_other_numbers_is_refused(counts):
    with pytest.raises(ValueError):
        MnFrequency.of(counts)


def test_pooling_slides_adds_their_cells():
    parts = [MnFrequency.of([0, 1, 3]), MnFrequency.of([0, 0]), MnFrequency.of([2])]
    assert MnFrequency.pooled(parts) == MnFrequency.of([0, 1, 3, 0, 0, 2])


def test_a_slide_counts_the_cells_of_its_denominator_and_no_others():
    rows = [
        row(0, 0.9, (0.9, 0.1)),
        row(1, 0.2, (0.9, 0.9)),
        row(2, 0.9, (0.9, 0.9)),
        *(row(i, 0.1, (0, 0)) for i in range(3, 10)),
    ]
    call = call_slide([*rows, row(10, None)], RULES, {2: Copied("other:7")}, mean_3plus=3.5)
    assert call.mn == MnFrequency.of([2, *[0] * 8])
    assert call.frequency is not None
    assert call.mn.bn_cells == call.frequency.bn_cells == 9
    assert [cell.count is None for cell in call.cells] == [False, False, True, *[False] * 7, True]


def test_a_higher_threshold_takes_the_counts_of_the_cells_it_no_longer_calls():
    rows = [row(0, 0.6, (0.9, 0.1)), row(1, 0.95, (0.1, 0.1))]
    found = [call_slide(rows, CallRules(threshold=t), {}, 3.0).mn for t in (0.5, 0.9)]
    assert [mn.micronuclei for mn in found if mn] == [3, 1]


@pytest.mark.parametrize("mean_3plus", [None, 3.2])
def test_without_ratios_the_mn_frequency_is_not_available_and_not_zero(mean_3plus):
    call = call_slide([row(0, 0.9), row(1, 0.1)], RULES, {}, mean_3plus)
    assert call.frequency is not None
    assert call.mn is None
    assert call.mn_reason == NOT_COUNTED


def test_one_cell_without_a_count_leaves_no_frequency():
    call = call_slide([row(0, 0.9, (0.5, 0.5)), row(1, 0.1)], RULES, {}, 3.2)
    assert call.mn is None
    assert call.mn_reason


def test_a_donor_of_mixed_models_has_no_mn_frequency_and_says_which_slides_lack_it():
    counted = call_slide([row(0, 0.9, (0.9, 0.1)), row(1, 0.1, (0, 0))], RULES, {}, 3.2)
    plain = call_slide([row(0, 0.9), row(1, 0.1)], RULES, {})
    failed = call_slide([], RULES, {}, 3.2)
    for slides in itertools.permutations([("a", counted), ("b", plain), ("c", failed)]):
        donor = pool_donor("D", slides, 1)
        assert donor.frequency is not None
        assert donor.frequency.bn_cells == 4
        assert donor.mn is None
        assert "1 of 2 slides have no counts (b)" in donor.mn_reason
    both = pool_donor("D", [("a", counted), ("c", failed), ("d", counted)], 1)
    assert both.mn == MnFrequency.of([2, 0, 2, 0])
    assert pool_donor("D", [("b", plain)], 1).mn_reason == NOT_COUNTED
    nothing = pool_donor("D", [("c", failed)], 1)
    assert (nothing.mn, nothing.mn_reason) == (None, "")

"""Slip rates from cells that two people decided."""

import numpy as np
import pytest

from mnbatch.assay.reader_slips import FEWEST_DOUBLE, NO_SLIPS, DoubleRead, Slips


def test_two_readers_with_a_slip_rate_differ_at_twice_that_rate():
    e = 0.02
    read = DoubleRead(10_000, round(10_000 * 2 * e * (1 - e)))
    assert read.rate == pytest.approx(e, rel=0.01)
    assert read.quantile(0.025) < e < read.quantile(0.975)
    draws = read.draws(2000, 1)
    assert draws.mean() == pytest.approx(e, rel=0.05)
    assert np.corrcoef(draws, read.draws(2000, 2))[0, 1] == pytest.approx(0, abs=0.1)


def test_few_cells_say_nothing_and_none_differing_leaves_doubt():
    few = DoubleRead(FEWEST_DOUBLE - 1, 3)
    assert (few.known, few.rate, few.quantile(0.975)) == (False, None, 0.0)
    assert not few.draws(5, 1).any()
    assert 0.005 < DoubleRead(FEWEST_DOUBLE, 0).quantile(0.975) < 0.06
    assert not NO_SLIPS.any_known


def test_guessing_readers_and_impossible_counts():
    assert DoubleRead(40, 40).rate == 0.5
    with pytest.raises(ValueError, match="not a count"):
        DoubleRead(3, 4)


def test_groups_add_up():
    total = Slips(DoubleRead(20, 1), DoubleRead(40, 0)) + Slips(called=DoubleRead(20, 2))
    assert total == Slips(DoubleRead(40, 3), DoubleRead(40, 0))
    assert total.known

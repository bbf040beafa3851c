"""Verdicts while a person looks: limits that hold at any time, and what is looked at next."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from mnbatch.assay.sequential_verdict import (
    Looks,
    Threshold,
    _log_ratios,
    can_decide,
    decide,
    expected_looks,
    next_stratum,
    total_limits,
)

LIMIT = Threshold(0.07, 0.07)


def test_limits_over_strata_are_those_of_all_combinations():
    strata = [Looks("called", 12, 5, 3), Looks("rest", 20, 6, 0), Looks("called", 9, 2, 2)]
    ratios = [_log_ratios(s.kind, s.size, s.looked, s.mn) for s in strata]
    allowed = [
        sum(places)
        for places in product(*(range(s.size + 1) for s in strata))
        if sum(r[c] for r, c in zip(ratios, places, strict=True)) <= np.log(1 / 0.01)
    ]
    assert total_limits(strata, 0.01) == (min(allowed), max(allowed))


def test_the_ratio_is_a_martingale_under_the_truth():
    size, truth = 12, 5
    for looked in range(size):
        for mn in range(max(0, looked - size + truth), min(looked, truth) + 1):
            now = np.exp(_log_ratios("called", size, looked, mn)[truth])
            chance = (truth - mn) / (size - looked)
            after = sum(
                p * np.exp(_log_ratios("called", size, looked + 1, mn + hit)[truth])
                for hit, p in ((1, chance), (0, 1 - chance))
                if p > 0
            )
            # Outcomes that the truth excludes have their share of the prior: it can only fall there.
            assert after == pytest.approx(now) if 0 < chance < 1 else after <= now * (1 + 1e-9)


def test_limits_fail_at_any_time_with_the_stated_error_at_most():
    rng, failed = np.random.default_rng(3), []
    for _ in range(400):
        cells = rng.permutation(np.arange(60) < 20)
        low = high = False
        for looked in range(61):
            limits = total_limits([Looks("called", 60, looked, int(cells[:looked].sum()))], 0.1)
            low, high = low or limits[0] > 20, high or limits[1] < 20
        failed.append((low, high))
    assert np.mean(failed, axis=0).max() < 0.1


def test_a_verdict_needs_few_looks_where_it_is_clear_and_stays_open_at_the_limit():
    def looks(share_right, called):
        return [Looks("called", called, t := called // 2, round(share_right * t))]

    assert decide(looks(0.95, 400), 1000, LIMIT).word == "above"
    assert decide(looks(0.1, 60), 1000, LIMIT).word == "below"
    assert decide(looks(0.6, 118), 1000, LIMIT).word == "open"
    assert decide([Looks("called", 30)], 1000, LIMIT).word == "below"  # were all of them right, it would be below


def test_doubtful_cells_are_against_each_verdict():
    sure = decide([Looks("called", 200, 60, 50)], 1000, LIMIT)
    doubtful = decide([Looks("called", 200, 60, 20, 30)], 1000, LIMIT)
    assert sure.word == "above"
    assert (doubtful.word, doubtful.high) == ("open", sure.high)
    assert decide([Looks("called", 90, 60, 0, 60)], 1000, Threshold(0.05, 0.05)).word == "open"


def test_cells_that_are_not_in_the_queue_keep_it_from_saying_below():
    rest = Looks("rest", 900, 0, 0, drawn=20)
    assert not can_decide([Looks("called", 40, 40, 2), replace(rest, looked=20)], 1000, LIMIT)
    assert expected_looks([Looks("called", 40, 40, 2), rest], 1000, LIMIT) is None
    assert can_decide([Looks("called", 40, 40, 2), replace(rest, drawn=None)], 1000, LIMIT)


def test_expected_looks_end_in_a_verdict():
    strata = [Looks("called", 61), Looks("rest", 900)]
    number = expected_looks(strata, 1000, LIMIT)
    assert number
    assert expected_looks([Looks("called", 400, 200, 190)], 1000, LIMIT) == 0


def test_the_next_look_is_where_it_helps():
    called, rest = Looks("called", 60, 10, 9), Looks("rest", 900, 60, 0)
    assert next_stratum([rest, called], 1000, Threshold(0.01, 0.01)) == 1
    assert next_stratum([Looks("called", 20, 20, 1), rest], 1000, LIMIT) == 1
    assert next_stratum([Looks("called", 20, 20, 1)], 1000, LIMIT) is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Looks("called", 5, 6),
        lambda: Looks("called", 5, 3, 3, 1),
        lambda: Threshold(0.2, 0.1),
        lambda: decide([Looks("called", 5)], 4, LIMIT),
        lambda: decide([Looks("called", 5)], 10, Threshold(0.1, 0.2, 0.01), 0.01),
        lambda: decide([], 0, LIMIT),
    ],
)
def test_what_cannot_be_is_refused(broken):
    with pytest.raises(ValueError, match=r"cannot be|no limits|leaves nothing"):
        broken()

"""Whose counts a curve is made of, and which cases go with it."""

import pytest

from mnbatch.assay.count_kinds import kind_of, mode_of, other_kind


@pytest.mark.parametrize(
    ("scoring", "kind"),
    [
        ({"mode": "automated (mnbatch)"}, "automatic"),
        ({"mode": "Automatic, Metafer"}, "automatic"),
        ({"mode": "confirmed (mnbatch --cells all)"}, "confirmed"),
        ({"mode": "reviewed (mnbatch)"}, "reviewed"),
        ({"mode": "manual"}, None),
        ({"mode": "confirmed by hand"}, None),
        ({"model_digest": "ab"}, "automatic"),
        ({}, None),
    ],
)
def test_kinds(scoring, kind):
    assert kind_of(scoring) == kind


def test_another_kind_is_named_with_what_to_do():
    confirmed, automatic = {"mode": "confirmed (mnbatch)"}, {"mode": "automated (mnbatch)"}
    assert "--mode confirm" in other_kind(automatic, confirmed)
    assert "--from confirmed" in other_kind(confirmed, automatic)
    assert "complete its review" in other_kind(confirmed, {"mode": "reviewed (mnbatch)"})
    assert (
        other_kind(confirmed, confirmed) == other_kind({}, confirmed) == other_kind(automatic, {"mode": "manual"}) == ""
    )


def test_modes_keep_which_cells():
    assert mode_of("confirmed", "automated (mnbatch --cells all)") == "confirmed (mnbatch --cells all)"

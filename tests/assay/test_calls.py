import pytest

from mnbatch.assay.calls import CallRules, Frequency, call_slide, pool_donor
from mnbatch.assay.cells import Quality, ScoreRow
from mnbatch.assay.copies import Copied, Original, SharedCell
from mnbatch.assay.intervals import clopper_pearson

GOOD = Quality(sharpness=1.0, contrast=0.5, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)


def row(index: int, p_mn: float | None, reason: str = "") -> ScoreRow:
    return ScoreRow(f"s:{index}", f"{index}.tif", None, p_mn, reason, GOOD if p_mn is not None else None)


def rows(*scores: float | None) -> list[ScoreRow]:
    return [row(i, p, "" if p is not None else "truncated") for i, p in enumerate(scores)]


def test_a_score_at_the_threshold_is_called_mn():
    call = call_slide(rows(0.5, 0.49999), CallRules(0.5), {})
    assert [cell.mn for cell in call.cells] == [True, False]


def test_unreadable_cells_leave_the_denominator_and_keep_their_rows():
    call = call_slide(rows(*[0.9] * 2, *[0.1] * 17, None), CallRules(0.5), {})
    assert call.frequency is not None
    assert (call.frequency.bn_cells, call.frequency.mnbn_cells, call.excluded_cells) == (19, 2, 1)
    assert call.frequency.per_1000 == pytest.approx(2000 / 19)
    low, high = clopper_pearson(2, 19)
    assert (call.frequency.ci_low, call.frequency.ci_high) == pytest.approx((1000 * low, 1000 * high))
    last = call.cells[-1]
    assert (last.p_mn, last.mn, last.reason) == (None, None, "truncated")


def test_copies_are_counted_once_and_named():
    call = call_slide(rows(0.9, 0.9, 0.1), CallRules(0.5), {1: Copied("other:cell")})
    assert call.frequency is not None
    assert (call.frequency.bn_cells, call.frequency.mnbn_cells, call.excluded_cells) == (2, 1, 1)
    assert call.cells[1].reason == "copy of other:cell, counted there"
    assert any("copies of cells counted elsewhere" in warning for warning in call.warnings)


def test_copies_within_a_slide_are_said_to_be_of_this_slide():
    again = {0: Original("s"), 1: Copied("s:0"), 2: Copied("b:7"), 3: Original("c")}
    call = call_slide(rows(0.9, 0.9, 0.1, 0.2), CallRules(0.5), again)
    assert "1 cell not counted: copies of other cells of this slide" in call.warnings
    assert "1 cell not counted: copies of cells counted elsewhere" in call.warnings
    assert [warning for warning in call.warnings if "found again" in warning] == [
        "1 cell found again in c: counted here only"
    ]


def test_it_is_said_on_both_sides_and_that_pixels_are_others():
    again = {
        0: Original("b", near=True),
        1: Copied("b:1"),
        2: Copied("b:2", near=True),
        3: SharedCell("x:1", "x", near=True),
    }
    call = call_slide(rows(0.9, 0.9, 0.1, 0.1, 0.2), CallRules(0.5), again)
    assert call.frequency is not None
    assert call.frequency.bn_cells == 2
    assert [cell.reason for cell in call.cells] == [
        "",
        "copy of b:1, counted there",
        "copy (with other pixels) of b:2, counted there",
        "the same picture (with other pixels) as x:1 of another donor, counted for neither",
        "",
    ]
    near = "1 of them with other pixels (saved again, turned or shifted)"
    assert f"2 cells not counted: copies of cells counted elsewhere, {near}" in call.warnings
    assert f"1 cell found again in b, {near}: counted here only" in call.warnings
    assert f"1 cell not counted: the same pictures as cells of another donor (x), {near}" in call.warnings


@pytest.mark.parametrize(
    ("scores", "copies", "reason"),
    [
        ([], {}, "no cell"),
        ([None, None], {}, "none of its 2 cells"),
        ([0.9] * 8 + [None] * 2, {}, "2 of 10 cells"),
        ([0.9], {0: Copied("x")}, "copy"),
    ],
)
def test_a_slide_that_cannot_be_trusted_fails_and_has_no_number(scores, copies, reason):
    call = call_slide(rows(*scores), CallRules(0.5), copies)
    assert call.status == "failed"
    assert reason in call.reason
    assert call.frequency is None


@pytest.mark.parametrize(
    ("copies", "reason"),
    [
        ({0: Copied("a:0"), 1: Copied("b:1")}, "2 are copies of cells of slides a and b, counted there"),
        (
            {0: SharedCell("x:0", "x"), 1: SharedCell("x:1", "x")},
            "2 are the same pictures as cells of slide x of another donor, counted for neither",
        ),
        (
            {0: Copied("a:0"), 1: SharedCell("x:1", "x")},
            "1 is a copy of a cell of slide a, counted there; "
            "1 is the same picture as a cell of slide x of another donor, counted for neither",
        ),
    ],
)
def test_a_slide_of_cells_of_others_names_their_slides_and_says_what_is_true(copies, reason):
    """All of it was said to be counted in another slide, also where no slide counts it."""
    call = call_slide(rows(0.9, 0.1), CallRules(0.5), copies)
    assert (call.status, call.reason) == ("failed", f"none of its readable cells is counted: {reason}")


def test_a_slide_that_is_wholly_of_another_donor_says_so():
    copies = {i: SharedCell(f"x:{i}", "x", fails=4) for i in range(4)}
    call = call_slide(rows(0.9, 0.1, 0.1, 0.1), CallRules(0.5), copies)
    assert call.reason == (
        "4 of its 4 readable cells are the same pictures as cells of slide x, which is of another donor: "
        "one of the two is wrong"
    )


def test_the_accepted_share_of_unreadable_cells_is_inclusive():
    assert call_slide(rows(*[0.9] * 9, None), CallRules(0.5, max_bad_fraction=0.1), {}).status == "done"


def test_pooling_adds_counts_and_says_what_is_missing():
    done = call_slide(rows(*[0.9] * 10, *[0.1] * 190), CallRules(0.5), {})
    failed = call_slide(rows(None), CallRules(0.5), {})
    donor = pool_donor("d", [("a", done), ("b", done)], min_cells=200)
    assert (donor.status, donor.frequency) == ("done", Frequency.of(20, 400))
    partial = pool_donor("d", [("a", done), ("b", failed)], min_cells=1000)
    assert partial.status == "partial"
    assert partial.frequency == Frequency.of(10, 200)
    assert "b" in partial.reason
    assert "1000" in partial.reason
    assert pool_donor("d", [("a", done)], min_cells=201).status == "insufficient"


def test_a_donor_without_a_result_is_failed_and_not_zero():
    donor = pool_donor("d", [("a", call_slide([], CallRules(0.5), {}))], min_cells=0)
    assert (donor.status, donor.frequency) == ("failed", None)


def test_no_cell_gives_no_rate():
    assert Frequency.of(0, 0).per_1000 is None


def test_the_call_key_follows_every_rule():
    base = CallRules(0.5)
    assert base.key("k") == CallRules(0.5).key("k")
    others = [CallRules(0.6), CallRules(0.5, max_bad_fraction=0.2)]
    assert len({base.key("k"), base.key("other"), *(rules.key("k") for rules in others)}) == 4

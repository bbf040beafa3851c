import pytest

from mnbatch.assay.own_cells import ValidatedCell, read_validation, validate_with
from mnbatch.errors import StorageError, UsageError


@pytest.fixture
def sheet(tmp_path):
    def write(text):
        path = tmp_path / "cells.csv"
        path.write_text(text, encoding="utf-8-sig")
        return path

    return write


def test_cells_and_scores_are_read(sheet):
    rows = read_validation(
        sheet("cell_id,p_mn,truth,who\ns1:a.tif,0.4,1,AB\n,0.25,nomn,AB\ns1:b.tif,,2,CD\ns1:c.tif,,,\n")
    )
    assert [(row.cell_id, row.p_mn, row.truth, row.line) for row in rows] == [
        ("s1:a.tif", None, True, 2),
        ("", 0.25, False, 3),
        ("s1:b.tif", None, True, 4),
    ]


def test_scores_of_evaluate_and_decimal_commas_are_read(sheet):
    rows = read_validation(sheet("file;slide;has_mn;p_mn\nx.png;;1;0,9\ny.png;;0;0,01\n"))
    assert [(row.p_mn, row.truth) for row in rows] == [(0.9, True), (0.01, False)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell_id,p_mn\na,0.1\n", "lacks a column"),
        ("truth\n1\n", "lacks a column"),
        ("p_mn,truth\n1.5,1\n", "line 2: there is no cell_id, and p_mn '1.5' is not a score"),
        ("p_mn,truth\n,1\n", "line 2"),
        ("p_mn,truth\n0.5,perhaps\n", "line 2: truth 'perhaps' is not known"),
        ("p_mn,truth\n0.5,-1\n", "truth '-1' is not known"),
        ("p_mn;truth\n0,5;1.000\n", "line 2: truth '1.000' is not known"),
        ("p_mn,truth\n0_5,1\n", "line 2: there is no cell_id, and p_mn '0_5'"),
        ("cell_id,truth\na,1\nb\n", "line 3: 1 entries for 2 columns, none for truth"),
        ("p_mn,truth,has_mn\n0.5,1,0\n", "has both columns truth and has_mn"),
        ("cell_id,truth\na,1\na,0\n", "line 3: the cell a is already in line 2"),
        ("cell_id,truth\na,\n", "has no cell with a truth"),
        ("", "it is empty"),
    ],
)
def test_what_cannot_be_read_is_refused(sheet, text, message):
    with pytest.raises(UsageError, match=message):
        read_validation(sheet(text))


def test_a_missing_or_unreadable_file_is_said(tmp_path):
    with pytest.raises(UsageError, match="There is no validation file"):
        read_validation(tmp_path / "none.csv")
    with pytest.raises(StorageError):
        read_validation(tmp_path)
    (tmp_path / "latin.csv").write_bytes("p_mn,truth,wer\n0.5,1,J\xf6rg\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_validation(tmp_path / "latin.csv")


def cells(model="m"):
    scores = [(0.9, True), (0.5, True), (0.3, True), (0.4, False), (0.6, False), (0.1, False), (0.0, False)]
    return [ValidatedCell("", p, truth, model) for p, truth in scores]


def test_rates_follow_the_threshold():
    half, low = validate_with(cells(), "m", 0.5), validate_with(cells(), "m", 0.3)
    assert (str(half.rates.sensitivity), str(half.rates.specificity)) == ("2/3", "3/4")
    assert (str(low.rates.sensitivity), str(low.rates.specificity)) == ("3/3", "2/4")
    assert half.rates.data == "the laboratory's own 7 scored cells"
    assert (sum(half.scores.mn), sum(half.scores.nomn)) == (3, 4)


def test_another_model_or_a_single_class_gives_no_rates_and_says_why():
    other = validate_with(cells("m"), "other", 0.5)
    assert (other.rates, other.scores) == (None, None)
    assert "by another model" in other.rates_reason
    one = validate_with([c for c in cells() if c.truth], "m", 0.5)
    assert one.rates is None
    assert "all are with MN" in one.scores_reason

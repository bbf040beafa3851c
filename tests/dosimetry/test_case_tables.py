"""Bare counts and calibration points from tables: right numbers, or a reason with the line."""

import numpy as np
import pandas as pd
import pytest

import mnbatch
from mnbatch.dosimetry.calibration_tables import read_points, table_notes
from mnbatch.dosimetry.case_tables import unread_columns
from mnbatch.dosimetry.dose_estimation import read_cases
from mnbatch.errors import CurveError, UsageError

POINTS = ((0, 2000, 16), (0.5, 2000, 68), (1, 2000, 140), (2, 2000, 340), (3, 2000, 640), (4, 2000, 960))


def cases(text):
    return read_cases(text.encode(), "mn")


def points(header, row, points=POINTS, more=""):
    text = header + "\n" + "".join(row(*point) + "\n" for point in points) + more
    return text.encode()


def plain(more=""):
    return points("D,N,X", lambda d, n, x: f"{d},{n},{x}", more=more)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,N,X,note\nA,1,000,25\n", "line 2: X = 000 begins with 0"),
        ("id,N,X,note\nA,1,125,25\n", "line 2: X = 125 in N = 1 cells cannot be"),
        ("id,N,X,note\nA,19,100,25\n", "line 2: X = 100 in N = 19 cells cannot be"),
        ("id,N,X,note\nA,3000,1,200\n", "line 2: X = 1 and then 200 under note: was 1,200 meant"),
        ("id,C0,C1,C2,note\nA,1,950,48,2\n", "line 2: C0 = 1 beside C1 = 950 cannot be"),
        ("id;N;X\nA;1.000;25\n", "line 2: N = 1.000 may be a number in thousands"),
        ("id;N;X\nA;1 000;25\n", "line 2: N = 1 000 may be a number in thousands"),
        ("id,N,X\nA,1000,25,9\n", "line 2: it has 4 entries for 3 columns"),
        ("id,N,X,scoring\nA,1000,25\n", "line 2: it has 3 entries for 4 columns, none for scoring"),
        ("id,C0,C1,C1+\nA,950,48,2\n", "line 2: a column of C0, C1, ... is there twice"),
        ("id,N,C0,C1\nA,1.000,950,50\n", "line 2: N = 1.000 may be"),
        ("id,N,X,threshold\nA,1000,25,half\n", "line 2: threshold 'half'"),
        ("id,N,X\n1.23457E+11,1000,25\n", "line 2: the id '1.23457E+11' was a longer code"),
        ("id,N,X,x_per_1000\nA,1000,25,25\n", "line 2: there are the columns X and X_PER_1000"),
        ("id,N,x_per_1000\nA,5000,25\n", "line 2: X_PER_1000 = 25 has too few decimals"),
        ("id,N,x_per_1000\nA,500,25.3\n", "line 2: X_PER_1000 = 25.3 is what no whole number"),
        ("id,N,mnbn_per_1000\nA,500,24\n", "line 2: the column MNBN_PER_1000 is not of the endpoint mn"),
    ],
)
def test_a_case_that_cannot_be_right_has_its_line_and_reason(text, words):
    (case,) = cases(text)
    assert case.problem.startswith(words)


@pytest.mark.parametrize(
    "text",
    [
        "id,N,X\nA,1000,25\n",
        "ID;n;x;hospital\nA;1000;25;Bonn\n",
        "id\tN\tX\nA\t1000.0\t25.0\n",
        "id;N;x_per_1000\nA;1000;25,0\n",
        "id;N;MN per 100\nA;1000;2,5\n",
        "id,C0,C1,C2,N,X\nA,977,21,2,1000,25\n",
    ],
)
def test_cases_are_the_same_in_every_spelling(text):
    (case,) = cases(text)
    assert (case.id, case.counts.cells, case.counts.events, case.problem) == ("A", 1000, 25, "")


def test_a_threshold_may_have_a_decimal_comma():
    (case,) = cases("id;N;X;threshold\nA;1000;25;0,5\n")
    assert case.scoring == {"threshold": "0.5"}


def test_lines_of_one_id_are_refused_together_and_the_others_are_read():
    found = cases("id,N,X\nA,1000,25\nB,1000,9\nA,1000,250\n")
    assert [case.problem for case in found] == [
        "the id is in the lines 2, 4: give each case one line, with its sums",
        "",
        "the id is in the lines 2, 4: give each case one line, with its sums",
    ]


def test_columns_that_nothing_is_taken_from_are_said():
    assert unread_columns(b"id,N,X,Hospital,age\nA,1,0,x,1\n") == "columns that are not read: Hospital, age"


@pytest.mark.parametrize(
    ("column", "factor"),
    [("D", 1), ("dose_gy", 1), ("Dose (Gy)", 1), ("dose_cgy", 100), ("Dose [mGy]", 1000), ("d_mgy", 1000)],
)
def test_doses_are_read_in_the_unit_that_their_column_states(column, factor):
    found = read_points(points(f"{column};N;X", lambda d, n, x: f"{d * factor:g};{n};{x}".replace(".", ",")), "mn")
    assert [(p.dose, p.cells, p.events) for p in found] == list(POINTS)


def test_rates_whose_column_says_of_how_many_cells_are_read():
    found = read_points(points("D,N,x_per_1000", lambda d, n, x: f"{d},{n},{x / 2:.1f}"), "mn")
    assert [p.events for p in found] == [x for _, _, x in POINTS]


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        (plain("5,2,000,340\n"), CurveError, "line 8: X = 000 begins with 0"),
        (plain("5,2000,340,9\n"), CurveError, "line 8: it has 4 entries for 3 columns"),
        (plain("1,500;2000,340\n"), CurveError, "line 8"),
        (points("D,N,X,who", lambda d, n, x: f"{d},{n},{x},A", more="1,5,2000,250\n"), CurveError, "line 8: X = 2000"),
        (points("D;N;X", lambda d, n, x: f"{d:.3f};{n};{x}"), CurveError, "line 4: the dose '1.000'"),
        (points("D;N;X", lambda d, n, x: f"{d};{n / 1000:.3f};{x}"), CurveError, "line 2: N = 2.000 may be"),
        (points("D,N,X", lambda d, n, x: f"{100 * d:g},{n},{x}"), UsageError, "doses up to 400 in the column d"),
        (points("D,dose_gy,N,X", lambda d, n, x: f"{d},{d},{n},{x}"), UsageError, "several columns of the dose"),
        (
            points("slide,D,N,X", lambda d, n, x: f"s{d},{d},{n},{x}", more="s4,4,2000,960\n"),
            CurveError,
            "line 8: it says what line 7 says",
        ),
    ],
)
def test_a_calibration_table_that_may_be_read_otherwise_is_refused_with_its_line(table, error, words):
    with pytest.raises(error, match=words.replace("(", "\\(")):
        read_points(table, "mn")


def test_equal_lines_without_a_name_may_be_replicates_and_are_said():
    table = plain("4,2000,960\n")
    assert len(read_points(table, "mn")) == 7
    assert table_notes(table) == ["lines 7 and 8 are the same: is one a copy?"]


FRAME = pd.DataFrame(POINTS, columns=["D", "N", "X"])


def test_the_library_reads_units_and_warns_of_what_is_implausible():
    curve = mnbatch.fit_curve(FRAME, endpoint="mn")
    in_cgy = mnbatch.fit_curve(FRAME.assign(dose_cgy=100 * FRAME.D).drop(columns="D"), endpoint="mn")
    np.testing.assert_array_equal(in_cgy.coefficients, curve.coefficients)
    with pytest.raises(UsageError, match="Name the column dose_cgy or dose_mgy"):
        mnbatch.fit_curve(FRAME.assign(D=100 * FRAME.D), endpoint="mn")
    with pytest.warns(UserWarning, match="implausible: its doses go up to 400 Gy"):
        mnbatch.fit_curve(FRAME.assign(dose_gy=100 * FRAME.D).drop(columns="D"), endpoint="mn")


def test_the_library_refuses_thousands_in_text_and_takes_numbers():
    curve = mnbatch.fit_curve(FRAME, endpoint="mn")
    found = mnbatch.estimate_dose(
        pd.DataFrame({"id": ["#1", "b", "c", "d"], "N": [1000, "1,000", 1000.0, None], "X": [25, 25, 25.0, 25]}), curve
    )
    assert list(found.status) == ["ok", "failed", "ok", "failed"]
    assert found.dose_gy[0] == found.dose_gy[2]
    assert "line 3: N = 1,000 may be" in found.warnings[1]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("id,N,X,note\nA,1000,25,200\n", 25),  # 25,200 micronuclei in 1000 cells cannot be
        ("id;N;X;note\nA;3000;1;200\n", 1),  # no comma divides fields here
        ("id,N,X,note\nA,3000,1,20\n", 1),
        ("id,N,X,endpoint\nA,3000,1,mn\n", 1),
        ("id,note,N,X\nA,200,3000,1\n", 1),
        ("id,N,X,note\nA,3000,0,200\n", 0),
    ],
)
def test_a_number_after_the_events_is_no_rest_of_them_where_that_cannot_be(text: str, events: int) -> None:
    (case,) = cases(text)
    assert case.counts is not None
    assert case.counts.events == events


def test_a_spreadsheets_error_is_no_donor_of_a_calibration_point():
    text = points("D,N,X,donor", lambda d, n, x: f"{d},{n},{x},#N/A")
    with pytest.raises(CurveError, match=r"line 2.*'#N/A' is a spreadsheet's error"):
        read_points(text, "mn")

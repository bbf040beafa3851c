from __future__ import annotations

from pathlib import Path

import pytest

from mnbatch.assay.sample_sheet import SampleRow, match_samples, read_samples, sheet_notes, unread_columns
from mnbatch.errors import UsageError

SLIDES = [("s1-aaaaaa", "s1", "D1/s1"), ("s2-bbbbbb", "s2", "D1/s2"), ("s2-cccccc", "s2", "D2/s2")]


def sheet(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "samples.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_full_line_is_read(tmp_path: Path) -> None:
    text = 'slide,donor,dose_gy,culture,sex,age,note\ns1,D7,0.5,A,F,41,"left, lower"\n'
    assert read_samples(sheet(tmp_path, text)) == [SampleRow("s1", "D7", 0.5, "A", "f", 41.0, "left, lower", 2)]


def test_excel_sheets_of_many_countries_are_read(tmp_path: Path) -> None:
    text = "\ufeffDonor;Slide;Dose_Gy\r\nD7;s1;0,25\r\n;;\r\nD8;s2;\r\n"
    rows = read_samples(sheet(tmp_path, text))
    assert [(row.slide, row.donor, row.dose_gy, row.line) for row in rows] == [
        ("s1", "D7", 0.25, 2),
        ("s2", "D8", None, 4),
    ]


def test_a_short_line_may_leave_out_text_and_no_number(tmp_path: Path) -> None:
    (row,) = read_samples(sheet(tmp_path, "slide,donor,dose_gy,note\ns1,D7,\n"))
    assert (row.dose_gy, row.note) == (None, "")
    with pytest.raises(UsageError, match="line 2: 2 entries for 4 columns, none for dose_gy"):
        read_samples(sheet(tmp_path, "slide,donor,dose_gy,note\ns1,D7\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("slide,dose_gy\ns1,1\n", "no column 'donor'"),
        ("slide,donor,dose\ns1,D1,1\n", "unknown column 'dose'"),
        ("slide,donor,slide\ns1,D1,s1\n", "a column twice"),
        ("slide,donor\n,D1\n", "line 2: no slide"),
        ("slide,donor\ns1,D1\ns2,\n", "line 3: no donor"),
        ("slide,donor,dose_gy\ns1,D1,2 Gy\n", "line 2: dose_gy '2 Gy'"),
        ("slide,donor,dose_gy\ns1,D1,-1\n", "line 2: dose_gy '-1'"),
        ("slide,donor,dose_gy\ns1,D1,nan\n", "line 2: dose_gy 'nan'"),
        ("slide,donor,dose_gy\ns1,D1,1,5\n", "line 2: 4 entries for 3 columns"),
        ("slide,donor,age\ns1,D1,1980\n", "line 2: age '1980'"),
        ("slide,donor,sex\ns1,D1,x\n", "line 2: sex 'x'"),
        ('slide,donor\n"s1,D1\n', "line"),
        ("slide,donor,dosegy\ns1,D1,1\n", "unknown column 'dosegy': name it dose_gy"),
        ("slide,donor,dose_gy,dose_cgy\ns1,D1,1,100\n", "a column twice"),
        ("slide,donor,Donor \ns1,D1,D2\n", "a column twice: donor and Donor"),
        ("slide;donor;dose_gy\ns1;D1;1,250\n", "line 2: dose_gy '1,250' is not a number that can be used: it may be"),
        ("slide,donor,dose_gy\ns1,D1,1_0\n", "line 2: dose_gy '1_0'"),
        ("slide,donor,age,dose_gy\ns1,D1,2\n", "line 2: 3 entries for 4 columns, none for dose_gy"),
        ("slide,donor\ns1,1.23457E+11\n", "line 2: donor '1.23457E+11' was a longer code"),
        ("slide,donor\ns1,D1\ns2,#N/A\n", "line 3: donor '#N/A' is a spreadsheet's error"),
        ("slide,donor\ns1,01-Mar\n", "line 2: donor '01-Mar' was another code before a spreadsheet made a date"),
        ("slide,donor\ns1,TRUE\n", "line 2: donor 'TRUE' is a truth value"),
        ("slide,donor\ns1,NaN\n", "line 2: donor 'NaN' is what programs write for an empty field"),
        ("slide,donor\ns1,\u200b\n", "line 2: no donor"),
        ("donor,slide\nD1,#REF!\n", "line 2: slide '#REF!' is a spreadsheet's error"),
        ("slide,donor,culture\ns1,D1,#WERT!\n", "line 2: culture '#WERT!' is a spreadsheet's error"),
        ("slide,donor,dose_gy\ns1,D1,500\n", "line 2: dose_gy '500' is more than 100 Gy: is it in mGy?"),
        ("slide,donor,dose_gy\ns1,D1,1e9\n", "line 2: dose_gy '1e9' is more than 100 Gy"),
        ("slide,donor,dose_mgy\ns1,D1,100001\n", "line 2: dose_mgy '100001' is more than 100 Gy"),
        ("slide,donor\ns1,Müller\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_sheet_that_cannot_be_used_names_the_line_and_what_to_do(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_samples(sheet(tmp_path, text))
    assert message in caught.value.message
    assert caught.value.next_step


def test_an_absent_sheet_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no sample sheet"):
        read_samples(tmp_path / "absent.csv")


@pytest.mark.parametrize("written", ["D1/s1", "s1-aaaaaa", "s1", "D1\\s1", "./D1/s1/"])
def test_a_slide_is_known_by_path_id_or_unique_name(written: str) -> None:
    row = SampleRow(written, "D9", line=2)
    assert match_samples([row], SLIDES) == {"s1-aaaaaa": row}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([SampleRow("s3", "D1", line=2)], "line 2: there is no slide 's3'"),
        ([SampleRow("s2", "D1", line=2)], "line 2: 2 slides are named 's2'"),
        ([SampleRow("s1", "D1", line=2), SampleRow("D1/s1", "D1", line=5)], "is already in line 2"),
    ],
)
def test_a_line_without_one_slide_of_its_own_is_refused(rows: list[SampleRow], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        match_samples(rows, SLIDES)
    assert message in caught.value.message
    assert caught.value.next_step


def test_an_ambiguous_name_is_answered_with_the_paths() -> None:
    with pytest.raises(UsageError) as caught:
        match_samples([SampleRow("s2", "D1", line=2)], SLIDES)
    assert "'D1/s2', 'D2/s2'" in caught.value.next_step


def test_slides_that_the_sheet_does_not_name_are_left_out() -> None:
    assert match_samples([], SLIDES) == {}


def test_controls_are_marked(tmp_path: Path) -> None:
    text = "slide,donor,control\ns1,D7,yes\ns2,D8,\ns3,D9,No\n"
    assert [row.control for row in read_samples(sheet(tmp_path, text))] == [True, False, False]
    with pytest.raises(UsageError, match="line 2: control 'perhaps' is not known"):
        read_samples(sheet(tmp_path, "slide,donor,control\ns1,D7,perhaps\n"))


@pytest.mark.parametrize(
    "text",
    [
        "slide,donor,dose_gy,hospital\ns1,D7,0.5,Bonn\n",
        "sep=;\nSlide;Donor;Dose (cGy);;\ns1;D7;50;;\n",
        "# by AB\nslide\tdonor\tdose_mgy\ns1\tD7\t500,0\n",
    ],
)
def test_units_that_a_column_states_and_own_columns_are_taken(tmp_path: Path, text: str) -> None:
    (row,) = read_samples(sheet(tmp_path, text))
    assert (row.slide, row.donor, row.dose_gy) == ("s1", "D7", 0.5)


def test_own_columns_are_said(tmp_path: Path) -> None:
    path = sheet(tmp_path, "slide,donor,Dose (cGy),hospital\ns1,D7,50,Bonn\n")
    assert unread_columns(path) == "columns that are not read: hospital"


def test_the_limit_of_a_number_is_said(tmp_path: Path) -> None:
    """200 is a number of 0 or more, which was asked for."""
    with pytest.raises(UsageError) as caught:
        read_samples(sheet(tmp_path, "slide,donor,age\ns1,D1,200\n"))
    assert "from 0 to 130" in caught.value.next_step


def test_days_and_words_that_name_a_slide_or_culture_are_taken(tmp_path: Path) -> None:
    text = "slide,donor,culture,dose_cgy\n2026-03-01,D1,01.03.2026,10000\n01-Mar,D1,TRUE,\n"
    assert [(row.slide, row.culture) for row in read_samples(sheet(tmp_path, text))] == [
        ("2026-03-01", "01.03.2026"),
        ("01-Mar", "TRUE"),
    ]


def test_what_a_person_is_to_look_at_in_a_sheet_is_said_with_its_line(tmp_path: Path) -> None:
    text = "slide,donor,dose_gy\ns1,01.03.2026,20.5\ns2,2026-03-01,20\ns3,D3,50\n"
    assert sheet_notes(read_samples(sheet(tmp_path, text))) == (
        "lines 2, 4: a dose of more than 20 Gy: is it in Gy?",
        "lines 2, 3: the donor is a day: is it a code, or a date of a slide or culture?",
    )
    assert sheet_notes(read_samples(sheet(tmp_path, "slide,donor\ns1,D1\n"))) == ()


def test_a_sheet_without_a_line_is_said(tmp_path: Path) -> None:
    """It takes the place of the sheet that was kept before, and every donor was its folder's without a word."""
    (said,) = sheet_notes(read_samples(sheet(tmp_path, "slide,donor\n")))
    assert said == "it names no slide; donors are those of the folders again"

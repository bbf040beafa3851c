"""Numbers as they are spelled: one reading, or a refusal."""

import pytest

from mnbatch.spelled_numbers import SpellingError, count_of, decimal_of, failed_value, is_day_name, spoiled_name


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("25", 25), ("+25", 25), (" 1000 ", 1000), ("1000.0", 1000), ("1000,0", 1000), ("12.00", 12),
     ("0.000", 0), ("1.025E+03", 1025), ("2,5e1", 25), ("1.0E+1", 10)],
)  # fmt: skip
def test_counts(text, value):
    assert count_of(text, "N") == value


GROUPED = ["1,000", "1.000", "1 000", "1'000", "1\u2019000", "1\u00a0000", "1\u202f000", "1_000", "12.345", "1.000,0"]


@pytest.mark.parametrize("text", GROUPED)
def test_thousands_are_no_count_and_no_fraction(text):
    with pytest.raises(SpellingError, match="may be a number in thousands or a fraction: write it"):
        count_of(text, "N")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "N is empty"),
        ("-3", "is negative"),
        ("-0", "is negative"),
        ("25.5", "not a whole number"),
        ("0,5", "not a whole number"),
        ("000", "begins with 0"),
        ("025", "begins with 0"),
        ("1E+03", "lost digits"),
        ("1.2E+03", "lost digits"),
        ("1.0256E+03", "not a whole number"),
        ("9999999999", "larger than any count"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("few", "not a number"),
        ("\u0661\u0660", "not a number"),
        ("0x10", "not a number"),
        ("25 %", "not a number"),
        ("25 cells", "is not a number$"),
        ("25. Jan", "makes dates of numbers"),
        ("5-Jan", "makes dates of numbers"),
        ("01.05.2026", "makes dates of numbers"),
        ("Jan 25", "makes dates of numbers"),
        ("2026-01-25", "makes dates of numbers"),
    ],
)
def test_what_is_no_count_says_why(text, words):
    with pytest.raises(SpellingError, match=words):
        count_of(text, "N")


@pytest.mark.parametrize(
    ("text", "separator", "value"),
    [("0.5", ",", 0.5), ("0,5", ";", 0.5), ("0,5", ",", 0.5), ("0,125", ";", 0.125), ("0.125", ";", 0.125),
     ("1.250", ",", 1.25), ("1,25", ";", 1.25), ("1,2500", "\t", 1.25), (".5", ",", 0.5), ("1e-05", ",", 1e-5),
     ("2.", ",", 2.0), ("-1", ",", -1.0), ("1000.125", ";", 1000.125)],
)  # fmt: skip
def test_decimals(text, separator, value):
    assert decimal_of(text, separator, "dose") == value


@pytest.mark.parametrize(
    ("text", "separator"),
    [("1,250", ";"), ("1.250", ";"), ("1,250", ","), ("1.250", "\t"), ("1.234,5", ";"), ("1,234.5", ","),
     ("1 250", ";"), ("nan", ","), ("inf", ","), ("1e999", ","), ("2 Gy", ","), ("", ","), ("1_0", ",")],
)  # fmt: skip
def test_a_decimal_with_two_readings_or_none_is_refused(text, separator):
    with pytest.raises(SpellingError, match="dose"):
        decimal_of(text, separator, "dose")


def test_a_code_that_became_a_number_is_known():
    assert "format the column as text" in spoiled_name("1.23457E+11")
    assert [spoiled_name(code) for code in ("D01", "12E5", "A-1E+3", "")] == [""] * 4


ERRORS = [
    *("#N/A", "#NV", "#REF!", "#NAME?", "#VALUE!", "#WERT!", "#BEZUG!", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!"),
    *("#####", "##", "#n/a", " #REF! ", "#ÜBERLAUF!", "#¿NOMBRE?", "#¡REF!", "#Н/Д", "#ССЫЛКА!", "Err:502"),
]


@pytest.mark.parametrize("text", ERRORS)
def test_a_spreadsheets_error_is_no_code(text):
    assert "is a spreadsheet's error, not a code" in spoiled_name(text)
    assert failed_value(text) == spoiled_name(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [("01-Mar", "a date"), ("1-Mar", "a date"), ("Mar-01", "a date"), ("1. Mrz", "a date"), ("01. März", "a date"),
     ("Mrz 26", "a date"), ("01-févr", "a date"), ("1-mrt", "a date"), ("31.мар", "a date"), ("TRUE", "truth"),
     ("False", "truth"), ("WAHR", "truth"), ("FALSCH", "truth"), ("NaN", "empty"), ("nan", "empty"), ("NA", "empty"),
     ("N/A", "empty")],
)  # fmt: skip
def test_what_a_spreadsheet_or_a_program_puts_in_a_codes_place_is_known(text, why):
    assert why in spoiled_name(text)
    assert failed_value(text) == "", "a slide may be named so"


@pytest.mark.parametrize(
    "code",
    [
        *("D01", "12E5", "#1", "#", "#D01", "Maria-01", "Marker 12", "SET-01", "12-GEN", "45-Mar", "01-02-03", "na"),
        *("2026-03-01", "01.03.2026", "01-Mar-2026", "true1", "None1", "P7", "1.5"),
    ],
)
def test_other_codes_are_taken(code):
    assert spoiled_name(code) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("2026-03-01", "2026/3/1", "01.03.2026", "1.3.26", "3/1/2026", "31/12/26", "01-03-2026", "01-Mar-26"),
        *("1. März 2026", "Mar 1, 2026", "Mar-2026", "2026-03-01 00:00:00"),
    ],
)
def test_a_day_with_its_year_is_known(text):
    assert is_day_name(text)


@pytest.mark.parametrize("text", ["D01", "01-02-03", "12.34.56", "2026-13-01", "2026-00-10", "1.5", "Maria 2026", ""])
def test_other_names_are_no_days(text):
    assert not is_day_name(text)

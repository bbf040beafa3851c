"""Words that pages share."""

from mnbatch.report import wording


def test_two_moments_are_a_span_and_one_minute_is_said_once():
    first, last = "2026-03-01T04:05:06+00:00", "2026-03-01T05:06:07+00:00"
    assert wording.span(first, last) == "2026-03-01 04:05 to 2026-03-01 05:06 UTC"
    assert wording.span(first, "2026-03-01T04:05:59+00:00") == "2026-03-01 04:05 UTC"


def test_a_mark_of_the_sample_sheet_is_a_word():
    assert [wording.sex(mark) for mark in ("f", "m", "")] == ["female", "male", ""]

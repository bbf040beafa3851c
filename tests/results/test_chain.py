"""What is done to a trail by hand shows."""

import json

import pytest

from mnbatch.results.checksums import add_lines, broken


def written(*groups, data=b"", head=None):
    for rows in groups:
        added, head = add_lines(data, rows, head)
        data += added
    return data, head


ROWS = [{"n": number, "text": f"line {number} \u2028 ä"} for number in range(5)]


def test_a_chain_that_nobody_touched_is_whole_however_it_was_appended():
    for groups in ([ROWS], [ROWS[:2], ROWS[2:]], [[row] for row in ROWS]):
        data, head = written(*groups)
        assert broken(data, head) == ()
        assert [json.loads(line)["n"] for line in data.splitlines()] == [0, 1, 2, 3, 4]
    assert broken(b"", None) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines[:1], *lines[2:]], "line 2, or the one before it"),
        (lambda lines: lines[1:], "line 1, or the one before it"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1, or the one before it"),
        (lambda lines: [*lines[:3], lines[3].replace(b'"n": 3', b'"n": 8'), lines[4]], "line 4, or"),
        (lambda lines: lines[:3], "2 of 5 lines are missing"),
        (lambda lines: [], "5 of 5 lines are missing"),
        (lambda lines: [*lines, lines[0]], "line 6, or"),
        (lambda lines: [*lines, b'{"n": 9}'], "line 6 was inserted"),
        (lambda lines: [lines[0], lines[1][:-9], *lines[2:]], "line 2 was inserted or altered"),
    ],
)
def test_what_was_done_by_hand_is_said_and_stays_said_after_more_lines(change, said):
    data, head = written(ROWS)
    data = b"".join(line + b"\n" for line in change(data.splitlines()))
    assert said in "; ".join(broken(data, head))
    if data:
        assert broken(*written([{"n": 10}], data=data, head=head))


def test_a_trail_of_an_earlier_version_is_covered_from_the_first_new_line_on():
    old = b'{"n": 1}\n{"n": 2}\n{"n": 3'
    assert broken(old, None) == ()
    data, head = written(ROWS, data=old)
    assert broken(data, head) == ()
    assert broken(data.replace(b'{"n": 2}', b'{"n": 7}'), head) == (
        "line 4, or the one before it, was altered, moved or removed",
    )

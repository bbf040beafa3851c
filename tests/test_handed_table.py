"""Tables that people hand in: read however they are written, refused with the line where they do not say one thing."""

import re

import pytest

from mnbatch.csvfile import CsvError
from mnbatch.handed_table import column_key, needs, parse_table, unread


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_save_is_read(encoding, separator, end):
    lines = [["slide", "note", ""], ["s1", "größer", ""], ["", "", ""], ["s2"]]
    table = parse_table(end.join(separator.join(line) for line in lines).encode(encoding))
    assert (table.columns, table.separator) == (("slide", "note"), separator)
    assert [row for _, row in table.rows] == [("s1", "größer"), ("s2", "")]
    assert [line for line, _ in table.rows] == [2, 4]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b" \n,,\n", "empty"),
        (b"a,b\n1,2,3\n", "line 2: 3 entries for 2 columns"),
        (b"a,b,a\n", "a column twice: a"),
        (b"a,b\n1,2\n\xe9,2\n", "line 3 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "NUL"),
        (b"a,b\n1,2\n" + b"\0" * 9, "line 3 holds a NUL"),
    ],
)
def test_a_persons_table_that_cannot_be_used_is_refused_with_its_line(data, words):
    with pytest.raises(CsvError, match=re.escape(words)):
        parse_table(data)


ROWS = [("A", "1000", "25")]


@pytest.mark.parametrize(
    "text",
    [
        "id,N,X\nA,1000,25\n",
        "sep=;\nid;N;X\nA;1000;25\n",
        '"sep=;"\r\nid;N;X\r\nA;1000;25\r\n',
        "SEP=,\nid,N,X\nA,1000,25",
        '"id","N","X"\n"A","1000","25"\n',
        "id,N,X,,\nA,1000,25,,\n,,,,\n",
        "# scored by AB, twice\n\nid,N,X\n# batch 1\n\nA,1000,25\n",
        '"id","N, of cells",X\nA,1000,25\n',
    ],
)
def test_what_spreadsheets_and_people_add_changes_nothing(text):
    table = parse_table(text.encode(), needed=needs("id", "n", "x"))
    assert [fields for _, fields in table.rows] == ROWS


def test_lines_are_those_of_the_file_whatever_stands_before_the_names():
    table = parse_table(b"sep=;\r\n# note\r\n\r\nid;N\r\nA;1\r\n# end\r\nB;2\r\n")
    assert [line for line, _ in table.rows] == [5, 7]


def test_a_first_field_in_quotes_may_begin_with_a_number_sign():
    assert parse_table(b'#,N\n"#1",5\n').rows == ((2, ("#1", "5")),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,N;X\nA,1;2\n", "line 1 can be divided in two ways"),
        ("sep=|\nid|N\nA|1\n", "its sep= line names '|'"),
        ("id,N,n\nA,1,2\n", "a column twice: N and n"),
        ("id,X per 1000,Xper1000\nA,1,2\n", "a column twice"),
        ("id,N,X\n#A,1000,25\n", "line 2 begins with # and holds fields"),
        ("id,N,X\nA,1000\n", "line 2: 2 entries for 3 columns, none for X"),
        ("\nid,N,X\nA,1,000,25\n", "line 3: 4 entries for 3 columns"),
        ('id,N,X\n"A,1000,25\nB",1000,30\n', "line 2: the field id goes over several lines"),
        ('id,N,X,note\nA,1000,25,"x\nB,1000,30,y"\n', "line 2: the field note goes over several lines"),
        ('# x\nid,N,X\nA,1000,"25\n', "line 3: unexpected end of data"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_its_line(text, words):
    with pytest.raises(CsvError, match=re.escape(words)):
        parse_table(text.encode(), needed=needs("id", "n", "x"))


def test_a_note_may_have_lines_and_may_be_left_out():
    table = parse_table(b'id,N,note\nA,1,"one, two\nthree"\nB,2\n', needed=needs("id", "n"))
    assert [fields for _, fields in table.rows] == [("A", "1", "one, two\nthree"), ("B", "2", "")]


def test_names_of_columns_are_compared_without_case_blanks_and_brackets():
    assert {column_key(name) for name in ("Dose (cGy)", "dose cgy", " DOSE_CGY ", "dose [cGy]")} == {"dose_cgy"}
    assert column_key("C5+") == "c5+"


def test_columns_of_a_laboratory_are_said():
    assert unread(["id", "N", "Hospital", ""], needs("id", "n")) == "columns that are not read: Hospital"
    assert unread(["id", "N"], needs("id", "n")) == ""

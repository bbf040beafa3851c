"""One writer and one reader for all CSV: nothing is lost, whatever the text, and no table holds a live formula."""

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnbatch.csvfile import _TO_QUOTE, MARK, CsvError, CsvWriter, csv_bytes, guarded, read_stored, shown, stored
from mnbatch.handed_table import parse_table

ANY = st.text(st.characters(exclude_categories=()))
"""All of Unicode, lone surrogates and controls among it."""
NASTY = st.lists(
    st.sampled_from(
        [
            "\r",
            "\n",
            "\0",
            "\u2028",
            "\x85",
            '"',
            ",",
            ";",
            "\t",
            "'",
            "=",
            "+",
            "-",
            "@",
            "\\",
            ":",
            "\udce9",
            " ",
            "a",
        ]
    ),
    max_size=8,
).map("".join)
TEXT = ANY | NASTY
COLUMNS = ("a", "b", "c")


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=5))
@example([("", "", "")])
@example([("note\rcontrol", "a\0b", "caf\udce9")])
@example([("\\:x", "\\:\\\\", "\\u0000")])
def test_stored_text_comes_back_whatever_it_is(rows):
    data = csv_bytes(COLUMNS, rows)
    assert [tuple(row.values()) for row in read_stored(data, COLUMNS)] == rows
    data.decode("utf-8")
    assert b"\0" not in data


@given(st.lists(st.tuples(st.just("x"), TEXT, TEXT), max_size=5))
@example([("=1", "'=1", "''=1")])
@example([("-", "'", "\r=1")])
def test_a_table_that_people_open_comes_back_and_holds_no_formula(rows):
    data = csv_bytes(COLUMNS, rows, text=guarded, mark=True)
    assert [row for _, row in parse_table(data).rows] == rows
    assert not [field for row in plain(data) for field in row if live(field)]


@given(TEXT)
def test_a_table_for_people_alone_has_one_line_a_row_and_no_formula(text):
    data = csv_bytes(COLUMNS, [(text, "x", "y")], text=shown, mark=True)
    assert data.count(b"\n") == 2
    assert b"\r" not in data
    assert not [field for row in plain(data) for field in row if live(field)]


@given(TEXT)
def test_one_column_is_enough(text):
    assert [row["a"] for row in read_stored(csv_bytes(["a"], [[text]]))] == [text]


def test_a_file_on_disk_gives_back_every_code_point(tmp_path):
    texts = [f"x{chr(code)}y" for code in (*range(0x3000), *range(0xD7F0, 0xE010), 0xFEFF, 0xFFFE, 0xFFFF, 0x10FFFF)]
    texts += [chr(code) for code in range(0x300)]
    with (tmp_path / "a.csv").open("wb") as file:
        writer = CsvWriter(file, ("n", "text"))
        for number, text in enumerate(texts):
            writer.row((number, text))
    assert [row["text"] for row in read_stored((tmp_path / "a.csv").read_bytes())] == texts


def test_ordinary_content_has_the_bytes_that_it_always_had():
    rows = [("a,b", 'say "x"', 0.1), ("two\nlines", "", None), ("naïve = 1", 1e-7, True), ("C:\\x", 12, "it's")]
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(rows)
    assert csv_bytes(COLUMNS, rows) == csv_bytes(COLUMNS, rows, text=guarded) == buffer.getvalue().encode()


def test_what_cannot_be_written_plainly_is_spelled_out_and_nothing_else_is():
    assert stored("caf\udce9\\.tif") == "\\:caf\\udce9\\\\.tif"
    assert stored("caf\\udce9.tif") == "caf\\udce9.tif"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"a,b\n1,2,3\n", "line 2: 3 fields for 2 columns"),
        (b"a,b\n1,2\n\n3\n", "line 4: 1 fields for 2 columns"),
        (b"a,a\n1,2\n", "a column twice: a"),
        (b"b\n1\n", "no column a"),
        (b"a,b\n1,\xff\n", "line 2 is not UTF-8"),
        (b"a,b\n1,2\n\x00,2\n", "line 3 holds a NUL"),
        (b'a,b\n1,"x\n', "line 2: unexpected end of data"),
        (b'a,b\n1,"x"y\n', "line 2: "),
        (b"a,b\n1,x\rcontrol\n", "line 3: 1 fields"),
    ],
)
def test_a_damaged_stored_file_is_refused_with_its_line(data, words):
    with pytest.raises(CsvError, match=re.escape(words)):
        list(read_stored(data, ["a"]))


def test_a_row_of_another_width_is_no_row():
    with pytest.raises(ValueError, match="2 values for 3 columns"):
        csv_bytes(COLUMNS, [(1, 2)])


def plain(data):
    """Fields as a spreadsheet has them."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def live(field):
    return field.lstrip()[:1] in tuple("=+-@＝＋－＠") or (field[:1] in ("\t", "\r", "\n") and field != "")


@pytest.mark.parametrize("text", [stored, guarded, shown])
def test_fields_that_are_written_without_a_look_are_what_a_look_gives(text):
    """The writer passes over most fields of a run; none of them may be one that would have been changed."""
    some = [chr(code) for code in range(0x250)] + ["\u2028", "\ufeff", "\udce9", "\uff1d"]
    fields = [
        "",
        *some,
        *("a" + sign for sign in some),
        *(sign + "a" for sign in some),
        "a-b/c:0.5_x",
        MARK,
        "-1",
        "1e+3",
    ]
    for field in fields:
        looked_at = text(field)
        wanted = '"' + looked_at.replace('"', '""') + '"' if _TO_QUOTE.search(looked_at) else looked_at
        assert csv_bytes(["one", "two"], [("x", field)], text=text).decode() == f"one,two\nx,{wanted}\n"

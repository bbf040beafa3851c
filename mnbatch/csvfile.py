"""The one writer of CSV, and the reader of what it stored; `mnbatch.handed_table` reads what people hand in.

Stored files are UTF-8, with commas and line feeds, and lose nothing: a field is quoted wherever a reader could take
part of it for a separator, an end of line or padding (a bare carriage return, any Unicode line separator, blanks at
either end). What UTF-8 or a text file cannot hold, a NUL and the lone surrogates of file names that are no valid UTF-8,
is spelled out in a field that begins with the mark ``\\:`` (there `\\u0000`, `\\udce9`, and `\\\\` for a backslash).

Tables that people open hold no live formulas: text that a spreadsheet would evaluate has an apostrophe before it, and
the reader takes that one away again. `shown` text has its control characters spelled out too, so that one line is one
row for every reader; it is for tables that nothing reads back.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

Value = str | int | float | None

BOM = "\ufeff"
MARK = "\\:"
"""Begins a field in which something is spelled out."""

_LONGEST_FIELD = 2**27
# A first field that begins with # would be a comment for `mnbatch.handed_table`.
_TO_QUOTE = re.compile('[",\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|^[\\s\ufeff#]|\\s$')
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_TO_SPELL = re.compile("[\\\\\x00\ud800-\udfff]")
_SPELLED = re.compile(r"\\(\\|u[0-9a-f]{4})")
# Excel, LibreOffice and Google Sheets evaluate a field that begins with one of these, some after blanks.
_FORMULA = re.compile("'*(\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Most fields of a run's tables: nothing in them is spelled out, evaluated or quoted, whatever `text` is.
_PLAIN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.:/\-]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

# The default of 131072 characters is less than the outline of a large region, and than a note that was pasted whole.
csv.field_size_limit(_LONGEST_FIELD)


class CsvError(ValueError):
    """Why a table cannot be read: a short sentence without a full stop, that names the line where there is one."""


class Number(str):
    """Text that is a number already and is written as it is."""

    __slots__ = ()


def is_number(text: str) -> bool:
    """Whether `text` is a plain decimal number."""
    return _NUMBER.fullmatch(text) is not None


def stored(text: str) -> str:
    """`text` as a stored field; `restored` gives it back, whatever it holds."""
    if not (_UNSTORABLE.search(text) or text.startswith(MARK)):
        return text
    return MARK + _TO_SPELL.sub(lambda found: "\\\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}", text)


def restored(text: str) -> str:
    """The text of a stored field; text that `stored` did not write is kept as it is."""
    if not text.startswith(MARK):
        return text
    plain = _SPELLED.sub(lambda found: "\\" if found[1] == "\\" else chr(int(found[1][1:], 16)), text[len(MARK) :])
    return plain if stored(plain) == text else text


def guarded(text: str) -> str:
    """`text` as a field of a table that people open and that is read back: no formula, and nothing is lost."""
    return _defused(stored(text))


def unguarded(text: str) -> str:
    """The text of a field that `guarded` wrote, or that a person did."""
    return restored(text[1:] if text[:1] == "'" and _FORMULA.match(text) else text)


def shown(text: str) -> str:
    """`text` as a field for people alone: one line, no formula.

    Control characters other than the tab are spelled out (a line feed in a file name becomes ``\\x0a``), and so are
    bytes of a file name that are no valid UTF-8.
    """
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return _defused(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _defused(text: str) -> str:
    return "'" + text if _FORMULA.match(text) else text


class CsvWriter:
    """Writes rows of declared columns to a binary stream.

    Args:
        stream: what is written to; it is flushed and closed by its owner.
        columns: names, for the first line.
        text: how text becomes a field: `stored`, `guarded` or `shown`; numbers are never touched.
        mark: begin with a byte order mark: Excel reads UTF-8 rightly only with one.
        end: of a line.
    """

    def __init__(
        self,
        stream: IO[bytes],
        columns: Sequence[str],
        *,
        text: Callable[[str], str] = stored,
        mark: bool = False,
        end: bytes = b"\n",
    ) -> None:
        self._stream = stream
        self._text = text
        self._end = end
        self._width = len(columns)
        self._stream.write(codecs.BOM_UTF8 if mark else b"")
        self.row(columns)

    def row(self, values: Sequence[Value]) -> None:
        """Append one row; None is an empty field.

        Raises:
            ValueError: not as many values as columns.
        """
        if len(values) != self._width:
            raise ValueError(f"{len(values)} values for {self._width} columns")
        self._stream.write(csv_line(values, self._text).encode("utf-8") + self._end)


def csv_line(values: Sequence[Value], text: Callable[[str], str] = stored) -> str:
    """One row of a table without the end of its line; None is an empty field."""
    # A row of one empty field would be a blank line, which is no row.
    return ",".join([_field(value, text) for value in values]) or ('""' if len(values) == 1 else "")


def _field(value: Value, text: Callable[[str], str]) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, Number) or not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value):
        return value
    made = text(value)
    return '"' + made.replace('"', '""') + '"' if _TO_QUOTE.search(made) else made


def csv_bytes(
    columns: Sequence[str],
    rows: Iterable[Sequence[Value]],
    *,
    text: Callable[[str], str] = stored,
    mark: bool = False,
    end: bytes = b"\n",
) -> bytes:
    """A whole table as `CsvWriter` writes it."""
    buffer = io.BytesIO()
    writer = CsvWriter(buffer, columns, text=text, mark=mark, end=end)
    for row in rows:
        writer.row(row)
    return buffer.getvalue()


def read_stored(data: bytes, columns: Iterable[str] = ()) -> Iterator[dict[str, str]]:
    """Rows of a stored file, column -> text.

    Args:
        data: the whole file.
        columns: those that must be there; further ones are read too.

    Raises:
        CsvError: not UTF-8, a NUL, no header, a column that is missing or named twice, a row with more or fewer fields
            than columns; raised when that row is reached.
    """
    lines = rows_of(decoded_text(data), ",")
    _, header = next(lines, (1, []))
    check_header(header)
    missing = [name for name in columns if name not in header]
    if missing:
        raise CsvError(f"it has no column {missing[0]}")
    for line, fields in lines:
        if len(fields) != len(header):
            raise CsvError(f"line {line}: {len(fields)} fields for {len(header)} columns")
        yield dict(zip(header, map(restored, fields), strict=True))


def count_rows(data: bytes) -> int:
    """Rows of a stored file below its header.

    Raises:
        CsvError: as for `read_stored`.
    """
    if b'"' in data:
        return max(0, sum(1 for _ in rows_of(decoded_text(data), ",")) - 1)
    # Without a quote no field has a line end.
    return max(0, data.count(b"\n") + (not data.endswith(b"\n") and bool(data)) - 1)


def check_header(header: Sequence[str]) -> None:
    """Raise a CsvError for a header without a name, or with one twice."""
    if not header:
        raise CsvError("it is empty")
    twice = [name for name, number in Counter(header).items() if name and number > 1]
    if twice:
        raise CsvError(f"it names a column twice: {twice[0][:60]}")


def decoded_text(data: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark; a CsvError names the line that is neither."""
    if data.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise CsvError("it is a workbook of a spreadsheet program (or an archive), whatever its name says")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CsvError(f"line {line} is not UTF-8 text") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CsvError(f"line {line} holds a NUL byte, so it is not UTF-8 text")
    return text


def rows_of(text: str, separator: str, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, fields) of each row that is not blank.

    Args:
        before: lines of the file before the text.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = before + 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CsvError(f"line {line}: {error}") from error
        if fields:
            yield line, fields
        line = before + reader.line_num + 1

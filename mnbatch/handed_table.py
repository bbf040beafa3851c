"""The one reader of tables that people hand in: sample sheets, cases, calibration points, labels, reviews, own cells.

Tolerant of how a table is written (comma, semicolon or tab; UTF-8 or the UTF-16 of spreadsheets; any line ends; blank
lines, comments, a `sep=` line, empty columns at the end), strict about what it says: no field is guessed, dropped or
moved. `mnbatch.spelled_numbers` reads what the fields hold.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mnbatch.csvfile import CsvError, check_header, decoded_text, rows_of, unguarded

_SEPARATORS = (",", ";", "\t")
_TOLD = re.compile(r'"?sep=(.)"?[,;\t\s]*', re.IGNORECASE)
_COMMENT = re.compile(r"#(?![,;\t])")
_QUOTED = re.compile(r'"[^"]*"')
_NOT_WORD = re.compile(r"[^\w+]+|_+")
_SHOWN = 60

Needed = Callable[[str], bool]
"""Whether a row must have a field (it may be empty) for the column of this name."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a person handed it in.

    Attributes:
        columns: names of the first line, blanks round them taken away.
        rows: (line of the file, a field for each column).
        separator: comma, semicolon or tab.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    separator: str

    def dicts(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, column -> text) of each row."""
        for line, fields in self.rows:
            yield line, dict(zip(self.columns, fields, strict=True))


def parse_table(data: bytes, *, ragged: bool = False, needed: Needed | None = None) -> Table:
    """A person's table: UTF-8 (a mark is allowed) or the UTF-16 that Excel calls Unicode text.

    Lines without any entry are skipped, and so are comments: lines that begin with `#`, before the names of the columns
    or without a second field.

    Args:
        ragged: leave rows as long as they are, for a caller that has a reason for each.
        needed: columns that numbers and names are taken from; None: a row may end early, and any field may go over
            several lines.

    Raises:
        CsvError: another encoding, a NUL, no line, a column named twice (also in another case, or with other blanks),
            quotes that do not match, a row with more entries than columns or without one that is needed.
    """
    text = decoded_text(data)
    before, separator = _beginning(text)
    physical = io.StringIO(text, newline="").readlines()
    found = rows_of("".join(physical[before:]), separator, before)
    lines = [(line, fields) for line, fields in found if any(map(str.strip, fields))]
    if not lines:
        raise CsvError("it is empty")
    header = [unguarded(name).strip() for name in lines[0][1]]
    while not header[-1]:
        header.pop()
    _refuse_twins(header)
    rows = []
    for line, fields in lines[1:]:
        if not _is_comment(physical[line - 1], line, fields, len(header)):
            _refuse_swallowed(line, fields, header, needed)
            rows.append((line, tuple(map(unguarded, fields if ragged else _fitted(line, fields, header, needed)))))
    return Table(tuple(header), tuple(rows), separator)


def column_key(name: str) -> str:
    """A column's name for comparison: `Dose (cGy)`, `dose cgy` and `DOSE_CGY` are one; `C5+` keeps its plus."""
    return _NOT_WORD.sub("_", name.casefold()).strip("_")


def unread(columns: Iterable[str], read: Callable[[str], bool]) -> str:
    """What is said of a laboratory's own columns, which nothing takes anything from; "" where there are none."""
    own = [name[:_SHOWN] for name in columns if name and not read(name)]
    return f"columns that are not read: {', '.join(own)}" if own else ""


def needs(*names: str) -> Needed:
    """`Needed` for columns of these names, in any case."""
    return lambda column: column_key(column) in names


def _beginning(text: str) -> tuple[int, str]:
    """Lines before the names of the columns, and what separates fields."""
    told = ""
    for before, line in enumerate(io.StringIO(text, newline="")):
        found = _TOLD.fullmatch(line.strip(" \r\n"))
        if found and not told:
            told = found[1]
        elif line.strip(" ,;\t\r\n") and not _COMMENT.match(line):
            return before, _separator(before + 1, line, told)
    return 0, ","


def _separator(number: int, header: str, told: str) -> str:
    if told:
        if told not in _SEPARATORS:
            raise CsvError(f"its sep= line names '{told}': separate fields with commas, semicolons or tabs")
        return told
    bare = _QUOTED.sub("", header)
    first, second, _ = sorted(_SEPARATORS, key=bare.count, reverse=True)
    if bare.count(first) and bare.count(first) == bare.count(second):
        raise CsvError(f"line {number} can be divided in two ways: put names that hold commas or semicolons in quotes")
    return first


def _refuse_twins(header: Sequence[str]) -> None:
    check_header(header)
    seen: dict[str, str] = {}
    for name in filter(None, header):
        other = seen.setdefault("".join(name.split()).casefold(), name)
        if other != name:
            raise CsvError(f"it names a column twice: {other[:_SHOWN]} and {name[:_SHOWN]}")


def _is_comment(raw: str, line: int, fields: Sequence[str], width: int) -> bool:
    if not raw.startswith("#") or width < 2:
        return False
    if any(map(str.strip, fields[1:])):
        raise CsvError(f"line {line} begins with # and holds fields: delete it, or put its first field in quotes")
    return True


def _refuse_swallowed(line: int, fields: Sequence[str], header: Sequence[str], needed: Needed | None) -> None:
    """Two stray quotes make one field of all between them, whole rows among it. A name may have several lines: so may
    the file that it is of."""
    if needed is None:
        return
    for name, field in zip(header, fields, strict=False):
        inner = field.strip().splitlines()
        if len(inner) > 1 and any(_divided(part) >= len(header) - 1 for part in inner):
            raise CsvError(f"line {line}: the field {name[:_SHOWN]} goes over several lines: close its quotes")


def _divided(text: str) -> int:
    return max(map(text.count, _SEPARATORS))


def _fitted(line: int, fields: Sequence[str], header: Sequence[str], needed: Needed | None) -> tuple[str, ...]:
    reason = misfit(fields, header, needed)
    if reason:
        raise CsvError(f"line {line}: {reason}")
    width = len(header)
    return (*fields[:width], *[""] * (width - len(fields)))


def misfit(fields: Sequence[str], header: Sequence[str], needed: Needed | None) -> str:
    """Why a row does not fit its table; "" for one that does."""
    width = len(header)
    if any(map(str.strip, fields[width:])):
        return f"{len(fields)} entries for {width} columns: put text with a comma in quotes, and write 1000 for 1,000"
    absent = [name for name in header[len(fields) :] if needed and needed(name)]
    if absent:
        return f"{len(fields)} entries for {width} columns, none for {absent[0]}: leave empty fields, not out"
    return ""

"""donors.xlsx: the donors in the order in which people read, with units, a frozen header and notes.

The format is SpreadsheetML (ISO/IEC 29500-1, 18.3), a few small XML files in a ZIP archive. It is written here, not by
a library: the same results give the same bytes (a library writes the time of saving), and nothing more has to be
installed. Text is stored as text, so that no cell is a formula.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from mnbatch.csvfile import Number, Value
from mnbatch.report import wording
from mnbatch.report.columns import Column
from mnbatch.report.items import DonorItem
from mnbatch.report.tables import DONORS

_MOMENT = (2000, 1, 1, 0, 0, 0)
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_LONGEST_CELL = 32_767
"""Characters that a spreadsheet keeps in a cell."""
_PLAIN, _BOLD, _SOFT, _WRAPPED = range(4)

FIRST: tuple[str, ...] = (
    *("donor", "sex", "age", "control", "status", "reason"),
    *("light", "light_reasons"),
    *("headline_per_1000", "headline_low", "headline_high", "headline_kind"),
    *("dose_estimate_gy", "dose_low_gy", "dose_high_gy", "dose_class", "dose_verdict", "dose_below_detection"),
)
"""Identity, status, trust, headline and dose; the other columns of donors.csv follow in their order."""
WITHOUT = ("scored_at",)
"""Times are in donors.csv: the bytes of this file depend on results alone."""


@dataclass(frozen=True, slots=True)
class _Cell:
    value: Value
    style: int = _PLAIN


def donor_cells(number: int, donor: DonorItem) -> str:
    """The cells of a donor's row, as the sheet of donors holds them in the row `number`, counted from 1."""
    return "".join(_cells(number, [_Cell(column.value(donor)) for column in _columns()]))


def donors_xlsx(donors: Sequence[DonorItem], cells: Callable[[int, DonorItem], str] = donor_cells) -> bytes:
    """The file: a sheet of donors, and one that says what its columns mean.

    Args:
        cells: gives what `donor_cells` does.
    """
    columns = _columns()
    names = [column.name for column in columns]
    heads = [[_Cell(column.name, _BOLD) for column in columns], [_Cell(column.unit, _SOFT) for column in columns]]
    rows = [_joined(number, row) for number, row in enumerate(heads, start=1)]
    rows += [cells(number, donor) for number, donor in enumerate(donors, start=len(heads) + 1)]
    notes = [[_Cell(text, _BOLD) for text in ("column", "unit", "meaning")]]
    notes += [[_Cell(c.name), _Cell(c.unit), _Cell(c.doc, _WRAPPED)] for c in columns]
    notes += [
        [],
        [_Cell(wording.CLINICAL_NOTICE, _BOLD)],
        [_Cell("Made by mnbatch from the results next to this file.")],
    ]
    widths = [max(10.0, min(28.0, 1.2 * len(name))) for name in names]
    return _archive(
        {
            "[Content_Types].xml": _CONTENT_TYPES,
            "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.xml")}),
            "xl/workbook.xml": _WORKBOOK,
            "xl/_rels/workbook.xml.rels": _relations(
                {
                    "rId1": ("worksheet", "worksheets/sheet1.xml"),
                    "rId2": ("worksheet", "worksheets/sheet2.xml"),
                    "rId3": ("styles", "styles.xml"),
                }
            ),
            "xl/styles.xml": _STYLES,
            "xl/worksheets/sheet1.xml": _sheet(rows, widths, frozen=(1, 2)),
            "xl/worksheets/sheet2.xml": _sheet(
                [_joined(number, row) for number, row in enumerate(notes, start=1)], [30.0, 30.0, 100.0], frozen=(0, 1)
            ),
        }
    )


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, _MOMENT)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, text.encode("utf-8", "backslashreplace"))
    return buffer.getvalue()


def _relations(targets: dict[str, tuple[str, str]]) -> str:
    inner = "".join(
        f'<Relationship Id="{key}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for key, (kind, target) in targets.items()
    )
    return f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


def _columns() -> list[Column[DonorItem]]:
    by_name = {column.name: column for column in DONORS.columns}
    return [by_name[name] for name in (*FIRST, *(n for n in DONORS.header if n not in (*FIRST, *WITHOUT)))]


def _joined(number: int, row: Iterable[_Cell]) -> str:
    return "".join(_cells(number, row))


def _sheet(rows: Sequence[str], widths: Sequence[float], frozen: tuple[int, int]) -> str:
    """A worksheet; `frozen` columns and rows stay in sight."""
    left, top = frozen
    split = f'xSplit="{left}" ' if left else ""
    pane = f'<pane {split}ySplit="{top}" topLeftCell="{_letters(left)}{top + 1}" state="frozen"'
    pane += f' activePane="{"bottomRight" if left else "bottomLeft"}"/>'
    columns = "".join(
        f'<col min="{i}" max="{i}" width="{width:g}" customWidth="1"/>' for i, width in enumerate(widths, 1)
    )
    body = "".join(f'<row r="{number}">{cells}</row>' for number, cells in enumerate(rows, start=1))
    return (
        f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">{pane}</sheetView></sheetViews>'
        f"<cols>{columns}</cols><sheetData>{body}</sheetData></worksheet>"
    )


def _cells(number: int, row: Iterable[_Cell]) -> Iterable[str]:
    for place, cell in enumerate(row):
        where, value = f"{_letters(place)}{number}", cell.value
        if value is None or value == "":
            continue
        if isinstance(value, int | float) or (isinstance(value, Number) and _is_plain(value)):
            yield f'<c r="{where}" s="{cell.style}"><v>{value}</v></c>'
        else:
            text = escape("".join(map(_printable, str(value)[:_LONGEST_CELL])), quote=False)
            yield f'<c r="{where}" s="{cell.style}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _is_plain(text: str) -> bool:
    return text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit()


def _printable(letter: str) -> str:
    """XML 1.0 has no control characters."""
    allowed = letter in "\t\n" or " " <= letter <= "\ufffd" or letter > "\uffff"
    return letter if allowed and not 0x7F <= ord(letter) < 0xA0 else "\ufffd"


def _letters(place: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    name = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _part(name: str, kind: str) -> str:
    content = f"application/vnd.openxmlformats-officedocument.spreadsheetml.{kind}+xml"
    return f'<Override PartName="{escape(name)}" ContentType="{escape(content)}"/>'


_CONTENT_TYPES = (
    f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f"{_part('/xl/workbook.xml', 'sheet.main')}{_part('/xl/worksheets/sheet1.xml', 'worksheet')}"
    f"{_part('/xl/worksheets/sheet2.xml', 'worksheet')}{_part('/xl/styles.xml', 'styles')}</Types>"
)
_WORKBOOK = (
    f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>'
    '<sheet name="Donors" sheetId="1" r:id="rId1"/><sheet name="Notes" sheetId="2" r:id="rId2"/></sheets></workbook>'
)
_STYLES = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="3"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font>'
    '<font><i/><sz val="10"/><color rgb="FF56606A"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
    '</fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="4">'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="0" fontId="2" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" applyAlignment="1"><alignment wrapText="1"/></xf>'
    '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)

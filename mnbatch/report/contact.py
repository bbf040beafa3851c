"""Contact sheets: the cells to look at of a slide as one PNG, for slides and talks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from mnbatch.report import words
from mnbatch.report.gallery import Candidate, choose
from mnbatch.report.summary import write_if_changed
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store

NAME = "contact-sheet.png"
COLUMNS = 8
SIDE = 168
CAPTION = 18
EDGE = 6
PAPER, INK, CALLED = "#ffffff", "#1a1f24", "#0b6b6b"


def contact_sheet(cells: Sequence[Candidate], number: int, title: str) -> bytes | None:
    """Up to `number` cells called MN, highest score first, then the `number` nearest to the threshold, as a PNG.

    The title says slide and cells; below each crop stand its score and its call.

    Returns:
        None where no cell has a picture.
    """
    called, nearest = choose(cells, number)
    shown = [(cell, jpeg) for cell in [*called, *nearest] if (jpeg := _jpeg(cell)) is not None]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    pitch = SIDE + EDGE
    sheet = Image.new("RGB", (COLUMNS * pitch + EDGE, rows * (pitch + CAPTION) + CAPTION + 3 * EDGE), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text(
        (EDGE, EDGE), _latin(f"{title}: {len(called)} called MN, {len(nearest)} nearest to the threshold"), fill=INK
    )
    for place, (cell, jpeg) in enumerate(shown):
        x = EDGE + place % COLUMNS * pitch
        y = CAPTION + 2 * EDGE + place // COLUMNS * (pitch + CAPTION)
        sheet.paste(Image.open(io.BytesIO(jpeg)).convert("RGB").resize((SIDE, SIDE)), (x, y))
        text = f"{words.probability(cell.p_mn)} {'called MN' if cell.cell.mn else 'not called'}"
        pen.text((x, y + SIDE + 2), text, fill=CALLED if cell.cell.mn else INK)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_contact_sheets(store: Store, number: int) -> list[Path]:
    """`contact-sheet.png` beside each slide's page, of slides that are counted and keep pictures.

    Raises:
        StorageError: a file cannot be written, or a slide's stored result is damaged.
    """
    roster, written = open_roster(store), []
    for record in roster.records:
        call, _ = roster.call(record, pictures=True)
        if call.frequency is None or record.call is None:
            continue
        pictures = store.gallery(record)
        cells = [
            Candidate(cell, row, pictures, record.call.threshold)
            for row, cell in enumerate(call.cells)
            if cell.mn is not None
        ]
        sheet = contact_sheet(cells, number, record.name)
        if sheet is not None:
            path = store.paths.slide(record.slide_id).root / NAME
            write_if_changed(path, sheet)
            written.append(path)
    return written


def _jpeg(cell: Candidate) -> bytes | None:
    return None if cell.pictures is None else cell.pictures.jpeg(cell.row)


def _latin(text: str) -> str:
    """What the built-in font can draw; other letters are spelled out."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")

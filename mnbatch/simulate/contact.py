"""Contact sheets: many crops on one picture, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mnbatch.simulate.cells import SimulatedCell

_GAP = 4


def contact_sheet(
    cells: Sequence[SimulatedCell], path: Path, columns: int = 8, size: int = 170, *, mark: bool = False
) -> None:
    """Write crops side by side as one PNG.

    Args:
        columns: crops a row; size: width of a crop on the sheet, px.
        mark: circle the micronuclei (truth) in green.
    """
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (size + _GAP) - _GAP, max(1, rows * (size + _GAP) - _GAP)), "white")
    for i, cell in enumerate(cells):
        tile = _tile(cell, size, mark)
        sheet.paste(tile, ((i % columns) * (size + _GAP), (i // columns) * (size + _GAP)))
    sheet.save(path)


def _tile(cell: SimulatedCell, size: int, mark: bool) -> Image.Image:
    pixels = cell.image
    if pixels.dtype == np.uint16:
        low, high = np.percentile(pixels, (0.5, 99.8))
        pixels = (np.clip((pixels - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8)
    tile = Image.fromarray(pixels).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    if mark:
        zoom, pen = size / pixels.shape[0], ImageDraw.Draw(tile)
        for body in cell.micronuclei:
            x, y, r = body.x * zoom, body.y * zoom, body.radius * zoom + 3
            pen.ellipse((x - r, y - r, x + r, y + r), outline=(0, 220, 0))
    return tile

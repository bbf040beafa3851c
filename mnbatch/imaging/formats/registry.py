"""Formats of one picture a file: a new one is a module beside these, and a line here.

TIFF (pages, tiles, metadata) and the vendors' whole slides have modules of their own: `decoding`, `whole_slides`.
"""

from __future__ import annotations

from mnbatch.imaging.formats.bmp import BMP
from mnbatch.imaging.formats.jpeg import JPEG
from mnbatch.imaging.formats.pixels import PictureFormat
from mnbatch.imaging.formats.png import PNG

PICTURES: tuple[PictureFormat, ...] = (PNG, BMP, JPEG)
"""In the order in which a crawl prefers them where two files of a cell differ in their extension alone."""

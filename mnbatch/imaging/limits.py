"""What a file may ask for: numbers that are looked at in its headers, before memory is taken for its pixels."""

from __future__ import annotations

MAX_PIXELS = 64_000_000
"""A cell crop has a few hundred pixels a side; what says it has more than this is damaged or hostile."""

MAX_BYTES = 6 * MAX_PIXELS
"""Decoded bytes of one image or page: the largest number of pixels in 16-bit colour."""

MAX_RATIO = 500
"""Decoded bytes of all pages of a file, as a multiple of the file's own; `MAX_BYTES` are allowed in any case. Pictures
of cells reach 50, fields of mostly zeros 200."""

MAX_SLIDE_PIXELS = 200_000_000_000
"""A glass slide at 0.1 um per pixel is 250 000 x 750 000."""

MAX_REGION_SIDE = 2048
"""Pixels a side of a region of a whole slide, by which the values of one of its pixels are limited."""

MAX_DIRECTORIES = 65_536
"""Pages of a TIFF, those of its SubIFDs among them."""

MAX_TAGS = 4096
"""Entries of one directory."""

MAX_VALUES = 1 << 22
"""Numbers of one tag: the tiles of a whole slide of 40 gigapixels are 610 000."""

MAX_TAG_BYTES = 64 << 20
"""Bytes of a tag of text or of a program's own data."""

MAX_TEXT = 16 << 20
"""Bytes of a description (OME-XML, ImageJ)."""

MAX_SEGMENTS = 1 << 18
"""Strips or tiles of a page that is decoded as a whole: 64 megapixels in tiles of 16 x 16."""

MAX_SCANS = 100
"""Passes of a progressive JPEG, each of which costs a decoding; encoders write 10."""

MAX_COMPANIONS = 10_000
"""Files that the index of a whole slide may name."""


class UndecodableError(Exception):
    """Not a usable crop; its argument is the `Reason` of the `reason` column."""

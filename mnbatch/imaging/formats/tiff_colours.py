"""Samples of a TIFF as grey values or RGB, by its photometric interpretation; for crops, fields and slides alike."""

from __future__ import annotations

import numpy as np
import tifffile

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.pixels import Decoded, without_alpha
from mnbatch.imaging.formats.size_limits import UndecodableError

_PHOTOMETRIC = 262
_COEFFICIENTS, _REFERENCE = 529, 532
_BT601 = (0.299, 0.587, 0.114)
_JPEG = (6, 7, 33007, 34892)
"""Compressions whose decoder turns YCbCr into RGB by itself."""


def as_colours(page: tifffile.TiffPage, values: Decoded, *, exact: bool = True) -> Decoded:
    """Grey (height, width) or RGB (height, width, 3): palettes, CMYK and YCbCr become RGB, opacity is dropped.

    A page without a photometric tag is taken as libtiff takes it: one sample with 0 for black, three for RGB.

    Args:
        values: as decoded, (height, width) or with samples last; may be a part of the page.
        exact: also look whether a fourth sample beside RGB, of which nothing is said, holds something.

    Raises:
        UndecodableError: a colour model that is not served, or a stain beside three colours.
    """
    kinds = tifffile.PHOTOMETRIC
    if _PHOTOMETRIC not in page.tags:
        return without_alpha(values)
    if page.photometric == kinds.PALETTE and page.colormap is not None and values.ndim == 2:
        colours = np.asarray(page.colormap).T
        return np.asarray(colours[values] >> 8, dtype=np.uint8)
    if page.photometric == kinds.MINISWHITE:
        values = inverted(values)
    if page.photometric == kinds.SEPARATED and values.ndim == 3 and values.shape[2] == 4:
        return _from_cmyk(values)
    if page.photometric == kinds.YCBCR and page.compression not in _JPEG:
        return _from_ycbcr(page, values)
    if page.photometric in (kinds.CIELAB, kinds.ICCLAB, kinds.CFA, kinds.LINEAR_RAW):
        raise UndecodableError(say("colour-model", model=kinds(page.photometric).name))
    if exact and _holds_a_fourth(page, values):
        raise UndecodableError(say("fourth-sample"))
    return without_alpha(values)


def inverted(values: Decoded) -> Decoded:
    """Values of a picture in which the smallest is white, so that the smallest is black.

    Whole numbers are taken from the largest of their type, of signed types so that none is negative where none was;
    fractions from 1, which keeps 0..1 where it was.
    """
    if values.dtype == bool:
        return ~values
    if values.dtype.kind == "u":
        return np.asarray(np.iinfo(values.dtype).max - values)
    if values.dtype.kind == "i":
        return np.asarray(np.iinfo(values.dtype).max - values.astype(np.int64))
    return np.asarray(1 - values)


def _holds_a_fourth(page: tifffile.TiffPage, values: Decoded) -> bool:
    """Whether a sample beside RGB that is not said to be opacity differs from pixel to pixel."""
    if page.photometric != tifffile.PHOTOMETRIC.RGB or values.ndim != 3 or values.shape[2] != 4:
        return False
    if any(kind in (1, 2) for kind in page.extrasamples):
        return False
    return bool(values[..., 3].min() != values[..., 3].max())


def _from_cmyk(values: Decoded) -> Decoded:
    rest = 255 - values.astype(np.uint16)
    return np.asarray((rest[..., :3] * rest[..., 3:] // 255).astype(np.uint8))


def _from_ycbcr(page: tifffile.TiffPage, values: Decoded) -> Decoded:
    """RGB of stored YCbCr of 8 bits (TIFF 6.0, section 21), by the coefficients and ranges that the page states."""
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] < 3:
        raise UndecodableError(say("colour-model", model="YCBCR of this depth"))
    red, green, blue = _rationals(page, _COEFFICIENTS, 3) or _BT601
    low, high, middle, top = (_rationals(page, _REFERENCE, 6) or (0, 255, 128, 255, 128, 255))[:4]
    parts = values[..., :3].astype(np.float32)
    y = (parts[..., 0] - low) * 255 / max(high - low, 1)
    cb, cr = ((parts[..., i] - middle) * 127 / max(top - middle, 1) for i in (1, 2))
    r, b = y + (2 - 2 * red) * cr, y + (2 - 2 * blue) * cb
    g = (y - blue * b - red * r) / green
    return np.clip(np.stack([r, g, b], -1) + 0.5, 0, 255).astype(np.uint8)


def _rationals(page: tifffile.TiffPage, tag: int, count: int) -> tuple[float, ...] | None:
    known = page.tags.valueof(tag)
    if not isinstance(known, tuple) or len(known) != 2 * count or not all(known[1::2]):
        return None
    return tuple(a / b for a, b in zip(known[::2], known[1::2], strict=True))

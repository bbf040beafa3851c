"""File bytes to arrays, by content and never by extension; what is no usable crop says why."""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import tifffile
from PIL import Image

from mnbatch.assay.reasons import foreign, say
from mnbatch.imaging.formats.pixels import (
    DECODING_ERRORS,
    Decoded,
    check_channels,
    check_size,
    checked,
)
from mnbatch.imaging.formats.registry import PICTURES
from mnbatch.imaging.formats.size_limits import MAX_PIXELS, UndecodableError, check_page
from mnbatch.imaging.formats.tiff_colours import as_colours
from mnbatch.imaging.formats.tiff_headers import TIFF_STARTS
from mnbatch.imaging.wholeness.tiff_strips import check_pixels, check_segments

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP or Office file"),
    (b"GIF8", "GIF"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000"),
    (b"<!DOC", "web page"),
    (b"<html", "web page"),
    (b"<?xml", "XML"),
    (b"MZ", "Windows program"),
    (b"\x7fELF", "program"),
    (b"\x1f\x8b", "gzip"),
    (b"\xd0\xcf\x11\xe0", "old Office file"),
    (b"\x89HDF", "HDF5"),
)

# The size is checked before anything is decoded; Pillow's own warning would only litter stderr. tifffile logs
# what it raises anyway; with this handler that goes to a log file, if there is one, and not to stderr.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def kind_of(data: bytes) -> str:
    """Format by the first bytes: "tiff", or a name of the registry.

    Raises:
        UndecodableError: empty, or another kind of file.
    """
    if not data:
        raise UndecodableError(say("empty-file"))
    found = next((known.name for known in PICTURES if known.starts(data)), None)
    if found is not None:
        return found
    if data[:4] in TIFF_STARTS:
        return "tiff"
    if not data[:512].strip(b"\0"):
        raise UndecodableError(say("only-zeros"))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        raise UndecodableError(say("webp"))
    name = next((name for magic, name in _FOREIGN if data.startswith(magic)), "unknown content")
    raise UndecodableError(say("no-image", what=name))


def decode_plain(data: bytes, kind: str) -> Decoded:
    """Decode a file of one picture; palettes become RGB, CMYK becomes RGB, an alpha channel is dropped.

    Args:
        kind: name of a format of the registry.

    Raises:
        UndecodableError: damaged, too large or not a usable crop.
    """
    decode = next(known.decode for known in PICTURES if known.name == kind)
    try:
        decoded = decode(data)
    except Image.DecompressionBombError as error:
        raise UndecodableError(say("too-many-pixels")) from error
    except DECODING_ERRORS as error:
        raise UndecodableError(say("damaged", kind=kind.upper(), error=foreign(error))) from error
    return checked(decoded)


def decode_page(page: tifffile.TiffPage, file_size: int) -> Decoded:
    """Decode one page of a TIFF as grey or RGB.

    Raises:
        UndecodableError: damaged, too large or not a usable crop.
    """
    try:
        check_channels(page.samplesperpixel * page.imagedepth)
        _check_limits(page, file_size)
        # Decompresses the strips, so it comes after the limits.
        check_pixels(page)
        decoded = as_colours(page, _channels_last(page, np.asarray(page.asarray())))
    except DECODING_ERRORS as error:
        reraise_io(error)
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
    return checked(decoded)


def glimpse_of(page: tifffile.TiffPage, file_size: int) -> Decoded:
    """A page as grey or RGB, without looking whether all of its data are whole: to compare it with another one.

    Raises:
        UndecodableError: too large or too small for a picture.
        One of `DECODING_ERRORS`: damaged.
    """
    check_size(page.imagewidth, page.imagelength)
    _check_segments(page)
    check_segments(page, file_size)
    check_page(page, file_size)
    return as_colours(page, _channels_last(page, np.asarray(page.asarray())))


def page_values(page: tifffile.TiffPage, file_size: int, *, labels: bool = False) -> Decoded:
    """All values of a page as its file holds them; every header is looked at before memory is taken.

    Args:
        file_size: bytes.
        labels: it is a label image, see `check_pixels`.

    Raises:
        UndecodableError: too large, incomplete, or a compression that is not served.
        One of `DECODING_ERRORS`: it is damaged.
    """
    _check_limits(page, file_size)
    check_pixels(page, labels=labels)
    return np.asarray(page.asarray())


def _check_limits(page: tifffile.TiffPage, file_size: int) -> None:
    check_size(page.imagewidth, page.imagelength)
    _check_segments(page)
    check_segments(page, file_size)
    check_page(page, file_size)


def _check_segments(page: tifffile.TiffPage) -> None:
    """A small image may promise huge strips or tiles, which would be allocated whole."""
    if math.prod(page.chunks) > 4 * MAX_PIXELS:
        raise UndecodableError(say("huge-segments"))


def _channels_last(page: tifffile.TiffPage, values: Decoded) -> Decoded:
    if values.ndim == 3 and page.axes == "SYX":
        return np.moveaxis(values, 0, -1)
    if values.ndim not in (2, 3):
        raise UndecodableError(say("dimensions", count=values.ndim))
    return values


def reraise_io(error: BaseException) -> None:
    """Let an I/O error pass, which may be tried again; decoders raise OSError too, but without an errno."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error

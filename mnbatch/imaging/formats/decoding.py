"""File bytes to arrays, by content and never by extension; what is no usable crop says why."""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zlib
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from mnbatch.assay.reasons import Foreign, foreign, say
from mnbatch.imaging.formats.size_limits import MAX_BYTES, MAX_PIXELS, UndecodableError, check_page, check_scans
from mnbatch.imaging.formats.tiff_headers import TIFF_STARTS
from mnbatch.imaging.wholeness.jpeg_bmp import check_bmp, check_jpeg
from mnbatch.imaging.wholeness.tiff_strips import check_pixels, check_segments

Decoded = npt.NDArray[Any]

MIN_SIDE = 16
"""Pixels. Below this no micronucleus could be told from its nucleus."""

_PNG_HEADER = struct.Struct(">8s4x4sIIBB")
_PNG_CHUNK = struct.Struct(">I4s")
_PNG_CRC = struct.Struct(">I")
_GREY, _RGB = 0, 2
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}

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

DECODING_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    tifffile.TiffFileError,
)
"""What Pillow, tifffile and imagecodecs raise on damaged files."""


# The size is checked before anything is decoded; Pillow's own warning would only litter stderr. tifffile logs
# what it raises anyway; with this handler that goes to a log file, if there is one, and not to stderr.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def kind_of(data: bytes) -> str:
    """Format by the first bytes: "png", "jpeg", "bmp" or "tiff".

    Raises:
        UndecodableError: empty, or another kind of file.
    """
    if not data:
        raise UndecodableError(say("empty-file"))
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:2] == b"BM" and len(data) > 18:
        return "bmp"
    if data[:4] in TIFF_STARTS:
        return "tiff"
    if not data[:512].strip(b"\0"):
        raise UndecodableError(say("only-zeros"))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        raise UndecodableError(say("webp"))
    name = next((name for magic, name in _FOREIGN if data.startswith(magic)), "unknown content")
    raise UndecodableError(say("no-image", what=name))


_CHECKS = {"jpeg": check_jpeg, "bmp": check_bmp}
"""Run on what was decoded without complaint: the decoder fills up what is missing. PNG has checksums."""


def decode_plain(data: bytes, kind: str) -> Decoded:
    """Decode a PNG, JPEG or BMP; palettes become RGB, CMYK becomes RGB, an alpha channel is dropped.

    Raises:
        UndecodableError: damaged, too large or not a usable crop.
    """
    if kind == "jpeg":
        check_scans(data)
    try:
        decoded = _decode_png(data) if kind == "png" else _decode_with_pillow(data)
        if kind in _CHECKS:
            _CHECKS[kind](data)
    except Image.DecompressionBombError as error:
        raise UndecodableError(say("too-many-pixels")) from error
    except DECODING_ERRORS as error:
        raise UndecodableError(say("damaged", kind=kind.upper(), error=foreign(error))) from error
    return checked(decoded)


def _decode_png(data: bytes) -> Decoded:
    _, chunk, width, height, depth, colour = _PNG_HEADER.unpack_from(data)
    if chunk != b"IHDR":
        raise ValueError(say("no-header"))
    check_size(width, height)
    check_bytes(width * height * _PNG_CHANNELS.get(colour, 4) * (2 if depth == 16 else 1))
    _check_chunks(data)
    # Pillow reduces 16-bit colour to 8 bit; imagecodecs does not, and is faster.
    if depth == 16 or (depth == 8 and colour in (_GREY, _RGB)):
        return _without_alpha(np.asarray(imagecodecs.png_decode(data)))
    return _decode_with_pillow(data)


def _check_chunks(data: bytes) -> None:
    """Verify the checksums: decoders only warn when they fail in the pixels, and go on with wrong ones."""
    start, kind = 8, b""
    while kind != b"IEND":
        length, kind = _PNG_CHUNK.unpack_from(data, start)
        end = start + 8 + length
        (expected,) = _PNG_CRC.unpack_from(data, end)
        if zlib.crc32(data[start + 4 : end]) != expected:
            raise ValueError(say("checksum", chunk=Foreign(repr(kind.decode("latin-1")), "a chunk")))
        start = end + 4


def _decode_with_pillow(data: bytes) -> Decoded:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP", "DIB")) as image:
        check_size(*image.size)
        if image.mode in ("1", "LA"):
            return np.asarray(image.convert("L"))
        if image.mode in ("L", "RGB"):
            return np.asarray(image)
        return np.asarray(image.convert("RGB"))


def decode_page(page: tifffile.TiffPage, file_size: int) -> Decoded:
    """Decode one page of a TIFF as grey or RGB.

    Raises:
        UndecodableError: damaged, too large or not a usable crop.
    """
    try:
        _check_channels(page.samplesperpixel * page.imagedepth)
        _check_limits(page, file_size)
        # Decompresses the strips, so it comes after the limits.
        check_pixels(page)
        decoded = _as_colours(page, np.asarray(page.asarray()))
    except DECODING_ERRORS as error:
        reraise_io(error)
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
    return checked(decoded)


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


def _as_colours(page: tifffile.TiffPage, values: Decoded) -> Decoded:
    photometric = tifffile.PHOTOMETRIC
    values = _channels_last(page, values)
    if page.photometric == photometric.PALETTE and page.colormap is not None and values.ndim == 2:
        colours = np.asarray(page.colormap).T
        return np.asarray(colours[values] >> 8, dtype=np.uint8)
    if page.photometric == photometric.MINISWHITE and values.dtype.kind in "ub":
        values = ~values if values.dtype == bool else np.iinfo(values.dtype).max - values
    if page.photometric == photometric.SEPARATED and values.ndim == 3 and values.shape[2] == 4:
        return _from_cmyk(values)
    if page.photometric in (photometric.CIELAB, photometric.ICCLAB, photometric.CFA, photometric.LINEAR_RAW):
        raise UndecodableError(say("colour-model", model=photometric(page.photometric).name))
    return _without_alpha(values)


def _channels_last(page: tifffile.TiffPage, values: Decoded) -> Decoded:
    if values.ndim == 3 and page.axes == "SYX":
        return np.moveaxis(values, 0, -1)
    if values.ndim not in (2, 3):
        raise UndecodableError(say("dimensions", count=values.ndim))
    return values


def _from_cmyk(values: Decoded) -> Decoded:
    rest = 255 - values.astype(np.uint16)
    return (rest[..., :3] * rest[..., 3:] // 255).astype(np.uint8)


def _without_alpha(values: Decoded) -> Decoded:
    """Grey or RGB; opacity says nothing of the stain and is dropped, the colours below it are kept."""
    if values.ndim == 2:
        return values
    _check_channels(values.shape[2])
    return values[..., 0] if values.shape[2] < 3 else values[..., :3]


def _check_channels(channels: int) -> None:
    if channels > 4:
        raise UndecodableError(say("channels", count=channels))


def check_size(width: int, height: int) -> None:
    """Refuse a header that promises too many pixels, before any of them is decoded.

    Raises:
        UndecodableError: more than `MAX_PIXELS`, or a side below `MIN_SIDE`.
    """
    if width * height > MAX_PIXELS:
        raise UndecodableError(say("too-large", width=width, height=height))
    if min(width, height) < MIN_SIDE:
        raise UndecodableError(say("too-small", width=width, height=height, least=MIN_SIDE))


def check_bytes(size: int) -> None:
    """Refuse an image whose decoded values take more than `MAX_BYTES`, before any of them is decoded.

    Raises:
        UndecodableError: they do.
    """
    if size > MAX_BYTES:
        raise UndecodableError(say("many-bytes", mib=size >> 20))


def checked(values: Decoded) -> Decoded:
    """Bring values to uint8, uint16 or float32.

    Raises:
        UndecodableError: NaN or infinite values, a constant image, or a type that is no picture.
    """
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    elif values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise UndecodableError(say("not-finite"))
        values = values.astype(np.float32)
    elif values.dtype.kind in "iu" and values.dtype not in (np.uint8, np.uint16):
        fits = values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max
        values = values.astype(np.uint16 if fits else np.float32)
    elif values.dtype.kind not in "iu":
        raise UndecodableError(say("no-picture", dtype=str(values.dtype)))
    if values.min() == values.max():
        raise UndecodableError(say("constant", value=float(values.flat[0])))
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("="))
    return np.ascontiguousarray(values)


def reraise_io(error: BaseException) -> None:
    """Let an I/O error pass, which may be tried again; decoders raise OSError too, but without an errno."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error

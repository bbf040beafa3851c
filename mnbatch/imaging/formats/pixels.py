"""What all picture formats share: limits of size, decoders' errors, and values brought to uint8, uint16 or float32."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.size_limits import MAX_BYTES, MAX_PIXELS, UndecodableError

Decoded = npt.NDArray[Any]

MIN_SIDE = 16
"""Pixels. Below this no micronucleus could be told from its nucleus."""

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


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """A format of one picture a file, as the registry lists it.

    Attributes:
        name: in lower case.
        extensions: files that a crawl takes for pictures; what a file is, is decided by its content.
        starts: whether content begins as this format does.
        decode: pixels (h, w) or (h, w, channels); looks at sizes before it decodes, and raises `UndecodableError` or
            one of `DECODING_ERRORS`.
    """

    name: str
    extensions: tuple[str, ...]
    starts: Callable[[bytes], bool]
    decode: Callable[[bytes], Decoded]


def decode_with_pillow(data: bytes, *formats: str) -> Decoded:
    """A picture of which Pillow keeps every value: grey or RGB of 8 bits; palettes and CMYK become RGB.

    Args:
        formats: names of Pillow for what the content may be.
    """
    with Image.open(io.BytesIO(data), formats=formats) as image:
        check_size(*image.size)
        if image.mode in ("1", "LA"):
            return np.asarray(image.convert("L"))
        if image.mode in ("L", "RGB"):
            return np.asarray(image)
        return np.asarray(image.convert("RGB"))


def without_alpha(values: Decoded) -> Decoded:
    """Grey or RGB; opacity says nothing of the stain and is dropped, the colours below it are kept."""
    if values.ndim == 2:
        return values
    check_channels(values.shape[2])
    return values[..., 0] if values.shape[2] < 3 else values[..., :3]


def check_channels(channels: int) -> None:
    """Raise an UndecodableError for more than four."""
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


def check_single(kind: str, pictures: int) -> None:
    """Refuse a file of several pictures in a format of which one alone is read: the others would be lost unseen.

    Raises:
        UndecodableError: there are more than one.
    """
    if pictures > 1:
        raise UndecodableError(say("several-pictures", kind=kind, count=pictures))


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

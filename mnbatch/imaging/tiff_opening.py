"""Opening a TIFF: its directories and its description are looked at first, then tifffile is let in."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

import tifffile

from mnbatch.assay.reasons import say
from mnbatch.imaging.limits import MAX_DIRECTORIES, UndecodableError
from mnbatch.imaging.tiff_header import TiffHeader, read_header

_ENTITIES = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_OME = re.compile(rb"<(?:\w+:)?OME\b")
_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
_AXIS = re.compile(rb"""\bSize[CTZ]\s*=\s*["']\s*(\d+)""")
_PLANES = re.compile(rb"""\b(?:IFD|PlaneCount|NumPlanes|First[CTZ])\s*=\s*["']\s*(\d+)""")
_IMAGEJ = re.compile(rb"^(?:images|channels|slices|frames)=(\d+)", re.MULTILINE)
_SHAPED = re.compile(rb'^\s*\{\s*"shape":\s*\[([\d,\s]*)\]')


def open_tiff(stream: BinaryIO, header: TiffHeader | None = None) -> tuple[tifffile.TiffFile, TiffHeader]:
    """Open a TIFF of which all directories were followed.

    tifffile never opens a further file that a description names: it cannot from memory, and is told not to elsewhere.

    Args:
        stream: seekable; belongs to the caller.
        header: where it was read before.

    Raises:
        UndecodableError: a limit of `limits` is passed, or the description promises planes beyond reason.
        One of `DECODING_ERRORS`: it is damaged.
    """
    header = header or read_header(stream)
    if not header.directories:
        raise UndecodableError(say("directory-missing"))
    check_description(header.directories[0].description)
    stream.seek(0)
    alone = None if isinstance(stream, io.BytesIO) else False
    return tifffile.TiffFile(stream, _multifile=alone, is_mmstack=False, is_scn=False), header


def check_description(text: bytes) -> None:
    """Refuse a description by which a list of very many planes would be made, or very much text.

    Raises:
        UndecodableError: entities, or more planes than `MAX_DIRECTORIES`.
    """
    if _OME.search(text):
        if _ENTITIES.search(text):
            raise UndecodableError(say("entities"))
        total = 0
        for pixels in _PIXELS.findall(text):
            total += _product(_AXIS.findall(pixels))
        _check_planes(max([total, *map(_number, _PLANES.findall(text))]))
    elif text.startswith(b"ImageJ="):
        _check_planes(max(map(_number, _IMAGEJ.findall(text)), default=0))
    elif shaped := _SHAPED.match(text):
        axes = [_number(axis) for axis in shaped[1].split(b",") if axis.strip()]
        _check_planes(_product_of(axes[:-3]))


def _number(digits: bytes) -> int:
    return int(digits[:20])


def _product(axes: list[bytes]) -> int:
    return _product_of([_number(axis) for axis in axes])


def _product_of(axes: list[int]) -> int:
    product = 1
    for axis in axes:
        product *= max(1, axis)
    return product


def _check_planes(count: int) -> None:
    if count > MAX_DIRECTORIES:
        raise UndecodableError(say("many-planes", count=count))

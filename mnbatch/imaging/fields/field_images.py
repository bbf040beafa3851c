"""Camera fields as arrays: decoded, the nuclear channel chosen, the pixel size read where the file says one."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile

from mnbatch.assay.reasons import Foreign, Named, Reason, foreign, reason_of, say
from mnbatch.imaging.formats.decoding import decode_page, decode_plain, kind_of, page_values
from mnbatch.imaging.formats.loading import io_reason, read_whole, retried
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded, checked
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TiffHeader, open_tiff
from mnbatch.imaging.wholeness.page_count import expected_pages

LEAST_UM, MOST_UM = 0.02, 5.0
"""Micrometres a pixel. A light microscope's fields are between; anything else is a wrong unit or a default."""

_NUCLEAR = re.compile(r"dapi|hoechst|draq|nucle|h2b|propidium", re.IGNORECASE)
_UNITS = {"µm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_COLOURS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}


@dataclass(frozen=True, slots=True, eq=False)
class FieldImage:
    """One field, or why it cannot be had.

    Attributes:
        page: of a multi-page file, counted from 0.
        pixels: (height, width) or (height, width, 3); None with a `problem`.
        um_per_pixel: what the file says; None where it says nothing.
        left, top: where it is in the file, full-resolution pixels.
        core: x0, y0, x1, y1 in the file: cells centred here belong to this image; None for all of them.
        size: (height, width) of a region, known also where its pixels are not.
    """

    page: int | None
    pixels: Decoded | None
    um_per_pixel: float | None = None
    problem: str = ""
    transient: bool = False
    left: int = 0
    top: int = 0
    core: tuple[int, int, int, int] | None = None
    size: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels; `size` where there are no pixels."""
        return self.size if self.pixels is None else (self.pixels.shape[0], self.pixels.shape[1])


def load_fields(path: str, channel: str | None) -> tuple[str, Iterator[FieldImage]]:
    """SHA-256 of a file (or "") and its fields, each decoded when it is asked for; a bad file is one with its problem.

    Args:
        path: image file.
        channel: nuclear channel of files with several, counted from 1, or its name; None chooses the one whose name
            says nuclear stain (DAPI, Hoechst, ...).
    """
    digest = ""
    try:
        data = retried(lambda: read_whole(path))
        digest = hashlib.sha256(data).hexdigest()
        kind = kind_of(data)
        if kind == "tiff":
            return digest, _explained(_tiff_fields(data, channel))
        return digest, iter([FieldImage(None, _one_channel(decode_plain(data, kind), channel))])
    except UndecodableError as error:
        return digest, iter([FieldImage(None, None, problem=reason_of(error))])
    except OSError as error:
        return digest, iter([FieldImage(None, None, problem=io_reason(error), transient=True)])


def _explained(found: Iterator[FieldImage]) -> Iterator[FieldImage]:
    try:
        yield from found
    except UndecodableError as error:
        yield FieldImage(None, None, problem=reason_of(error))


def load_labels(path: str) -> Decoded:
    """A label image: (height, width) whole numbers, 0 for the background; flat colours become numbers.

    Raises:
        UndecodableError: it cannot be read, or is no label image.
    """
    try:
        data = retried(lambda: read_whole(path))
        kind = kind_of(data)
        if kind == "tiff":
            with open_tiff(io.BytesIO(data))[0] as tiff:
                values = np.squeeze(page_values(tiff.pages.first, len(data), labels=True))
        else:
            values = decode_plain(data, kind)
    except (*DECODING_ERRORS, UndecodableError) as error:
        raise UndecodableError(say("mask-unreadable", mask=_mask_name(path), error=foreign(error))) from error
    if values.ndim == 3 and values.shape[2] >= 3 and values.dtype == np.uint8:
        r, g, b = (values[..., i].astype(np.int32) for i in range(3))
        values = (r << 16) | (g << 8) | b
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise UndecodableError(say("mask-no-labels", mask=_mask_name(path)))
    return np.asarray(values)


def _mask_name(path: str) -> Named:
    return Named("mask", os.path.basename(path))


def plausible(um_per_pixel: float) -> bool:
    """Whether a pixel size can be one of a light microscope."""
    return LEAST_UM <= um_per_pixel <= MOST_UM


def _tiff_fields(data: bytes, channel: str | None) -> Iterator[FieldImage]:
    try:
        tiff, header = open_tiff(io.BytesIO(data))
        with tiff:
            yield from _fields_of(tiff, header, channel, expected_pages(io.BytesIO(data)).lost)
    except DECODING_ERRORS as error:
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error


def _fields_of(tiff: tifffile.TiffFile, header: TiffHeader, channel: str | None, lost: int) -> Iterator[FieldImage]:
    """The fields of a TIFF, and one with its problem for each page that is lost."""
    full = [index for index, directory in enumerate(header.directories) if directory.full]
    if not full:
        raise UndecodableError(say("no-full-page"))
    header.check_total()
    um = um_per_pixel(tiff)
    lost = max(lost, int(header.broken))
    if lost and (len(full) == 1 or _pages_are_channels(tiff, channel)):
        raise UndecodableError(say("page-missing"))
    if len(full) == 1:
        yield _single(tiff, full[0], header.size, channel, um)
    elif _pages_are_channels(tiff, channel):
        index = chosen_channel(tiff, channel, len(full))
        yield FieldImage(None, decode_page(whole_page(tiff, full[index]), header.size), um)
    else:
        yield from (_page(tiff, index, header.size, um) for index in full)
    known = len(header.directories)
    yield from (FieldImage(index, None, um, say("page-missing")) for index in range(known, known + lost))


def whole_page(tiff: tifffile.TiffFile, index: int) -> tifffile.TiffPage:
    """A page with its tags; reading OME's series leaves lighter frames in their place."""
    page = tiff.pages[index]
    return page.aspage() if isinstance(page, tifffile.TiffFrame) else page


def _single(tiff: tifffile.TiffFile, index: int, size: int, channel: str | None, um: float | None) -> FieldImage:
    page = whole_page(tiff, index)
    colour = page.samplesperpixel in (3, 4) and page.photometric != tifffile.PHOTOMETRIC.MINISBLACK
    if page.samplesperpixel == 1 or colour:
        return FieldImage(None, _one_channel(decode_page(page, size), channel), um)
    values = np.moveaxis(page_values(page, size), page.axes.index("S"), 0)
    return FieldImage(None, checked(values[chosen_channel(tiff, channel, len(values))]), um)


def _page(tiff: tifffile.TiffFile, index: int, size: int, um: float | None) -> FieldImage:
    try:
        return FieldImage(index, decode_page(whole_page(tiff, index), size), um)
    except UndecodableError as error:
        return FieldImage(index, None, um, reason_of(error))


def _pages_are_channels(tiff: tifffile.TiffFile, channel: str | None) -> bool:
    """What the pages of a TIFF are: its metadata say so, or a chosen channel does; else each is a field."""
    sizes = dict(zip(tiff.series[0].axes, tiff.series[0].shape, strict=False))
    for axis, name in (("Z", "focal planes"), ("T", "times")):
        if sizes.get(axis, 1) > 1:
            raise UndecodableError(say("stack", count=sizes[axis], what=name))
    return sizes.get("C", 1) > 1 or (channel is not None and len(tiff.series) == 1)


def _channel_names(tiff: tifffile.TiffFile) -> list[str]:
    if not tiff.is_ome or not tiff.ome_metadata:
        return []
    return re.findall(r'<Channel\b[^>]*?\bName="([^"]*)"', tiff.ome_metadata)


def chosen_channel(tiff: tifffile.TiffFile, channel: str | None, count: int) -> int:
    """Index of the nuclear channel among `count` of a TIFF.

    Raises:
        UndecodableError: it is not known which one that is.
    """
    names = _channel_names(tiff)
    if channel is not None and channel.isdigit() and 1 <= int(channel) <= count:
        return int(channel) - 1
    wanted = [
        i for i, name in enumerate(names[:count]) if channel is not None and name.casefold() == channel.casefold()
    ]
    if channel is None:
        wanted = [index for index, name in enumerate(names[:count]) if _NUCLEAR.search(name)]
    if len(wanted) == 1:
        return wanted[0]
    known = Foreign(f" ({', '.join(names)})", "") if names else ""
    raise UndecodableError(say("channel-unknown", count=count, known=known, what=_no_channel(channel)))


def _no_channel(channel: str | None) -> Reason:
    return say("no-nuclear-channel") if channel is None else say("no-such-channel", channel=channel)


def _one_channel(values: Decoded, channel: str | None) -> Decoded:
    """A colour image as it is, or the colour that a person chose."""
    if channel is None or values.ndim == 2:
        return values
    index = _COLOURS.get(channel.casefold(), int(channel) - 1 if channel.isdigit() else -1)
    if not 0 <= index < values.shape[2]:
        raise UndecodableError(say("channel-unknown", count=values.shape[2], known="", what=_no_channel(channel)))
    return checked(values[..., index])


def um_per_pixel(tiff: tifffile.TiffFile) -> float | None:
    """Pixel size by OME-XML, ImageJ's description or TIFF's own resolution; None where none of them says one.

    A resolution in pixels an inch is a printer's unless it is plausible for a microscope. A size that OME or ImageJ
    state is given back even when it is absurd, so that it can be said.
    """
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_size(tiff.ome_metadata)
    page = tiff.pages.first
    resolution = page.tags.valueof("XResolution")
    if not resolution or not resolution[0] or not resolution[1]:
        return None
    per_unit = resolution[0] / resolution[1]
    known: dict[str, Any] = tiff.imagej_metadata or {}
    unit = str(known.get("unit", "")).replace("\\u00B5", "µ").replace("μ", "µ")
    if unit in _UNITS:
        return float(_UNITS[unit] / per_unit)
    length = {2: 25_400.0, 3: 10_000.0}.get(int(page.tags.valueof("ResolutionUnit") or 0))
    size = None if length is None else length / per_unit
    return size if size is not None and plausible(size) else None


def _ome_size(text: str) -> float | None:
    size = re.search(r'<Pixels\b[^>]*?\bPhysicalSizeX="([^"]+)"', text)
    if size is None:
        return None
    unit = re.search(r'<Pixels\b[^>]*?\bPhysicalSizeXUnit="([^"]+)"', text)
    factor = _UNITS.get((unit[1] if unit else "µm").replace("μ", "µ").replace("&#181;", "µ"))
    try:
        return None if factor is None else float(size[1]) * factor
    except ValueError:
        return None

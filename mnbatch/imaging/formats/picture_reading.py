"""One picture of a TIFF to pixels, wherever it lies: a page, one of many in a directory, one stain of a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tifffile

from mnbatch.assay.reasons import say
from mnbatch.imaging.formats.decoding import decode_page, glimpse_of, page_values
from mnbatch.imaging.formats.page_choice import Chosen
from mnbatch.imaging.formats.page_structure import Picture
from mnbatch.imaging.formats.pixels import Decoded, checked
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_colours import as_colours, inverted
from mnbatch.imaging.formats.tiff_headers import TiffHeader
from mnbatch.imaging.wholeness.lost_sectors import Piece, check_blocks
from mnbatch.imaging.wholeness.tiff_strips import layout_of


def read_chosen(tiff: tifffile.TiffFile, header: TiffHeader, chosen: Chosen, planes: str | None) -> Decoded:
    """Pixels of a cell or field; of several focal planes the sharpest one, or the brightest of each pixel.

    Raises:
        UndecodableError: not there, damaged, or of a kind that is not served.
        One of `DECODING_ERRORS`: damaged.
    """
    if chosen.elsewhere and any(picture.directory >= len(header.directories) for picture in chosen.pictures):
        raise UndecodableError(say("page-elsewhere"))
    if len(chosen.pictures) == 1:
        return read_picture(tiff, header, chosen.pictures[0])
    stack = [read_picture(tiff, header, picture) for picture in chosen.pictures]
    return put_together(stack, planes or "sharpest")


def read_picture(tiff: tifffile.TiffFile, header: TiffHeader, picture: Picture) -> Decoded:
    """Pixels of one picture, grey or RGB; errors as for `read_chosen`."""
    page = page_of(tiff, header, picture.directory)
    if _is_simple(header, picture):
        return decode_page(page, header.size)
    return checked(_part(tiff, page, picture, page_values(page, header.size), header.size))


def glance(tiff: tifffile.TiffFile, header: TiffHeader, picture: Picture) -> Decoded:
    """The same to compare it with others: whether it is whole is not looked at; errors as for `read_chosen`."""
    page = page_of(tiff, header, picture.directory)
    if _is_simple(header, picture):
        return glimpse_of(page, header.size)
    return _part(tiff, page, picture, np.asarray(page.asarray()), header.size)


def page_of(tiff: tifffile.TiffFile, header: TiffHeader, index: int) -> tifffile.TiffPage:
    """A page with all of its tags; raises UndecodableError where the file does not hold it."""
    if index >= len(header.directories):
        raise UndecodableError(say("page-missing"))
    # By its place, and not by tifffile's own way along the chain, which follows it again from the start.
    tiff.filehandle.seek(header.directories[index].offset)
    return tifffile.TiffPage(tiff, index)


def _is_simple(header: TiffHeader, picture: Picture) -> bool:
    return not picture.block and picture.sample is None and header.directories[picture.directory].depth <= 1


def _part(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage, picture: Picture, values: Decoded, file_size: int
) -> Decoded:
    """A part of a page, or what follows it in its directory."""
    if page.imagedepth > 1:
        return grey(page, values[picture.block])
    if picture.block:
        values = _later_block(tiff, page, picture.block, file_size)
    if picture.sample is None:
        return as_colours(page, np.moveaxis(values, 0, -1) if page.axes == "SYX" else values)
    return grey(page, np.take(values, picture.sample, axis=page.axes.index("S")))


def grey(page: tifffile.TiffPage, values: Decoded) -> Decoded:
    """One sample of a page, its smallest value black."""
    white = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and 262 in page.tags
    return inverted(values) if white else values


def put_together(stack: Sequence[Decoded], planes: str) -> Decoded:
    """Focal planes to one picture.

    Args:
        stack: all of one shape.
        planes: `sharpest`: the plane with the strongest edges; `max`: of each pixel the value that stands out most,
            which is the smallest one where the background is light.
    """
    if len({plane.shape for plane in stack}) > 1:
        raise UndecodableError(say("planes-differ"))
    if planes == "max":
        return np.asarray((np.minimum if _light_ground(stack[0]) else np.maximum).reduce(list(stack)))
    return stack[int(np.argmax([_sharpness(plane) for plane in stack]))]


def _light_ground(plane: Decoded) -> bool:
    low, middle, high = np.percentile(plane, (0.5, 50, 99.5))
    return bool(high - middle < middle - low)


def _sharpness(plane: Decoded) -> float:
    """Mean squared slope, of which noise of single pixels was taken out."""
    from scipy import ndimage

    values = plane.astype(np.float64)
    smooth = ndimage.gaussian_filter(values.mean(axis=2) if values.ndim == 3 else values, 1)
    return float(sum(np.square(slope).mean() for slope in np.gradient(smooth)))


def _later_block(tiff: tifffile.TiffFile, page: tifffile.TiffPage, block: int, file_size: int) -> Decoded:
    """One of the pictures that follow the first one of a directory, uncompressed and without a gap."""
    if page.compression != 1 or not page.is_contiguous or page.dtype is None:
        raise UndecodableError(say("page-missing"))
    start, size = page.dataoffsets[0] + block * page.nbytes, page.nbytes
    if start + size > file_size:
        raise UndecodableError(say("data-missing"))
    tiff.filehandle.seek(start)
    data = tiff.filehandle.read(size)
    kind = np.dtype(f"{tiff.byteorder}{page.dtype.char}")
    layout = layout_of(page)
    if layout is not None and page.bitspersample in (8, 16):
        check_blocks(
            [
                Piece(
                    offset=start,
                    data=data,
                    stride=layout.stride,
                    kind=kind if kind.kind == "u" else np.dtype(np.uint8),
                    samples=1,
                    tile_rows=0,
                )
            ]
        )
    return np.frombuffer(data, kind).reshape(page.shape)

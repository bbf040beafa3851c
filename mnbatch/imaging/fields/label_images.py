"""Label images beside fields: whole numbers, one an object; class maps and masks are told from them."""

from __future__ import annotations

import io
import os

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mnbatch.assay.reasons import Named, foreign, say
from mnbatch.imaging.formats.decoding import decode_plain, kind_of, page_values
from mnbatch.imaging.formats.loading import read_whole, retried
from mnbatch.imaging.formats.page_structure import structure_of
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TiffHeader, open_tiff

_SHARED = 0.2
"""Of a label's area, the share that may lie apart from its largest part: crumbs of one object."""

_SHARED_LABELS = 0.5
_FEW_CLASSES = 8


def load_labels(path: str, page: int | None = None) -> Decoded:
    """A label image: (height, width) whole numbers, 0 for the background; flat colours become numbers.

    Numbers that several objects share (a map of a few classes, such as 0, 128 and 255) become numbers of connected
    parts; where parts of one class touch, no map can tell them apart.

    Args:
        page: of the field in its file; a label image of several pages has one for each page of the field's file.

    Raises:
        UndecodableError: it cannot be read, or is no label image.
    """
    try:
        data = retried(lambda: read_whole(path))
        kind = kind_of(data)
        values = _labels_of_tiff(data, page) if kind == "tiff" else decode_plain(data, kind)
    except (*DECODING_ERRORS, UndecodableError) as error:
        raise UndecodableError(say("mask-unreadable", mask=_mask_name(path), error=foreign(error))) from error
    if values.ndim == 3 and values.shape[2] >= 3 and values.dtype == np.uint8:
        r, g, b = (values[..., i].astype(np.int32) for i in range(3))
        values = (r << 16) | (g << 8) | b
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise UndecodableError(say("mask-no-labels", mask=_mask_name(path)))
    return _one_an_object(np.asarray(values), path)


def _labels_of_tiff(data: bytes, page: int | None) -> Decoded:
    with open_tiff(io.BytesIO(data))[0] as tiff:
        header = open_tiff(io.BytesIO(data))[1]
        index = _page_for(header, page)
        if index is None or len(structure_of(tiff, header).pictures) > max(1, _full(header)):
            raise UndecodableError(say("mask-pages", count=len(structure_of(tiff, header).pictures)))
        return np.squeeze(page_values(tiff.pages[index].aspage(), len(data), labels=True))


def _full(header: TiffHeader) -> int:
    return sum(directory.full for directory in header.directories)


def _page_for(header: TiffHeader, page: int | None) -> int | None:
    """The page that belongs to a field; None where that is not known."""
    full = [index for index, directory in enumerate(header.directories) if directory.full]
    if len(full) <= 1:
        return full[0] if full and page is None else None if page is not None else 0
    return page if page in full else None


def _one_an_object(values: npt.NDArray[np.generic], path: str) -> Decoded:
    """The labels, or where most of them are shared by several objects, the connected parts of each."""
    counts = _numbers(values)
    if counts and values.all():
        raise UndecodableError(say("mask-no-zero", mask=_mask_name(path)))
    if len(counts) < 2:
        return values  # a mask of yes and no, which the segmentation divides
    shared = [number for number in counts if _in_parts(values == number)]
    if len(shared) < _SHARED_LABELS * len(counts) or len(counts) > _FEW_CLASSES:
        if len(shared) >= max(2, _SHARED_LABELS * len(counts)):
            raise UndecodableError(say("mask-shared", mask=_mask_name(path), count=len(shared), total=len(counts)))
        return values
    parts = np.zeros(values.shape, np.int32)
    for number in counts:
        found, count = ndimage.label(values == number)
        parts[found > 0] = found[found > 0] + parts.max() * (count > 0)
    return parts


def _numbers(values: npt.NDArray[np.generic]) -> list[int]:
    return [int(number) for number in np.unique(values) if number]


def _in_parts(of_one: npt.NDArray[np.bool_]) -> bool:
    areas = np.bincount(ndimage.label(of_one)[0].ravel())[1:]
    return bool(areas.sum() - areas.max() > _SHARED * areas.sum())


def _mask_name(path: str) -> Named:
    return Named("mask", os.path.basename(path))

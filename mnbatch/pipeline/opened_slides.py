"""The work on slides that are opened to be scored: their cells read, prepared, and packed for the way to the parent."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import numpy as np

from mnbatch.assay.cells import CellCrop, FileDigest, Quality, ReadItem, UnreadableCell
from mnbatch.assay.field_records import FieldReport
from mnbatch.assay.near_copies import Likeness
from mnbatch.imaging.stain_recognition import grey_of
from mnbatch.pipeline.sources import CropSource, WorkerSource, hash_of, open_source
from mnbatch.pipeline.worker_messages import Known, Opening, Request
from mnbatch.results.score_rows import row_text
from mnbatch.results.stored_crops import encode_crop


class Opened:
    """A slide in a worker, opened when it is first needed."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self._source: WorkerSource | None = None

    def source(self) -> WorkerSource:
        """Its cells; raises SlideError where it cannot be opened."""
        if self._source is None:
            self._source = open_source(self.opening.slide, self.opening.preparation, self.opening.fields)
        return self._source


def work_on(request: Request, known: Known[Opened]) -> Any:
    """What a request about an opened slide asks for.

    Args:
        known: slides that this worker has open.

    Raises:
        SlideError: the slide cannot be opened or read.
    """
    opened = known[request.key] if request.opening is None else Opened(request.opening)
    opened = known.use(request.key, opened)
    if request.operation == "hash":
        return hash_of(opened.opening.slide, *request.arguments)
    source = opened.source()
    if request.operation == "read":
        return packed(source.read(*request.arguments), opened.opening.keep_jpeg)
    if request.operation == "read_together":
        assert isinstance(source, CropSource)
        return [packed(items, opened.opening.keep_jpeg) for items in source.read_together(*request.arguments)]
    return getattr(source, request.operation)(*request.arguments)


# How crops travel. A record with records in it costs the one who opens it most of what a whole message costs: so they
# go as plain values, and are made once, on the other side.

_FIELDS = tuple(field.name for field in fields(CellCrop))
_values = attrgetter(*_FIELDS)
_values_of_quality = attrgetter(*(field.name for field in fields(Quality)))
_PIXELS, _JPEG, _ROW, _QUALITY, _LIKENESS = map(_FIELDS.index, ("pixels", "jpeg", "row", "quality", "likeness"))

PackedItem = list[Any] | UnreadableCell | FieldReport | FileDigest
"""A crop as a list of its values, or another item as it is."""


def packed(items: Sequence[ReadItem], keep_jpeg: bool) -> list[PackedItem]:
    """As they travel: with JPEGs where they are kept, and the text of their rows; see `unpacked`."""
    return [_packed_crop(item, keep_jpeg) if isinstance(item, CellCrop) else item for item in items]


def _packed_crop(crop: CellCrop, keep_jpeg: bool) -> list[Any]:
    jpeg = encode_crop(crop.pixels) if keep_jpeg else crop.jpeg
    grey = grey_of(crop.pixels)
    pixels = np.ascontiguousarray(crop.pixels if grey is None else grey)
    values = list(_values(crop))
    values[_PIXELS] = (*pixels.shape[:2], grey is not None, pickle.PickleBuffer(pixels))  # type: ignore[arg-type]
    values[_JPEG] = pickle.PickleBuffer(jpeg) if jpeg else jpeg
    values[_ROW] = row_text(crop, len(jpeg) if keep_jpeg else 0)
    values[_QUALITY] = _values_of_quality(crop.quality)
    values[_LIKENESS] = crop.likeness and (crop.likeness.spectrum, crop.likeness.thumbnail)
    return values


def unpacked(items: Sequence[PackedItem]) -> list[ReadItem]:
    """Items as the source gave them, from what a worker sent."""
    return [_unpacked_crop(item) if isinstance(item, list) else item for item in items]


def _unpacked_crop(values: list[Any]) -> CellCrop:
    height, width, grey, memory = values[_PIXELS]
    # Of a grey crop the three channels are the same memory (`grey_of`).
    strides = (width, 1, 0) if grey else None
    values[_PIXELS] = np.ndarray((height, width, 3), np.uint8, memory, 0, strides)
    values[_QUALITY] = Quality(*values[_QUALITY])
    values[_LIKENESS] = values[_LIKENESS] and Likeness(*values[_LIKENESS])
    return CellCrop(*values)

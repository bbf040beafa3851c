"""The work on slides that are opened to be scored: their cells read, prepared, and packed for the way to the parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mnbatch.assay.cells import CellCrop, ReadItem
from mnbatch.imaging.stain_recognition import grey_of
from mnbatch.pipeline.sources import CropSource, WorkerSource, hash_of, open_source
from mnbatch.pipeline.worker_messages import Known, Opening, Request
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


def packed(items: Sequence[ReadItem], keep_jpeg: bool) -> list[ReadItem]:
    """As they travel: with JPEGs where they are kept, grey pixels as one channel (see `unpacked`)."""
    return [_packed_crop(item, keep_jpeg) if isinstance(item, CellCrop) else item for item in items]


def _packed_crop(crop: CellCrop, keep_jpeg: bool) -> CellCrop:
    jpeg = encode_crop(crop.pixels) if keep_jpeg else crop.jpeg
    grey = grey_of(crop.pixels)
    return replace(crop, jpeg=jpeg, pixels=crop.pixels if grey is None else grey)


def unpacked(items: Sequence[ReadItem]) -> list[ReadItem]:
    """Items as the source gave them, from what a worker sent."""
    return [_unpacked_crop(item) if isinstance(item, CellCrop) and item.pixels.ndim == 2 else item for item in items]


def _unpacked_crop(crop: CellCrop) -> CellCrop:
    return replace(crop, pixels=np.broadcast_to(crop.pixels[..., None], (*crop.pixels.shape, 3)))

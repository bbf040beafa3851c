from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, CellScore, Quality, UnreadableCell
from mnbatch.results.records import SlideRecord
from mnbatch.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture
def make_record() -> Callable[..., SlideRecord]:
    def make(slide_id: str = "slide-abc123", **fields: object) -> SlideRecord:
        base = {"name": "slide", "path": "donor/slide", "donor": None, "layout": "folder-per-slide"}
        return SlideRecord(slide_id=slide_id, status="scored", stat_key="stat", **(base | fields))

    return make


@pytest.fixture
def make_score() -> Callable[..., CellScore]:
    def make(index: int, p_mn: float = 0.5, slide_id: str = "slide-abc123", digest: str | None = None) -> CellScore:
        rng = np.random.default_rng(index)
        crop = CellCrop(
            slide_id=slide_id,
            cell_id=f"{slide_id}:{index}.tif",
            source=f"{index}.tif",
            page=None,
            pixels=rng.integers(0, 256, (224, 224, 3), np.uint8),
            digest=digest or f"{index + 1:032x}",
            stain="fluorescence",
            quality=Quality(0.5, 0.4, 0.0, 2, 0.2),
        )
        maps = rng.random((3, 13, 13), np.float32)
        maps[2] -= 0.5
        return CellScore(crop, p_mn, maps)

    return make


@pytest.fixture
def make_unreadable() -> Callable[..., UnreadableCell]:
    def make(index: int, slide_id: str = "slide-abc123") -> UnreadableCell:
        return UnreadableCell(slide_id, f"{slide_id}:{index}.tif", f"{index}.tif", None, "truncated")

    return make

"""Small result stores, made through the store's own writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, CellScore, Quality, UnreadableCell
from mnbatch.results.records import CallStamp, LeftOut, ModelStamp, SlideRecord
from mnbatch.results.store import Store
from tests import browsers
from tests.stamps import call_stamp, scoring

GOOD = Quality(sharpness=1e6, contrast=0.4, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)
BLURRED = Quality(sharpness=0.0, contrast=0.4, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)
MODEL = ModelStamp(name="attention-alexnet", version="1", digest="ab" * 32, architecture="attention-alexnet")
BLANK = np.zeros((224, 224, 3), np.uint8)
"""Pixels of cells that nobody will look at: drawing takes time."""
HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> \"&\u202e"

Score = float | None


def draw_cell(seed: int, micronucleus: bool) -> np.ndarray:
    """Two bright nuclei on dark background, with a small third spot where asked."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:224, :224]
    image = rng.normal(18, 4, (224, 224))
    spots = [(80, 112, 34), (144, 112, 34)] + ([(175, 170, 10)] if micronucleus else [])
    for cx, cy, r in spots:
        image += 150 / (1 + np.exp(np.hypot(x - cx, y - cy) - r))
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def draw_maps(seed: int, p_mn: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    maps = rng.random((3, 13, 13), np.float32) * 0.2
    maps[2] = rng.normal(-0.01, 0.01, (13, 13))
    maps[:, 9:12, 9:12] += np.float32(p_mn)
    return maps


def add_slide(
    store: Store,
    slide_id: str,
    scores: Sequence[Score],
    *,
    quality: Quality = GOOD,
    first_digest: int = 1,
    keep_crops: bool = True,
    **fields: object,
) -> SlideRecord:
    """Commit a slide whose cell i has scores[i] (None: unreadable); digests count from `first_digest`."""
    base = {"name": slide_id, "path": f"d/{slide_id}", "donor": "D1", "layout": "donor-slide", "model": MODEL}
    base |= {"call": call_stamp(), "scored": scoring(), "stain": "fluorescence", "score_key": "score"}
    record = SlideRecord(slide_id=slide_id, status="scored", stat_key="stat", **(base | fields))
    with store.writer(slide_id, keep_crops=keep_crops) as writer:
        for i, p in enumerate(scores):
            source = f"d/{slide_id}/cell{i:04d}.tif"
            if p is None:
                writer.add(UnreadableCell(slide_id, f"{slide_id}:{source}", source, None, "the file is truncated"))
                continue
            crop = CellCrop(
                slide_id=slide_id,
                cell_id=f"{slide_id}:{source}",
                source=source,
                page=None,
                pixels=draw_cell(i, p >= 0.5) if keep_crops else BLANK,
                digest=f"{first_digest + i:032x}",
                stain="fluorescence",
                quality=quality,
            )
            writer.add(CellScore(crop, p, draw_maps(i, p)))
        return writer.commit(record)


def add_failed(store: Store, slide_id: str, reason: str, next_step: str = "", **fields: object) -> SlideRecord:
    base = {"name": slide_id, "path": f"d/{slide_id}", "donor": "D1", "layout": "donor-slide"}
    record = SlideRecord(
        slide_id=slide_id,
        status="failed",
        reason=reason,
        next_step=next_step,
        stat_key="stat",
        **(base | fields),
    )
    store.put_record(record)
    return record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture(name="add_slide")
def _add_slide() -> Callable[..., SlideRecord]:
    return add_slide


@pytest.fixture(name="add_failed")
def _add_failed() -> Callable[..., SlideRecord]:
    return add_failed


@pytest.fixture(name="call_stamp")
def _call_stamp() -> Callable[..., CallStamp]:
    return call_stamp


@pytest.fixture
def hostile() -> str:
    """A name that attacks spreadsheets, pages and readers."""
    return HOSTILE


@pytest.fixture
def batch(store: Store) -> Store:
    """Two donors: three slides that are done, one with too many bad cells, one that failed, and a copy."""
    add_slide(store, "a1", [0.02, 0.97, 0.4, None, *[0.01] * 16], first_digest=1)
    add_slide(store, "a2", [0.1, 0.6, *[0.03] * 8], first_digest=100, quality=BLURRED)
    add_slide(
        store,
        "b1",
        [0.2, 0.3, 0.8],
        first_digest=200,
        donor="D2",
        skipped=(LeftOut(path="x.db", reason="hidden"),),
    )
    add_slide(store, "b2", [None, None, 0.9], first_digest=300, donor="D2")
    add_failed(store, "b3", "no model serves its stain", "Give --stain, or train a model.", donor="D2")
    add_failed(store, "c1", "", donor="D2", path="z/c1")
    store.put_record(store.record("c1").model_copy(update={"status": "copy", "copy_of": "b1"}))
    return store


@pytest.fixture
def read_csv() -> Callable[[Path], list[dict[str, str]]]:
    import csv

    def read(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with browsers.chromium() as started:
        yield started


@pytest.fixture(scope="module", params=sorted(browsers.BROWSERS))
def any_browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One after the other, each of the browsers that the pages are made for."""
    with browsers.BROWSERS[request.param]() as started:
        yield started


@pytest.fixture(scope="module")
def module_add_slide() -> Callable[..., SlideRecord]:
    """`add_slide` for stores that several tests share."""
    return add_slide


@pytest.fixture(scope="session")
def hostile_name() -> str:
    """As `hostile`, for stores that several tests share."""
    return HOSTILE

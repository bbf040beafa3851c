"""A small OUT to review, made through the store's own writer."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, CellScore, Quality, UnreadableCell
from mnbatch.results.records import ModelStamp, SlideRecord
from mnbatch.results.store import Store
from mnbatch.review.decisions import COLUMNS, Decision
from mnbatch.review.queue import Queue, ReviewPlan, save_plan
from mnbatch.review.review_import import queues_of
from tests.stamps import call_stamp, scoring

QUALITY = Quality(sharpness=1e6, contrast=0.4, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)
PLAN = ReviewPlan(band=0.1, sample=0.2, least_band=3, least_sample=5)


def score_record(slide_id: str, threshold: float = 0.5, key: str = "key") -> SlideRecord:
    return SlideRecord(
        slide_id=slide_id,
        name=slide_id,
        path=f"d/{slide_id}",
        donor="D1",
        layout="donor-slide",
        status="scored",
        stat_key="stat",
        score_key="score",
        stain="fluorescence",
        model=ModelStamp(name="m", version="1", digest="ab" * 32, architecture="attention-alexnet"),
        call=call_stamp(threshold, key),
        scored=scoring(),
    )


def commit_slide(store: Store, slide_id: str, scores: Sequence[float | None], digest: int = 1) -> SlideRecord:
    rng = np.random.default_rng(digest)
    with store.writer(slide_id, keep_crops=True) as writer:
        for i, p in enumerate(scores):
            source = f"d/{slide_id}/cell{i:04d}.tif"
            name = f"{slide_id}:{source}"
            if p is None:
                writer.add(UnreadableCell(slide_id, name, source, None, "truncated"))
                continue
            pixels = np.repeat(rng.integers(0, 60, (32, 32, 1), dtype=np.uint8), 3, axis=2)
            crop = CellCrop(slide_id, name, source, None, pixels, f"{digest + i:032x}", "fluorescence", QUALITY)
            writer.add(CellScore(crop, p, np.zeros((3, 13, 13), np.float32)))
        return writer.commit(score_record(slide_id))


def decide(queue: Queue, word: Callable[[str], str], reviewer: str = "Ada", minute: int = 0) -> list[Decision]:
    """A decision on every cell of the queue: `word` says it of the cell's id."""
    return [
        Decision(
            slide_id=queue.slide_id,
            cell_id=place.cell_id,
            decision=word(place.cell_id),
            count=None,
            reviewer=reviewer,
            time=f"2026-11-23T10:{minute:02d}:00+00:00",
            stratum=place.stratum,
            inclusion_probability=place.inclusion_probability,
            model_digest=queue.model_digest,
            result_key=queue.result_key,
        )
        for place in sorted(queue.places, key=lambda p: p.rank or 0)
        if place.rank is not None
    ]


def write_review(path: Path, decisions: Iterable[Decision]) -> Path:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for decision in decisions:
        writer.writerow({name: "" if value is None else value for name, value in decision.fields().items()})
    path.write_text(buffer.getvalue(), encoding="utf-8")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Store:
    """Two slides of 60 cells: six are called MN in the one, none in the other."""
    store = Store(tmp_path / "out")
    commit_slide(store, "s1", [0.9] * 6 + [None] + [0.4 - i * 0.005 for i in range(54)])
    commit_slide(store, "s2", [0.3 - i * 0.004 for i in range(60)], digest=500)
    save_plan(store.paths, PLAN)
    return store


@pytest.fixture
def queue(out: Store) -> Queue:
    found = queues_of(out, {"s1": None})["s1"]
    assert found is not None
    return found


@pytest.fixture
def tools() -> object:
    """The helpers of this file, for tests of other files."""

    class Tools:
        decide = staticmethod(decide)
        write = staticmethod(write_review)
        commit = staticmethod(commit_slide)
        record = staticmethod(score_record)
        change = staticmethod(replace)

    return Tools

"""Pixels lie in memory that a worker and the run share: never overwritten while they are used, and never needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnbatch.assay.cells import CellCrop
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.preparation import Preparation
from mnbatch.pipeline.remote_source import RemoteSource
from mnbatch.pipeline.shared_slots import SLOT_BYTES, SLOTS, SharedSlots, WorkerSlots, open_slots
from mnbatch.pipeline.worker_messages import Opening, receive, send
from mnbatch.pipeline.workers import WorkerPool, kill_workers
from tests.imaging.imaging_helpers import draw_cell

here = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files without a name")


@pytest.fixture
def slots() -> Iterator[tuple[SharedSlots, WorkerSlots]]:
    """Both sides, in one process."""
    parent = open_slots()
    assert parent is not None
    yield parent, WorkerSlots(os.dup(parent.number))
    parent.close_number()


def passed(message: object, slots: tuple[SharedSlots, WorkerSlots], slot: int | None) -> tuple[Any, int]:
    """A message as it arrives, and how many bytes went through the stream."""
    with tempfile.TemporaryFile() as stream:
        send(stream, message, slots[1], slot)
        size = stream.tell()
        stream.seek(0)
        return receive(stream, slots[0], slot), size


@here
def test_arrays_arrive_through_the_slot_and_keep_it_until_the_last_is_gone(slots: Any) -> None:
    message = [np.arange(1001, dtype=np.uint8), "text", np.linspace(0, 1, 5000), np.empty((0, 3), np.uint8)]
    assert slots[0].free() == 0
    found, size = passed(message, slots, 0)
    assert size < 1000
    assert found[1] == "text"
    assert all(np.array_equal(found[i], message[i]) for i in (0, 2, 3))
    assert found[2].flags.aligned
    part = found[2][10:20].reshape(2, 5)
    assert slots[0].free() == 1
    del found
    assert slots[0].free() == 1, "a part of an array is still there"
    del part
    assert slots[0].free() == 0


@here
@pytest.mark.parametrize("slot", [None, 3])
def test_what_fits_in_no_slot_goes_through_the_stream(slots: Any, slot: int | None) -> None:
    large = np.random.default_rng(1).integers(0, 255, SLOT_BYTES if slot else 1000, dtype=np.uint8)
    found, size = passed([large], slots, slot)
    assert size > large.size
    assert np.array_equal(found[0], large)
    assert slots[0].free() == 0


@here
def test_no_slot_is_given_out_twice(slots: Any) -> None:
    held = []
    for number in range(SLOTS):
        slot = slots[0].free()
        held.append(passed(np.full(1000, number, np.uint8), slots, slot)[0])
    assert slots[0].free() is None
    assert [set(one.tolist()) for one in held] == [{number} for number in range(SLOTS)]
    del held[5]
    assert slots[0].free() == 5


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """One slide of 24 crops, in colour and grey."""
    root = tmp_path / "export" / "slide"
    root.mkdir(parents=True)
    for number in range(24):
        Image.fromarray(draw_cell(seed=number, light=number % 3 == 0)).save(root / f"{number:02d}.png")
    return tmp_path / "export"


def pixels_read(export: Path, times: int) -> list[np.ndarray]:
    """Pixels of all crops, read by a worker several times; all are held."""
    (slide,) = find_slides(export)
    with WorkerPool(1, 600.0, 4) as pool:
        source = RemoteSource(pool, Opening(slide, Preparation(), FieldOptions(), keep_jpeg=False))
        runs = [run for _ in range(times) for run in source.runs()]
        items = [item for run in runs for cells in source.read_together(run) for item in cells]
    return [item.pixels for item in items if isinstance(item, CellCrop)]


def test_pixels_that_are_held_are_never_overwritten_and_are_those_of_a_pipe(export: Path, monkeypatch: Any) -> None:
    kill_workers()
    times = SLOTS // 3 + 2
    shared = pixels_read(export, times)
    kill_workers()
    monkeypatch.setattr("mnbatch.pipeline.workers.open_slots", lambda: None)
    piped = pixels_read(export, 1)
    kill_workers()
    assert len(shared) == 24 * times
    assert len(piped) == 24
    assert all(np.array_equal(one, piped[place % 24]) for place, one in enumerate(shared))


def test_a_system_that_refuses_such_memory_is_served_by_the_pipe(monkeypatch: Any) -> None:
    def refused(*_: Any) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    assert open_slots() is None

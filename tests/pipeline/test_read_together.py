"""Crops that a worker reads together are what each alone gives, and one that is at fault costs no other."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnbatch.assay.cells import CellCrop, Slide, UnreadableCell
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.preparation import Preparation, fill_channels, network_input
from mnbatch.imaging.readers import read_cells, read_tasks, read_together
from mnbatch.pipeline import remote_source
from mnbatch.pipeline.remote_source import RemoteSource
from mnbatch.pipeline.worker_messages import Opening, receive, send
from mnbatch.pipeline.workers import WorkerPool
from mnbatch.results.stored_crops import encode_crop
from tests.imaging.imaging_helpers import draw_cell
from tests.local_pool import LocalPool

PREPARATION = Preparation(contrast={"rule": "deep_per_crop"}, polarity="density")  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One slide of 11 crops: grey, in colour, of 16 bits, and one that is damaged."""
    root = tmp_path / "export" / "slide"
    root.mkdir(parents=True)
    for number in range(11):
        cell = draw_cell(seed=number, light=number % 3 == 0)
        cell = cell.astype(np.uint16) * 257 if number == 4 else cell
        Image.fromarray(cell).save(root / f"{number:02d}.png")
    (root / "05.png").write_bytes((root / "05.png").read_bytes()[:-200])
    return tmp_path / "export"


def slide_of(export: Path) -> Slide:
    (slide,) = find_slides(export)
    return slide


@pytest.fixture(autouse=True)
def _eight_files_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than the folder holds: two messages."""
    monkeypatch.setattr(remote_source, "FILES_TOGETHER", 8)


def same(one: Any, other: Any) -> bool:
    """Whether two cells are equal, pixels too."""
    values = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return type(one) is type(other) and all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in values
    )


def test_together_gives_what_each_alone_does(folder: Path) -> None:
    tasks = list(read_tasks(slide_of(folder)))
    alone = [read_cells(task, PREPARATION) for task in tasks]
    together = read_together(tasks, PREPARATION)
    assert [len(cells) for cells in together] == [1] * 11
    assert all(same(a, b) for one, other in zip(alone, together, strict=True) for a, b in zip(one, other, strict=True))
    assert isinstance(together[5][0], UnreadableCell)


def test_a_slide_read_through_a_worker_in_messages_of_several_files_is_the_same(folder: Path) -> None:
    slide = slide_of(folder)
    alone = [cells[0] for cells in (read_cells(task, PREPARATION) for task in read_tasks(slide))]
    with WorkerPool(1, 600.0, 4) as pool:
        source = RemoteSource(pool, Opening(slide, PREPARATION, FieldOptions(), keep_jpeg=True))
        runs = list(source.runs())
        assert [len(run) for run in runs] == [8, 3]
        read = [item for run in runs for items in source.read_together(run) for item in items]
    for one, other in zip(alone, read, strict=True):
        if isinstance(other, CellCrop):
            assert other.jpeg == encode_crop(np.ascontiguousarray(other.pixels))
            assert np.array_equal(one.pixels, other.pixels)  # type: ignore[union-attr]
            assert (one.digest, one.quality) == (other.digest, other.quality)  # type: ignore[union-attr]
        else:
            assert same(one, other)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe stands for a file that never ends")
def test_a_file_that_never_ends_costs_none_of_those_read_with_it(folder: Path) -> None:
    slide = slide_of(folder)
    path = folder / "slide" / "03.png"
    path.unlink()
    os.mkfifo(path)
    with WorkerPool(1, 5.0, 4) as pool:
        source = RemoteSource(pool, Opening(slide, PREPARATION, FieldOptions(), keep_jpeg=False))
        first, second = source.runs()
        assert source.read_together(first) == []
        (lost,) = source.read(first[3])
        assert "longer than 5 s" in lost.reason  # type: ignore[union-attr]
        assert isinstance(source.read(first[2])[0], CellCrop)
        assert source.read_together(second) == [], "the rest of the slide does not wait for another deadline"


def test_an_error_of_one_file_is_raised_where_it_is_read_alone(folder: Path, monkeypatch: Any) -> None:
    slide, pool = slide_of(folder), LocalPool(1, 600.0, 4)
    source = RemoteSource(pool, Opening(slide, PREPARATION, FieldOptions(), keep_jpeg=False))

    def fails(*_: Any) -> None:
        raise RuntimeError("a decoder's bug")

    monkeypatch.setattr("mnbatch.pipeline.sources.read_together", fails)
    (first, _) = source.runs()
    assert source.read_together(first) == []
    assert isinstance(source.read(first[0])[0], CellCrop)
    pool.close()


def test_large_files_pages_planes_and_namesakes_go_alone(folder: Path, monkeypatch: Any) -> None:
    slide, pool = slide_of(folder), LocalPool(1, 600.0, 4)
    monkeypatch.setattr(remote_source, "SMALL_FILE", 1)
    source = RemoteSource(pool, Opening(slide, PREPARATION, FieldOptions(), keep_jpeg=False))
    assert [len(run) for run in source.runs()] == [1] * 11
    assert [run[0].file for run in source.runs()] == list(slide.files)
    pool.close()


@pytest.mark.parametrize("polarity", ["as_is", "density", "stains"])
@pytest.mark.parametrize("light", [False, True])
def test_a_grey_crop_in_one_channel_is_scored_and_kept_as_one_in_three(polarity: str, light: bool) -> None:
    preparation = Preparation(polarity=polarity)  # type: ignore[arg-type]
    cell = draw_cell(seed=3)
    grey = np.ascontiguousarray(255 - cell if light else cell)
    grey = np.asarray(Image.fromarray(grey if grey.ndim == 2 else grey[..., 0]).resize((224, 224)))
    one, three = np.broadcast_to(grey[..., None], (224, 224, 3)), np.repeat(grey[..., None], 3, axis=-1)
    filled = np.empty((224, 224, 3), np.uint8)
    fill_channels(filled, network_input(one, preparation))
    assert np.array_equal(filled, network_input(three, preparation))
    assert np.array_equal(network_input(one[None], preparation)[0], filled)
    assert encode_crop(one) == encode_crop(three)


MESSAGE = [{"pixels": np.arange(60_000, dtype=np.float32), "none": np.empty((0, 3), np.uint8)}, "text", [1, 2]]


def sent(message: object) -> bytes:
    """What a worker writes of a message."""
    with tempfile.TemporaryFile() as stream:
        send(stream, message)
        stream.seek(0)
        return stream.read()


def test_a_message_comes_as_it_was_sent_in_memory_of_its_own() -> None:
    (first, *rest) = receive(io.BytesIO(sent(MESSAGE)))
    assert np.array_equal(first["pixels"], MESSAGE[0]["pixels"])  # type: ignore[index]
    assert first["pixels"].flags.aligned
    assert first["pixels"].flags.writeable
    assert first["none"].shape == (0, 3)
    assert rest == MESSAGE[1:]


def test_a_message_larger_than_the_pipe_arrives_whole() -> None:
    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as reader, os.fdopen(ends[1], "wb") as writer:
        many = [np.full(100_000, number, np.uint8) for number in range(100)]
        writing = threading.Thread(target=send, args=(writer, many))
        writing.start()
        found = receive(reader)
        writing.join()
    assert all(np.array_equal(one, other) for one, other in zip(found, many, strict=True))


@pytest.mark.parametrize("place", [0, 7, 8, 20, 60, -1, -1000])
def test_a_worker_that_ends_while_it_writes_is_a_lost_one_wherever_it_was(place: int) -> None:
    whole = sent(MESSAGE)
    with pytest.raises(EOFError):
        receive(io.BytesIO(whole[:place]))

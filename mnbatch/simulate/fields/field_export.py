"""Whole simulated exports of fields or whole slides, with a sample sheet and the truth beside them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mnbatch.csvfile import Value
from mnbatch.errors import StorageError
from mnbatch.one_thread_processes import OneThreadContext
from mnbatch.processes import end_with_parent
from mnbatch.simulate.export_plan import SlideJob, slide_jobs, slide_stain_of
from mnbatch.simulate.fields.field_files import (
    TILE,
    TRUTH_COLUMNS,
    Tile,
    Where,
    label_images,
    tile_counts,
    truth_rows,
    write_channels,
    write_field,
    write_labels,
    write_pyramid,
)
from mnbatch.simulate.fields.field_plan import FieldPlan
from mnbatch.simulate.fields.field_rendering import Renderer, draw_field
from mnbatch.simulate.fields.field_scene import Scene
from mnbatch.simulate.simulated_export import ExportSummary, prepare, write_samples, write_truth

Row = tuple[Value, ...]

_CLASS, _N_MN = TRUTH_COLUMNS.index("class"), TRUTH_COLUMNS.index("n_mn")
_TILES_A_BLOCK = 4

Made = TypeVar("Made")


def simulate_fields(
    out: Path,
    plan: FieldPlan,
    *,
    force: bool = False,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> ExportSummary:
    """Write `out`/export, `out`/truth.csv, `out`/samples.csv and, if asked for, `out`/masks.

    Each field and each whole slide follows from the seed and its own numbers, whatever else is made and in
    however many processes (`workers`).

    Args:
        force: write into a directory that holds other things (nothing of it is deleted).
        progress: called with a field's or slide's name when it is finished.

    Returns:
        What was made; `cells`, `cells_with_mn` and `micronuclei` count binucleated cells.

    Raises:
        UsageError: a plan that cannot be made, or a directory with other things in it.
        StorageError: the directory cannot be written.
    """
    plan.check()
    try:
        prepare(out, plan.export.seed, force)
        write_samples(out / "samples.csv", plan.export)
        made = _whole_slides(out, plan, workers) if plan.kind == "wsi" else _fields(out, plan, workers)
        return write_truth(out, TRUTH_COLUMNS, made, _is_counted, progress)
    except OSError as error:
        raise StorageError(
            f"Cannot write the simulated export under {out}: {error.strerror or error}.",
            "Check free space and permissions, or choose another directory.",
        ) from error


def simulate_field(out: Path, plan: FieldPlan, job: SlideJob, number: int) -> list[Row]:
    """Draw and write one field, and its masks; its rows for the truth come back."""
    drawing = draw_field(plan, job, number)
    folder = f"{job.donor_code}/{job.name}"
    name = f"field_{number:03d}"
    (out / "export" / folder).mkdir(parents=True, exist_ok=True)
    bits = 8 if plan.fmt == "jpg" else plan.export.bits
    file = f"{folder}/{name}.{plan.fmt}"
    if plan.cytoplasm_channel:
        write_channels(out / "export" / file, (drawing.whole(bits), drawing.cytoplasm(bits)), plan.um_per_px)
    else:
        write_field(out / "export" / file, drawing.whole(bits), plan.fmt, plan.um_per_px)
    if plan.masks != "none":
        images = label_images(drawing.scene, drawing.slide)
        if plan.masks == "beside":
            write_labels(out / "export" / folder / f"{name}_mask.tif", images.together())
        else:
            (out / "masks" / folder).mkdir(parents=True, exist_ok=True)
            for part in ("cells", "nuclei", "mn"):
                write_labels(out / "masks" / folder / f"{name}_{part}.tif", getattr(images, part))
    where = Where(folder, job.donor_code, plan.export.dose_text(job.donor), file, slide_stain_of(plan.export, job))
    return list(truth_rows(drawing.scene, where))


def simulate_whole_slide(out: Path, plan: FieldPlan, job: SlideJob, workers: int) -> list[Row]:
    """Draw and write one whole slide tile by tile; its rows for the truth come back."""
    drawing = draw_field(plan, job, 0)
    file = f"{job.name}.tif"
    channels = 3 if drawing.slide.stain == "giemsa" else 1
    tiles = _tiles(drawing.renderer, drawing.scene, workers)
    write_pyramid(
        path=out / "export" / file,
        scratch=out,
        width=plan.width,
        height=plan.height,
        channels=channels,
        um_per_px=plan.um_per_px,
        tiles=tiles,
    )
    where = Where(file, job.donor_code, plan.export.dose_text(job.donor), file, drawing.slide.stain)
    return list(truth_rows(drawing.scene, where))


def _fields(out: Path, plan: FieldPlan, workers: int) -> Iterator[tuple[str, list[Row]]]:
    """Name and rows of each slide in order; fields are drawn here or in `workers` processes."""
    jobs = list(slide_jobs(plan.export))
    orders = [(out, plan, job, number) for job in jobs for number in range(1, plan.fields + 1)]
    with _pool(min(workers, len(orders))) as pool:
        results = _in_order(pool, workers, simulate_field, orders)
        for job in jobs:
            rows = [row for field_rows in itertools.islice(results, plan.fields) for row in field_rows]
            yield job.name, rows


def _whole_slides(out: Path, plan: FieldPlan, workers: int) -> Iterator[tuple[str, list[Row]]]:
    for job in slide_jobs(plan.export):
        yield job.name, simulate_whole_slide(out, plan, job, workers)


def _tiles(renderer: Renderer, scene: Scene, workers: int) -> Iterator[Tile]:
    """Tiles of the full resolution in the order in which they are written."""
    columns, rows = tile_counts(scene.width, scene.height)
    firsts = [(row, column) for row in range(rows) for column in range(0, columns, _TILES_A_BLOCK)]
    orders = [(row, column, min(_TILES_A_BLOCK, columns - column)) for row, column in firsts]
    with _pool(workers, renderer) as pool:
        draw = _block_here if pool is not None else partial(_block, renderer)
        for block in _in_order(pool, workers, draw, orders):
            for start in range(0, block.shape[1], TILE):
                yield block[:, start : start + TILE]


def _block(renderer: Renderer, row: int, column: int, tiles: int) -> Tile:
    """A run of tiles of one row, (TILE, tiles * TILE[, 3])."""
    left, top = column * TILE, row * TILE
    # The number is that of its first tile in a grid that no slide is wide enough to leave.
    pixels = renderer.window((left, top, left + tiles * TILE, top + TILE), row * 100_000 + column, 8)
    return np.asarray(pixels, dtype=np.uint8)


_renderer: list[Renderer] = []


def _take_renderer(renderer: Renderer) -> None:
    """In a worker process: keep what it needs for every block of the slide."""
    end_with_parent()
    _renderer[:] = [renderer]


def _block_here(row: int, column: int, tiles: int) -> Tile:
    return _block(_renderer[0], row, column, tiles)


@contextmanager
def _pool(workers: int, renderer: Renderer | None = None) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that hold a renderer if there is one; None for a single one."""
    if workers <= 1:
        yield None
        return
    # Spawned, not forked: the caller may have threads (a notebook, a test run with torch loaded).
    context = OneThreadContext()
    start = (_take_renderer, (renderer,)) if renderer is not None else (end_with_parent, ())
    with ProcessPoolExecutor(workers, context, *start) as pool:
        yield pool


def _in_order(
    pool: ProcessPoolExecutor | None, workers: int, draw: Callable[..., Made], orders: Iterable[tuple[Any, ...]]
) -> Iterator[Made]:
    """Results in the order of the orders; at most two a process wait, so that memory stays bounded."""
    if pool is None:
        yield from itertools.starmap(draw, orders)
        return
    waiting: deque[Future[Made]] = deque()
    ahead = 2 * workers
    for order in orders:
        waiting.append(pool.submit(draw, *order))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _is_counted(row: Row) -> bool:
    return row[_CLASS] == "binucleated" and isinstance(row[_N_MN], int)

"""Whole simulated exports: donors, slides, crops, a sample sheet, and the truth beside the export."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from mnbatch.csvfile import CsvWriter, Value
from mnbatch.errors import StorageError, UsageError
from mnbatch.files import sweep_folder
from mnbatch.one_thread_processes import OneThreadContext
from mnbatch.processes import end_with_parent
from mnbatch.simulate.cell_drawing import CellSpec, SimulatedCell, simulate_cell
from mnbatch.simulate.cell_plan import MAX_MN, Kind
from mnbatch.simulate.export_files import slide_path, slide_writer
from mnbatch.simulate.export_plan import ExportPlan, SlideJob, slide_jobs, slide_stain_of
from mnbatch.simulate.slide_appearance import draw_slide_appearance

# The directory of a simulated export: marked as ours, emptied of what an earlier simulation left in it.


MARKER = ".mnbatch-simulated.json"

_OWN_FILE = re.compile(
    r"(D\d+/)?D\d+-\d+/cell_\d+\.(tif|png|jpg)|D\d+_D\d+-\d+_\d+\.(tif|png|jpg)|D\d+-\d+\.tif"
    r"|D\d+/D\d+-\d+/field_\d+(_mask|_cells|_nuclei|_mn)?\.(tif|ome\.tif|png|jpg)"
)


def prepare(out: Path, seed: int, force: bool) -> None:
    """Make `out` ours: mark it, and take away what an earlier simulation left in it.

    Raises:
        UsageError: other things lie in it; with `force` they stay and are written beside.
        OSError: it cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file.", "Name a directory to write into.")
    occupied = out.is_dir() and any(out.iterdir())
    ours = (out / MARKER).is_file()
    if occupied and not ours and not force:
        raise UsageError(f"{out} is not empty and no simulated export.", "Choose a new directory, or --force.")
    foreign = (_clear_export(out / "export") or _clear_export(out / "masks")) if ours else None
    if foreign is not None and not force:
        raise UsageError(
            f"{out} holds files that the simulator did not make, such as {foreign}.",
            "Move them away, choose a new directory, or --force.",
        )
    sweep_folder(out)
    for leftover in out.glob(".pyramid-*") if ours else ():  # of earlier versions
        shutil.rmtree(leftover)
    (out / "export").mkdir(parents=True, exist_ok=True)
    note = {"made_by": "mnbatch simulate", "simulated": True, "seed": seed}
    (out / MARKER).write_text(json.dumps(note) + "\n", encoding="utf-8")


def _clear_export(export: Path) -> str | None:
    """Delete simulated crops of an earlier run; another file found is named, and nothing is deleted then."""
    if not export.is_dir():
        return None
    found = [path for path in sorted(export.rglob("*")) if not path.is_dir() or path.is_symlink()]
    for path in found:
        if not _OWN_FILE.fullmatch(path.relative_to(export).as_posix()):
            return path.relative_to(export).as_posix()
    for path in found:
        path.unlink()
    for folder in sorted((p for p in export.rglob("*") if p.is_dir()), reverse=True):
        folder.rmdir()
    return None


# Contact sheets: many crops on one picture, to be looked at.


_GAP = 4


def contact_sheet(
    cells: Sequence[SimulatedCell], path: Path, columns: int = 8, size: int = 170, *, mark: bool = False
) -> None:
    """Write crops side by side as one PNG.

    Args:
        columns: crops a row; size: width of a crop on the sheet, px.
        mark: circle the micronuclei (truth) in green.
    """
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (size + _GAP) - _GAP, max(1, rows * (size + _GAP) - _GAP)), "white")
    for i, cell in enumerate(cells):
        tile = _tile(cell, size, mark)
        sheet.paste(tile, ((i % columns) * (size + _GAP), (i // columns) * (size + _GAP)))
    sheet.save(path)


def _tile(cell: SimulatedCell, size: int, mark: bool) -> Image.Image:
    pixels = cell.image
    if pixels.dtype == np.uint16:
        low, high = np.percentile(pixels, (0.5, 99.8))
        pixels = (np.clip((pixels - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8)
    tile = Image.fromarray(pixels).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    if mark:
        zoom, pen = size / pixels.shape[0], ImageDraw.Draw(tile)
        for body in cell.micronuclei:
            x, y, r = body.x * zoom, body.y * zoom, body.radius * zoom + 3
            pen.ellipse((x - r, y - r, x + r, y + r), outline=(0, 220, 0))
    return tile


# Whole simulated exports: donors, slides, crops, a sample sheet, and the truth beside the export.


TRUTH_COLUMNS = ("slide", "donor", "dose_gy", "file", "page", "n_mn", "mn", "stain", "kind", "artefacts")
SAMPLE_COLUMNS = ("slide", "donor", "dose_gy", "culture", "sex", "age", "note")


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was made."""

    export: Path
    truth: Path
    samples: Path
    slides: int
    cells: int
    cells_with_mn: int
    micronuclei: int


def simulate_export(
    out: Path,
    plan: ExportPlan | None = None,
    *,
    force: bool = False,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> ExportSummary:
    """Write `out`/export, `out`/truth.csv and `out`/samples.csv.

    A slide is drawn from its own random stream, so slides can be made in parallel (`workers` processes) and
    more donors, slides or cells never change those made before.

    Args:
        plan: what to simulate; options: fields of `ExportPlan` to change in it.
        force: write into a directory that holds other things (nothing of it is deleted).
        progress: called with a slide's name when it is finished.

    Raises:
        UsageError: a plan that cannot be made, or a directory with other things in it.
        StorageError: the directory cannot be written.
    """
    plan = replace(plan or ExportPlan(), **options)
    plan.check()
    try:
        prepare(out, plan.seed, force)
        write_samples(out / "samples.csv", plan)
        return _write_slides(out, plan, workers, progress)
    except OSError as error:
        raise StorageError(
            f"Cannot write the simulated export under {out}: {error.strerror or error}.",
            "Check free space and permissions, or choose another directory.",
        ) from error


def simulate_slide(export: Path, plan: ExportPlan, job: SlideJob) -> list[tuple[Value, ...]]:
    """Draw and write the crops of one slide; the rows for truth.csv come back."""
    stain = slide_stain_of(plan, job)
    key = [plan.seed, job.donor, job.number]
    slide = draw_slide_appearance(np.random.default_rng([*key, 0]), stain, plan.variety)
    dose = plan.dose_text(job.donor)
    bits: Literal[8, 16] = 8 if plan.fmt == "jpg" else plan.bits
    where = slide_path(plan.layout, job.donor_code, job.name)
    rows: list[tuple[Value, ...]] = []
    with slide_writer(export, plan.layout, job.donor_code, job.name, plan.fmt) as writer:
        for number in range(plan.cells):
            rng = np.random.default_rng([*key, number + 1])
            count = min(MAX_MN, int(rng.poisson(plan.mean_mn(job.donor))))
            kind = _kind(rng, plan.odd_cells)
            cell = simulate_cell(rng, CellSpec(stain, count, kind, plan.size, bits=bits), slide)
            place = writer.write(cell.image)
            labels = (cell.n_mn, int(cell.n_mn > 0), stain, kind, ";".join(cell.artefacts))
            rows.append((where, job.donor_code, dose, place.file, place.page, *labels))
    return rows


def _kind(rng: np.random.Generator, odd_share: float) -> Kind:
    odd, many = rng.random() < odd_share, rng.random() < 0.4
    if not odd:
        return "binucleated"
    return "multinucleated" if many else "mononucleated"


def _write_slides(out: Path, plan: ExportPlan, workers: int, progress: Callable[[str], None] | None) -> ExportSummary:
    with _results(out / "export", plan, workers) as results:
        slides = ((job.name, rows) for job, rows in zip(slide_jobs(plan), results, strict=True))
        return write_truth(out, TRUTH_COLUMNS, slides, lambda row: True, progress)


def write_truth(
    out: Path,
    columns: Sequence[str],
    slides: Iterable[tuple[str, Sequence[tuple[Value, ...]]]],
    counted: Callable[[tuple[Value, ...]], bool],
    progress: Callable[[str], None] | None,
) -> ExportSummary:
    """Write `truth.csv` slide by slide as the slides are made, and sum it up.

    Args:
        columns: of the table; `n_mn` is among them.
        slides: name and rows of each slide, in order.
        counted: whether a row is one of the cells that the summary counts.
        progress: told the name of each finished slide.
    """
    count = cells = with_mn = micronuclei = 0
    truth, n_mn = out / "truth.csv", columns.index("n_mn")
    with truth.open("wb") as handle:
        table = CsvWriter(handle, columns)
        for name, rows in slides:
            for row in rows:
                table.row(row)
            found = [row[n_mn] for row in rows if counted(row)]
            numbers = [n for n in found if isinstance(n, int)]
            count, cells = count + 1, cells + len(found)
            with_mn, micronuclei = with_mn + sum(n > 0 for n in numbers), micronuclei + sum(numbers)
            if progress is not None:
                progress(name)
    return ExportSummary(
        export=out / "export",
        truth=truth,
        samples=out / "samples.csv",
        slides=count,
        cells=cells,
        cells_with_mn=with_mn,
        micronuclei=micronuclei,
    )


@contextmanager
def _results(export: Path, plan: ExportPlan, workers: int) -> Iterator[Iterator[list[tuple[Value, ...]]]]:
    """Rows of each slide in order, made here or in `workers` processes."""
    jobs = list(slide_jobs(plan))
    if workers <= 1 or len(jobs) == 1:
        yield (simulate_slide(export, plan, job) for job in jobs)
        return
    # Spawned, not forked: the caller may have threads (a notebook, a test run with torch loaded).
    context = OneThreadContext()
    with ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=end_with_parent) as pool:
        yield pool.map(simulate_slide, [export] * len(jobs), [plan] * len(jobs), jobs)


def write_samples(path: Path, plan: ExportPlan) -> None:
    """Write the sample sheet of a simulated export: every slide with its donor, dose and a drawn sex and age."""
    with path.open("wb") as handle:
        table = CsvWriter(handle, SAMPLE_COLUMNS)
        for job in slide_jobs(plan):
            person = np.random.default_rng([plan.seed, job.donor])
            sex, age = "FM"[int(person.integers(2))], int(person.integers(20, 66))
            dose = plan.dose_text(job.donor)
            culture = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[job.number] if job.number < 26 else str(job.number + 1)
            table.row((job.name, job.donor_code, dose, culture, sex, age, "simulated"))

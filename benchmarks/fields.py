"""Memory and speed of whole slides: `python benchmarks/fields.py --side 20000 --density 250`.

Draws a pyramidal whole slide with `mnbatch simulate --kind wsi` (or takes `--export`), sends it through `mnbatch run`
with the network in a process of its own, cuts the cells that were scored out of the slide again as a gallery of PNG
files and sends that through `mnbatch run`, too. Prints for both wall and processor time, cells a second and the largest
resident memory, and the ratio of the two; and megapixels a second of reading, segmenting and cutting alone, on one
thread.

The ratio depends on the density of cells: pixels between the cells cost time and bring no cell.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mnbatch.assay.cells import CellCrop, Slide
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.fields.regions import WholeSlideSource
from mnbatch.imaging.formats.whole_slides import open_whole
from mnbatch.imaging.preparation import Preparation

WIDTH_IN_DIAMETERS = 3.2


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process: seconds on the clock and of processor time, largest resident memory in MiB."""

    wall: float
    processor: float
    memory: float


def measured(arguments: list[str]) -> Cost:
    """Run `mnbatch` in a process of its own; its exit code must be 0."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "mnbatch", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mnbatch {arguments[0]} ended with exit code {process.returncode}")
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def drawn(folder: Path, side: int, density: float, stain: str) -> Path:
    """The export with the simulated slide."""
    size = ["--slide-size", f"{side}x{side}", "--density", str(density), "--stain", stain]
    measured(["simulate", str(folder), "--kind", "wsi", "--donors", "1", "--slides", "1", "--seed", "7", *size])
    return folder / "export"


def scored(out: Path) -> list[dict[str, str]]:
    """Rows of the one slide's cells.csv."""
    (table,) = out.glob("slides/*/cells.csv")
    with table.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def as_pages(slide: Slide, rows: list[dict[str, str]], folder: Path) -> None:
    """The same cells as an exported gallery."""
    (folder / "slide").mkdir(parents=True)
    whole = open_whole(str(slide.root / slide.files[0].path), slide.name, None)
    areas = [float(row["nucleus_area_px"]) / 2 for row in rows]
    width = round(WIDTH_IN_DIAMETERS * 2 * float(np.sqrt(np.median(areas) / np.pi)))
    for number, row in enumerate(rows):
        left = int(np.clip(float(row["x"]) - width / 2, 0, whole.width - width))
        top = int(np.clip(float(row["y"]) - width / 2, 0, whole.height - width))
        Image.fromarray(whole.read(left, top, width, width)).save(folder / f"slide/{number:06d}.png")


def segmentation_alone(slide: Slide, regions: int) -> str:
    """Megapixels a second of processor time over evenly spaced regions, on one thread; overlaps are not counted."""
    source = WholeSlideSource(slide, Preparation(), FieldOptions())
    work = [task for task in source.tasks() if task.core is not None]
    traits = Survey(work, source.look).traits()
    work = work[:: max(1, len(work) // regions)]
    started = time.process_time()
    cells = sum(isinstance(item, CellCrop) for task in work for item in source.read(task, traits))
    seconds = time.process_time() - started
    pixels = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (task.core for task in work if task.core))
    return f"{pixels / 1e6 / seconds:.2f} MP/s of one core ({len(work)} regions, {cells} cells)"


def main() -> None:
    """Print the figures of one slide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20000, help="pixels a side")
    parser.add_argument("--density", type=float, default=250.0, help="cells of all classes a mm2")
    parser.add_argument("--stain", default="fluorescence")
    parser.add_argument("--export", type=Path, help="an export with one whole slide, in place of a drawn one")
    parser.add_argument("--regions", type=int, default=16, help="regions segmented without the network")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export = options.export or drawn(folder / "simulated", options.side, options.density, options.stain)
        (slide,) = find_slides(export, kind="wsi")
        print(f"load before: {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
        run = measured(["run", str(export), "--out", str(folder / "out"), "--input", "wsi", "--quiet"])
        rows = scored(folder / "out")
        as_pages(slide, rows, folder / "gallery")
        gallery = measured(["run", str(folder / "gallery"), "--out", str(folder / "again"), "--quiet"])
        whole = open_whole(str(slide.root / slide.files[0].path), slide.name, None)
        print_table(run, gallery, len(rows), whole.width * whole.height / 1e6)
        print(f"read, segmented and cut alone: {segmentation_alone(slide, options.regions)}")
        print(f"load after: {os.getloadavg()[0]:.1f}")


def print_table(run: Cost, gallery: Cost, cells: int, megapixels: float) -> None:
    """Both ways side by side."""
    print(f"{megapixels:.0f} megapixels, {cells} cells scored: {cells / megapixels:.1f} a megapixel")
    print(f"{'':14s} {'wall s':>8s} {'CPU s':>8s} {'cells/s':>8s} {'cells/CPU s':>12s} {'peak MiB':>9s}")
    for name, cost in (("whole slide", run), ("gallery", gallery)):
        rates = f"{cells / cost.wall:8.1f} {cells / cost.processor:12.1f}"
        print(f"{name:14s} {cost.wall:8.1f} {cost.processor:8.1f} {rates} {cost.memory:9.0f}")
    print(
        f"ratio by the clock {gallery.wall / run.wall:.2f}, by processor time {gallery.processor / run.processor:.2f}"
    )
    print(f"whole way: {megapixels / run.wall:.2f} MP/s by the clock, {megapixels / run.processor:.2f} a core")


if __name__ == "__main__":
    main()

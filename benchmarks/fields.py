"""Memory and speed of fields and whole slides: `python benchmarks/fields.py --side 20000`.

Draws a sparse tiled TIFF (16 bit; discs in place of nuclei), reads it region by region and prints
megapixels a second and the largest resident memory of the process. The network is not run.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from mnbatch.assay.cells import CellCrop
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.options import FieldOptions
from mnbatch.imaging.fields.regions import WholeSlideSource
from mnbatch.imaging.preparation import Preparation
from mnbatch.inference.prefetch import ordered_map

TILE, STEP = 512, 256


def tiles(side: int, seed: int = 1) -> Iterator[np.ndarray]:
    """Tiles of a slide with a pair of nuclei every 256 pixels; drawn one by one, never the whole."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:TILE, :TILE]
    nuclei = np.zeros((TILE, TILE), bool)
    for y in range(STEP // 2, TILE, STEP):
        for x in range(STEP // 2, TILE, STEP):
            nuclei |= (columns - x + 17) ** 2 + (rows - y) ** 2 <= 15**2
            nuclei |= (columns - x - 17) ** 2 + (rows - y) ** 2 <= 15**2
    for _ in range((-(-side // TILE)) ** 2):
        values = 400 + 2500 * nuclei + rng.normal(0, 25, nuclei.shape)
        yield np.clip(values, 0, 65535).astype(np.uint16)


def main() -> None:
    """Print the figures of one slide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20000, help="pixels a side")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--regions", type=int, default=None, help="read only the first so many regions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "slide.tif"
        with tifffile.TiffWriter(path, bigtiff=True) as tiff:
            shape = (options.side, options.side)
            tiff.write(tiles(options.side), shape=shape, dtype=np.uint16, tile=(TILE, TILE), photometric="minisblack")
        start_memory = _peak()
        (slide,) = find_slides(Path(name), kind="wsi")
        source = WholeSlideSource(slide, Preparation(), FieldOptions())
        work = [task for task in source.tasks() if task.core is not None][: options.regions]
        started = time.perf_counter()
        cells = 0
        for items in ordered_map(source.read, iter(work), options.workers, 2 * options.workers):
            cells += sum(isinstance(item, CellCrop) for item in source.in_order(items))
        seconds = time.perf_counter() - started
        pixels = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (task.core for task in work))
        size = path.stat().st_size / 1e6
    print(f"{options.side} x {options.side} pixels, 16 bit, {size:.0f} MB; {len(work)} regions read, {cells} cells cut")
    print(f"{pixels / 1e6 / seconds:.2f} megapixels a second with {options.workers} threads")
    print(f"largest resident memory {_peak():.0f} MiB ({start_memory:.0f} MiB before the slide was opened)")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

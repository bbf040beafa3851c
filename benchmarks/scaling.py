"""Memory and resume cost against the number of slides.

Prints two tables: peak memory of `mnbatch run` over few and over many slides, each in a process of its own, and the
time that a run over finished slides takes for each slide. The crops are copies of a few simulated ones with some pixels
altered, so that no two are equal; their content plays no part in what is measured here.

    python benchmarks/scaling.py [--slides 1000] [--finished 2000]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.slide_appearance import draw_slide_appearance

FEW = 10
CELLS = 50


def make_export(root: Path, slides: int, cells: int) -> None:
    """An export of small crops, all different."""
    rng = np.random.default_rng(1)
    stain = draw_slide_appearance(rng, "fluorescence")
    spec = CellSpec(stain="fluorescence", size=96, weak_stain=False, blur=False)
    masters = [simulate_cell(rng, spec, stain).image for _ in range(32)]
    for slide in range(slides):
        folder = root / f"slide{slide:05d}"
        folder.mkdir(parents=True)
        for cell in range(cells):
            pixels = masters[cell % len(masters)].copy()
            number = slide * cells + cell
            pixels[0, :4] = [number >> shift & 255 for shift in (0, 8, 16, 24)]
            Image.fromarray(pixels).save(folder / f"{cell:04d}.png", compress_level=1)


def run(export: Path, out: Path, *options: str) -> tuple[float, float]:
    """One run in a process of its own: (wall seconds, peak memory in MB)."""
    command = [sys.executable, "-m", "mnbatch", "run", str(export), "--out", str(out), "--quiet", *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mnbatch run ended with exit code {process.returncode}")
    per_mb = 1024**2 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss / per_mb


def memory_table(folder: Path, slides: int) -> None:
    """Peak memory over few and over many slides."""
    peaks = {}
    print(f"{'slides of ' + str(CELLS) + ' cells':>24} {'seconds':>9} {'peak MB':>9}")
    for count in (FEW, slides):
        export = folder / f"export{count}"
        make_export(export, count, CELLS)
        seconds, peaks[count] = run(export, folder / f"out{count}")
        print(f"{count:>24} {seconds:>9.1f} {peaks[count]:>9.0f}")
    print(f"ratio of peaks: {peaks[slides] / peaks[FEW]:.3f} (wanted: at most 1.2)\n")


def resume_table(folder: Path, finished: int, cells: int = 2) -> None:
    """Cost a slide of a run that has nothing to do."""
    export, out = folder / "finished", folder / "finished-out"
    make_export(export, finished, cells)
    one, one_out = folder / "one", folder / "one-out"
    make_export(one, 1, cells)
    run(one, one_out)
    run(export, out, "--no-crops")
    many = statistics.median(run(export, out, "--no-crops")[0] for _ in range(3))
    single = statistics.median(run(one, one_out)[0] for _ in range(3))
    print(f"{'finished slides':>24} {'seconds':>9}")
    print(f"{1:>24} {single:>9.2f}")
    print(f"{finished:>24} {many:>9.2f}")
    print(f"a slide: {1000 * (many - single) / finished:.2f} ms (wanted: less than 5)")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--finished", type=int, default=2000)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="mnbatch-scaling-") as name:
        memory_table(Path(name), arguments.slides)
        resume_table(Path(name), arguments.finished)


if __name__ == "__main__":
    main()

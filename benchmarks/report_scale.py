"""What reports over thousands of finished slides cost, in processor time, and how fast their batch page opens.

Makes an OUT of many simulated results through the store's own writer (no network runs: scores, pixels and digests are
random numbers), then makes its reports in processes of their own: all of them, again with nothing changed, again with
one slide's result replaced, and all again in one process and in several (peak memory is that of the report's own
process). With `--crops` slides have pictures, and pages show them. `batch_page.py` opens the batch page of so many
slides in Chromium.

    python benchmarks/report_scale.py [--slides 5000] [--cells 50] [--crops] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnbatch.assay.cells import CellCrop, CellScore, Quality
from mnbatch.assay.near_copies import SPECTRUM_BYTES, THUMBNAIL_BYTES, Likeness
from mnbatch.results.records import CallStamp, ModelStamp, Scoring, SlideRecord
from mnbatch.results.store import Store

SLIDES_OF_A_DONOR = 5
QUALITY = Quality(sharpness=1e6, contrast=0.4, saturated_fraction=0.0, nuclei=2, nucleus_fraction=0.2)
MODEL = ModelStamp(name="simulated", version="1", digest="ab" * 32, architecture="attention-alexnet")
REPORT = """
import json, resource, sys, time
from pathlib import Path
from mnbatch.app.rebuild import open_store, rebuild
from mnbatch.report.build import ReportOptions
from mnbatch.report import pages_beside
if sys.argv[2] == "alone":
    pages_beside.MOST_PROCESSES = 1
begun = time.perf_counter(), time.process_time()
store = open_store(Path(sys.argv[1]))
made = rebuild(store, ReportOptions(force=sys.argv[2] != "as ever")).made
others = resource.getrusage(resource.RUSAGE_CHILDREN)
used = time.perf_counter() - begun[0], time.process_time() - begun[1] + others.ru_utime + others.ru_stime
print(json.dumps([*used, made.slides_built, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one report: seconds by the clock and of the processor, slides made again, peak memory in MB."""

    wall: float
    cpu: float
    built: int
    peak_mb: float


def add_slide(store: Store, number: int, cells: int, seed: int, crops: bool = False) -> None:
    """Commit a slide of random results."""
    rng = np.random.default_rng([seed, number])
    slide_id = f"slide{number:05d}"
    call = CallStamp(key="key", threshold=0.5, max_bad_fraction=0.5, quality_rules=1)
    when = "2026-01-05T07:00:00+00:00"
    scored = Scoring(
        device="cpu", precision="float32", minibatch=16, mnbatch="simulated", torch="none", started=when, finished=when,
        seconds=1.0,
    )  # fmt: skip
    donor = f"D{number // SLIDES_OF_A_DONOR:04d}"
    record = SlideRecord(
        slide_id=slide_id, name=slide_id, path=f"{donor}/{slide_id}", donor=donor, layout="donor-slide",
        status="scored", stat_key="stat", model=MODEL, call=call, scored=scored, stain="fluorescence",
        score_key="score",
    )  # fmt: skip
    pixels = rng.integers(0, 255, (224, 224, 3), np.uint8) if crops else np.zeros((224, 224, 3), np.uint8)
    with store.writer(slide_id, keep_crops=crops) as writer:
        for cell in range(cells):
            source = f"{donor}/{slide_id}/cell{cell:04d}.tif"
            likeness = Likeness(rng.bytes(SPECTRUM_BYTES), rng.bytes(THUMBNAIL_BYTES))
            crop = CellCrop(
                slide_id=slide_id, cell_id=f"{slide_id}:{source}", source=source, page=None, pixels=pixels,
                digest=rng.bytes(16).hex(), stain="fluorescence", quality=QUALITY, likeness=likeness,
            )  # fmt: skip
            writer.add(CellScore(crop, float(rng.beta(0.3, 6)), rng.random((3, 13, 13), np.float32)))
        writer.commit(record)


def report(out: Path, how: str = "as ever") -> Cost:
    """Reports of OUT, in a process of their own.

    Args:
        how: "alone" or "beside" make all pages again, in one process or in several.
    """
    done = subprocess.run([sys.executable, "-c", REPORT, str(out), how], stdout=subprocess.PIPE, check=True)
    wall, cpu, built, peak = json.loads(done.stdout)
    return Cost(wall, cpu, built, peak / (1024**2 if sys.platform == "darwin" else 1024))


def report_table(out: Path, slides: int, cells: int, crops: bool) -> None:
    """Cost of reports: all, nothing changed, one changed."""
    first = report(out)
    same = [report(out) for _ in range(3)]
    add_slide(Store(out), slides // 2, cells, 2, crops)
    changed = report(out)
    alone, beside = report(out, "alone"), report(out, "beside")
    idle = statistics.median(cost.cpu for cost in same)
    rows = {"all made": [first], "nothing changed": same, "one slide changed": [changed]}
    rows |= {"all again, one process": [alone], "all again, several": [beside]}
    title = f"report over {slides} slides"
    print(f"{title:>28} {'wall s':>8} {'CPU s':>8} {'ms a slide':>11} {'built':>6} {'MB':>6}")
    for name, costs in rows.items():
        wall, cpu = (statistics.median(getattr(cost, what) for cost in costs) for what in ("wall", "cpu"))
        last = costs[-1]
        print(f"{name:>28} {wall:8.2f} {cpu:8.2f} {1000 * cpu / slides:11.2f} {last.built:6d} {last.peak_mb:6.0f}")
    print("without the time that Python needs to start and load the program")
    print(f"nothing changed: {1000 * idle / slides:.2f} ms of processor time a slide (wanted: 1)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=5000)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--crops", action="store_true", help="slides keep pictures of their cells")
    parser.add_argument("--out", type=Path, help="keep OUT there; one that is there is used as it is")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnbatch-report-scale-") as name:
        out = arguments.out or Path(name) / "out"
        begun = time.perf_counter()
        store = Store(out)
        for number in range(arguments.slides):
            if not store.paths.slide(f"slide{number:05d}").record.exists():
                add_slide(store, number, arguments.cells, 1, arguments.crops)
        print(
            f"OUT of {arguments.slides} slides of {arguments.cells} cells made in {time.perf_counter() - begun:.0f} s"
        )
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        report_table(out, arguments.slides, arguments.cells, arguments.crops)


if __name__ == "__main__":
    main()

"""How fast a run is through a local cluster of two workers, beside a plain run on the same cores.

    python benchmarks/cluster_ratio.py [--slides 12] [--cells 100] [--times 3] [--workers 2] [--repeats 3]

Two simulated exports, one with `--times` as many cells a slide. Each is run plainly and with `--cluster local:N`, one
after the other, medians of the repeats. The ratio of whole commands holds what it takes to start Python, Dask and torch
in every process; that of what the larger export takes beyond the smaller one does not. By the clock, and by processor
time of the command and all its processes, which says more on a busy machine: also of those that the command does not
wait for (Linux). The tables must have the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export

SLIDES_A_DONOR = 2
PR_SET_CHILD_SUBREAPER = 36
Cost = tuple[float, float]
"""Seconds by the clock and of the processor."""


def run(export: Path, out: Path, options: list[str]) -> Cost:
    """One command and all its processes, those that outlive it a moment included."""
    command = [sys.executable, "-m", "mnbatch", "run", str(export), "--out", str(out), "--device", "cpu", "--quiet"]
    before, begun = os.times(), time.perf_counter()
    subprocess.run([*command, *options], check=True)
    wall = time.perf_counter() - begun
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def tables(out: Path) -> dict[str, bytes]:
    """Scores of all slides: what must not depend on who made them."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.glob("slides/*/g*/scores.csv"))}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=12)
    parser.add_argument("--cells", type=int, default=100, help="of a slide of the smaller export")
    parser.add_argument("--times", type=int, default=3, help="cells of the larger export, by those of the smaller one")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    # A process whose parent is gone becomes a child of this one, and its time is counted when it is waited for.
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise SystemExit("processes that the command does not wait for cannot be counted here")
    ways = {"plain": [], "cluster": ["--cluster", f"local:{arguments.workers}"]}
    costs: dict[tuple[str, int], list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="mnbatch-cluster-ratio-") as name:
        folder = Path(name)
        sizes = (arguments.cells, arguments.times * arguments.cells)
        for cells in sizes:
            plan = ExportPlan(
                donors=arguments.slides // SLIDES_A_DONOR, slides=SLIDES_A_DONOR, cells=cells, fmt="png", bits=8
            )
            # Here: a pool would leave a process behind, for which `run` would wait.
            simulate_export(folder / str(cells), plan, workers=1)
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        for _ in range(arguments.repeats):
            for cells in sizes:
                made = {}
                for way, options in ways.items():
                    out = folder / f"out-{way}"
                    cost = run(folder / str(cells) / "export", out, options)
                    costs.setdefault((way, cells), []).append(cost)
                    print(
                        f"{arguments.slides * cells} cells, {way}: {cost[0]:.1f} s, {cost[1]:.1f} s of the processor",
                        flush=True,
                    )
                    made[way] = tables(out)
                    shutil.rmtree(out)
                if made["plain"] != made["cluster"]:
                    raise SystemExit("the scores of the cluster are not those of the plain run")
    median = {
        key: tuple(statistics.median(column) for column in zip(*found, strict=True)) for key, found in costs.items()
    }
    print(f"{'cells':>8} {'':>8} {'seconds':>9} {'CPU s':>9}")
    for (way, cells), (wall, cpu) in median.items():
        print(f"{arguments.slides * cells:8d} {way:>8} {wall:9.1f} {cpu:9.1f}")
    for number, what in enumerate(("by the clock", "processor time")):
        whole = median["plain", sizes[1]][number] / median["cluster", sizes[1]][number]
        more = {way: median[way, sizes[1]][number] - median[way, sizes[0]][number] for way in ways}
        print(
            f"{what}: plain / cluster {whole:.2f}, without start-up {more['plain'] / more['cluster']:.2f} (wanted: 0.9)"
        )
    print(f"load of the machine: {os.getloadavg()[0]:.1f}; the scores are the same")


if __name__ == "__main__":
    main()

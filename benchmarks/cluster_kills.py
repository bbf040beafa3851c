"""SIGKILL at random moments, of workers of a cluster and of its run: are the bytes those of a plain run?

    python benchmarks/cluster_kills.py [--workers 50] [--runs 50] [--slides 24] [--cells 12] [--seed 1] [--minutes 25]

Simulated crops, the bundled model, a cluster of two processes of this machine as `local:2` makes it. Worker kills:
while a run goes on, a random worker is killed after 0.2 to 4 s, again and again, until the run ends; a new one comes in
its place. Coordinator kills: `mnbatch run --cluster local:2` is killed at a random moment and started again,
until one ends by itself: the kill that comes next meets the run that goes on from the one before.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mnbatch.pipeline.cluster_opening import local_cluster
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export

BETWEEN_KILLS = (0.2, 4.0)
"""Seconds; a new worker takes part after one or two."""

MASKED = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00|Z| UTC)?|cpu \(\d+ threads\)"
    rb"|\"seconds\": [0-9.e-]+|\"checksum\": \"[0-9a-f]{32}\"|\"generation\": \"g\d+\""
)


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=50, help="kills of workers")
    parser.add_argument("--runs", type=int, default=50, help="kills of the run")
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=25, help="of each kind, after which no more are killed")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="mnbatch-kills-") as name:
        folder = Path(name)
        plan = ExportPlan(donors=arguments.slides // 2, slides=2, cells=arguments.cells, fmt="png", bits=8)
        simulate_export(folder / "made", plan, workers=1)
        mnbatch(folder, "plain", []).wait()
        expected = contents(folder / "plain")
        # Workers take their time to start: kills are spread over a whole run of a cluster.
        start = time.perf_counter()
        mnbatch(folder, "cluster", ["--cluster", "local:2"]).wait()
        seconds = time.perf_counter() - start
        compared("cluster", 0, 0, contents(folder / "cluster"), expected)
        print(f"{arguments.slides} slides of {arguments.cells} cells; run of a cluster {seconds:.0f} s", flush=True)
        for kill, wanted in ((kill_workers, arguments.workers), (kill_runs, arguments.runs)):
            kill(folder, wanted, seconds, expected, time.monotonic() + 60 * arguments.minutes)


def mnbatch(folder: Path, out: str, options: list[str]) -> subprocess.Popen[bytes]:
    """A run, as a process group of its own."""
    command = [sys.executable, "-m", "mnbatch", "run", str(folder / "made/export"), "--out", str(folder / out)]
    return subprocess.Popen([*command, "--device", "cpu", "--quiet", *options], start_new_session=True)


def contents(out: Path) -> dict[str, bytes]:
    """Tables and generations without times; a generation's number counts the attempts that were committed."""
    found = {}
    for path in sorted([*out.glob("*.csv"), *out.glob("slides/*/record.json"), *out.glob("slides/*/g*/*")]):
        name = re.sub(r"/g\d+/", "/g/", path.relative_to(out).as_posix())
        assert name not in found, f"{name} is there twice"
        found[name] = MASKED.sub(b"", path.read_bytes())
    return found


def compared(what: str, number: int, kills: int, found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Say how a run that was killed ended; whether its bytes are those of a plain run."""
    differ = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    print(f"{what} {number}, {kills} kills so far: {', '.join(differ[:5]) or 'the bytes of a plain run'}", flush=True)
    return not differ


def kill_workers(folder: Path, wanted: int, _: float, expected: dict[str, bytes], until: float) -> None:
    """Runs whose workers are killed while they work."""
    kills = runs = same = 0
    with local_cluster(2) as cluster:
        while kills < wanted and time.monotonic() < until:
            process = mnbatch(folder, "killed", ["--cluster", cluster.scheduler_address])
            while process.poll() is None:
                try:
                    process.wait(random.uniform(*BETWEEN_KILLS))
                except subprocess.TimeoutExpired:
                    cluster.scale(2)  # a worker that is killed before it works is given up by Dask
                    if kills < wanted and (at_work := working(cluster)):
                        os.kill(random.choice(at_work), signal.SIGKILL)
                        kills += 1
            # A slide that was at three workers when they were killed is left to the next run, as it should be.
            mnbatch(folder, "killed", []).wait()
            runs += 1
            same += compared("workers, run", runs, kills, contents(folder / "killed"), expected)
            shutil.rmtree(folder / "killed")
    print(f"workers: {kills} kills in {runs} runs; the bytes of a plain run in {same} of {runs}", flush=True)


def working(cluster: Any) -> list[int]:
    """Processes of the workers that are there; one that took the place of another may still be on its way."""
    keepers = [keeper.process for keeper in cluster.workers.values() if keeper.process is not None]
    return [keeper.pid for keeper in keepers if keeper.pid is not None and keeper.status.name == "running"]


def kill_runs(folder: Path, wanted: int, seconds: float, expected: dict[str, bytes], until: float) -> None:
    """The run and its workers are killed at a random moment; then it goes on."""
    kills = runs = same = 0
    while kills < wanted and time.monotonic() < until:
        while True:
            process = mnbatch(folder, "killed", ["--cluster", "local:2"])
            try:
                process.wait(random.uniform(0, 1.1) * seconds if kills < wanted and time.monotonic() < until else None)
                break
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                process.wait()
        runs += 1
        same += compared("runs, batch", runs, kills, contents(folder / "killed"), expected)
        shutil.rmtree(folder / "killed")
    print(f"runs: {kills} kills in {runs} batches; the bytes of a plain run in {same} of {runs}", flush=True)


if __name__ == "__main__":
    main()

"""What a run itself does a cell, beside its worker processes: a device of 0.02 ms a cell stands for the network.

    python benchmarks/parent_share.py [--cells 2000] [--format png] [--workers 1 2] [--export FOLDER] [--profile]

Rate and processor time of the run's own process while slides are scored: messages, packing, rows, crops, maps, commits;
not the crawl, the start of the workers, or the reports. The fake device is `tests/fake_device.py`, so run it from the
root of the repository. With two workers on two cores the run takes its share from them; best of the repeats.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mnbatch.pipeline.scoring as story
from mnbatch.inference.classifier import ENGINES
from mnbatch.pipeline.run import run
from mnbatch.settings import resolve
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export
from tests.fake_device import FakeEngine

SECONDS_A_CELL = 20e-6
MINIBATCH = 64

score_slides = story.score_slides


class Watch:
    """Takes the time of the scoring of one run."""

    def __init__(self, profile: bool) -> None:
        self.profile = cProfile.Profile() if profile else None
        self.wall = self.cpu = 0.0

    def __call__(self, *arguments: Any) -> Iterator[Any]:
        """In place of `score_slides`."""
        if self.profile is not None:
            self.profile.enable()
        wall, cpu = time.perf_counter(), time.process_time()
        yield from list(score_slides(*arguments))
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu
        if self.profile is not None:
            self.profile.disable()


def measured(export: Path, out: Path, workers: int, profile: bool) -> tuple[int, Watch, FakeEngine]:
    """One run: cells, times, the device."""
    engine = FakeEngine(MINIBATCH, seconds_a_cell=SECONDS_A_CELL)
    ENGINES["cpu"] = lambda *_: engine
    watch = Watch(profile)
    story.score_slides = watch  # type: ignore[assignment]
    settings = {"export": export, "out": out, "device": "cpu", "workers": workers, "gallery": 0}
    outcome = run(resolve(settings))
    if outcome.exit_code:
        raise SystemExit(f"the run ended with exit code {outcome.exit_code}")
    return engine.cells, watch, engine


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--format", choices=("png", "jpg", "tif"), default="png")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--export", type=Path, help="instead of a simulated one")
    parser.add_argument("--profile", action="store_true", help="also print where the run's own time goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnbatch-parent-share-") as name:
        export = arguments.export
        if export is None:
            plan = ExportPlan(donors=1, slides=4, cells=arguments.cells // 4, fmt=arguments.format, bits=8)
            simulate_export(Path(name), plan, workers=2)
            export = Path(name) / "export"
        print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'workers':>7} {'cells/s':>9} {'run, us of processor time a cell':>34}")
        for workers in arguments.workers:
            # The first run of each starts its workers, and is left out.
            runs = [
                measured(export, Path(name) / f"out-{workers}-{number}", workers, arguments.profile)
                for number in range(arguments.repeats + 1)
            ][1:]
            rate = max(cells / watch.wall for cells, watch, _ in runs)
            own = min(1e6 * watch.cpu / cells for cells, watch, _ in runs)
            print(f"{workers:>7} {rate:>9.0f} {own:>34.0f}")
        if arguments.profile:
            pstats.Stats(runs[-1][1].profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()

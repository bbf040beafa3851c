"""What a run itself does a cell, beside its worker processes: a device of 0.02 ms a cell stands for the network.

    python benchmarks/parent_share.py [--cells 2000] [--format png] [--workers 1 2] [--export FOLDER] [--profile]

Rate and processor time of the run's own process while slides are scored: messages, packing, rows, crops, maps, commits;
not the crawl, the start of the workers, or the reports. Loading the model, once a run whatever its size, stands apart,
and so do the threads beside the main one: they take messages from the workers. What the fake device itself takes
(`tests/fake_device.py`, so run it from the root of the repository) is left out. With two workers on two cores the run
takes its share from them; best of the repeats.
"""

from __future__ import annotations

import argparse
import cProfile
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded

import pstats
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mnbatch.pipeline.scoring as story
from mnbatch.assay.cells import KnownStain, UInt8Array
from mnbatch.inference.classifier import ENGINES, Classifier
from mnbatch.pipeline.run import run
from mnbatch.settings import resolve
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export
from tests.fake_device import FakeEngine

SECONDS_A_CELL = 20e-6
MINIBATCH = 64

score_slides = story.score_slides
for_stain = story.Classifiers.for_stain


class Watch:
    """Takes the time of the scoring of one run: by the clock, of the process, of the main thread without loading, and
    of loading."""

    def __init__(self, profile: bool) -> None:
        self.profile = cProfile.Profile() if profile else None
        self.wall = self.cpu = self.main = self.loading = 0.0

    def __call__(self, *arguments: Any) -> Iterator[Any]:
        """In place of `score_slides`."""
        if self.profile is not None:
            self.profile.enable()
        wall, cpu, main = time.perf_counter(), time.process_time(), time.thread_time()
        yield from list(score_slides(*arguments))
        self.wall = time.perf_counter() - wall - self.loading
        self.cpu, self.main = (
            now - before - self.loading for now, before in ((time.process_time(), cpu), (time.thread_time(), main))
        )
        if self.profile is not None:
            self.profile.disable()

    def loads(self, classifiers: story.Classifiers, stain: KnownStain) -> Classifier:
        """In place of `Classifiers.for_stain`, which the main thread alone calls."""
        begun = time.thread_time()
        found = for_stain(classifiers, stain)
        self.loading += time.thread_time() - begun
        return found


class WatchedEngine(FakeEngine):
    """Its own time is none of the run's."""

    own = 0.0

    def submit(self, crops: Sequence[UInt8Array]) -> Any:
        """See `Engine`."""
        begun = time.thread_time()
        pending = super().submit(crops)
        self.own += time.thread_time() - begun
        return pending


def measured(export: Path, out: Path, workers: int, profile: bool) -> tuple[int, Watch]:
    """One run: cells, times."""
    engine = WatchedEngine(MINIBATCH, seconds_a_cell=SECONDS_A_CELL)
    ENGINES["cpu"] = lambda *_: engine
    watch = Watch(profile)
    story.score_slides = watch  # type: ignore[assignment]
    story.Classifiers.for_stain = lambda *arguments: watch.loads(*arguments)  # type: ignore[method-assign]
    settings = {"export": export, "out": out, "device": "cpu", "workers": workers, "gallery": 0}
    outcome = run(resolve(settings))
    if outcome.exit_code:
        raise SystemExit(f"the run ended with exit code {outcome.exit_code}")
    watch.cpu, watch.main = watch.cpu - engine.own, watch.main - engine.own
    return engine.cells, watch


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
        print("processor time of the run's own process: microseconds a cell, and loading the model once")
        print(f"{'workers':>7} {'cells/s':>9} {'together':>9} {'main thread':>12} {'messages':>9} {'loading, s':>11}")
        for workers in arguments.workers:
            # The first run of each starts its workers, and is left out.
            runs = [
                measured(export, Path(name) / f"out-{workers}-{number}", workers, arguments.profile)
                for number in range(arguments.repeats + 1)
            ][1:]
            rate = max(cells / watch.wall for cells, watch in runs)
            cells, watch = min(runs, key=lambda one: one[1].cpu / one[0])
            shares = [1e6 * value / cells for value in (watch.cpu, watch.main, watch.cpu - watch.main)]
            own, main_thread, others = shares
            line = f"{workers:>7} {rate:>9.0f} {own:>9.0f} {main_thread:>12.0f} {others:>9.0f} {watch.loading:>11.2f}"
            print(line, flush=True)
        if arguments.profile:
            pstats.Stats(runs[-1][1].profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()

"""What the coordinator of a cluster costs: its share of a core and its memory, over thousands of slides.

The workers are processes of this machine, and fake: each waits as long as scoring would take at the pace that is asked
for, then commits a stored result that was made before (random scores) as every slide's. All else is what a run does:
Dask, shards, records on the disk, the second look at every slide. Linux only (memory from /proc).

    python benchmarks/coordinator_scale.py [--slides 10000] [--cells 1000] [--workers 8] [--pace 20000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COLUMNS = f"{'slides':>8} {'seconds':>8} {'CPU s':>8} {'share':>7} {'MB':>7}"


def main() -> None:
    """Print the table, or be the cluster (`--serve`)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=1000, help="of a slide; each a file")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--pace", type=float, default=20_000, help="cells a second of a worker")
    parser.add_argument("--folder", type=Path, help="where OUT is made (a RAM disk); it is removed")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.workers, arguments.pace, arguments.folder)
        return
    with tempfile.TemporaryDirectory(prefix="mnbatch-coordinator-", dir=arguments.folder) as name:
        folder = Path(name)
        make_template(folder / "template", arguments.cells)
        command = [sys.executable, __file__, "--serve", "--workers", str(arguments.workers)]
        command += ["--pace", str(arguments.pace), "--folder", str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
            assert cluster.stdout is not None
            measure(folder, arguments, json.loads(cluster.stdout.readline())["address"])
            cluster.communicate("")


# The cluster.


def serve(workers: int, pace: float, folder: Path) -> None:
    """Scheduler and fake workers, until standard input ends."""
    import distributed

    class Fake(distributed.WorkerPlugin):  # type: ignore[misc]
        """Replaces what a worker would do."""

        def setup(self, worker: Any) -> None:
            become_fake(pace, folder)

    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(memory_limit=0, silence_logs=50, **options) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            client.register_plugin(Fake())
        print(json.dumps({"address": cluster.scheduler_address}), flush=True)
        sys.stdin.read()


def become_fake(pace: float, folder: Path) -> None:
    """This process scores nothing: it waits, and commits the template."""
    import os
    import socket
    import time

    from mnbatch.pipeline import cluster_worker
    from mnbatch.results.commit import write_record
    from mnbatch.results.manifest import versions
    from mnbatch.results.paths import OutPaths
    from mnbatch.results.records import SlideRecord

    known = {"host": socket.gethostname(), "pid": os.getpid(), "versions": dict(versions()), "device": "cpu"}
    known |= {"model": "ab" * 32, "out": True, "export": True}
    cluster_worker.describe_worker = lambda question: known
    template = SlideRecord.model_validate_json((folder / "template/record.json").read_text())

    def score(order: Any, stop: Any) -> list[Any]:
        finished = []
        for slide, _ in order.slides:
            time.sleep(len(slide.files) / pace)
            paths = OutPaths(order.out).slide(slide.slide_id)
            generation = paths.generation("g1").root
            generation.mkdir(parents=True)
            for name in template.sizes:
                os.link(folder / "template/g1" / name, generation / name)
            record = template.model_copy(update={"slide_id": slide.slide_id, "name": slide.name, "path": slide.path})
            write_record(paths, record)
            finished.append(cluster_worker.Finished(slide.slide_id, record.model_dump_json(), ""))
        return finished

    cluster_worker._score = score


# The coordinator.


def make_template(folder: Path, cells: int) -> None:
    """A stored result of a slide: random scores, digests and spectra."""
    from report_scale import add_slide

    from mnbatch.results.store import Store

    store = Store(folder.parent / "made")
    add_slide(store, 0, cells, seed=1)
    record = store.record("slide00000")
    assert record is not None
    # Thumbnails are kept where crops are not, which is seldom.
    sizes = {name: size for name, size in record.sizes.items() if "thumbnails" not in name}
    folder.mkdir()
    store.paths.slide("slide00000").generation("g1").root.rename(folder / "g1")
    (folder / "record.json").write_text(record.model_copy(update={"sizes": sizes}).model_dump_json())


def plans(slides: int, cells: int, root: Path) -> list[Any]:
    """Slides to be scored, each with its files, as the crawl would give them."""
    from mnbatch.assay.cells import Slide, SourceFile
    from mnbatch.pipeline.planning import Plan

    found = []
    for number in range(slides):
        path = f"D{number // 5:05d}/S{number:05d}"
        files = tuple(SourceFile(f"{path}/cell{cell:04d}.png", 30_000 + cell, 10**18 + cell) for cell in range(cells))
        slide = Slide(f"s{number:05d}-abcdef", f"S{number:05d}", path, path[:6], root, files, "donor-slide-folders")
        found.append(Plan(slide, "score", "new", None))
    return found


def measure(folder: Path, arguments: argparse.Namespace, address: str) -> None:
    """Let the coordinator have all slides scored, and print what it used."""
    from mnbatch.console import SilentProgress
    from mnbatch.pipeline.cluster import ClusterTools, score_on_cluster
    from mnbatch.pipeline.planning import Stamps
    from mnbatch.results.lock import hold_out
    from mnbatch.results.store import Store
    from mnbatch.settings import RunSettings

    class Models:
        """What is asked of a set of models before anything is scored."""

        digest = "ab" * 32
        path = folder / "model"

    out, cells, slides = folder / "out", arguments.cells, arguments.slides
    out.mkdir()
    settings = RunSettings(export=folder, out=out, cluster=address, model=str(folder))
    pending = plans(slides, cells, folder)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{slides} slides of {cells} cells, {arguments.workers} fake workers of {arguments.pace:g} cells/s")
    print(COLUMNS, flush=True)
    tools = ClusterTools(SilentProgress(), lambda: False, lambda workers: None, 300.0)
    store = Store(out)
    with hold_out(store.paths):
        begun = time.perf_counter(), time.process_time()
        for number, _ in enumerate(score_on_cluster(pending, store, Stamps(Models(), settings), tools), start=1):  # type: ignore[arg-type]
            if number % max(1, slides // 8) == 0:
                row(number, begun)
        row(number, begun, "with the second look at every slide")
    used = time.process_time() - begun[1]
    print(f"{1000 * used / slides:.2f} ms of processor time a slide (wanted: below 10 % of a core)")


def row(slides: int, begun: tuple[float, float], note: str = "") -> None:
    """One line: what was used until now."""
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    print(f"{slides:8d} {wall:8.1f} {cpu:8.2f} {cpu / wall:7.1%} {memory:7.0f} {note}", flush=True)


if __name__ == "__main__":
    main()

"""Processor time a cell of all but the network: reading, JPEGs, messages, network input, maps; no cell is scored.

    python benchmarks/host_work.py [--cells 400] [--format png] [--repeats 3] [--export FOLDER]

One core, processor time (`time.process_time`), the best of the repeats: other programs that use the machine still show,
since they share its caches. To compare two versions, run that of each checkout in turn.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnbatch.assay.cells import CellCrop
from mnbatch.imaging import preparation
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import read_tasks
from mnbatch.pipeline import opened_slides
from mnbatch.pipeline.sources import open_source
from mnbatch.results.stored_crops import pack_maps
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export

PREPARATION = Preparation(contrast={"rule": "deep_per_crop"}, zoom={"rule": "main_nucleus"}, polarity="density")  # type: ignore[arg-type]


Message = tuple[bytes, list[memoryview]]
"""A pickle, and the memory of its arrays where they travel apart from it."""


def message(content: object) -> Message:
    """As a worker makes it."""
    arrays: list[pickle.PickleBuffer] = []
    return pickle.dumps(content, protocol=5, buffer_callback=arrays.append), [array.raw() for array in arrays]


def opened(sent: Message) -> Any:
    """As the run has it: the copy stands for reading it from the pipe, where there is no shared memory."""
    return pickle.loads(sent[0], buffers=[bytearray(array) for array in sent[1]])


def messages(export: Path) -> list[Message]:
    """What workers would send of an export."""
    from mnbatch.imaging.fields.field_options import FieldOptions

    sent = []
    for slide in find_slides(export):
        source, tasks = open_source(slide, PREPARATION, FieldOptions()), list(read_tasks(slide))
        for first in range(0, len(tasks), 8):
            pieces = source.read_together(tasks[first : first + 8], None)  # type: ignore[attr-defined]
            sent.append(message([opened_slides.packed(items, True) for items in pieces]))
    return sent


def received(sent: list[Message]) -> list[CellCrop]:
    """The crops as the run has them."""
    items = []
    for content in map(opened, sent):
        items += [item for piece in content for item in opened_slides.unpacked(piece)]
    return [item for item in items if isinstance(item, CellCrop)]


def inputs(crops: list[CellCrop]) -> None:
    """As an engine fills its minibatches."""
    filled = np.zeros((16, 224, 224, 3), np.uint8)
    for place, crop in enumerate(crops):
        preparation.fill_input(filled[place % 16], crop.pixels, PREPARATION)


def maps(count: int) -> None:
    """As a writer keeps them."""
    values = np.random.default_rng(1).random((3, 13, 13), np.float32)
    for first in range(0, count, 64):
        pack_maps(np.stack([values] * min(64, count - first)))


def best(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of processor time, the least of several."""
    taken = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--format", choices=("png", "jpg", "tif"), default="png")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--export", type=Path, help="instead of a simulated one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnbatch-host-work-") as name:
        export = arguments.export
        if export is None:
            plan = ExportPlan(donors=1, slides=2, cells=arguments.cells // 2, fmt=arguments.format, bits=8)
            simulate_export(Path(name), plan, workers=1)
            export = Path(name) / "export"
        sent = messages(export)
        crops = received(sent)
        parts = {
            "worker: read, measure, JPEG, message": lambda: messages(export),
            "run: message to crops": lambda: received(sent),
            "run: network input": lambda: inputs(crops),
            "run: maps": lambda: maps(len(crops)),
        }
        print(f"{len(crops)} cells; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        size = sum(len(head) + sum(map(len, arrays)) for head, arrays in sent)
        print(f"{size / len(crops) / 1000:.0f} KB a cell are sent")
        total = 0.0
        for title, work in parts.items():
            taken = 1000 * best(arguments.repeats, work) / len(crops)
            total += taken
            print(f"{title:<40} {taken:6.2f} ms of processor time a cell")
        print(f"{'together':<40} {total:6.2f}")


if __name__ == "__main__":
    main()

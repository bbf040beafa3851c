"""What each part of a GPU's engine brings, in one run: the recorded pass, the network's input made on the device.

    python benchmarks/gpu_engine.py [--cells 8192] [--stain giemsa] [--device cuda] [--minibatch 512] [--repeats 5]

Crops in memory, one look at each cell. Printed are cells per second (median, by the clock), processor milliseconds of
the host a cell, and the largest difference of p_mn from the engine as it is. On `--device cpu` it only shows that it
runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from cpu_engines import simulated_crops
from throughput import with_one_look

from mnbatch.assay.cells import UInt8Array
from mnbatch.imaging.preparation import network_input
from mnbatch.inference import device_engine
from mnbatch.inference.catalogue import ModelSet
from mnbatch.inference.device_engine import DeviceEngine
from mnbatch.inference.model_directory import LoadedModel

WAYS = ("the engine", "without recording", "input made on the host")
DISTINCT_CELLS = 256


@contextmanager
def as_is(way: str, model: LoadedModel) -> Iterator[None]:
    """With one part of the engine taken out."""
    usual_pass, usual_fill, usual_input = device_engine.recorded, device_engine.fill_channels, device_engine.DeviceInput
    if way == "without recording":
        device_engine.recorded = lambda compute, _: compute
    elif way == "input made on the host":
        preparation = model.card.preparation
        device_engine.fill_channels = lambda target, crop: usual_fill(target, network_input(crop, preparation))
        device_engine.DeviceInput = lambda *_: lambda crops: crops  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        device_engine.recorded, device_engine.fill_channels = usual_pass, usual_fill
        device_engine.DeviceInput = usual_input  # type: ignore[misc]


def scored(engine: DeviceEngine, crops: Sequence[UInt8Array]) -> np.ndarray:
    """p_mn of all, with as many minibatches under way as the engine takes."""
    waiting, parts = [], []
    for first in range(0, len(crops), engine.minibatch):
        if len(waiting) >= engine.in_flight:
            parts.append(waiting.pop(0).result().p_mn)
        waiting.append(engine.submit(crops[first : first + engine.minibatch]))
    return np.concatenate([*parts, *(pending.result().p_mn for pending in waiting)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8192)
    parser.add_argument("--stain", choices=("fluorescence", "giemsa"), default="giemsa")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minibatch", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnbatch-gpu-") as name:
        model = with_one_look(ModelSet.open("attention-alexnet").load(arguments.stain), Path(name) / "one-look")
    some = simulated_crops(min(arguments.cells, DISTINCT_CELLS), arguments.stain, model)
    crops = [some[place % len(some)] for place in range(arguments.cells)]
    expected = None
    print(f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, {arguments.cells} crops, {model.card.name}")
    for way in WAYS:
        with as_is(way, model):
            engine = DeviceEngine(model, torch.device(arguments.device), arguments.minibatch)
            found = scored(engine, crops)
            expected = found if expected is None else expected
            rates, shares = [], []
            for _ in range(arguments.repeats):
                cpu, start = time.process_time(), time.perf_counter()
                scored(engine, crops)
                rates.append(len(crops) / (time.perf_counter() - start))
                shares.append(1e3 * (time.process_time() - cpu) / len(crops))
            engine.close()
        apart = float(np.abs(found - expected).max())
        rate, share = statistics.median(rates), statistics.median(shares)
        line = f"{way:>24}  {rate:>9.0f} cells/s  {share:>7.3f} ms a cell  {apart:.1e}"
        print(f"{line}  minibatch {engine.minibatch}, {engine.device_name}", flush=True)


if __name__ == "__main__":
    main()

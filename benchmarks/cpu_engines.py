"""Ways to run the network on a processor, in one run: torch in float32 and bfloat16, compiled, ONNX Runtime, OpenVINO.

    python benchmarks/cpu_engines.py [--cells 256] [--repeats 3] [--model attention-alexnet] [--stain fluorescence]

Simulated crops in memory, minibatches of 16, one thread each, one a core, one look at each cell. Printed are cells
per second (median), processor milliseconds a cell (which other programs disturb less), the largest difference of p_mn
from float32, and how many cells are called otherwise at the card's threshold. Rows whose package or instructions are
missing are left out.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from throughput import with_one_look

from mnbatch.assay.cells import CellCrop, UInt8Array
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.preparation import network_input
from mnbatch.imaging.readers import read_cells, read_tasks
from mnbatch.inference import cpu_engine
from mnbatch.inference.catalogue import ModelSet
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.cpu_engine import CPU_MINIBATCH
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.network_scores import Normaliser, cpu_has_bfloat16, explained, packed, unpacked
from mnbatch.processes import available_cores
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export

Scorer = Callable[[], npt.NDArray[np.float64]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="attention-alexnet")
    parser.add_argument("--stain", choices=("fluorescence", "giemsa"), default="fluorescence")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnbatch-engines-") as name:
        model = with_one_look(ModelSet.open(arguments.model).load(arguments.stain), Path(name) / "one-look")
    crops = simulated_crops(arguments.cells, arguments.stain, model)
    print(f"{platform.processor() or platform.machine()}, {available_cores()} cores, torch {torch.__version__}")
    print(f"load {os.getloadavg()[0]:.1f}; {len(crops)} simulated crops, {arguments.stain}, {model.card.name}\n")
    ways = {name: way for name, way in all_ways(model, crops).items() if way is not None}
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    scores: dict[str, npt.NDArray[np.float64]] = {}
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            cpu, start = time.process_time(), time.perf_counter()
            scores[name] = way()
            measured[name].append((len(crops) / (time.perf_counter() - start), time.process_time() - cpu))
    print_table(measured, scores, len(crops), model.card.threshold)


def simulated_crops(cells: int, stain: str, model: LoadedModel) -> UInt8Array:
    """Crops as a run prepares them."""
    with tempfile.TemporaryDirectory(prefix="mnbatch-engines-") as name:
        plan = ExportPlan(donors=2, slides=2, cells=-(-cells // 4), fmt="png", bits=8, stain=stain)  # type: ignore[arg-type]
        simulate_export(Path(name), plan, workers=1)
        tasks = [task for slide in find_slides(Path(name) / "export") for task in read_tasks(slide)]
        read = [item for task in tasks for item in read_cells(task, model.card.preparation)]
    return np.stack([item.pixels for item in read if isinstance(item, CellCrop)][:cells])


def all_ways(model: LoadedModel, crops: UInt8Array) -> dict[str, Scorer | None]:
    """Name -> what scores the crops; None where it cannot be had here."""
    return {
        "torch fp32 (the engine)": engine(model, crops, "fp32"),
        "torch's own convolutions": plain_engine(model, crops),
        "torch bf16 (the engine)": engine(model, crops, "bf16") if cpu_has_bfloat16() else None,
        "torch.compile fp32": compiled(model, crops),
        "ONNX Runtime fp32": onnx(model, crops),
        "OpenVINO fp32": openvino(model, crops),
    }


def engine(model: LoadedModel, crops: UInt8Array, precision: str) -> Scorer:
    """The engine of a run."""
    classifier = Classifier(model, device="cpu", precision=precision)
    return lambda: classifier.score(crops).p_mn


def plain_engine(model: LoadedModel, crops: UInt8Array) -> Scorer:
    """The engine of a run without `mnbatch.inference.cpu_convolutions`."""
    usual = cpu_engine.faster_here
    cpu_engine.faster_here = tuple  # type: ignore[assignment]
    try:
        return engine(model, crops, "fp32")
    finally:
        cpu_engine.faster_here = usual  # type: ignore[assignment]


def in_threads(score: Callable[[UInt8Array], npt.NDArray[np.float64]], crops: UInt8Array) -> Scorer:
    """Minibatches one a core, each in one thread."""
    pool = ThreadPoolExecutor(available_cores(), initializer=torch.set_num_threads, initargs=(1,))
    parts = [crops[first : first + CPU_MINIBATCH] for first in range(0, len(crops), CPU_MINIBATCH)]
    return lambda: np.concatenate(list(pool.map(score, parts)))


def padded(model: LoadedModel, part: UInt8Array) -> UInt8Array:
    """A minibatch of the fixed size, as the network takes it."""
    filled = np.zeros((CPU_MINIBATCH, *part.shape[1:]), np.uint8)
    for place, crop in enumerate(part):
        filled[place] = network_input(crop, model.card.preparation)
    return filled


def compiled(model: LoadedModel, crops: UInt8Array) -> Scorer | None:
    """torch.compile of network, maps and packing, as a fixed shape."""
    network = copy.deepcopy(model.network).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    normalise = Normaliser(model.card, torch.device("cpu"))
    whole = torch.compile(lambda x: packed(explained(network, x)), dynamic=False)  # type: ignore[arg-type]

    def score(part: UInt8Array) -> npt.NDArray[np.float64]:
        with torch.inference_mode():
            values = whole(normalise(torch.from_numpy(padded(model, part)))).numpy()
        return unpacked(values[: len(part)], model.card.temperature).p_mn

    try:
        torch.set_num_threads(1)
        score(crops[:CPU_MINIBATCH])
    except Exception as error:  # noqa: BLE001 - no compiler, or none that it likes
        print(f"torch.compile: {type(error).__name__}: {str(error)[:80]}")
        return None
    return in_threads(score, crops)


def onnx(model: LoadedModel, crops: UInt8Array) -> Scorer | None:
    """One session, one thread a call; it gives no maps, which flatters it by a few per cent."""
    try:
        import onnxruntime

        from mnbatch.inference.onnx_file import export_onnx
    except ImportError as error:
        print(f"ONNX Runtime: {error}")
        return None
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        export_onnx(model, path, crops[:4])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options)

    def score(part: UInt8Array) -> npt.NDArray[np.float64]:
        x = padded(model, part).transpose(0, 3, 1, 2).astype(np.float32)
        found: npt.NDArray[np.float64] = session.run(["p_mn"], {"pixels": x})[0][: len(part)].astype(np.float64)
        return found

    return in_threads(score, crops)


def openvino(model: LoadedModel, crops: UInt8Array) -> Scorer | None:
    """One stream a core; it gives no maps, which flatters it by a few per cent."""
    try:
        import openvino as ov

        from mnbatch.inference.onnx_file import export_onnx
    except ImportError as error:
        print(f"OpenVINO: {error}")
        return None
    cores = available_cores()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        export_onnx(model, path, crops[:4])
        core = ov.Core()
        network = core.read_model(path)
        size = model.card.preparation.size
        network.reshape([CPU_MINIBATCH, 3, size, size])
        settings = {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores, "INFERENCE_PRECISION_HINT": "f32"}
        ready = core.compile_model(network, "CPU", settings)
    requests = threading.local()

    def score(part: UInt8Array) -> npt.NDArray[np.float64]:
        if not hasattr(requests, "own"):
            requests.own = ready.create_infer_request()
        x = np.ascontiguousarray(padded(model, part).transpose(0, 3, 1, 2), dtype=np.float32)
        found: npt.NDArray[np.float64] = requests.own.infer({"pixels": x})["p_mn"][: len(part)].astype(np.float64)
        return found

    return in_threads(score, crops)


def print_table(
    measured: dict[str, list[tuple[float, float]]],
    scores: dict[str, npt.NDArray[np.float64]],
    cells: int,
    threshold: float,
) -> None:
    """Medians, and what differs from float32."""
    first = next(iter(scores.values()))
    print(f"{'':<26}{'cells/s':>9}{'CPU ms':>9}{'max |dp|':>11}{'mean |dp|':>11}{'other calls':>13}")
    for name, runs in measured.items():
        rate = statistics.median(rate for rate, _ in runs)
        cpu = 1000 * min(seconds for _, seconds in runs) / cells
        off = np.abs(scores[name] - first)
        calls = int(((scores[name] >= threshold) != (first >= threshold)).sum())
        print(f"{name:<26}{rate:>9.0f}{cpu:>9.2f}{off.max():>11.2g}{off.mean():>11.2g}{calls:>7} of {cells}")


if __name__ == "__main__":
    main()

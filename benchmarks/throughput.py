"""Cells per second: end to end from files, bare network, decoding alone, and the loop a PyTorch user would write.

All four see the same cells on the same machine in the same run, several times in turn, so that whatever else
the machine does meets all of them. Printed are median, smallest and largest, and the ratios of the medians.

    python benchmarks/throughput.py [--cells 2000] [--format png] [--data DIR] [--model NAME] [--device cuda]
        [--precision fp32] [--one-look]

The bare network and the user's loop look once at every cell; with a model that looks twice at some, `--one-look`
compares like with like.

* end to end: `mnbatch.pipeline.run.run`: crawl, hash, decode, prepare, measure quality, score, JPEGs and maps
  for the gallery, commit, reports.
* bare network: the same network, channels-last, minibatches of the same size one after the other over all
  cores, normalised float32 tensors already in memory, maps included; nothing else.
* one a core: the same, but one minibatch a core. Both compute with torch's own convolutions.
* engine: the engine of a run on crops in memory, faster convolutions included: nothing in the end-to-end run can be
  faster than this. (On a GPU the three rows are this one.)
* decoding: `mnbatch.imaging.readers.read_cells` in the threads that a run uses.
* user's loop: torchvision's ImageFolder, a DataLoader with 2 worker processes, float32 in default memory
  format, `torch.no_grad`; logits only, nothing is kept. With `--precision bf16` it is run a second time under
  torch's autocast.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from mnbatch.assay.cells import CellCrop, ReadTask, Slide, UInt8Array
from mnbatch.errors import ModelError
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.preparation import Preparation, network_input
from mnbatch.imaging.readers import read_cells, read_tasks
from mnbatch.inference.card import ModelCard
from mnbatch.inference.catalogue import ModelSet
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.model_directory import LoadedModel, load_model, write_model_directory
from mnbatch.inference.network_scores import Normaliser
from mnbatch.inference.prefetch import ordered_map
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from mnbatch.pipeline.run import run
from mnbatch.processes import available_cores
from mnbatch.settings import resolve
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.simulated_export import simulate_export

USER_MINIBATCH = 32


class Measured(NamedTuple):
    """Cells per second, and processor milliseconds a cell (all cores), which other programs disturb less."""

    rate: float
    cpu_ms: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=("jpg", "png", "tif"), default="png", help="of simulated cells")
    parser.add_argument("--cells", type=int, default=2000, help="cells to simulate")
    parser.add_argument("--data", type=Path, help="an export of class or slide folders, instead of simulated cells")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="attention-alexnet")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of mnbatch's own rows")
    parser.add_argument("--one-look", action="store_true", help="at every cell, also where the card asks for a second")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnbatch-throughput-") as name:
        folder = Path(name)
        export = arguments.data or simulated(folder / "simulated", arguments.cells, arguments.format)
        model = load_model(model_path(arguments.model, folder))
        if arguments.one_look:
            model = with_one_look(model, folder / "one-look")
        measure(export, model, arguments, folder)


def simulated(folder: Path, cells: int, file_format: str) -> Path:
    """An export of four slides of one stain, 8 bits a channel, which the user's loop can read too."""
    plan = ExportPlan(donors=2, slides=2, cells=-(-cells // 4), fmt=file_format, bits=8)  # type: ignore[arg-type]
    simulate_export(folder, plan, workers=available_cores())
    return folder / "export"


def model_path(name: str, folder: Path) -> Path:
    """The model asked for; where none is bundled, one with random weights, which is as fast."""
    try:
        return ModelSet.open(name).for_stain("fluorescence").path
    except ModelError as error:
        print(f"{error.message} Measuring with random weights.")
    fields = dict.fromkeys(
        ("threshold_rule", "licence", "intended_use", "limitations", "how_to_train_own"), "benchmark"
    )
    fields |= {"name": "random", "version": "0", "architecture": "attention-alexnet"}
    preparation = Preparation(polarity="density")
    more = {
        "stains": ("fluorescence", "giemsa"),
        "threshold": 0.5,
        "training_data": (),
        "recipe": {},
        "metrics": (),
    }
    write_model_directory(folder / "random", AttentionAlexNet(), {**fields, **more, "preparation": preparation})
    return folder / "random"


def with_one_look(model: LoadedModel, path: Path) -> LoadedModel:
    """The same network without the second look of its card: what the other rows compute too."""
    fields = model.card.model_dump(exclude={"schema_version", "weights_sha256", "created", "software", "second_look"})
    write_model_directory(path, model.network, fields)
    return load_model(path)


def measure(export: Path, model: LoadedModel, arguments: argparse.Namespace, folder: Path) -> None:
    """Run every way `--repeats` times in turn and print the table."""
    device, precision, repeats = arguments.device, arguments.precision, arguments.repeats
    slides = list(find_slides(export))
    tasks = [task for slide in slides for task in read_tasks(slide)]
    with Classifier(model, device=device, precision=precision) as classifier:
        minibatch, engine = classifier.minibatch, f"{classifier.device_name}, {classifier.precision}"
    numbers = iter(range(1_000_000))
    ways: dict[str, Callable[[], int]] = {
        "end to end": lambda: end_to_end(export, model.path, folder / f"out{next(numbers)}", device, precision),
        **bare_ways(model, tasks, minibatch, (device, precision)),
        "decoding": lambda: decoding(tasks, model.card.preparation),
        "user's loop": lambda: users_loop(export, model, device),
    }
    if precision == "bf16":
        ways["user's loop, bf16"] = lambda: users_loop(export, model, device, autocast=True)
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            measured[name].append(timed(way))
    print_table(measured, slides, f"{engine}, minibatches of {minibatch}")


def bare_ways(
    model: LoadedModel, tasks: list[ReadTask], minibatch: int, where: tuple[str, str]
) -> dict[str, Callable[[], int]]:
    """The network on arrays in memory; `where` is device and precision."""
    if where != ("cpu", "auto"):
        crops = np.stack(some_crops(tasks, model.card, len(tasks)))
        return {"engine": lambda: in_memory(model, crops, *where)}
    crops = np.stack(some_crops(tasks, model.card, 32 * minibatch))
    inputs = prepared(tasks, model.card, minibatch)
    network = model.network.requires_grad_(False).to(memory_format=torch.channels_last)
    return {
        "bare network": lambda: bare_network(network, inputs, len(tasks)),
        "bare, one a core": lambda: one_a_core(network, inputs, len(tasks)),
        "engine": lambda: in_memory(model, crops, *where),
    }


def timed(way: Callable[[], int]) -> Measured:
    """Run it once."""
    cpu, start = cpu_seconds(), time.perf_counter()
    cells = way()
    return Measured(cells / (time.perf_counter() - start), 1000 * (cpu_seconds() - cpu) / cells)


def cpu_seconds() -> float:
    """Of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def prepared(tasks: list[ReadTask], card: ModelCard, minibatch: int) -> list[Tensor]:
    """Eight minibatches of normalised network input."""
    normalise = Normaliser(card, torch.device("cpu"))
    crops = some_crops(tasks, card, 8 * minibatch)
    stacked = torch.stack([torch.from_numpy(network_input(crop, card.preparation).copy()) for crop in crops])
    return [normalise(part) for part in stacked.split(minibatch) if len(part) == minibatch]


def some_crops(tasks: list[ReadTask], card: ModelCard, count: int) -> list[UInt8Array]:
    """At least `count` prepared crops, or all there are."""
    crops: list[UInt8Array] = []
    for task in tasks:
        crops += [cell.pixels for cell in read_cells(task, card.preparation) if isinstance(cell, CellCrop)]
        if len(crops) >= count:
            break
    return crops


def end_to_end(export: Path, model: Path, out: Path, device: str, precision: str) -> int:
    """A whole run, reports included; returns the cells scored."""
    settings = {"export": export, "out": out, "model": str(model), "device": device, "precision": precision}
    outcome = run(resolve(settings))
    if outcome.exit_code:
        raise SystemExit(f"the run ended with exit code {outcome.exit_code}")
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return sum(int(row["bn_cells"]) for row in csv.DictReader(stream))


def in_memory(model: LoadedModel, crops: UInt8Array, device: str, precision: str) -> int:
    """The engine on prepared crops in memory."""
    with Classifier(model, device=device, precision=precision) as classifier:
        return len(classifier.score(crops))


def repeated(inputs: list[Tensor], cells: int) -> Iterator[Tensor]:
    """Minibatches, again and again, until there were at least as many cells."""
    for index in range(-(-cells // len(inputs[0]))):
        yield inputs[index % len(inputs)]


def bare_network(network: AttentionAlexNet, inputs: list[Tensor], cells: int) -> int:
    """One minibatch after the other over all cores."""
    torch.set_num_threads(available_cores())
    with torch.inference_mode():
        return sum(len(network.explain(x).logits) for x in repeated(inputs, cells))


def one_a_core(network: AttentionAlexNet, inputs: list[Tensor], cells: int) -> int:
    """One minibatch a core, as the CPU engine does it."""

    def score(x: Tensor) -> int:
        with torch.inference_mode():
            return len(network.explain(x).logits)

    with ThreadPoolExecutor(available_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return sum(pool.map(score, repeated(inputs, cells)))


def decoding(tasks: list[ReadTask], preparation: Preparation) -> int:
    """Read, hash, decode, prepare, measure quality."""
    workers = available_cores()
    results = ordered_map(lambda task: read_cells(task, preparation), iter(tasks), workers, 24 * workers)
    return sum(len(cells) for cells in results)


def users_loop(export: Path, model: LoadedModel, device: str, *, autocast: bool = False) -> int:
    """What one writes first."""
    torch.set_num_threads(available_cores())
    steps = [
        transforms.Resize((model.card.preparation.size, model.card.preparation.size)),
        transforms.ToTensor(),
        transforms.Normalize(*normalisation(model.card)),
    ]
    loader = DataLoader(ImageFolder(str(export), transforms.Compose(steps)), USER_MINIBATCH, num_workers=2)
    network = AttentionAlexNet().eval()
    # The loop answers yes or no: what counts micronuclei stays out of it.
    weights = {name: w for name, w in model.network.state_dict().items() if not name.startswith("counter.")}
    network.load_state_dict(weights)
    network.to(device)
    cells = 0
    with torch.no_grad(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=autocast):
        for images, _ in loader:
            cells += len(torch.softmax(network(images.to(device)), dim=1).cpu())
    return cells


def normalisation(card: ModelCard) -> tuple[list[float], list[float]]:
    """Mean and standard deviation as torchvision takes them."""
    return list(card.normalisation.mean), list(card.normalisation.std)


def print_table(measured: dict[str, list[Measured]], slides: list[Slide], engine: str) -> None:
    """Machine, table, ratios."""
    files = sum(len(slide.files) for slide in slides)
    print(f"{processor()}, {available_cores()} cores, torch {torch.__version__}, {platform.platform()}")
    print(f"{files} files on {len(slides)} slides; {engine} (user's loop: {USER_MINIBATCH})\n")
    print(f"{'cells per second':<20} {'median':>8} {'smallest':>9} {'largest':>8} {'CPU ms a cell':>14}")
    middle = {}
    for name, runs in measured.items():
        rates = [run.rate for run in runs]
        middle[name] = statistics.median(rates)
        cpu = statistics.median(run.cpu_ms for run in runs)
        print(f"{name:<20} {middle[name]:>8.0f} {min(rates):>9.0f} {max(rates):>8.0f} {cpu:>14.2f}")
    print()
    wanted = {
        "bare network": 0.9,
        "bare, one a core": 0.88,
        "engine": None,
        "user's loop": 1.6,
        "user's loop, bf16": None,
    }
    for other, least in wanted.items():
        if other not in middle:
            continue
        goal = "" if least is None else f" (wanted: at least {least})"
        print(f"end to end / {other + ':':<19} {middle['end to end'] / middle[other]:.2f}{goal}")


def processor() -> str:
    """Name of the CPU."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()

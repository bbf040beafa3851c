"""The story of a comparison: read, split, then one run of the table after the other, each kept when it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from mnbatch.comparison.comparison_settings import Settings, TableCell, settings_digest, table_cells
from mnbatch.comparison.data_split import Cells, read_data
from mnbatch.comparison.measurement import Outcome, Weights, fitting_weights, measured, read_weights
from mnbatch.comparison.paper_training import Pixels, read_pixels
from mnbatch.comparison.protocols import Plan, Protocol, make_plan
from mnbatch.errors import TrainingError
from mnbatch.files import write_files
from mnbatch.intake import read_bytes

FOLDER = "cells"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A table, whole or not yet.

    Attributes:
        outcomes: of the runs that are there, in the table's order.
        planned: number of runs that the settings ask for.
    """

    settings: Settings
    data: Cells
    outcomes: tuple[Outcome, ...]
    planned: int


def compare(
    data_path: Path,
    out: Path,
    settings: Settings,
    say: Say,
    retry_failed: bool = False,
    publish: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Run what is not yet there of the table and keep each run's outcome in `out/cells/`.

    Args:
        retry_failed: run those that failed again; else a failure with the same settings is kept.
        publish: called with the table so far after every run, so that a killed comparison has one.

    Raises:
        TrainingError: data that cannot be split, or images that cannot be read: before anything is trained.
        StorageError: `out` cannot be written.
    """
    check_device(settings.device)
    torch.set_num_threads(settings.threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    data = read_data(data_path)
    for note in filter(None, (data.note, *data.people.notes, data.warning)):
        say(f"warning: {note}")
    offered = read_weights(settings.init)
    start_weights = {name: fitting_weights(name, offered) for name in settings.networks}
    cells = table_cells(settings, lambda name: start_weights[name] is not None)
    work = _Work(settings, data, out / FOLDER, start_weights, say)
    kept = {cell: work.kept(cell, retry_failed) for cell in cells}
    missing = [cell for cell, outcome in kept.items() if outcome is None]
    say(f"{len(cells)} runs in the table, {len(cells) - len(missing)} of them there already")

    def so_far() -> Comparison:
        return Comparison(settings, data, tuple(outcome for outcome in kept.values() if outcome), len(cells))

    for outcome in work.run(missing):
        kept[outcome.cell] = outcome
        if publish is not None:
            publish(so_far())
    return so_far()


def check_device(name: str) -> None:
    """Raise a TrainingError where the device is not there."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError("There is no CUDA device here.", "Compare with --device cpu.")


class _Work:
    """What the runs of a table share."""

    def __init__(
        self, settings: Settings, data: Cells, folder: Path, start_weights: dict[str, Weights | None], say: Say
    ) -> None:
        self.settings, self.data, self.folder, self.say = settings, data, folder, say
        self.start_weights = start_weights
        self.data_digest = data.digest

    def weights(self, cell: TableCell) -> Weights | None:
        """What a run starts from."""
        return self.start_weights[cell.network] if cell.start == "weights" else None

    def digest(self, cell: TableCell) -> str:
        """By which a run's outcome is known."""
        weights = self.weights(cell)
        return settings_digest(self.settings, cell, self.data_digest, weights.digest if weights else "")

    def kept(self, cell: TableCell, retry_failed: bool) -> Outcome | None:
        """The outcome of an earlier call, if its settings are these."""
        outcome = read_outcome(self.folder / f"{cell.key}.json")
        if outcome is None or outcome.digest != self.digest(cell):
            return None
        return None if retry_failed and outcome.status == "failed" else outcome

    def run(self, cells: list[TableCell]) -> Iterator[Outcome]:
        """Run these, one at a time; all splits are made and all images read first, so that bad data cost no hours."""
        if not cells:
            return
        seeds = sorted({cell.seed for cell in cells})
        plans: dict[tuple[int, Protocol], Plan] = {
            (seed, protocol): make_plan(self.data, protocol, seed, self.settings.limit)
            for seed in seeds
            for protocol in self.settings.protocols
        }
        pixels = read_pixels(self.data, list(plans.values()), self.settings.recipe)
        for number, cell in enumerate(cells, start=1):
            yield self._one(cell, plans[cell.seed, cell.protocol], pixels, f"{number}/{len(cells)}")

    def _one(self, cell: TableCell, plan: Plan, pixels: Pixels, number: str) -> Outcome:
        started = time.monotonic()
        self.say(f"{number}: {cell.key}")
        outcome = measured(
            cell=cell,
            settings=self.settings,
            digest=self.digest(cell),
            data=self.data,
            plan=plan,
            pixels=pixels,
            weights=self.weights(cell),
            say=self.say,
        )
        write_files(self.folder, {f"{cell.key}.json": outcome.model_dump_json().encode()})
        self.say(f"  {_summary(outcome)} ({time.monotonic() - started:.0f} s in all)")
        return outcome


def _summary(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    words = {"AP": "average_precision", "F1": "f1", "AUC": "auc"}
    values = {word: outcome.figures[name].value for word, name in words.items()}
    return "test " + ", ".join(f"{word} {value:.3f}" for word, value in values.items() if value is not None)


def read_outcome(file: Path) -> Outcome | None:
    """An outcome as it was kept; None where there is none, or one that is not whole."""
    try:
        return Outcome.model_validate_json(read_bytes(file))
    except (FileNotFoundError, ValidationError):
        return None

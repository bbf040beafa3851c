"""The pools of one run: the laboratory's crops, and what is made from them, from building blocks and from nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mnbatch.errors import TrainingError
from mnbatch.evaluation.labelled_cells import UInt8Array
from mnbatch.evaluation.metrics import Labels
from mnbatch.imaging.stain_recognition import recognise_stain
from mnbatch.one_thread_processes import OneThreadContext
from mnbatch.processes import end_with_parent
from mnbatch.training import synthetic_cells
from mnbatch.training.composite_scene import CANVAS
from mnbatch.training.dressed_cells import SmearCell, smear_cells
from mnbatch.training.hard_cells import hard_cells
from mnbatch.training.pool_feed import MORE_CELLS, Pool, one_class
from mnbatch.training.real_pieces import PatchLibrary, load_library
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Maker, Preparer, made_part

SMEARS_FOR_TRAINING = 0.75
"""Share of the smear images (in name order) that feed training; validation composites are made from the rest."""
VALIDATION_CELLS = 200
FEWEST_MADE = 2
"""Cells of a synthetic source: one with micronuclei and one without."""
VALIDATION_SEED_STEP = 98
"""Added to the seed for validation cells, so that none of them is a training cell."""
FRESH_SEED_STEP = 10_000
"""Added to the seed for each drawing of training cells."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where building blocks of synthetic cells come from; each may be absent.

    Attributes:
        nuclei: folder of fluorescence fields with instance masks (`images/`, `labels/`).
        smears: folder of stained smears with boxes (`images/`, `annotations/`).
    """

    nuclei: Path | None = None
    smears: Path | None = None


def made_pool(name: str, maker: Maker, count: int, preparer: Preparer, share: float, workers: int) -> Pool:
    """Make `count` cells and prepare them, in `workers` processes (0: in this one); the result is the same.

    Raises:
        TrainingError: no cell could be made.
    """
    if workers == 0:
        parts = [made_part(maker, preparer, range(count))]
    else:
        step = math.ceil(count / workers)
        ranges = [range(start, min(start + step, count)) for start in range(0, count, step)]
        with ProcessPoolExecutor(workers, OneThreadContext(), initializer=end_with_parent) as processes:
            parts = list(processes.map(partial(made_part, maker, preparer), ranges))
    if not any(numbers for _, numbers in parts):
        raise TrainingError(f"None of {count} {name} cells could be made.", MORE_CELLS)
    pixels = np.stack([cell for part, _ in parts for cell in part])
    counts = np.array([n_mn for _, part in parts for n_mn in part], np.int16)
    return Pool(name, pixels, counts != 0, share, counts)


def _check_both_classes(pool: Pool) -> None:
    """Said here, and not when the cells of every other source are drawn, too."""
    for label in (True, False):
        if not (pool.labels == label).any():
            raise one_class(pool, label)


def labelled_pool(name: str, crops: UInt8Array, labels: Labels, preparer: Preparer, share: float) -> Pool:
    """A pool of labelled crops as `load_crops` gives them."""
    return Pool(name, np.stack([preparer.crop(crop) for crop in crops]), labels, share)


def fluorescent(crops: UInt8Array, labels: Labels) -> tuple[list[UInt8Array], list[bool]]:
    """Grey planes (at the canvas's size) and labels of the crops with bright nuclei on dark background."""
    chosen = [i for i, crop in enumerate(crops) if recognise_stain(crop) == "fluorescence"]
    planes = (Image.fromarray(crops[i, ..., 1]) for i in chosen)
    sized = [plane if plane.size == (CANVAS, CANVAS) else plane.resize((CANVAS, CANVAS)) for plane in planes]
    return [np.asarray(plane) for plane in sized], [bool(labels[i]) for i in chosen]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Prepared crops (N, S, S, 3) with labels (N,)."""

    crops: UInt8Array
    labels: Labels


class PoolMaker:
    """Makes the pools that a recipe asks for.

    Args:
        workers: processes that make cells.
        say: told what is being made.
        validation_cells: of each synthetic source; None: `VALIDATION_CELLS`.
        validation_giemsa: share of stained cells among the simulated ones (labelled crops usually stand for
            fluorescence in validation).
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sources,
        preparer: Preparer,
        seed: int,
        workers: int,
        say: Callable[[str], None],
        validation_cells: int | None = None,
        validation_giemsa: float = 1.0,
    ) -> None:
        self.validation_cells, self.validation_giemsa = validation_cells or VALIDATION_CELLS, validation_giemsa
        self.recipe, self.sources, self.preparer = recipe, sources, preparer
        self.seed, self.workers, self.say = seed, workers, say
        self._drawn: dict[tuple[str, str], Pool] = {}
        self._library: PatchLibrary | None = None
        self._smear_cells: dict[bool, list[SmearCell]] = {}

    def training(self, own: Labelled) -> list[Pool]:
        """Training pools, the laboratory's own crops first."""
        recipe = self.recipe
        pools = [labelled_pool("labelled", own.crops, own.labels, self.preparer, recipe.labelled)]
        makers = self._makers(own, self.seed, held_out=False)
        counts = {"smear": recipe.synthetic_cells // 3, "dressed": recipe.synthetic_cells // 2}
        return pools + self._made("training", makers, lambda name: counts.get(name, recipe.synthetic_cells))

    def fresh_makers(self, own: Labelled, drawing: int) -> dict[str, Maker]:
        """Makers of the training cells of one drawing (counted from 1), by the name of the pool."""
        return self._makers(own, self.seed + FRESH_SEED_STEP * drawing, held_out=False)

    def validation(self, own: Labelled) -> list[Pool]:
        """Validation pools: held-out crops, and cells made from them, from held-out smears and from other seeds."""
        pools = [labelled_pool("labelled", own.crops, own.labels, self.preparer, 1.0)]
        makers = self._makers(own, self.seed + VALIDATION_SEED_STEP, held_out=True)
        return pools + self._made("validation", makers, lambda _: self.validation_cells)

    def _made(self, part: str, makers: dict[str, Maker], count: Callable[[str], int]) -> list[Pool]:
        """Pools by name; those that do not depend on the labelled crops are drawn once, for cross-validation.

        Raises:
            TrainingError: too few cells are asked for, or those of a source are all of one class.
        """
        wanted = {name: count(name) for name in makers}
        for name, number in wanted.items():
            if number < FEWEST_MADE:
                raise TrainingError(
                    f"Too few synthetic cells are asked for: {number} would be {name} cells, and one with and one "
                    "without micronuclei are needed.",
                    MORE_CELLS,
                )
        pools = []
        for name, maker in makers.items():
            pool = self._drawn.get((part, name))
            if pool is None:
                self.say(f"making {wanted[name]} {name} cells")
                share = float(getattr(self.recipe, name))
                pool = made_pool(
                    name=name,
                    maker=maker,
                    count=wanted[name],
                    preparer=self.preparer,
                    share=share,
                    workers=self.workers,
                )
                _check_both_classes(pool)
            if name != "dressed":
                self._drawn[part, name] = pool
            pools.append(pool)
        return pools

    def _makers(self, own: Labelled, seed: int, held_out: bool) -> dict[str, Maker]:
        recipe, sources = self.recipe, self.sources
        makers: dict[str, Maker] = {}
        library = PatchLibrary()
        if recipe.dressed or recipe.composite:
            library = self._pieces()
        if recipe.dressed:
            greys, labels = fluorescent(own.crops, own.labels)
            if any(labels) and not all(labels):
                makers["dressed"] = partial(
                    synthetic_cells.dressed, seed=seed, library=library, crops=greys, labels=labels
                )
        if recipe.composite:
            makers["composite"] = partial(
                synthetic_cells.composites, seed=seed, library=library, stained=recipe.stained_composites
            )
        if recipe.smear and sources.smears is not None:
            makers["smear"] = partial(synthetic_cells.smears, seed=seed, cells=self._smears(sources.smears, held_out))
        if recipe.simulated:
            giemsa = self.validation_giemsa if held_out else recipe.stained
            makers["simulated"] = partial(synthetic_cells.simulated, seed=seed, giemsa=giemsa)
        if recipe.hard:
            giemsa = self.validation_giemsa if held_out else recipe.stained
            makers["hard"] = partial(hard_cells, seed=seed, giemsa=giemsa)
        return makers

    def _pieces(self) -> PatchLibrary:
        """Nuclei and platelets of the sources; cutting them out takes most of a minute, so once is enough."""
        if self._library is None:
            sources = self.sources
            self._library = load_library(sources.nuclei, sources.smears, smear_share=SMEARS_FOR_TRAINING)
        return self._library

    def _smears(self, folder: Path, held_out: bool) -> list[SmearCell]:
        if (kept := self._smear_cells.get(held_out)) is not None:
            return kept
        cells = self._smear_cells[held_out] = (
            smear_cells(folder, SMEARS_FOR_TRAINING, 1.0) if held_out else smear_cells(folder, 0.0, SMEARS_FOR_TRAINING)
        )
        if not cells:
            raise TrainingError(
                f"No white cell could be cut from the smears in {folder}.", "Check the folder's layout."
            )
        return cells

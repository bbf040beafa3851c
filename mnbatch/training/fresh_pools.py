"""Training cells that are drawn anew every few epochs, by processes beside the network."""

from __future__ import annotations

import math
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Self

import numpy as np

from mnbatch.assay.cells import UInt8Array
from mnbatch.one_thread_processes import OneThreadContext
from mnbatch.processes import end_with_parent
from mnbatch.training.pool_feed import Pool
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Maker, Preparer, made_part
from mnbatch.training.training_pools import Labelled, PoolMaker, labelled_pool

Part = tuple[list[UInt8Array], list[int]]

AT_ONCE = 200
"""Cells that a process is asked for at once; what is drawn does not depend on it."""


class FreshPools:
    """The training pools of each epoch: the labelled crops, which stay, and made cells, which are drawn again.

    While the network learns from one drawing, processes make the next. What an epoch holds depends on the recipe, the
    seed and its number alone, so that a training that goes on within an epoch finds the same cells again.

    Args:
        maker: knows the sources; own: the laboratory's own crops, (N, S, S, 3), empty where the recipe takes none.
    """

    def __init__(self, recipe: Recipe, maker: PoolMaker, preparer: Preparer, own: Labelled) -> None:
        self.recipe, self.maker, self.preparer, self.own = recipe, maker, preparer, own
        self.labelled = (
            [labelled_pool("labelled", own.crops, own.labels, preparer, recipe.labelled)] if recipe.labelled else []
        )
        # A process starts when it is first asked for something.
        self._processes = ProcessPoolExecutor(max(1, maker.workers), OneThreadContext(), initializer=end_with_parent)
        self._made: tuple[int, list[Pool]] = (0, [])
        self._ahead: tuple[int, dict[str, list[Future[Part]]]] = (0, {})

    def __call__(self, epoch: int) -> list[Pool]:
        """The pools of an epoch, counted from 1; waits for what is not drawn yet and has the next drawing begun."""
        drawing = self._drawing(epoch)
        if self._made[0] != drawing:
            waiting = self._ahead[1] if self._ahead[0] == drawing else self._begun(drawing)
            self._made = (drawing, [self._pool(name, parts) for name, parts in waiting.items()])
            more = drawing < self._drawing(self.recipe.epochs)
            self._ahead = (drawing + 1, self._begun(drawing + 1) if more else {})
        return [*self.labelled, *self._made[1]]

    def _drawing(self, epoch: int) -> int:
        return (epoch - 1) // self.recipe.fresh + 1

    def described(self, epochs: int) -> list[Pool]:
        """Pools without pixels, for the card: how many cells so many epochs drew."""
        pools = list(self.labelled)
        for name in self.maker.fresh_makers(self.own, 0):
            count = self._count(name) * self._drawing(epochs)
            labels = np.arange(count) % 2 == 0
            pools.append(Pool(name, np.zeros((0, 1, 1, 1), np.uint8), labels, getattr(self.recipe, name)))
        return pools

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what waits to be drawn is given up.

        What one of them is drawing takes some seconds more, which is waited for: left behind, the pool may write an
        error to the terminal when the program ends (Python closes its pipes under it), after all had gone well.
        """
        self._processes.shutdown(wait=True, cancel_futures=True)

    def _begun(self, drawing: int) -> dict[str, list[Future[Part]]]:
        makers = self.maker.fresh_makers(self.own, drawing)
        return {name: self._submitted(name, maker) for name, maker in makers.items()}

    def _submitted(self, name: str, maker: Maker) -> list[Future[Part]]:
        numbers = range(self._count(name))
        parts = (numbers[start : start + AT_ONCE] for start in numbers[::AT_ONCE])
        return [self._processes.submit(made_part, maker, self.preparer, part) for part in parts]

    def _count(self, name: str) -> int:
        """Cells that an epoch draws from a source: half of them of each class, and enough of the commoner class."""
        recipe = self.recipe
        names = ("labelled", "dressed", "composite", "smear", "simulated", "hard")
        shares: dict[str, float] = {key: getattr(recipe, key) for key in names}
        wanted = recipe.cells_per_epoch * shares[name] / sum(shares.values())
        return min(recipe.synthetic_cells, 2 * math.ceil(wanted * max(recipe.with_mn, 1 - recipe.with_mn)))

    def _pool(self, name: str, waiting: list[Future[Part]]) -> Pool:
        parts = [future.result() for future in waiting]
        pixels = np.stack([cell for part, _ in parts for cell in part])
        counts = np.array([n_mn for _, part in parts for n_mn in part], np.int16)
        return Pool(name, pixels, counts != 0, float(getattr(self.recipe, name)), counts)

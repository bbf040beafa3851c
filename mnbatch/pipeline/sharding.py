"""Which slides go to which worker, and what becomes of those that it did not commit; knows nothing of clusters."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mnbatch.pipeline.planning import Plan

MOST_DEATHS = 3
"""A slide is left at which so many workers died, or whose result was not seen after they had finished it."""

WEIGHT = {"crops": 1, "fields": 100, "wsi": 20_000}
"""Cells that a file is taken for, when slides are shared out."""

SMALLEST, LARGEST = 400, 20_000
"""Cells of a shard: enough to be worth a message and a last minibatch that is not full, and little to do again."""

WORTH_A_WORKER = 100
"""Cells for which one more worker pays, where there are too few for shards of the smallest size for all."""

MOST_SLIDES = 64
SHARDS_A_WORKER = 6
"""For each worker, where there are enough cells: so that none ends long before the others."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Slides that one worker scores in one go."""

    number: int
    plans: tuple[Plan, ...]


class Shards:
    """What is left to do.

    Args:
        pending: slides to be scored.
        workers: that will share them, about.
    """

    def __init__(self, pending: Iterable[Plan], workers: int) -> None:
        self._waiting: deque[tuple[Plan, ...]] = deque(_cut(list(pending), max(1, workers)))
        self._tries: Counter[str] = Counter()
        self._out: dict[int, Shard] = {}
        self._number = 0

    @property
    def left(self) -> int:
        """Shards that are not done."""
        return len(self._waiting) + len(self._out)

    @property
    def waiting(self) -> bool:
        """Whether there is one to give out."""
        return bool(self._waiting)

    def give(self) -> Shard:
        """Take the next one."""
        self._number += 1
        shard = Shard(self._number, self._waiting.popleft())
        self._out[shard.number] = shard
        return shard

    def done(self, shard: Shard) -> None:
        """It came back whole."""
        del self._out[shard.number]

    def back(self, shard: Shard, committed: Callable[[Plan], bool]) -> None:
        """Its worker was not at fault, nor a slide: what is not committed goes out again."""
        self.done(shard)
        rest = tuple(plan for plan in shard.plans if not committed(plan))
        if rest:
            self._waiting.appendleft(rest)

    def lost(self, shard: Shard, committed: Callable[[Plan], bool]) -> list[Plan]:
        """Its worker died, or finished what nobody sees: each slide that is not committed goes out again, alone; those
        that have had all their tries come back."""
        self.done(shard)
        given_up = []
        for plan in shard.plans:
            if committed(plan):
                continue
            self._tries[plan.slide.slide_id] += 1
            if self._tries[plan.slide.slide_id] >= MOST_DEATHS:
                given_up.append(plan)
            else:
                self._waiting.append((plan,))
        return given_up


def _weight(plan: Plan) -> int:
    return max(1, len(plan.slide.files)) * WEIGHT[plan.slide.kind]


def _cut(pending: list[Plan], workers: int) -> Iterable[tuple[Plan, ...]]:
    """Slides in their order, in shards of about the same weight."""
    total = sum(map(_weight, pending))
    wanted = min(LARGEST, max(SMALLEST, total // (workers * SHARDS_A_WORKER)))
    wanted = min(wanted, max(WORTH_A_WORKER, -(-total // workers)))
    shard: list[Plan] = []
    weight = 0
    for plan in pending:
        shard.append(plan)
        weight += _weight(plan)
        if weight >= wanted or len(shard) >= MOST_SLIDES:
            yield tuple(shard)
            shard, weight = [], 0
    if shard:
        yield tuple(shard)

"""Packs cells across slides into minibatches, so that small slides keep a large device full.

Each classifier has a lane. A lane keeps its items in the order in which they came: crops become scores,
everything else (an unreadable cell, the end of a slide) passes through in its place. A slide belongs to one
lane, so the order within a slide is exactly kept; slides of different lanes may overtake each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from mnbatch.assay.cells import CellCrop, CellScore, ScoredItem, SlideEnd, StreamItem, UInt8Array
from mnbatch.inference.network_scores import Scores


class PendingScores(Protocol):
    """As `mnbatch.inference.engines.Pending`."""

    def done(self) -> bool:
        """True when `result` will not wait."""

    def result(self) -> Scores:
        """The scores in the order of the crops."""


class Scorer(Protocol):
    """What packing needs of a classifier."""

    @property
    def minibatch(self) -> int:
        """Cells a pass."""

    @property
    def in_flight(self) -> int:
        """Minibatches that may be submitted before the first result is taken."""

    def submit(self, crops: Sequence[UInt8Array]) -> PendingScores:
        """Start scoring at most one minibatch."""


class _Lane:
    """Items of one classifier, in order: being packed, then under way.

    Holds at most `in_flight + 1` minibatches of crops, and the small items between them.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._packing: list[StreamItem] = []
        self._crops: list[UInt8Array] = []
        self._under_way: deque[tuple[list[StreamItem], PendingScores]] = deque()

    def put(self, item: StreamItem) -> Iterator[ScoredItem]:
        """Take an item; yield what has become ready."""
        if isinstance(item, CellCrop):
            self._packing.append(item)
            self._crops.append(item.pixels)
            if len(self._crops) >= self._scorer.minibatch:
                yield from self._submit()
        elif self._crops:
            self._packing.append(item)
        elif self._under_way:
            self._under_way[-1][0].append(item)  # a slide that ends with a minibatch need not wait for the next
        else:
            yield item

    def flush(self) -> Iterator[ScoredItem]:
        """Score what is left in a padded minibatch and yield everything."""
        if self._crops:
            yield from self._submit()
        while self._under_way:
            yield from self._oldest()

    def _submit(self) -> Iterator[ScoredItem]:
        while len(self._under_way) >= self._scorer.in_flight:
            yield from self._oldest()
        self._under_way.append((self._packing, self._scorer.submit(self._crops)))
        self._packing, self._crops = [], []
        while self._under_way and self._under_way[0][1].done():
            yield from self._oldest()

    def _oldest(self) -> Iterator[ScoredItem]:
        items, pending = self._under_way.popleft()
        scores = pending.result()
        row = 0
        for item in items:
            if isinstance(item, CellCrop):
                yield CellScore(item, float(scores.p_mn[row]), scores.maps[row], _ratios(scores, row))
                row += 1
            else:
                yield item


def _ratios(scores: Scores, row: int) -> tuple[float, float] | None:
    if scores.ratios is None:
        return None
    second, third = scores.ratios[row]
    return float(second), float(third)


class _Lanes:
    """The lanes of a run, and which slide is in which."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._lane_of_slide: dict[str, _Lane] = {}

    def put(self, scorer: Scorer | None, item: StreamItem) -> Iterator[ScoredItem]:
        lane = self._lane(scorer, item)
        if isinstance(item, SlideEnd):
            self._lane_of_slide.pop(item.slide_id, None)
        if lane is not None:
            yield from lane.put(item)
        elif not isinstance(item, CellCrop):
            yield item
        else:
            raise ValueError(f"cell {item.cell_id} came without a classifier")

    def _lane(self, scorer: Scorer | None, item: StreamItem) -> _Lane | None:
        slide_id = item.slide_id
        lane = self._lane_of_slide.get(slide_id)
        if scorer is None:
            return lane
        own = self._lanes.setdefault(id(scorer), _Lane(scorer))
        if lane is not None and lane is not own:
            raise ValueError(f"slide {slide_id} was given two classifiers")
        self._lane_of_slide[slide_id] = own
        return own

    def flush(self) -> Iterator[ScoredItem]:
        for lane in self._lanes.values():
            yield from lane.flush()


def score_stream(
    items: Iterator[tuple[Scorer | None, StreamItem]], stop: Callable[[], bool] | None = None
) -> Iterator[ScoredItem]:
    """Score the cells of many slides.

    Args:
        items: each item with the classifier of its slide; the same one for all of a slide's crops. None may
            are used where a slide has no classifier (no cell could be read); such items keep their place too.
        stop: asked before each item; once True, no further item is taken, and what is packed is finished.

    Yields:
        `CellScore` for each `CellCrop`; other items as they came. Per slide in order, `SlideEnd` last.
    """
    lanes = _Lanes()
    stopped = stop or (lambda: False)
    while not stopped():
        entry = next(items, None)
        if entry is None:
            break
        yield from lanes.put(*entry)
    yield from lanes.flush()

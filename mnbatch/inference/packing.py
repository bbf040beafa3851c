"""Packs cells across slides into minibatches, so that small slides keep a large device full.

Each classifier has a lane. A lane keeps its items in the order in which they came: crops become scores,
everything else (an unreadable cell, the end of a slide) passes through in its place. A slide belongs to one
lane, so the order within a slide is exactly kept; slides of different lanes may overtake each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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

    def put(self, items: Iterable[StreamItem]) -> list[ScoredItem]:
        """Take items; what has become ready."""
        ready: list[ScoredItem] = []
        minibatch = self._scorer.minibatch
        for item in items:
            if isinstance(item, CellCrop):
                self._packing.append(item)
                self._crops.append(item.pixels)
                if len(self._crops) >= minibatch:
                    ready += self._submit()
                    minibatch = self._scorer.minibatch
            elif self._crops:
                self._packing.append(item)
            elif self._under_way:
                self._under_way[-1][0].append(item)  # a slide that ends with a minibatch need not wait for the next
            else:
                ready.append(item)
        return ready

    def flush(self) -> list[ScoredItem]:
        """Score what is left in a padded minibatch; everything that is not yet given back."""
        ready = self._submit() if self._crops else []
        while self._under_way:
            ready += self._oldest()
        return ready

    def _submit(self) -> list[ScoredItem]:
        ready: list[ScoredItem] = []
        while len(self._under_way) >= self._scorer.in_flight:
            ready += self._oldest()
        self._under_way.append((self._packing, self._scorer.submit(self._crops)))
        self._packing, self._crops = [], []
        while self._under_way and self._under_way[0][1].done():
            ready += self._oldest()
        return ready

    def _oldest(self) -> list[ScoredItem]:
        items, pending = self._under_way.popleft()
        scores = pending.result()
        values = zip(scores.p_mn.tolist(), scores.maps, _ratios(scores), strict=True)
        return [CellScore(item, *next(values)) if isinstance(item, CellCrop) else item for item in items]


def _ratios(scores: Scores) -> Iterable[tuple[float, float] | None]:
    if scores.ratios is None:
        return [None] * len(scores)
    return [(second, third) for second, third in scores.ratios.tolist()]


class _Lanes:
    """The lanes of a run, and which slide is in which."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._lane_of_slide: dict[str, _Lane] = {}

    def put(self, scorer: Scorer | None, items: Sequence[StreamItem]) -> list[ScoredItem]:
        """Take items of one slide; what has become ready."""
        if not items:
            return []
        lane = self._lane(scorer, items[0].slide_id)
        if isinstance(items[-1], SlideEnd):
            self._lane_of_slide.pop(items[-1].slide_id, None)
        if lane is not None:
            return lane.put(items)
        passing: list[ScoredItem] = [item for item in items if not isinstance(item, CellCrop)]
        if len(passing) < len(items):
            raise ValueError(f"a cell of slide {items[0].slide_id} came without a classifier")
        return passing

    def _lane(self, scorer: Scorer | None, slide_id: str) -> _Lane | None:
        lane = self._lane_of_slide.get(slide_id)
        if scorer is None:
            return lane
        own = self._lanes.setdefault(id(scorer), _Lane(scorer))
        if lane is not None and lane is not own:
            raise ValueError(f"slide {slide_id} was given two classifiers")
        self._lane_of_slide[slide_id] = own
        return own

    def flush(self) -> Iterator[list[ScoredItem]]:
        for lane in self._lanes.values():
            yield lane.flush()


def score_stream(
    pieces: Iterator[tuple[Scorer | None, Sequence[StreamItem]]], stop: Callable[[], bool] | None = None
) -> Iterator[list[ScoredItem]]:
    """Score the cells of many slides.

    Args:
        pieces: some items of one slide at a time, with its classifier; the same one for all of a slide's crops. None
            may be used where a slide has no classifier (no cell could be read); such items keep their place too. A
            `SlideEnd` is the last of its piece.
        stop: asked before each piece; once True, no further one is taken, and what is packed is finished.

    Yields:
        What became ready, some at a time, and an empty list where a piece waits: `CellScore` for each `CellCrop`; other
        items as they came. Per slide in order, `SlideEnd` last.
    """
    lanes = _Lanes()
    stopped = stop or (lambda: False)
    while not stopped():
        entry = next(pieces, None)
        if entry is None:
            break
        yield lanes.put(*entry)
    yield from lanes.flush()

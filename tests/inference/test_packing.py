"""Cells of many slides share minibatches; each slide's order, its unreadable cells and its end are kept."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mnbatch.assay.cells import CellCrop, CellScore, ScoredItem, SlideEnd, StreamItem, UInt8Array, UnreadableCell
from mnbatch.errors import SlideError
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.network_scores import Scores
from mnbatch.inference.packing import score_stream
from tests.inference.inference_helpers import cell, crops


@dataclass
class _Answer:
    scorer: FakeScorer
    scores: Scores

    def done(self) -> bool:
        return False

    def result(self) -> Scores:
        self.scorer.open -= 1
        return self.scores


@dataclass
class FakeScorer:
    """Says of each crop what its first pixel says; keeps count of what it was given."""

    minibatch: int = 4
    in_flight: int = 2
    sizes: list[int] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def submit(self, crops: Sequence[UInt8Array]) -> _Answer:
        self.sizes.append(len(crops))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        values = np.array([crop[0, 0, 0] / 255 for crop in crops])
        return _Answer(self, Scores(values, np.zeros((len(crops), 3, 13, 13), np.float32)))


FAKE = FakeScorer()


def _p_mn(items: Sequence[ScoredItem]) -> list[float]:
    return [item.p_mn for item in items if isinstance(item, CellScore)]


def _slide(slide_id: str, count: int, unreadable: Sequence[int] = ()) -> list[StreamItem]:
    items: list[StreamItem] = []
    for number in range(count):
        if number in unreadable:
            items.append(UnreadableCell(slide_id, f"{slide_id}:{number}.png", f"{number}.png", None, "damaged"))
        else:
            items.append(cell(slide_id, number, np.full((1, 1, 3), number % 256, np.uint8)))
    return [*items, SlideEnd(slide_id)]


def _names(items: Sequence[StreamItem | ScoredItem]) -> list[str]:
    names = []
    for item in items:
        inner = item.crop if isinstance(item, CellScore) else item
        names.append(f"end of {inner.slide_id}" if isinstance(inner, SlideEnd) else inner.cell_id)
    return names


def _scored(pairs: Iterable[tuple[FakeScorer | Classifier | None, StreamItem]], **stop: Any) -> Iterator[ScoredItem]:
    """What comes back of items that are given one at a time."""
    return itertools.chain.from_iterable(score_stream(((scorer, [item]) for scorer, item in pairs), **stop))


def _of(slide_id: str, items: Sequence[ScoredItem]) -> list[ScoredItem]:
    return [i for i in items if (i.crop if isinstance(i, CellScore) else i).slide_id == slide_id]


def test_small_slides_share_minibatches_and_only_the_last_is_not_full() -> None:
    scorer = FakeScorer(minibatch=4)
    stream = [item for number in range(9) for item in _slide(f"s{number}", 3)]
    list(_scored((scorer, item) for item in stream))
    assert scorer.sizes == [4, 4, 4, 4, 4, 4, 3]


def test_one_classifier_keeps_the_whole_order_and_each_cell_its_own_score() -> None:
    stream = [
        *_slide("a", 5, unreadable=[0, 4]),
        *_slide("b", 1),
        *_slide("c", 9, unreadable=[3]),
        *_slide("d", 0),
    ]
    scorer = FakeScorer()
    scored = list(_scored((scorer, item) for item in stream))
    assert _names(scored) == _names(stream)
    for item in scored:
        if isinstance(item, CellScore):
            assert item.p_mn == item.crop.pixels[0, 0, 0] / 255


@pytest.mark.parametrize("seed", range(20))
def test_each_slide_keeps_its_order_with_several_classifiers(seed: int) -> None:
    rng = random.Random(seed)
    scorers = [FakeScorer(minibatch=rng.randint(1, 7), in_flight=rng.randint(1, 3)) for _ in range(3)]
    slides = {f"s{n}": _slide(f"s{n}", rng.randint(0, 15), rng.sample(range(15), 4)) for n in range(12)}
    pairs = [(rng.choice(scorers), items) for items in slides.values()]
    scored = list(_scored((scorer, item) for scorer, items in pairs for item in items))
    assert len(scored) == sum(map(len, slides.values()))
    for slide_id, items in slides.items():
        assert _names(_of(slide_id, scored)) == _names(items)
    assert all(scorer.open == 0 and scorer.most_open <= scorer.in_flight for scorer in scorers)


@pytest.mark.parametrize("size", [1, 3, 8, 30])
def test_items_given_some_at_a_time_come_back_as_those_given_one_by_one(size: int) -> None:
    slides = [_slide("a", 21, unreadable=[0, 7, 20]), _slide("b", 2), _slide("c", 0), _slide("d", 9)]
    alone = list(_scored((FAKE, item) for items in slides for item in items))
    pieces = [items[first : first + size] for items in slides for first in range(0, len(items), size)]
    together = [item for ready in score_stream((FAKE, piece) for piece in pieces) for item in ready]
    assert _names(together) == _names(alone) == _names([item for items in slides for item in items])
    assert _p_mn(together) == _p_mn(alone)


def test_crops_held_back_are_bounded() -> None:
    scorer = FakeScorer(minibatch=4, in_flight=2)
    taken = 0

    def stream() -> Iterator[tuple[FakeScorer, StreamItem]]:
        nonlocal taken
        for item in _slide("a", 400):
            taken += isinstance(item, CellCrop)
            yield scorer, item

    given = 0
    for item in _scored(stream()):
        given += isinstance(item, CellScore)
        assert taken - given <= (scorer.in_flight + 1) * scorer.minibatch
    assert given == 400


def test_slide_that_ends_with_a_minibatch_does_not_wait_for_the_next_one() -> None:
    scorer = FakeScorer(minibatch=4, in_flight=1)
    stream = itertools.chain(_slide("a", 4), _slide("b", 8))
    scored = _scored((scorer, item) for item in stream)
    assert _names(list(itertools.islice(scored, 5)))[-1] == "end of a"
    assert (scorer.sizes, scorer.open) == ([4, 4], 1), "the next minibatch is under way, and nobody waited for it"


def test_slide_without_readable_cells_passes_at_once_and_needs_no_classifier() -> None:
    stream = _slide("a", 3, unreadable=[0, 1, 2])
    scored = _scored((None, item) for item in stream)
    assert _names(list(scored)) == _names(stream)


def test_end_without_a_classifier_still_follows_its_cells() -> None:
    scorer = FakeScorer()
    stream = _slide("a", 2)
    pairs = [(None if isinstance(item, SlideEnd) else scorer, item) for item in stream]
    assert _names(list(_scored(pairs))) == _names(stream)


def test_error_of_a_slide_passes_through_unchanged() -> None:
    end = SlideEnd("a", SlideError("the folder vanished"))
    scorer = FakeScorer()
    scored = list(_scored((scorer, item) for item in [*_slide("a", 2)[:2], end]))
    assert scored[-1] is end


def test_stop_finishes_what_is_packed_and_takes_nothing_more() -> None:
    scorer = FakeScorer(minibatch=4)
    source = iter([(scorer, item) for item in _slide("a", 100)])
    given: list[ScoredItem] = []
    for item in _scored(source, stop=lambda: len(given) >= 6):
        given.append(item)
    left = len(list(source))
    assert len(given) + left == 101
    assert len(given) <= 6 + (scorer.in_flight + 1) * scorer.minibatch
    assert all(isinstance(item, CellScore) for item in given)
    assert scorer.open == 0


def test_cell_without_a_classifier_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a classifier"):
        list(_scored((None, item) for item in _slide("a", 1)))


def test_slide_with_two_classifiers_is_an_error() -> None:
    with pytest.raises(ValueError, match="two classifiers"):
        list(_scored(zip([FakeScorer(), FakeScorer()], _slide("a", 2), strict=False)))


def test_real_classifier_gives_the_bits_of_scoring_alone(classifier: Classifier) -> None:
    pixels = crops(12)
    stream: list[StreamItem] = []
    for slide_id, numbers in (("a", range(3)), ("b", range(3, 4)), ("c", range(4, 12))):
        stream += [*(cell(slide_id, number, pixels[number]) for number in numbers), SlideEnd(slide_id)]
    scored = [item for item in _scored((classifier, item) for item in stream) if isinstance(item, CellScore)]
    alone = classifier.score(pixels)
    assert [item.p_mn for item in scored] == alone.p_mn.tolist()
    assert np.stack([item.maps for item in scored]).tobytes() == alone.maps.tobytes()

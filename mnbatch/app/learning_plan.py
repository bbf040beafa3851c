"""Cells for a model's training, chosen for the review of an OUT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnbatch.app.scoring_model import model_that_scored, one_scoring
from mnbatch.errors import NoInputError, StorageError
from mnbatch.results.records import SlideRecord
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from mnbatch.results.stored_crops import StoredCrops
from mnbatch.review.learning_cells import choose_cells
from mnbatch.review.queue import OUTSIDE, Queue, ReviewPlan, permanent_random
from mnbatch.review.review_export import latest_cells, scored_by
from mnbatch.review.review_import import queues_of
from mnbatch.review.trail import read_trail

if TYPE_CHECKING:
    from mnbatch.inference.catalogue import VerifiedModel

POOL = 3000
"""Cells nearest to the threshold of their slide; a third as many more are drawn at random. The network sees each."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A counted cell of a slide.

    Attributes:
        p_mn: its score; threshold: of its slide.
        taken: it is in the review anyway, was chosen before, or is decided; waiting: chosen before and not decided.
        chance: its permanent random number.
    """

    slide_id: str
    row: int
    cell_id: str
    p_mn: float
    threshold: float
    taken: bool
    waiting: bool
    chance: bytes


@dataclass(frozen=True, slots=True)
class LearningRequest:
    """What a person asked for.

    Attributes:
        number: new cells; 0 takes all out that were chosen.
        model: directory of the model that scored; None takes the latest run's.
        stain: of the slides, where OUT holds two.
    """

    number: int
    model: str | None = None
    stain: str | None = None


@dataclass(frozen=True, slots=True)
class LearningPlan:
    """Cells that were chosen.

    Attributes:
        by_slide: slide_id -> new cells; compared: cells that were looked at.
        asked: new cells that were asked for; waiting: cells that were chosen before and nobody decided yet.
    """

    by_slide: Mapping[str, int]
    compared: int
    asked: int
    waiting: int

    @property
    def new(self) -> int:
        """Cells that were added to the review."""
        return sum(self.by_slide.values())


def choose_learning(store: Store, plan: ReviewPlan, asked: LearningRequest) -> tuple[ReviewPlan, LearningPlan]:
    """Add cells that teach the model that scored them most to the end of the review of a plan; nothing is saved.

    Strata and estimates of the review stay what they are: these cells are outside of them. Cells that are decided on
    the present result are not chosen again.

    Raises:
        NoInputError: no cell is left to choose.
        UsageError: slides of two stains and none named.
        MismatchError: another model scored the cells.
        ModelError: the model cannot be read, or has no features.
        StorageError: a file cannot be read.
    """
    if not asked.number:
        return replace(plan, learn=()), LearningPlan({}, 0, 0, 0)
    out, roster = store.paths.root, open_roster(store)
    records = {
        record.slide_id: record
        for record in roster.records
        if record.scored and record.model and asked.stain in (None, record.stain)
    }
    queues = queues_of(store, records, roster=roster, plan=plan)
    cells = [cell for s, queue in queues.items() if queue for cell in _candidates(store, records[s], queue, plan.seed)]
    waiting = sum(cell.waiting for cell in cells)
    candidates = _narrowed(cells, asked.number)
    if all(cell.taken for cell in candidates):
        more = f" {waiting} that were chosen before wait for a decision." if waiting else ""
        raise NoInputError(
            f"{out} holds no further cell to choose.",
            f"Every counted cell is in the review or decided already.{more} The plan was not changed.",
        )
    found = {scored_by(record) for record in records.values()}
    base = model_that_scored(out, one_scoring(tuple(sorted(by for by in found if by)), out), asked.model)
    pictures = {slide_id: store.crops(record) for slide_id, record in records.items()}
    picked = [candidates[place] for place in _chosen(pictures, candidates, base, asked.number)]
    by_slide = dict(sorted(Counter(cell.slide_id for cell in picked).items()))
    learn = tuple(sorted({*plan.learn, *(cell.cell_id for cell in picked)}))
    return replace(plan, learn=learn), LearningPlan(by_slide, len(candidates), asked.number, waiting)


def _candidates(store: Store, record: SlideRecord, queue: Queue, seed: int) -> list[Candidate]:
    scores = store.scores(record)
    decided = latest_cells(read_trail(store.paths, queue.slide_id).entries, queue.result_key)
    return [
        Candidate(
            slide_id=queue.slide_id,
            row=place.row,
            cell_id=place.cell_id,
            p_mn=scores[place.row].p_mn or 0.0,
            threshold=record.call.threshold if record.call else 0.5,
            taken=place.rank is not None or place.cell_id in decided,
            waiting=place.rank is not None and place.stratum == OUTSIDE and place.cell_id not in decided,
            chance=permanent_random(seed, f"learn:{place.cell_id}"),
        )
        for place in queue.places
    ]


def _narrowed(cells: Sequence[Candidate], number: int) -> list[Candidate]:
    """The cells whose features are computed: those nearest to the threshold of their slide, and some at random.

    Taken ones are among them, so that what is like them is not chosen; there are `number` others where OUT has as many.
    """
    by_doubt = sorted(cells, key=lambda cell: (abs(cell.p_mn - cell.threshold), cell.chance))
    near, others = by_doubt[:POOL], by_doubt[POOL:]
    at_random = sorted(others, key=lambda cell: cell.chance)
    found, left = near + at_random[: POOL // 3], at_random[POOL // 3 :]
    lacking = number - sum(not cell.taken for cell in found)
    return found + [cell for cell in left if not cell.taken][: max(0, lacking)]


def _chosen(
    pictures: Mapping[str, StoredCrops | None], candidates: Sequence[Candidate], base: VerifiedModel, number: int
) -> list[int]:
    from mnbatch.inference.model_directory import load_model
    from mnbatch.inference.network_features import describe_jpegs

    jpegs = []
    for cell in candidates:
        kept = pictures.get(cell.slide_id)
        jpeg = kept.jpeg(cell.row) if kept is not None else None
        if jpeg is None:
            raise StorageError(f"No picture of {cell.cell_id} is kept.", "Run without --no-crops, then plan again.")
        jpegs.append(jpeg)
    described = describe_jpegs(load_model(base.path), jpegs)
    return choose_cells(
        features=described.vectors,
        p_mn=np.array([cell.p_mn for cell in candidates]),
        threshold=np.array([cell.threshold for cell in candidates]),
        taken=np.array([cell.taken for cell in candidates]),
        chances=[cell.chance for cell in candidates],
        number=number,
    )

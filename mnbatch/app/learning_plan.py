"""Cells for a model's training, chosen for the review of an OUT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnbatch.app.rebuild import open_store
from mnbatch.app.scoring_model import model_that_scored, one_scoring
from mnbatch.assay.cells import ScoreRow
from mnbatch.errors import NoInputError, StorageError
from mnbatch.results.roster import open_roster
from mnbatch.results.stored_crops import StoredCrops
from mnbatch.review.learning_cells import choose_cells
from mnbatch.review.queue import OUTSIDE, Queue, load_plan, permanent_random, save_plan
from mnbatch.review.review_export import scored_by
from mnbatch.review.review_import import queues_of

if TYPE_CHECKING:
    from mnbatch.inference.catalogue import VerifiedModel

POOL = 3000
"""Cells near the threshold that are compared; a third as many more are drawn at random. The network sees each."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A counted cell of a slide.

    Attributes:
        p_mn: its score; taken: it is in the review anyway; chance: its permanent random number.
    """

    slide_id: str
    row: int
    cell_id: str
    p_mn: float
    taken: bool
    chance: bytes


@dataclass(frozen=True, slots=True)
class LearningPlan:
    """Cells that were chosen.

    Attributes:
        by_slide: slide_id -> cells; compared: cells that were looked at.
    """

    by_slide: Mapping[str, int]
    compared: int


def plan_learning(out: Path, number: int, model: str | None = None, stain: str | None = None) -> LearningPlan:
    """Choose cells that teach the model that scored them most, and put them last in the review; 0 takes them out.

    Strata and estimates of the review stay what they are: these cells are outside of them.

    Args:
        model: directory of the model that scored; None takes the latest run's.
        stain: of the slides, where OUT holds two.

    Raises:
        NoInputError: OUT holds no results, or no cell is left to choose.
        UsageError: slides of two stains and none named.
        MismatchError: another model scored the cells.
        ModelError: the model cannot be read, or has no features.
        StorageError: a file cannot be read or written.
    """
    store = open_store(out)
    plan = load_plan(store.paths)
    if not number:
        save_plan(store.paths, replace(plan, learn=()))
        return LearningPlan({}, 0)
    roster = open_roster(store)
    records = {
        record.slide_id: record
        for record in roster.records
        if record.scored and record.model and stain in (None, record.stain)
    }
    queues = queues_of(store, records, roster=roster)
    cells = [c for s, queue in queues.items() if queue for c in _candidates(store.scores(records[s]), queue, plan.seed)]
    candidates = _narrowed(cells)
    if not candidates or all(cell.taken for cell in candidates):
        raise NoInputError(f"{out} holds no further cell to choose.", "Every counted cell is in the review already.")
    found = {scored_by(record) for record in records.values()}
    base = model_that_scored(out, one_scoring(tuple(sorted(by for by in found if by)), out), model)
    pictures = {slide_id: store.crops(record) for slide_id, record in records.items()}
    picked = [candidates[place] for place in _chosen(pictures, candidates, base, number)]
    save_plan(store.paths, replace(plan, learn=tuple(sorted(cell.cell_id for cell in picked))))
    return LearningPlan(dict(sorted(Counter(cell.slide_id for cell in picked).items())), len(candidates))


def _candidates(scores: Sequence[ScoreRow], queue: Queue, seed: int) -> list[Candidate]:
    return [
        Candidate(
            slide_id=queue.slide_id,
            row=place.row,
            cell_id=place.cell_id,
            p_mn=scores[place.row].p_mn or 0.0,
            taken=place.stratum != OUTSIDE,
            chance=permanent_random(seed, f"learn:{place.cell_id}"),
        )
        for place in queue.places
    ]


def _narrowed(cells: Sequence[Candidate]) -> list[Candidate]:
    """The cells whose features are computed: most uncertain ones, and some at random."""
    by_doubt = sorted(cells, key=lambda cell: (abs(cell.p_mn - 0.5), cell.chance))
    near, others = by_doubt[:POOL], by_doubt[POOL:]
    return near + sorted(others, key=lambda cell: cell.chance)[: POOL // 3]


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
        threshold=base.card.threshold,
        taken=np.array([cell.taken for cell in candidates]),
        chances=[cell.chance for cell in candidates],
        number=number,
    )

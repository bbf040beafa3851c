"""What a reviewer is shown: declared strata, so that the reviewed cells are a probability sample of the slide.

* `called`: every cell called MN.
* `band`: the negatives nearest to the threshold.
* `rest`: a seeded random sample of the other negatives; `outside` are those that were not drawn.

A plan of the mode `confirm` has no band: every called cell, and a random sample of all negatives. Its size is laid down
for each slide (`quotas`), so that the slides of a donor share what is drawn of the donor.

Random orders come from SHA-256 over seed and cell-id (permanent random numbers: Ohlsson, "Coordination of samples using
permanent random numbers", 1995): the same on every machine and in every version, and a larger sample holds the
smaller one. Within each stratum the queue is in that random order: the cells reviewed so far are a random sample too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from pydantic import TypeAdapter

from mnbatch.assay.calls import CalledCell
from mnbatch.errors import UsageError
from mnbatch.intake import parse_json, reason
from mnbatch.results.annotations import change, read
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord

STRATA = ("called", "band", "rest")
OUTSIDE = "outside"
Mode = Literal["complete", "confirm"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """How much is reviewed.

    Attributes:
        band: share of the counted cells, taken from the negatives nearest to the threshold.
        sample: share of the remaining negatives that is drawn at random.
        least_band, least_sample: cells that are taken at least, where there are as many.
        seed: of the random order; another seed draws another sample.
        learn: cell-ids that are reviewed for a model's training besides; they are outside of the strata, so that no
            estimate is made from them.
        mode: `complete`: the strata above; `confirm`: the called cells and random negatives.
        negatives: of `confirm`: random negatives of a donor, and of a slide that `quotas` does not name.
        quotas: slide_id -> random negatives of the slide.
        double: share of the queue that two people are asked to decide, so that their slips are known.
    """

    band: float = 0.05
    sample: float = 0.1
    least_band: int = 20
    least_sample: int = 100
    seed: int = 1
    learn: tuple[str, ...] = ()
    mode: Mode = "complete"
    negatives: int = 100
    quotas: dict[str, int] = field(default_factory=dict)
    double: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.double <= 1 and self.negatives >= 0 and min(self.quotas.values(), default=0) >= 0):
            raise UsageError(
                f"A share of {self.double:g} to be read twice and {self.negatives} random negatives cannot be drawn.",
                "Give a share from 0 to 1, and a number of 0 or more.",
            )
        if not (0 <= self.band <= 1 and 0 < self.sample <= 1 and self.least_band >= 0 and self.least_sample >= 1):
            raise UsageError(
                f"A review of a band of {self.band:g} and a sample of {self.sample:g} cannot be drawn.",
                "Give shares from 0 to 1; the sample must be above 0, or nothing is known of the other negatives.",
            )


@dataclass(frozen=True, slots=True)
class Place:
    """A cell's place in the review of its slide.

    Attributes:
        row: of the slide's cells.
        rank: place in the queue, from 0; None for a cell that was not drawn. Cells for training come last.
        blind_rank: place in the queue of a blind review, where the order must not tell the stratum.
        inclusion_probability: 1 in strata that are reviewed completely; None outside of the queue.
        double: the plan asks for the decisions of two people.
    """

    row: int
    cell_id: str
    stratum: str
    rank: int | None
    blind_rank: int | None
    inclusion_probability: float | None
    double: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """The review of one slide as it is laid out.

    Attributes:
        places: every counted cell, in the order of the slide.
        sizes: stratum -> cells in it, those not drawn included.
    """

    slide_id: str
    result_key: str
    model_digest: str
    places: tuple[Place, ...]
    sizes: dict[str, int]
    mode: Mode = "complete"
    double: float = 0.0

    @property
    def drawn(self) -> int:
        """Cells in the queue that the review needs; those for training are not among them."""
        return sum(place.rank is not None and place.stratum != OUTSIDE for place in self.places)


def result_key(record: SlideRecord, cells: Sequence[CalledCell]) -> str:
    """16 hex digits over the rules and every counted cell with its score and call: what a review was made of."""
    counted = [[cell.cell_id, cell.p_mn, cell.mn] for cell in cells if cell.mn is not None]
    text = json.dumps([record.call.key if record.call else "", counted], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def draw_queue(record: SlideRecord, cells: Sequence[CalledCell], plan: ReviewPlan) -> Queue:
    """Lay out the review of a slide's counted cells.

    Args:
        cells: all cells of the slide as called; excluded ones have no place.
    """
    threshold = record.call.threshold if record.call else 0.5
    counted = [row for row, cell in enumerate(cells) if cell.mn is not None]
    called = [row for row in counted if cells[row].mn]
    negatives = sorted((r for r in counted if not cells[r].mn), key=lambda r: (threshold - (cells[r].p_mn or 0.0), r))
    number = 0
    if plan.mode == "complete":
        number = min(len(negatives), max(plan.least_band, math.ceil(plan.band * len(counted))))
    band, rest = negatives[:number], negatives[number:]
    drawn = min(len(rest), _wanted(plan, record.slide_id, len(rest)))
    chance = {row: permanent_random(plan.seed, cells[row].cell_id) for row in counted}
    order = [sorted(stratum, key=chance.__getitem__) for stratum in (called, band, rest)]
    stratum = dict.fromkeys(order[0], "called") | dict.fromkeys(order[1], "band")
    stratum |= dict.fromkeys(order[2][:drawn], "rest")
    probability = {"called": 1.0, "band": 1.0, "rest": drawn / len(rest) if rest and drawn else 1.0}
    learn = set(plan.learn)
    taught = [row for row in order[2][drawn:] if cells[row].cell_id in learn]
    ranks = {row: rank for rank, row in enumerate([*stratum, *taught])}
    blind = sorted(ranks, key=lambda row: permanent_random(plan.seed, "blind:" + cells[row].cell_id))
    blind_ranks = {row: rank for rank, row in enumerate(blind)}
    places = tuple(
        Place(
            row=row,
            cell_id=cells[row].cell_id,
            stratum=stratum.get(row, OUTSIDE),
            rank=ranks.get(row),
            blind_rank=blind_ranks.get(row),
            inclusion_probability=probability.get(stratum.get(row, OUTSIDE)),
            double=row in stratum and _is_double(plan, cells[row].cell_id),
        )
        for row in counted
    )
    sizes = {"called": len(called), "band": len(band), "rest": len(rest)}
    digest = record.model.digest if record.model else ""
    return Queue(record.slide_id, result_key(record, cells), digest, places, sizes, plan.mode, plan.double)


def _wanted(plan: ReviewPlan, slide_id: str, rest: int) -> int:
    """Cells that the plan draws of the `rest`; of more than there are it draws all."""
    if plan.mode == "confirm":
        return plan.quotas.get(slide_id, plan.negatives)
    return max(plan.least_sample, math.ceil(plan.sample * rest))


def _is_double(plan: ReviewPlan, cell_id: str) -> bool:
    """Whether the cell is in the sample that two people decide: the first 8 bytes of its number, as a share."""
    if not plan.double:
        return False
    chance = int.from_bytes(permanent_random(plan.seed, "double:" + cell_id)[:8], "big") / 2**64
    return chance < plan.double


def quotas(negatives: int, sizes: dict[str, int]) -> dict[str, int]:
    """Random negatives of each of a donor's slides: in proportion to its negatives, together at least `negatives`.

    Args:
        sizes: slide_id -> negatives of the slide.
    """
    total = sum(sizes.values())
    return {name: min(size, math.ceil(negatives * size / total)) if total else 0 for name, size in sizes.items()}


def load_plan(paths: OutPaths) -> ReviewPlan:
    """The plan in force; the default where none was laid down.

    Raises:
        UsageError: the file cannot be understood.
    """
    data = read(paths, paths.review_plan)
    if data is None:
        return ReviewPlan()
    try:
        content = parse_json(data)
        if not isinstance(content, dict) or not set(content) <= set(ReviewPlan.__slots__):
            raise ValueError("it is not what `mnbatch review plan` writes")
        return TypeAdapter(ReviewPlan).validate_python(content)
    except ValueError as error:
        raise UsageError(
            f"{paths.review_plan} is not a review plan: {reason(error)}.", "Restore it or delete it."
        ) from error


def save_plan(paths: OutPaths, plan: ReviewPlan) -> None:
    """Lay down the plan of this OUT."""
    content: dict[str, Any] = asdict(plan)
    change(paths, replace={paths.review_plan: (json.dumps(content, indent=1) + "\n").encode()})


def permanent_random(seed: int, name: str) -> bytes:
    """A number that this seed and name always have."""
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()

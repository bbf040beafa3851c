"""What a review has shown so far for a verdict above or below a limit: strata of a slide, and which cells are next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mnbatch.assay.sequential_verdict import Looks, Threshold, next_stratum
from mnbatch.review.queue import STRATA, Place, Queue
from mnbatch.review.review_status import combined, latest
from mnbatch.review.trail import Trail

DOUBTFUL = ("unsure", "not_scorable")


@dataclass(frozen=True, slots=True)
class StratumLooks:
    """One stratum of one slide.

    Attributes:
        looks: what was decided up to the first cell of the queue that was not; later decisions do not count, since a
            person may have picked their cells.
        waiting: cell-ids that are next, in the order of the queue.
        skipped: decisions after the first undecided cell.
    """

    slide_id: str
    looks: Looks
    waiting: tuple[str, ...]
    skipped: int


def looks_of(queue: Queue, trail: Trail, strata: Sequence[str] = STRATA) -> tuple[StratumLooks, ...]:
    """Looks of a slide by stratum; none count of a trail that was changed by hand."""
    decided = {} if trail.altered else combined(latest(trail.entries, queue.result_key))
    return tuple(_stratum(queue, stratum, decided) for stratum in strata if queue.sizes.get(stratum))


def _stratum(queue: Queue, stratum: str, decided: Mapping[str, str]) -> StratumLooks:
    drawn = [place.cell_id for place in sorted(queue.places, key=_rank) if place.stratum == stratum]
    looked = next((i for i, cell in enumerate(drawn) if cell not in decided), len(drawn))
    said = [decided[cell] for cell in drawn[:looked]]
    looks = Looks(
        kind=stratum,
        size=queue.sizes[stratum],
        looked=looked,
        mn=said.count("mn"),
        doubtful=sum(said.count(word) for word in DOUBTFUL),
        drawn=len(drawn),
    )
    skipped = sum(cell in decided for cell in drawn[looked:])
    return StratumLooks(queue.slide_id, looks, tuple(drawn[looked:]), skipped)


def _rank(place: Place) -> int:
    return -1 if place.rank is None else place.rank


def next_cells(strata: Sequence[StratumLooks], cells: int, threshold: Threshold, most: int = 20) -> tuple[str, ...]:
    """Cells of the stratum in which a look brings the verdict nearest, in the order of the queue; () at its end.

    Args:
        cells: N of the donor.
        most: so many at most; ask again after some looks, since another stratum may be next then.
    """
    place = next_stratum([s.looks for s in strata], cells, threshold)
    return () if place is None else strata[place].waiting[:most]

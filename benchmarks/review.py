"""What a review brings: simulated slides, truth as the reviewer, 2 slips in 100 decisions; queue against random order.

    python benchmarks/review.py --slides 20 --repeats 20

No picture and no network is involved: scores are drawn (`gallery_store.scores_of`), and the reviewer says the truth,
except that each decision is wrong with the probability of a slip. A second look decides once more on every cell that
was decided MN, as the gallery asks for it. Frequencies are MNBN per 1000 cells.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gallery_store import record, scores_of

from mnbatch.assay.calls import CalledCell
from mnbatch.review.estimate import Estimate, Tally, estimate
from mnbatch.review.queue import Queue, ReviewPlan, draw_queue
from mnbatch.review.review_status import tally

SAMPLES = (0.02, 0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class SlideTruth:
    """One simulated slide: truth of each cell, its calls, and the frequency that is looked for."""

    truth: npt.NDArray[np.bool_]
    cells: list[CalledCell]

    @property
    def per_1000(self) -> float:
        """True MNBN cells per 1000."""
        return 1000 * float(self.truth.mean())

    @property
    def automatic(self) -> float:
        """Cells called MN per 1000."""
        return 1000 * float(np.mean([bool(cell.mn) for cell in self.cells]))


def draw_slide(number: int, cells: int, rng: np.random.Generator) -> SlideTruth:
    """A slide whose frequency lies between 5 and 80 per 1000, as background and doses of some Gy have it."""
    truth = rng.random(cells) < rng.uniform(0.005, 0.08)
    scores = scores_of(truth, rng)
    names = [f"s{number}:{i}" for i in range(cells)]
    called = [CalledCell(n, n, None, float(p), bool(p >= 0.5), (), "") for n, p in zip(names, scores, strict=True)]
    return SlideTruth(truth, called)


def by_queue(slide: SlideTruth, share: float, say: Callable[[int], str], seed: int) -> tuple[Estimate | None, int]:
    """Estimate and number of stains of a review along the queue."""
    plan = ReviewPlan(sample=share, least_sample=20, seed=seed)
    queue: Queue = draw_queue(record("s", "d"), slide.cells, plan)
    decided, stains = {}, 0
    for place in queue.places:
        if place.rank is not None:
            stains += 1
            decided[place.cell_id] = say(place.row)
            if decided[place.cell_id] == "mn" and SECOND_LOOK:
                stains += 1
                decided[place.cell_id] = say(place.row)
    return estimate(tally(queue, decided)), stains


def at_random(
    slide: SlideTruth, stains: int, say: Callable[[int], str], rng: np.random.Generator
) -> tuple[Estimate | None, int]:
    """The same number of looks at cells in random order, the calls not used."""
    rows = rng.permutation(len(slide.cells))[:stains]
    words = [say(int(row)) for row in rows]
    if SECOND_LOOK:
        words = [say(int(row)) if word == "mn" else word for row, word in zip(rows, words, strict=True)]
    return estimate([Tally("rest", len(slide.cells), stains, stains, words.count("mn"), 0, 0, False)]), stains


SECOND_LOOK = True


def main() -> None:
    """Print the tables."""
    global SECOND_LOOK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("slides", 20), ("cells", 2000), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--slips", type=float, default=0.02)
    asked = parser.parse_args()
    print(f"{asked.slides} slides of {asked.cells} cells, {asked.repeats} times; slips {asked.slips:g}")
    print("order    second  sample  looked at    bias  abs. error  half width  truth inside")
    for second in (True, False):
        SECOND_LOOK = second
        for share in SAMPLES:
            rows = {"queue": [], "random": []}  # type: dict[str, list[tuple[float, float, float, bool, float]]]
            automatic = []
            for number in range(asked.slides * asked.repeats):
                rng = np.random.default_rng([number, int(1000 * share)])
                slide = draw_slide(number, asked.cells, rng)
                automatic.append(slide.automatic - slide.per_1000)

                def say(row: int, slide: SlideTruth = slide, rng: np.random.Generator = rng) -> str:
                    right = rng.random() >= asked.slips
                    return "mn" if bool(slide.truth[row]) == right else "not_mn"

                found, stains = by_queue(slide, share, say, seed=number)
                rows["queue"].append(judged(found, slide, stains))
                rows["random"].append(judged(at_random(slide, stains, say, rng)[0], slide, stains))
            for order, of in rows.items():
                show(order, second, share, of, asked.cells)
    wrong = np.array(automatic)
    print(f"automatic, no review: bias {wrong.mean():+.1f}, abs. error {np.abs(wrong).mean():.1f}")


def judged(found: Estimate | None, slide: SlideTruth, stains: int) -> tuple[float, float, float, bool, float]:
    """Error, absolute error, half width, whether the truth is inside, looks."""
    assert found is not None
    error = found.per_1000 - slide.per_1000
    inside = found.low - 1e-9 <= slide.per_1000 <= found.high + 1e-9
    return error, abs(error), (found.high - found.low) / 2, inside, stains


Judged = tuple[float, float, float, bool, float]


def show(order: str, second: bool, share: float, rows: list[Judged], cells: int) -> None:
    """One line of the table."""
    error, size, width, inside, stains = (float(np.mean(column)) for column in zip(*rows, strict=True))
    print(
        f"{order:8} {'yes' if second else 'no':6} {100 * share:5.0f} % {100 * stains / cells:8.1f} % {error:+8.2f}"
        f" {size:10.2f} {width:11.1f} {100 * inside:11.1f} %"
    )


if __name__ == "__main__":
    main()

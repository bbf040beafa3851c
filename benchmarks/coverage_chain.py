"""How often each printed number holds the truth, from slide to dose: simulated laboratories, as Markdown tables.

    python benchmarks/coverage_chain.py [--labs 1000] [--seed 1] [--stain fluorescence] [--slide-cells 500]
        [--curve-cells 1000] [--validation-slides 16] [--spread 1.0] [--people 0.0]
        [--part frequency|confirmed|dose|all]

No images. Each laboratory has validation slides (the counts that a card carries), a calibration curve of two slides a
dose made by the same chain, and one donor of two slides at each dose. A slide has its own sensitivity and
specificity, drawn from beta distributions with the mean and the spread that `field_frequency` found between simulated
slides (the validation slides always with spread 1; --spread is that of curve and donors). --people is the log-sd of
the donors' backgrounds. "confirmed" draws 0, 100, 200 and 400 random negatives of a donor; in each fifth laboratory
readers slip in 2 of 100 decisions, and two people decided 60 called cells and 60 others. Everything that is judged is a
function of the product. Simulated throughout: it shows what the
arithmetic does with errors of this size, not what a laboratory would get.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from mnbatch.app.person_curve import refuse_thin_background
from mnbatch.assay.classifier_error import CountedRate, ErrorRates, correct_fraction
from mnbatch.assay.confirmed_frequency import SeenSlide, confirmed_fraction
from mnbatch.assay.heterogeneity import compare_slides
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.assay.reader_slips import NO_SLIPS, DoubleRead, Slips
from mnbatch.assay.slide_errors import ValidationSlide, estimate_fraction
from mnbatch.dosimetry.case_tables import CaseCounts
from mnbatch.dosimetry.curve_fitting import fit_curve
from mnbatch.dosimetry.detection_limits import compare_with_background
from mnbatch.dosimetry.dose_estimation import Case, DoseOptions, DoseResult, assess
from mnbatch.dosimetry.likelihood_fits import DosePoint
from mnbatch.errors import CurveError
from mnbatch.review.estimate import Tally, estimate, with_slips

DOSES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
CURVE_DOSES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
COEFFICIENTS = (0.0077, 0.0459, 0.0185)
RATES = {"fluorescence": ((0.92, 0.04), (0.945, 0.022)), "giemsa": ((0.79, 0.12), (0.975, 0.018)), "none": None}
SLIDES = 2
VALIDATION = (1000, 65)
"""Cells of a validation slide, and how many of them have a micronucleus."""
NEGATIVES = (0, 100, 200, 400)
SLIP = 0.02
DOUBLE = 60
"""Called cells, and as many others, that two people decided."""
NEAR_THRESHOLD = 0.5
"""Share of the missed cells that are in the review's band."""


@dataclass(frozen=True)
class Plan:
    """What is simulated."""

    labs: int
    seed: int
    stain: str
    slide_cells: int
    curve_cells: int
    validation_slides: int
    spread: float
    people: float
    slides: int = SLIDES


@dataclass
class Tallies:
    """Sums over laboratories: line -> dose -> values (NaN: nothing was given)."""

    values: dict[str, dict[float, list[float]]] = field(default_factory=dict)

    def add(self, line: str, dose: float, value: float) -> None:
        """One laboratory's value."""
        self.values.setdefault(line, {}).setdefault(dose, []).append(float(value))

    def interval(self, line: str, dose: float, true: float, limits: tuple[float | None, float | None]) -> None:
        """Whether an interval holds the truth, its width, and whether there was one."""
        low, high = limits
        self.add(f"{line}: given", dose, low is not None and high is not None)
        if low is not None and high is not None:
            self.add(f"{line}: holds", dose, low - 1e-12 <= true <= high + 1e-12)
            self.add(f"{line}: width", dose, high - low)


def frequency(dose: float, background: float = COEFFICIENTS[0]) -> float:
    """True share of cells with a micronucleus."""
    return background + COEFFICIENTS[1] * dose + COEFFICIENTS[2] * dose**2


def rates(rng: np.random.Generator, plan: Plan, spread: float) -> tuple[float, float]:
    """Sensitivity and specificity of one slide."""
    stated = RATES[plan.stain]
    if stated is None:
        return 1.0, 1.0
    return tuple(_beta(rng, mean, sd * spread) for mean, sd in stated)  # type: ignore[return-value]


def _beta(rng: np.random.Generator, mean: float, sd: float) -> float:
    size = mean * (1 - mean) / min(sd, 0.95 * (mean * (1 - mean)) ** 0.5) ** 2 - 1
    return float(rng.beta(mean * size, (1 - mean) * size))


@dataclass(frozen=True)
class Slide:
    """Counts of one slide: cells with a micronucleus that were called or missed, false calls."""

    cells: int
    right: int
    missed: int
    false: int

    @property
    def called(self) -> int:
        """Cells called MN."""
        return self.right + self.false


def score(rng: np.random.Generator, plan: Plan, cells: int, true: float, spread: float) -> Slide:
    """One slide as the model scores it."""
    with_mn, (se, sp) = int(rng.binomial(cells, true)), rates(rng, plan, spread)
    right = int(rng.binomial(with_mn, se))
    return Slide(cells, right, with_mn - right, int(rng.binomial(cells - with_mn, 1 - sp)))


def validation(rng: np.random.Generator, plan: Plan) -> list[tuple[int, int, int, int]]:
    """(cells, with MN, called, rightly called) of each validation slide, as a card carries them."""
    found = []
    for _ in range(plan.validation_slides):
        se, sp = rates(rng, plan, 1.0)
        n, with_mn = VALIDATION
        right = int(rng.binomial(with_mn, se))
        found.append((n, with_mn, right + int(rng.binomial(n - with_mn, 1 - sp)), right))
    return found


def pooled_rates(slides: list[tuple[int, int, int, int]]) -> ErrorRates:
    """All validation cells together."""
    n, with_mn, called, right = (sum(column) for column in zip(*slides, strict=True))
    spared = n - with_mn - (called - right)
    return ErrorRates(CountedRate(right, with_mn), CountedRate(spared, n - with_mn), "simulated")


def review(rng: np.random.Generator, slide: Slide) -> list[Tally]:
    """A complete review by today's plan: all called, a band, a tenth (100 at least) of the others."""
    band = max(20, round(0.05 * slide.cells))
    negatives = slide.cells - slide.called
    near = min(int(rng.binomial(slide.missed, NEAR_THRESHOLD)), band)
    rest = negatives - band
    drawn = min(rest, max(100, round(0.1 * rest)))
    far = int(rng.hypergeometric(slide.missed - near, rest - slide.missed + near, drawn))
    return [
        Tally("called", slide.called, slide.called, slide.called, slide.right, 0, 0, True),
        Tally("band", band, band, band, near, 0, 0, False),
        Tally("rest", rest, drawn, drawn, far, 0, 0, False),
    ]


def judge_frequency(rng: np.random.Generator, plan: Plan, tallies: Tallies) -> None:
    """One laboratory: every frequency that is or was printed."""
    card = validation(rng, plan)
    of_card = pooled_rates(card)
    own = score(rng, plan, 1100, 100 / 1100, plan.spread)
    of_own = ErrorRates(
        CountedRate(own.right, max(1, own.right + own.missed)),
        CountedRate(1100 - own.right - own.missed - own.false, 1100 - own.right - own.missed),
        "own",
    )
    for dose in DOSES:
        true = frequency(dose, _background(rng, plan))
        slides = [score(rng, plan, plan.slide_cells, true, plan.spread) for _ in range(plan.slides)]
        called, cells = sum(s.called for s in slides), sum(s.cells for s in slides)
        tallies.interval("counted (Clopper-Pearson)", dose, true, clopper_pearson(called, cells))
        for line, known in (("corrected, pooled rates of the card", of_card), ("corrected, 100 + 1000 own", of_own)):
            found = correct_fraction(called, cells, known)
            tallies.interval(line, dose, true, (found.low, found.high))
        above = compare_with_background(called, cells, None).above
        tallies.add("above the literature, from calls: share", dose, above)
        looks = [tally for s in slides for tally in review(rng, s)]
        e = estimate(looks)
        tallies.interval("reviewed", dose, true, (e.ci_low / 1000, e.ci_high / 1000) if e else (None, None))
        tallies.add("reviewed: looks", dose, sum(t.drawn for t in looks))
        right = sum(s.right for s in slides)
        tallies.interval("called cells confirmed, taken as the count", dose, true, clopper_pearson(right, cells))
        tallies.add("called cells: looks", dose, called)
        differ = compare_slides([s.called for s in slides], [s.cells for s in slides])
        tallies.add("slides flagged as different, counting alone: share", dose, bool(differ and differ.disagreeing))
        known = [ValidationSlide(*counts) for counts in card]
        e = estimate_fraction(called, [s.cells for s in slides], known)
        tallies.interval("estimated, errors of a new slide predicted", dose, true, (e.low, e.high))


def judge_confirmed(rng: np.random.Generator, plan: Plan, tallies: Tallies) -> None:
    """One laboratory: called cells confirmed by a person, with random negatives; in each fifth, readers who slip."""
    known = [ValidationSlide(*counts) for counts in validation(rng, plan)]
    more = rng.random() < 0.2
    for dose in DOSES:
        true = frequency(dose, _background(rng, plan))
        slides = [score(rng, plan, plan.slide_cells, true, plan.spread) for _ in range(plan.slides)]
        for number in NEGATIVES:
            seen = [seen_by(rng, s, -(-number // plan.slides)) for s in slides]
            line = f"confirmed, {number} random negatives"
            found = confirmed_fraction(seen, known)
            tallies.interval(line, dose, true, (found.low, found.high))
            tallies.add(f"{line}: looks", dose, sum(s.called + s.looked for s in seen))
            if more and number in (100, 400):
                found = confirmed_fraction(seen, [])
                tallies.interval(f"{line}, sensitivity not known", dose, true, (found.low, found.high))
        if more:
            _judge_slips(rng, tallies, dose, true, slides, known)


def _judge_slips(
    rng: np.random.Generator,
    tallies: Tallies,
    dose: float,
    true: float,
    slides: list[Slide],
    known: list[ValidationSlide],
) -> None:
    """Readers who slip, without and with what double readings say of it."""
    double = Slips(_double(rng), _double(rng))
    slipped = [seen_by(rng, s, -(-200 // len(slides)), SLIP) for s in slides]
    looks = [_slipped(rng, tally) for s in slides for tally in review(rng, s)]
    e = estimate(looks)
    for line, slips in (("slips not in the interval", NO_SLIPS), ("slips from double readings", double)):
        found = confirmed_fraction(slipped, known, slips)
        tallies.interval(f"confirmed, 200 negatives, 2 % slips, {line}", dose, true, (found.low, found.high))
        w = with_slips(e, looks, slips) if e else None
        limits = (w.ci_low / 1000, w.ci_high / 1000) if w else (None, None)
        tallies.interval(f"reviewed, 2 % slips, {line}", dose, true, limits)


def seen_by(rng: np.random.Generator, slide: Slide, looked: int, slip: float = 0.0) -> SeenSlide:
    """What a person sees of a slide: all called cells, and random others."""
    negatives = slide.cells - slide.called
    m = min(looked, negatives)
    found = int(rng.hypergeometric(slide.missed, negatives - slide.missed, m)) if m else 0
    return SeenSlide(
        called=slide.called,
        negatives=negatives,
        confirmed=_says(rng, slide.right, slide.called, slip),
        looked=m,
        found=_says(rng, found, m, slip),
    )


def _says(rng: np.random.Generator, with_mn: int, cells: int, slip: float) -> int:
    """Cells that a reader with this slip rate calls MN."""
    return int(rng.binomial(with_mn, 1 - slip) + rng.binomial(cells - with_mn, slip)) if slip else with_mn


def _slipped(rng: np.random.Generator, t: Tally) -> Tally:
    return replace(t, mn=_says(rng, t.mn, t.looked, SLIP))


def _double(rng: np.random.Generator) -> DoubleRead:
    return DoubleRead(DOUBLE, int(rng.binomial(DOUBLE, 2 * SLIP * (1 - SLIP))))


def _background(rng: np.random.Generator, plan: Plan) -> float:
    return COEFFICIENTS[0] * float(np.exp(plan.people * rng.standard_normal() - plan.people**2 / 2))


EVENTS: dict[str, Callable[[Slide], int]] = {"automatic": lambda s: s.called, "confirmed": lambda s: s.right}
DOSE_LINES = tuple(EVENTS)


def judge_dose(rng: np.random.Generator, plan: Plan, tallies: Tallies) -> None:
    """One laboratory: curve and doses of automatic and of confirmed counts."""
    made = [
        (dose, score(rng, plan, plan.curve_cells, frequency(dose, _background(rng, plan)), plan.spread))
        for dose in CURVE_DOSES
        for _ in range(SLIDES)
    ]
    donors = []
    for dose in DOSES:
        true = frequency(dose, _background(rng, plan))
        donors.append([score(rng, plan, plan.slide_cells, true, plan.spread) for _ in range(plan.slides)])
    for line in DOSE_LINES:
        events = EVENTS[line]
        mode = {"mode": "automated (mnbatch)" if line == "automatic" else "confirmed (mnbatch)"}
        points = [DosePoint(d, s.cells, events(s)) for d, s in made]
        try:
            if line == "confirmed":
                refuse_thin_background(points, "confirmed")
            curve = fit_curve(points, "mnbn", scoring=mode)
        except CurveError:
            for dose in DOSES:
                tallies.add(f"{line}, curve refused: share", dose, True)
            continue
        cases = [_case(str(i), slides, [events(s) for s in slides], mode) for i, slides in enumerate(donors)]
        for dose, result in zip(DOSES, assess(cases, curve, DoseOptions()), strict=True):
            tallies.add(f"{line}, curve refused: share", dose, False)
            _judge_result(tallies, line, dose, result)


def _case(name: str, slides: list[Slide], events: list[int], scoring: dict[str, str]) -> Case:
    counts = CaseCounts(sum(s.cells for s in slides), sum(events))
    return Case(name, counts, scoring=scoring, slide_cells=tuple(s.cells for s in slides))


def _judge_result(tallies: Tallies, line: str, dose: float, result: DoseResult) -> None:
    if result.estimate is None or result.lower is None:
        tallies.add(f"{line} dose: given", dose, False)
        return
    upper = np.inf if result.upper is None else result.upper
    tallies.add(f"{line} dose: given", dose, True)
    tallies.add(f"{line} dose: holds", dose, result.lower <= dose <= upper)
    tallies.add(f"{line} dose: width, Gy", dose, min(upper, 20.0) - result.lower)
    tallies.add(f"{line} dose: error, Gy", dose, abs(result.estimate - dose))
    tallies.add(f"{line} dose: above the decision threshold", dose, not result.below_detection)
    if dose == 0 and result.detection_dose is not None:
        tallies.add(f"{line} dose: detection limit, Gy", dose, result.detection_dose)


PARTS = {"frequency": judge_frequency, "confirmed": judge_confirmed, "dose": judge_dose}


def simulate(plan: Plan, part: str) -> Tallies:
    """All laboratories of one part."""
    tallies = Tallies()
    for lab in range(plan.labs):
        PARTS[part](
            np.random.default_rng([plan.seed, lab, ("frequency", "dose", "confirmed").index(part)]), plan, tallies
        )
    return tallies


def print_table(tallies: Tallies) -> None:
    """Means over laboratories; medians of widths, times 1000 where they are frequencies."""
    print("| line | " + " | ".join(f"{dose:g} Gy" for dose in DOSES) + " |")
    print("|---" * (len(DOSES) + 1) + "|")
    for line, by_dose in tallies.values.items():
        print(f"| {line} | " + " | ".join(_text(line, by_dose.get(dose, [])) for dose in DOSES) + " |")


def _text(line: str, values: list[float]) -> str:
    if not values:
        return ""
    if line.endswith("looks"):
        return f"{np.mean(values):.0f}"
    if line.endswith(": width"):
        return f"{1000 * np.median(values):.1f}"
    if line.endswith("Gy"):
        return f"{np.mean(values) if 'error' in line else np.median(values):.2f}"
    return f"{np.mean(values):.3f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stain", choices=tuple(RATES), default="fluorescence")
    parser.add_argument("--slide-cells", type=int, default=500)
    parser.add_argument("--curve-cells", type=int, default=1000)
    parser.add_argument("--validation-slides", type=int, default=16)
    parser.add_argument("--slides", type=int, default=SLIDES, help="slides a donor")
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--people", type=float, default=0.0)
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    options = vars(parser.parse_args())
    part = options.pop("part")
    plan = Plan(**options)
    print(plan)
    for name in PARTS if part == "all" else (part,):
        started = time.perf_counter()
        print(f"\n{name}\n")
        print_table(simulate(plan, name))
        print(f"\n{plan.labs} laboratories, seed {plan.seed}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

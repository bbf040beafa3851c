"""What an unexposed donor of an age and sex is expected to have, from the laboratory's own controls.

A regression of counts with log link (McCullagh and Nelder, "Generalized linear models", 2nd ed. 1989, chapters 6 and
9): log(mean of a control donor's MNBN cells) = log(its cells) + b0 + b1 age + b2 [woman]. People of one age and sex
differ by a factor, so a count with the mean m has the variance m + k m^2, and k makes Pearson's chi2 equal to its
degrees of freedom (Breslow, Appl Statist 33:38, 1984); k is 0 where counting explains what is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Sex = Literal["f", "m"]
FEWEST_DONORS = 20
FEWEST_OF_A_SEX = 8
LEAST_YEARS = 30.0
LEAST_MNBN = 50
"""Control donors of known age and sex, of each sex where both are there, years between youngest and oldest, and MNBN
cells of all of them, that a regression needs. With fewer, controls are one background."""
YEARS_BEYOND = 5.0
"""Years outside the ages of the controls that the regression is still used for."""
_STEPS, _HALVINGS = 100, 40
_WORDS: dict[Sex, str] = {"f": "woman", "m": "man"}

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Person:
    """Sex, and age at sampling in years."""

    sex: Sex
    age: float

    @property
    def text(self) -> str:
        """`a woman of 43`."""
        return f"a {_WORDS[self.sex]} of {self.age:g}"


@dataclass(frozen=True, slots=True)
class CountedControl:
    """A control donor: its cells called MN, of its BN cells; `person` is None where age or sex is not known."""

    mnbn_cells: int
    bn_cells: int
    person: Person | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What an unexposed person of this age and sex has: MNBN cells a BN cell, and its standard error."""

    rate: float
    error: float


@dataclass(frozen=True, slots=True)
class AgeRegression:
    """The fitted regression.

    Attributes:
        coefficients: of 1, of (age - middle) / 10 years, and of being a woman where both sexes are among the controls.
        covariance: of these, row by row.
        middle: mean age of the controls, years.
        youngest, oldest: of the controls, years.
        donors: control donors that it was fitted to; sexes: of these.
        spread: k, the variance of people of one age and sex about their mean, over its square.
    """

    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    middle: float
    youngest: float
    oldest: float
    donors: int
    sexes: tuple[Sex, ...]
    spread: float

    def why_not(self, person: Person) -> str:
        """Why it does not serve a person; "" where it does."""
        if person.sex not in self.sexes:
            return f"no {_WORDS[person.sex]} is among the controls"
        if not self.youngest - YEARS_BEYOND <= person.age <= self.oldest + YEARS_BEYOND:
            return f"the controls are {self.youngest:g} to {self.oldest:g} years old"
        return ""

    def expected(self, person: Person) -> Expected:
        """What is expected of a person without exposure."""
        row = _row(person, self.middle, both=len(self.sexes) > 1)
        rate = float(np.exp(row @ np.array(self.coefficients)))
        return Expected(rate, rate * float(np.sqrt(row @ np.array(self.covariance) @ row)))


def fit_by_age(controls: Sequence[CountedControl]) -> AgeRegression | str:
    """Fit the regression, or say why the controls do not carry one.

    Args:
        controls: donors, all scored in the same way.
    """
    known = [(c, c.person) for c in controls if c.person is not None and c.bn_cells > 0]
    people = [person for _, person in known]
    reason = _too_few(people, sum(c.mnbn_cells for c, _ in known))
    if reason:
        return reason
    ages = np.array([person.age for person in people])
    middle = float(ages.mean())
    sexes: tuple[Sex, ...] = tuple(sorted({person.sex for person in people}))
    design = np.array([_row(person, middle, both=len(sexes) > 1) for person in people])
    events = np.array([c.mnbn_cells for c, _ in known], np.float64)
    cells = np.array([c.bn_cells for c, _ in known], np.float64)
    found = _fitted(design, events, cells)
    if found is None:
        return "the regression by age and sex has no solution for these controls"
    coefficients, means, spread = found
    weights = means / (1 + spread * means)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    return AgeRegression(
        coefficients=tuple(map(float, coefficients)),
        covariance=tuple(tuple(map(float, row)) for row in covariance),
        middle=middle,
        youngest=float(ages.min()),
        oldest=float(ages.max()),
        donors=len(known),
        sexes=sexes,
        spread=spread,
    )


def _too_few(people: Sequence[Person], mnbn_cells: int) -> str:
    if len(people) < FEWEST_DONORS:
        have = "donor has" if len(people) == 1 else "donors have"
        return f"{len(people)} control {have} age and sex, not {FEWEST_DONORS}"
    span = max(person.age for person in people) - min(person.age for person in people)
    if span < LEAST_YEARS:
        return f"the control donors' ages differ by {span:g} years, not {LEAST_YEARS:g}"
    for sex, word in (("f", "women"), ("m", "men")):
        number = sum(person.sex == sex for person in people)
        if 0 < number < FEWEST_OF_A_SEX:
            return f"{number} of the control donors are {word}, not {FEWEST_OF_A_SEX}"
    if mnbn_cells < LEAST_MNBN:
        return f"the control donors have {mnbn_cells} MNBN cells together, not {LEAST_MNBN}"
    return ""


def _row(person: Person, middle: float, *, both: bool) -> Vector:
    terms = [1.0, (person.age - middle) / 10]
    return np.array([*terms, float(person.sex == "f")] if both else terms)


def _fitted(design: Vector, events: Vector, cells: Vector) -> tuple[Vector, Vector, float] | None:
    """Coefficients, means and k, each from the other until neither changes; None where they do not settle."""
    spread, last = 0.0, -1.0
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = np.log(events.sum() / cells.sum())
    for _ in range(_STEPS):
        found = _weighted(design, events, cells, spread, coefficients)
        if found is None:
            return None
        coefficients = found[0]
        if abs(spread - last) <= 1e-6:
            return *found, spread
        last, spread = spread, _spread(events, found[1], len(events) - design.shape[1])
    return None


def _weighted(
    design: Vector, events: Vector, cells: Vector, spread: float, coefficients: Vector
) -> tuple[Vector, Vector] | None:
    """Coefficients and means for a given k, by iteratively reweighted least squares; None where they do not settle.

    Args:
        coefficients: to begin with.
    """
    for _ in range(_STEPS):
        means = cells * np.exp(design @ coefficients)
        weights = means / (1 + spread * means)
        residuals = (events - means) / (1 + spread * means)
        try:
            step = np.linalg.solve(design.T @ (weights[:, None] * design), design.T @ residuals)
        except np.linalg.LinAlgError:
            return None
        # A long step of Newton's method overshoots where a group has no event.
        coefficients = coefficients + step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-10:
            means = cells * np.exp(design @ coefficients)
            return (coefficients, means) if np.isfinite(means).all() and means.min() > 0 else None
    return None


def _spread(events: Vector, means: Vector, freedom: int) -> float:
    """k that makes Pearson's chi2 equal to its degrees of freedom; 0 where it is no larger without."""

    def excess(spread: float) -> float:
        return float(((events - means) ** 2 / (means + spread * means**2)).sum()) - freedom

    low, high = 0.0, 1.0
    if excess(low) <= 0:
        return low
    while excess(high) > 0:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high

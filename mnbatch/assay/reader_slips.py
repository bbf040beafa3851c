"""How often a person errs who decides on cells: from cells that two people decided, without knowing of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

# A slip is a decision against what the same person would decide with more care. Two readings of one cell, each with the
# slip rate e, differ with the probability d = 2 e (1 - e); so d of the cells that two people decided gives e. It is
# the count behind Cohen's kappa, before chance agreement is taken out. Prior of d: Jeffreys (beta 1/2, 1/2), cut at
# 1/2.
#
# The rate is that of one stratum group (called cells, or others): called cells are harder. A slip that both readers
# make, because they judge a cell alike and wrongly, cannot be seen in this way.

FEWEST_DOUBLE = 30
"""Cells of a group that two people decided, below which nothing is said of its slips."""
_SEED = 19600401

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DoubleRead:
    """Cells that two people decided, and those of them on which they differ."""

    cells: int = 0
    differing: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.differing <= self.cells:
            raise ValueError(f"{self.differing} of {self.cells} is not a count of cells")

    def __add__(self, other: DoubleRead) -> DoubleRead:
        return DoubleRead(self.cells + other.cells, self.differing + other.differing)

    @property
    def known(self) -> bool:
        """Whether there are enough of them."""
        return self.cells >= FEWEST_DOUBLE

    @property
    def rate(self) -> float | None:
        """Slips a decision, as estimated; None without enough cells."""
        return _slip(self.differing / self.cells) if self.known else None

    def quantile(self, p: float) -> float:
        """Of the posterior of the slip rate; 0 where it is not known."""
        if not self.known:
            return 0.0
        return _slip(float(betaincinv(self.differing + 0.5, self.cells - self.differing + 0.5, p)))

    def draws(self, number: int, stream: int) -> Floats:
        """Posterior draws of the slip rate in random order, (number,); zeros where it is not known.

        Args:
            stream: another one gives draws that are independent of these.
        """
        if not self.known:
            return np.zeros(number)
        rng = np.random.default_rng([_SEED, stream])
        places = (np.arange(number) + 0.5) / number
        found = betaincinv(self.differing + 0.5, self.cells - self.differing + 0.5, rng.permutation(places))
        return np.asarray((1 - np.sqrt(1 - 2 * np.minimum(found, 0.5))) / 2, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Slips:
    """What double readings say of the slips on cells that the model called, and on others."""

    called: DoubleRead = DoubleRead()
    others: DoubleRead = DoubleRead()

    def __add__(self, other: Slips) -> Slips:
        return Slips(self.called + other.called, self.others + other.others)

    @property
    def known(self) -> bool:
        """Whether they are known of both groups."""
        return self.called.known and self.others.known

    @property
    def any_known(self) -> bool:
        """Whether they are known of at least one."""
        return self.called.known or self.others.known


NO_SLIPS = Slips()


def _slip(differing: float) -> float:
    """e of d = 2 e (1 - e)."""
    return float((1 - np.sqrt(1 - 2 * min(differing, 0.5))) / 2)

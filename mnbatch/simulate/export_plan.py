"""What a simulated export consists of: the order for it, its slides, and the dose curve they follow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnbatch.assay.cells import Stain
from mnbatch.errors import UsageError
from mnbatch.simulate.export_files import Format, Layout

# The dose curve from which the numbers of micronuclei are drawn.


@dataclass(frozen=True, slots=True)
class DoseCurve:
    """Micronuclei per binucleated cell at a dose: c + alpha D + beta D^2, D in Gy.

    The default is the X-ray curve of doi 10.1016/j.mrgentox.2014.07.009; it serves as an example only.
    """

    c: float = 0.0104
    alpha: float = 0.0824
    beta: float = 0.0189

    def mean(self, dose_gy: float) -> float:
        """Mean number of micronuclei a cell.

        Raises:
            ValueError: a negative dose.
        """
        if dose_gy < 0:
            raise ValueError(f"a dose cannot be negative: {dose_gy}")
        return self.c + self.alpha * dose_gy + self.beta * dose_gy**2


XRAYS = DoseCurve()


# What a simulated export consists of: the order for it, and its slides.


Looks = Literal["fluorescence", "giemsa", "both"]

_MOST_MNBN = 900.0


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What to simulate.

    Attributes:
        donors, slides, cells: number of donors, of slides a donor, of cells a slide.
        seed: same seed, same bytes; a slide's cells depend on the seed and its own numbers only.
        doses: Gy; donors take them in turn.
        mnbn: MNBN cells per 1000 binucleated cells, expected; donors take them in turn, instead of doses.
        stain: of all slides, or "both" in turn.
        fmt: file format.
        size: width of a crop, px; bits: of fluorescence files (a JPEG has 8).
        variety: 0 gives all slides the typical stain, 1 as different as laboratories are.
        odd_cells: share of crops that show no binucleated cell (one nucleus, or three and four).
    """

    donors: int = 4
    slides: int = 2
    cells: int = 300
    seed: int = 1
    doses: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    stain: Looks = "fluorescence"
    layout: Layout = "donor-slide-folders"
    fmt: Format = "tif"
    size: int = 224
    bits: Literal[8, 16] = 16
    variety: float = 0.6
    odd_cells: float = 0.0
    curve: DoseCurve = XRAYS
    mnbn: tuple[float, ...] = ()

    def mean_mn(self, donor: int) -> float:
        """Mean number of micronuclei in a binucleated cell of a donor (counted from 0).

        From an MNBN frequency f it is -ln(1 - f): a Poisson number is above 0 with probability f then.
        """
        if self.mnbn:
            return -math.log1p(-self.mnbn[donor % len(self.mnbn)] / 1000)
        return self.curve.mean(self.doses[donor % len(self.doses)])

    def dose_text(self, donor: int) -> float | int | str:
        """A donor's dose in Gy as tables give it; empty where MNBN frequencies were asked for instead."""
        if self.mnbn:
            return ""
        dose = self.doses[donor % len(self.doses)]
        return int(dose) if float(dose).is_integer() else float(dose)

    def check(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            UsageError: a count below 1, a dose or frequency out of range, a format that the layout cannot have.
        """
        if min(self.donors, self.slides, self.cells) < 1:
            raise UsageError("Donors, slides and cells must be 1 or more.", "Give a larger number.")
        if not self.doses or min(self.doses) < 0 or not all(np.isfinite(self.doses)):
            raise UsageError(f"These are no doses in Gy: {self.doses}.", "Use for example --dose 0,1,2,4.")
        if not all(0 <= share <= _MOST_MNBN for share in self.mnbn):
            raise UsageError(
                f"These are no MNBN frequencies per 1000: {self.mnbn}.", "Use for example --mnbn 5,20,100,300."
            )
        if not 64 <= self.size <= 1024:
            raise UsageError(f"A crop of {self.size} px cannot be drawn.", "Use a size from 64 to 1024.")
        if self.layout == "tiff-galleries" and self.fmt != "tif":
            raise UsageError(f"A gallery is a TIFF file, not {self.fmt}.", "Leave --format out.")
        if not 0 <= self.variety <= 1 or not 0 <= self.odd_cells <= 1:
            raise UsageError("Variety and the share of odd cells lie between 0 and 1.", "Give another number.")
        if self.seed < 0:
            raise UsageError("The seed must be 0 or more.", "Use for example --seed 1.")


@dataclass(frozen=True, slots=True)
class SlideJob:
    """One slide to simulate; donor and number count from 0."""

    donor: int
    number: int

    @property
    def donor_code(self) -> str:
        """Code of the donor, D01, D02, ..."""
        return f"D{self.donor + 1:02d}"

    @property
    def name(self) -> str:
        """Name of the slide, unique in the export."""
        return f"{self.donor_code}-{self.number + 1}"


def slide_jobs(plan: ExportPlan) -> Iterator[SlideJob]:
    """All slides of a plan, in order."""
    for donor in range(plan.donors):
        for number in range(plan.slides):
            yield SlideJob(donor, number)


def slide_stain_of(plan: ExportPlan, job: SlideJob) -> Stain:
    """Stain of a slide; with "both" they take turns."""
    if plan.stain == "both":
        return "fluorescence" if (job.donor + job.number) % 2 == 0 else "giemsa"
    return plan.stain

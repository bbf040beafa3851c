"""The dose curve from which the numbers of micronuclei are drawn."""

from __future__ import annotations

from dataclasses import dataclass


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

"""Indices of proliferation, from how many cells have one, two, three, four and more nuclei."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NuclearClasses:
    """Viable cells by their number of main nuclei.

    Attributes:
        one, two, three, four: cells with 1, 2, 3, and 4 or more nuclei.

    Raises:
        ValueError: a negative number of cells.
    """

    one: int
    two: int
    three: int
    four: int

    def __post_init__(self) -> None:
        if min(self.one, self.two, self.three, self.four) < 0:
            raise ValueError("a number of cells cannot be negative")

    @property
    def cells(self) -> int:
        """All cells of the four classes."""
        return self.one + self.two + self.three + self.four

    @property
    def ndi(self) -> float | None:
        """Nuclear division index (M1 + 2 M2 + 3 M3 + 4 M4) / N (Eastmond and Tucker 1989); None without cells."""
        if not self.cells:
            return None
        return (self.one + 2 * self.two + 3 * self.three + 4 * self.four) / self.cells

    @property
    def cbpi(self) -> float | None:
        """Cytokinesis-block proliferation index (M1 + 2 M2 + 3 (M3 + M4)) / N (OECD TG 487); None without cells."""
        if not self.cells:
            return None
        return (self.one + 2 * self.two + 3 * (self.three + self.four)) / self.cells

    def __add__(self, other: NuclearClasses) -> NuclearClasses:
        """The two pooled."""
        return NuclearClasses(
            self.one + other.one, self.two + other.two, self.three + other.three, self.four + other.four
        )


def cytostasis(treated_cbpi: float, control_cbpi: float) -> float | None:
    """Per cent cytostasis, 100 - 100 (CBPI_T - 1) / (CBPI_C - 1) (OECD TG 487).

    Returns:
        None where no cell of the control divided (CBPI 1): there is nothing to compare with.
    """
    return None if control_cbpi <= 1 else 100 - 100 * (treated_cbpi - 1) / (control_cbpi - 1)

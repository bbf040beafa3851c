"""What segmentation hands on: a field's label images and its cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.classes import CellClass

Labels = npt.NDArray[np.int32]
"""Label image (h, w): 0 is nothing, 1..n one object each."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 lie just outside."""


@dataclass(frozen=True, slots=True)
class FoundCell:
    """One cell of a field.

    Attributes:
        label: 1..n within the field; where there are bodies, the cell's label in them.
        x, y: centre in pixels (pixel centres are whole numbers): the middle of the box round its main nuclei.
        box: round its main nuclei and, where there is one, its body.
        cell_class: what it is; a class other than the wanted one is not scored.
        reason: why it is not scored, one short sentence; "" for a cell to be scored.
        nuclei: labels of its main nuclei in `SegmentedField.nuclei`.
        nucleus_areas: their areas in pixels, in the same order.
        cell_area: area of its body in pixels, nuclei included; None where no cytoplasm can be seen.
        at_border: a nucleus touches the edge of the field, or the edge cuts the body.
        small_bodies: small stained bodies within it, which may be micronuclei; nothing is decided from them here.
    """

    label: int
    x: float
    y: float
    box: Box
    cell_class: CellClass
    reason: str
    nuclei: tuple[int, ...]
    nucleus_areas: tuple[int, ...]
    cell_area: int | None
    at_border: bool
    small_bodies: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedField:
    """A field with what was found in it.

    Attributes:
        nuclei: (h, w) int32, one label for each main nucleus.
        small_bodies: (h, w) int32, stained bodies too small for a main nucleus, micronuclei among them.
        bodies: (h, w) int32, whole cells (nuclei and cytoplasm), or None where no cytoplasm can be seen.
        cells: in order of their labels.
        nucleus_diameter: median over the main nuclei of the diameter of a disc as large, px; 0.0 without any.
        ground: "fluorescence", "giemsa", or "unknown" where there is nothing to tell by.
        problem: why nothing can be said of this field (empty, noise, saturated, out of focus), else "".
    """

    nuclei: Labels
    small_bodies: Labels
    bodies: Labels | None
    cells: tuple[FoundCell, ...]
    nucleus_diameter: float
    ground: str
    problem: str = ""

    def counts(self) -> dict[CellClass, int]:
        """Cells of each class, classes without a cell left out."""
        found: dict[CellClass, int] = {}
        for cell in self.cells:
            found[cell.cell_class] = found.get(cell.cell_class, 0) + 1
        return found

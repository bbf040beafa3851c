"""What may be chosen about segmentation, its version, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from mnbatch.assay.field_records import CellClass

# Version of segmentation: raised when the same field would give other cells.


SEGMENTATION_VERSION = "3"


# What may be chosen about segmentation; lengths are shares of the field's own median nucleus diameter.


CellsWanted = Literal["binucleated", "all"]


class SegmentationSettings(BaseModel):
    """Options of segmentation; part of the score key, because they decide which cells there are.

    Attributes:
        cells: `binucleated` pairs nuclei into cells and scores the binucleated ones; `all` makes every main nucleus
            a cell of its own, also at the border (mononucleated assay, cell lines).
        nucleus_diameter: the slide's median nucleus diameter in pixels where it is known (from other tiles, or from
            a person); None takes it from the field itself.
        small_body: bodies below this diameter are no main nuclei. A micronucleus has at most a third of a main
            nucleus's diameter (Fenech 2003, doi 10.1016/S1383-5718(02)00249-8), and looks larger by the blur.
        pair_gap: largest distance between the outlines of two nuclei of one cell where no cytoplasm can be seen.
        pair_gap_close: nuclei this close are linked without cytoplasm, however many; up to `pair_gap` only two that are
            each other's nearest.
        pair_gap_in_body: the same where they are in one visible cytoplasm.
        pair_size_ratio: smallest ratio of their areas ("approximately equal in size").
        pair_stain_ratio: smallest ratio of their mean stain ("approximately equal in staining").
        range_um: a median diameter outside this range, micrometres, is no nucleus's; used where the pixel size is
            known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: CellsWanted = "binucleated"
    nucleus_diameter: float | None = Field(default=None, gt=2)
    small_body: float = Field(default=0.4, gt=0, lt=1)
    pair_gap: float = Field(default=0.7, ge=0, le=3)
    pair_gap_close: float = Field(default=0.35, ge=0, le=3)
    pair_gap_in_body: float = Field(default=1.5, ge=0, le=3)
    pair_size_ratio: float = Field(default=0.5, gt=0, le=1)
    pair_stain_ratio: float = Field(default=0.6, gt=0, le=1)
    range_um: tuple[float, float] = (3.0, 40.0)


# What segmentation hands on: a field's label images and its cells.


Labels = npt.NDArray[np.int32]
"""Label image (h, w): 0 is nothing, 1..n one object each."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 are just outside."""


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
        background: "fluorescence", "giemsa", or "unknown" where there is nothing to tell by.
        problem: why this field gives no result (empty, noise, saturated, out of focus), else "".
    """

    nuclei: Labels
    small_bodies: Labels
    bodies: Labels | None
    cells: tuple[FoundCell, ...]
    nucleus_diameter: float
    stain: str
    problem: str = ""

    def counts(self) -> dict[CellClass, int]:
        """Cells of each class, classes without a cell left out."""
        found: dict[CellClass, int] = {}
        for cell in self.cells:
            found[cell.cell_class] = found.get(cell.cell_class, 0) + 1
        return found

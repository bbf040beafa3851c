"""What may be chosen about segmentation; lengths are shares of the field's own median nucleus diameter."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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
        pair_gap_in_body: the same where they lie in one visible cytoplasm.
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

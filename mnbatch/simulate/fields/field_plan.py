"""What simulated fields and whole slides consist of: the order for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from mnbatch.errors import UsageError
from mnbatch.simulate.export_plan import ExportPlan
from mnbatch.simulate.fields.haze import Haze

CellClass = Literal["mononucleated", "binucleated", "multinucleated", "apoptotic", "necrotic"]
FieldKind = Literal["fields", "wsi"]
FieldFormat = Literal["tif", "ome.tif", "png", "jpg"]
Masks = Literal["none", "apart", "beside"]

CLASSES: tuple[CellClass, ...] = get_args(CellClass)
FORMATS: tuple[FieldFormat, ...] = get_args(FieldFormat)

USUAL_MIXTURE: Mapping[CellClass, float] = {
    "mononucleated": 0.41,
    "binucleated": 0.46,
    "multinucleated": 0.07,
    "apoptotic": 0.04,
    "necrotic": 0.02,
}
"""Shares of the cells (assumed: an ordinary 72 h culture with cytochalasin B, nuclear division index about 1.7)."""

_NUCLEUS_UM = 10.5
_SMALLEST_NUCLEUS_PX = 26.0
COARSEST_UM_PER_PX = 0.35
_DENSEST = 1500.0


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """Fields or whole slides to simulate.

    Attributes:
        export: donors, slides, seed, doses or MNBN frequencies, stain, bits, variety; its other parts are of crops.
        fields: fields a slide (`kind` "fields").
        width, height: of a field or of a whole slide, px.
        um_per_px: pixel size, written into the files.
        density: cells per mm2 of slide.
        mixture: shares of the cell classes, any positive scale.
        overlaps: share of cells that lie on or under another one; the others may touch.
        defocus: share of the slide that lies in patches out of focus.
        debris: amount of debris relative to that around the cells of `--kind crops`, which is meant to be hard.
        haze: cytoplasm that shows, nuclei of different brightness, cells far out of focus; None: as stains usually are.
        cytoplasm_channel: OME-TIFFs of two channels, DAPI and Cytoplasm; fluorescence.
        fmt: of fields; a whole slide is a tiled pyramid in TIFF.
        masks: label images of fields: none, apart from the export, or beside the fields as a
            segmentation tool leaves them.
    """

    export: ExportPlan = field(default_factory=ExportPlan)
    kind: FieldKind = "fields"
    fields: int = 20
    width: int = 1376
    height: int = 1040
    um_per_px: float = 0.25
    density: float = 400.0
    mixture: Mapping[CellClass, float] = field(default_factory=lambda: dict(USUAL_MIXTURE))
    overlaps: float = 0.04
    defocus: float = 0.04
    debris: float = 0.5
    haze: Haze | None = None
    cytoplasm_channel: bool = False
    fmt: FieldFormat = "tif"
    masks: Masks = "none"

    def check(self) -> None:
        """Refuse what cannot be simulated.

        Raises:
            UsageError: a number out of its range, an unknown class, a combination that cannot be written.
        """
        self.export.check()
        if self.fields < 1 or min(self.width, self.height) < 128:
            raise UsageError("A slide has 1 field or more of 128 px or more.", "Give larger numbers.")
        if self.kind == "fields" and max(self.width, self.height) > 8192:
            raise UsageError(
                f"A field of {self.width} x {self.height} px is drawn at once and would need too much memory.",
                "Use at most 8192 px a side, or --kind wsi, which is drawn tile by tile.",
            )
        if not 0.05 <= self.um_per_px <= COARSEST_UM_PER_PX:
            raise UsageError(
                f"At {self.um_per_px} um per pixel micronuclei cannot be drawn.",
                f"Use a pixel size from 0.05 to {COARSEST_UM_PER_PX} um.",
            )
        if not 0 <= self.density <= _DENSEST:
            raise UsageError(
                f"{self.density:g} cells per mm2 do not fit beside each other.",
                f"Use a density from 0 to {_DENSEST:g}.",
            )
        if not 0 <= self.debris <= 5:
            raise UsageError(f"{self.debris:g} is no amount of debris.", "Use 0 (none) to 5, with 1 as in crops.")
        if not 0 <= self.overlaps <= 0.5 or not 0 <= self.defocus <= 0.9:
            raise UsageError(
                "The share of overlapping cells lies between 0 and 0.5, that out of focus between 0 and 0.9.",
                "Give other shares.",
            )
        self._check_mixture()
        self._check_files()
        self._check_haze()
        self._check_channels()

    def _check_mixture(self) -> None:
        unknown = sorted(set(self.mixture) - set(CLASSES))
        if unknown:
            raise UsageError(f"There is no class of cells '{unknown[0]}'.", f"Use {', '.join(CLASSES)}.")
        shares = list(self.mixture.values())
        if not all(math.isfinite(share) and share >= 0 for share in shares) or not sum(shares) > 0:
            raise UsageError("The shares of the cell classes must be 0 or more, and one above 0.", "Change --mixture.")

    def _check_files(self) -> None:
        if self.kind == "wsi" and self.masks != "none":
            raise UsageError("Masks are written for fields only.", "Leave --masks out, or use --kind fields.")

    def _check_channels(self) -> None:
        if not self.cytoplasm_channel:
            return
        if self.kind != "fields" or self.fmt != "ome.tif" or self.export.stain != "fluorescence":
            raise UsageError(
                "A cytoplasm channel is drawn for fields in fluorescence, as OME-TIFF.",
                "Use --cytoplasm-channel with --kind fields --format ome.tif --stain fluorescence.",
            )

    def _check_haze(self) -> None:
        if self.haze is None:
            return
        self.haze.check()
        if self.export.stain != "fluorescence":
            raise UsageError("Haze is a matter of fluorescence.", "Leave --haze out, or use --stain fluorescence.")

    @property
    def mm2(self) -> float:
        """Area of one field or whole slide, mm2."""
        return self.width * self.height * (self.um_per_px / 1000) ** 2

    def nucleus_px(self, drawn: float) -> float:
        """Diameter of a slide's main nuclei, px.

        Args:
            drawn: the slide's deviation from the mean of 10.5 um (assumed), a factor.
        """
        return max(_SMALLEST_NUCLEUS_PX, _NUCLEUS_UM * drawn / self.um_per_px)

    def mean_mn(self, donor: int, cell_class: CellClass) -> float:
        """Mean number of micronuclei in a cell of this class.

        Mononucleated cells, which did not divide since the irradiation, have the curve's background at most (assumed).
        """
        mean = self.export.mean_mn(donor)
        if cell_class == "mononucleated":
            return min(mean, self.export.curve.mean(0.0))
        return mean if cell_class in ("binucleated", "multinucleated") else 0.0


def parse_mixture(text: str) -> dict[CellClass, float]:
    """Shares from "mononucleated=40,binucleated=50"; classes that are not named have none.

    Raises:
        UsageError: no list of class=share.
    """
    shares: dict[CellClass, float] = {}
    for part in text.replace(";", ",").split(","):
        name, _, share = (piece.strip() for piece in part.partition("="))
        known = [known for known in CLASSES if known == name]
        try:
            shares[known[0]] = float(share)
        except (IndexError, ValueError) as error:
            raise UsageError(
                f"'{part.strip()}' is no class of cells with its share.",
                f"Use for example --mixture mononucleated=40,binucleated=50; the classes are {', '.join(CLASSES)}.",
            ) from error
    return shares

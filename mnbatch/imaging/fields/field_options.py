"""How cells are found in fields and cut from them (part of the score key), and the pieces of work that follow."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from mnbatch.assay.cells import SourceFile
from mnbatch.assay.field_records import CellsWanted
from mnbatch.assay.page_options import PageOptions

# How cells are found in fields and cut from them; part of the score key.


FIELDS_VERSION = "4"
"""Raised when the same field would give other cells or other crops though segmentation did not change."""


_PAGES = ("planes", "time", "pages", "names", "cytoplasm")


@dataclass(frozen=True, slots=True)
class CropScale:
    """How wide a crop is, as the model's card asks for it: one of the two is given.

    Attributes:
        nucleus_diameters: width in median nucleus diameters of the slide.
        width_um: width in micrometres.
    """

    nucleus_diameters: float | None = None
    width_um: float | None = None


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """What a person and the model's card say about fields.

    Attributes:
        cells: which cells are scored.
        channel: nuclear channel, a number from 1 or a name; None to recognise it.
        um_per_pixel: pixel size of all slides for which the sample sheet gives none; None takes what the files say.
        scale: of the crops.
        stain: forced stain (fluorescence, giemsa), or None to recognise each slide's.
        keep_overviews: also make a small picture of each field.
        planes, time, pages, names, cytoplasm: what a person says of pages and files of one scene, see `PageOptions`.
    """

    cells: CellsWanted = "binucleated"
    channel: str | None = None
    um_per_pixel: float | None = None
    scale: CropScale = CropScale(nucleus_diameters=3.2)
    stain: str | None = None
    keep_overviews: bool = True
    planes: str | None = None
    time: int | None = None
    pages: str | None = None
    names: str | None = None
    cytoplasm: str | None = None

    @property
    def page_options(self) -> PageOptions:
        """What is said of the pages of files."""
        return PageOptions(self.channel, self.planes, self.time, self.pages, names=self.names, cytoplasm=self.cytoplasm)

    def key(self, slide_um: float | None) -> str:
        """Digest (16 hex digits) over all that decides which cells there are and how they are cut.

        Args:
            slide_um: pixel size that the sample sheet gives the slide.
        """
        # scikit-image, which the package imports, takes a second to load; a slide of crops need not spend it.
        from mnbatch.imaging.segmentation.segmentation_settings import SEGMENTATION_VERSION

        known = asdict(self) | {"keep_overviews": None, "slide_um": slide_um}
        # The first name of this setting: slides that were scored under it keep their scores.
        known["ground"] = known.pop("stain")
        # Options that were not given are no part of it, so that results from before they existed stay valid.
        known = {name: value for name, value in known.items() if value is not None or name not in _PAGES}
        text = json.dumps([FIELDS_VERSION, SEGMENTATION_VERSION, known], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


# Pieces of work of a slide of fields or of a whole slide; they travel between processes.


@dataclass(frozen=True, slots=True)
class FieldTask:
    """One image file of a slide of fields, with the label image next to it.

    Attributes:
        mask: label image, or None to segment.
        planes: further files that show the field in other focal planes.
        cytoplasm: files of its cytoplasm channel, one a focal plane; none where the file itself holds it.
    """

    file: SourceFile
    mask: SourceFile | None = None
    planes: tuple[SourceFile, ...] = ()
    cytoplasm: tuple[SourceFile, ...] = ()


@dataclass(frozen=True, slots=True)
class RegionTask:
    """A region of a whole slide, or (without a core) its files, to be hashed.

    Attributes:
        core: x0, y0, x1, y1, full-resolution pixels.
        scan: which scan of the file, from 0.
    """

    file: SourceFile
    core: tuple[int, int, int, int] | None
    scan: int = 0
    mask: None = None

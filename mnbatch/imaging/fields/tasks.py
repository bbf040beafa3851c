"""Pieces of work of a slide of fields or of a whole slide; they travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from mnbatch.assay.cells import SourceFile


@dataclass(frozen=True, slots=True)
class FieldTask:
    """One image file of a slide of fields, with the label image beside it.

    Attributes:
        mask: label image, or None to segment.
    """

    file: SourceFile
    mask: SourceFile | None = None


@dataclass(frozen=True, slots=True)
class RegionTask:
    """A region of a whole slide, or (without a core) its files, to be hashed.

    Attributes:
        core: x0, y0, x1, y1, full-resolution pixels.
    """

    file: SourceFile
    core: tuple[int, int, int, int] | None
    mask: None = None

"""What is known of a cell that was found in a field, and of the field itself; they travel beside the crops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mnbatch.assay.classes import DIVISION_CLASSES, CellClass
from mnbatch.assay.indices import NuclearClasses

InputKind = Literal["gallery", "fields", "wsi"]
"""What an export holds: crops of single cells, camera fields with many cells, or whole slides."""

CellsWanted = Literal["binucleated", "all"]
"""Which cells of a field are scored: binucleated ones, or every main nucleus."""


@dataclass(frozen=True, slots=True)
class FoundAt:
    """A cell as it was found; lengths in pixels of the full resolution, areas in their squares.

    Attributes:
        x, y: centre of the box round its main nuclei; pixel centres are whole numbers.
        left, top, width, height: box round its nuclei and its cytoplasm.
        cell_class: what it is.
        reason: why it is not scored; "" for a cell that is.
        nuclei: number of its main nuclei.
        nucleus_area: of all main nuclei.
        cell_area: of the whole cell; None where no cytoplasm can be seen.
        at_border: it touches the edge of the field, so a part of it may be missing, or its crop reaches over the edge.
        um_per_pixel: None where it is not known.
        outline: polygon round it, as x and y in turn, corners of pixels (pixel 0 reaches from 0 to 1).
    """

    x: float
    y: float
    left: int
    top: int
    width: int
    height: int
    cell_class: CellClass
    reason: str
    nuclei: int
    nucleus_area: int
    cell_area: int | None
    at_border: bool
    um_per_pixel: float | None
    outline: tuple[int, ...] = ()

    @property
    def mark(self) -> str:
        """What tells it from the other cells of its field in a cell-id: `@x_y`, whole pixels."""
        return f"@{round(self.x)}_{round(self.y)}"


@dataclass(frozen=True, slots=True, eq=False)
class FieldReport:
    """What became of one field, or of one region of a whole slide; follows its cells through the stream.

    Attributes:
        source: path of the file relative to the export root; page: of a multi-page file, counted from 0.
        left, top, width, height: where it lies in the file, full-resolution pixels.
        cells: every cell that was found, scored or not.
        problem: why nothing can be said of it; "" for a field that was used.
        empty: it holds no cell, and nothing is wrong with it.
        emptiness: of such a field, what was seen in place of cells; "" where all were left for the next region.
        transient: an I/O error that a later run may not meet.
        overview: small JPEG of it; b"" where none is kept.
    """

    slide_id: str
    source: str
    page: int | None
    left: int
    top: int
    width: int
    height: int
    cells: tuple[FoundAt, ...] = ()
    problem: str = ""
    empty: bool = False
    emptiness: str = ""
    transient: bool = False
    file_digest: str = ""
    overview: bytes = b""


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """What the fields of a slide, or of a donor's slides together, held.

    Attributes:
        fields: all that were looked at; empty: of these, without a cell; set_aside: of these, not usable.
        classes: class -> cells found.
        not_scored: reason -> cells that were found and not scored.
        paired: nuclei were paired into cells; with --cells all every nucleus is a cell, and there is no division index.
    """

    fields: int = 0
    empty: int = 0
    set_aside: int = 0
    classes: dict[str, int] | None = None
    not_scored: dict[str, int] | None = None
    paired: bool = True

    @property
    def found(self) -> int:
        """Cells found, whatever their class."""
        return sum((self.classes or {}).values())

    @property
    def excluded(self) -> int:
        """Cells found and not scored."""
        return sum((self.not_scored or {}).values())

    def division(self) -> NuclearClasses | None:
        """M1 to M4: cells with one, two, three, and four or more main nuclei; None where nuclei were not paired."""
        if not self.paired:
            return None
        known = self.classes or {}
        return NuclearClasses(*(known.get(name, 0) for name in DIVISION_CLASSES))

    @classmethod
    def pooled(cls, counts: Iterable[FieldCounts]) -> FieldCounts:
        """Counts of several slides together."""
        total = cls(0, 0, 0, {}, {})
        for one in counts:
            total = cls(
                total.fields + one.fields,
                total.empty + one.empty,
                total.set_aside + one.set_aside,
                dict(Counter(total.classes or {}) + Counter(one.classes or {})),
                dict(Counter(total.not_scored or {}) + Counter(one.not_scored or {})),
                total.paired and one.paired,
            )
        return total

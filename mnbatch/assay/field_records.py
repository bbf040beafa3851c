"""What is known of a cell that was found in a field, and of the field itself, with the indices of proliferation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

# What a cell of a field is: the words in which found, scored and excluded cells are counted.


CellClass = Literal[
    "mononucleated",
    "binucleated",
    "trinucleated",
    "multinucleated",
    "apoptotic",
    "overlapping",
    "border",
    "small_body",
]
"""Class of a found cell.

* mononucleated, binucleated, trinucleated, multinucleated: one, two, three, four or more main nuclei (M1 to M4 of the
  nuclear division index; Fenech 2007, doi 10.1038/nprot.2007.77). Micronuclei never count.
* apoptotic: condensed and broken up, or shrunken and far denser than the other nuclei.
* overlapping: its nuclei or its cytoplasm cannot be told from a neighbour's.
* border: it reaches the edge of the field, so that what is outside is unknown.
* small_body: stained, too small for a main nucleus, and in no cell's cytoplasm: debris, platelets, free micronuclei.
"""

CELL_CLASSES: tuple[CellClass, ...] = get_args(CellClass)

DIVISION_CLASSES: tuple[CellClass, ...] = ("mononucleated", "binucleated", "trinucleated", "multinucleated")
"""M1, M2, M3 and M4 (four or more) of the nuclear division index, in this order; the other classes are in neither
its numerator nor its denominator."""


def division_class(nuclei: int) -> CellClass:
    """Class of a viable cell with this many main nuclei.

    Raises:
        ValueError: fewer than one.
    """
    if nuclei < 1:
        raise ValueError(f"a cell has at least one main nucleus, not {nuclei}")
    return DIVISION_CLASSES[min(nuclei, len(DIVISION_CLASSES)) - 1]


# Indices of proliferation, from how many cells have one, two, three, four and more nuclei.


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


USUAL_NDI = (1.2, 2.5)
USUAL_CBPI = (1.1, 2.5)
"""Division indices of cultured lymphocytes of most donors are within these (general knowledge of the field, wide on
purpose); outside, the culture or the finding of cells is to be checked before frequencies are used."""
FEWEST_FOR_INDEX = 200
"""Cells of all classes below which an index is not judged (OECD TG 487 asks for 500)."""


def cytostasis(treated_cbpi: float, control_cbpi: float) -> float | None:
    """Per cent cytostasis, 100 - 100 (CBPI_T - 1) / (CBPI_C - 1) (OECD TG 487).

    Returns:
        None where no cell of the control divided (CBPI 1): there is nothing to compare with.
    """
    return None if control_cbpi <= 1 else 100 - 100 * (treated_cbpi - 1) / (control_cbpi - 1)


# What is known of a cell that was found in a field, and of the field itself; they travel with the crops.


InputKind = Literal["crops", "fields", "wsi"]
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
        left, top, width, height: where it is in the file, full-resolution pixels.
        cells: every cell that was found, scored or not.
        problem: why it gives no result; "" for a field that was used.
        empty: it holds no cell, and nothing is wrong with it.
        emptiness: of such a field, what was seen in place of cells; "" where all were left for the next region.
        transient: an I/O error that a later run may not meet.
        overview: small JPEG of it; b"" where none is kept.
        detail: what it is compared with other fields by (see `mnbatch.imaging.fields.field_scenes`); b"" for a region,
            and once it was compared.
        stage: where the stage stood, micrometres; None where nothing is known.
        um_per_pixel: of the field; None where it is not known.
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
    detail: bytes = b""
    stage: tuple[float, float] | None = None
    um_per_pixel: float | None = None


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """What the fields of a slide, or of a donor's slides together, held.

    Attributes:
        fields: all that were examined; empty: of these, without a cell; skipped: of these, not usable.
        classes: class -> cells found.
        not_scored: reason -> cells that were found and not scored.
        paired: nuclei were paired into cells; with --cells all every nucleus is a cell, and there is no division index.
    """

    fields: int = 0
    empty: int = 0
    skipped: int = 0
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
                total.skipped + one.skipped,
                dict(Counter(total.classes or {}) + Counter(one.classes or {})),
                dict(Counter(total.not_scored or {}) + Counter(one.not_scored or {})),
                total.paired and one.paired,
            )
        return total

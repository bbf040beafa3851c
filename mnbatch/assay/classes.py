"""What a cell of a field is: the words in which found, scored and excluded cells are counted."""

from __future__ import annotations

from typing import Literal, get_args

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
* border: it reaches the edge of the field, so that what lies outside is unknown.
* small_body: stained, too small for a main nucleus, and in nobody's cytoplasm: debris, platelets, free micronuclei.
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

"""Simulated scanner exports with known truth: cells, slides, exports, contact sheets. No torch."""

from mnbatch.simulate.cells import CellSpec, Micronucleus, SimulatedCell, simulate_cell
from mnbatch.simulate.contact import contact_sheet
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.looks import draw_slide_look
from mnbatch.simulate.plan import MAX_MN
from mnbatch.simulate.visibility import MIN_CONTRAST

__all__ = [
    "MAX_MN",
    "MIN_CONTRAST",
    "CellSpec",
    "Micronucleus",
    "SimulatedCell",
    "SlideLook",
    "contact_sheet",
    "draw_slide_look",
    "simulate_cell",
]

"""Simulated scanner exports with known truth: cells, slides, exports, contact sheets. No torch."""

from mnbatch.simulate.cell_drawing import MIN_CONTRAST, CellSpec, Micronucleus, SimulatedCell, simulate_cell
from mnbatch.simulate.cell_plan import MAX_MN
from mnbatch.simulate.simulated_export import contact_sheet
from mnbatch.simulate.slide_appearance import SlideLook, draw_slide_look

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

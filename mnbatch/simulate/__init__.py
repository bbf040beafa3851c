"""Simulated scanner exports with known truth: cells, slides, exports, contact sheets. No torch."""

from mnbatch.simulate.cell_drawing import MIN_CONTRAST, CellSpec, Micronucleus, SimulatedCell, simulate_cell
from mnbatch.simulate.cell_plan import MAX_MN
from mnbatch.simulate.simulated_export import contact_sheet
from mnbatch.simulate.slide_appearance import SlideAppearance, draw_slide_appearance

__all__ = [
    "MAX_MN",
    "MIN_CONTRAST",
    "CellSpec",
    "Micronucleus",
    "SimulatedCell",
    "SlideLook",
    "contact_sheet",
    "draw_slide_appearance",
    "simulate_cell",
]

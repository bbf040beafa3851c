"""A slide of fields: whole cells are scored wherever they lie, also where their crop reaches over the edge."""

from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from mnbatch.assay.cells import CellCrop
from mnbatch.assay.field_records import FieldReport
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.fields.field_source import FieldSource
from mnbatch.imaging.fields.field_survey import Survey
from mnbatch.imaging.preparation import Preparation

MIDDLE, NEAR_EDGE, CUT = (300, 250), (40, 120), (5, 400)


def painted() -> np.ndarray:
    """Three pairs of nuclei one above the other: in the middle, whole near the edge, and cut by it; 8 bit."""
    field = np.zeros((500, 600))
    rows, columns = np.mgrid[:500, :600]
    for x, y in (MIDDLE, NEAR_EDGE, CUT):
        for shift in (-18, 18):
            field[np.hypot(columns - x, rows - y - shift) <= 15] = 150
    noise = np.random.default_rng(2).normal(0, 1.5, field.shape)
    return np.clip(ndimage.gaussian_filter(field, 1) + 20 + noise, 0, 255).astype(np.uint8)


def test_a_whole_cell_near_the_edge_is_scored_and_one_that_the_edge_cuts_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    tifffile.imwrite(tmp_path / "a" / "field.tif", painted())
    (slide,) = find_slides(tmp_path, kind="fields")
    source = FieldSource(slide, Preparation(), FieldOptions())
    traits = Survey(source.tasks(), source.look).traits()
    items = [item for task in source.tasks() for item in source.read(task, traits)]
    crops = [item for item in items if isinstance(item, CellCrop)]
    (report,) = [item for item in items if isinstance(item, FieldReport)]
    places = sorted((round(c.found.x, -1), round(c.found.y, -1), c.found.at_border) for c in crops if c.found)
    assert places == [(*NEAR_EDGE, True), (*MIDDLE, False)]
    assert sorted((cell.cell_class, cell.reason != "") for cell in report.cells) == [
        ("binucleated", False),
        ("binucleated", False),
        ("border", True),
    ]

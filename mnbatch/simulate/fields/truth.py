"""The truth of simulated fields and slides: a row a cell, and label images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import Look
from mnbatch.csvfile import Value
from mnbatch.simulate.fields.placing import contact_of
from mnbatch.simulate.fields.scene import Circle, PlacedCell, Scene
from mnbatch.simulate.fields.stamp import plan_of
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.shapes import Outline

TRUTH_COLUMNS = (
    "slide",
    "donor",
    "dose_gy",
    "file",
    "cell",
    "x",
    "y",
    "left",
    "top",
    "right",
    "bottom",
    "class",
    "nuclei",
    "n_mn",
    "mn",
    "contact",
    "border",
    "scorable",
    "blur",
    "look",
    "nuclei_at",
    "mn_at",
)

Labels = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Where:
    """What all rows of a file share: slide and file relative to the export, donor, dose, look."""

    slide: str
    donor: str
    dose_gy: float | int | str
    file: str
    look: Look


@dataclass(frozen=True, slots=True)
class LabelImages:
    """Label images of a field, (height, width) uint16, 0 where there is nothing.

    Attributes:
        cells: number of the cell, as in the truth; nuclei: main nuclei, buds with their nucleus, counted
            through in the order of the cells; mn: micronuclei, counted likewise.
    """

    cells: Labels
    nuclei: Labels
    mn: Labels

    def together(self) -> Labels:
        """Nuclei and micronuclei as separate objects, as a tool for the segmentation of nuclei leaves them."""
        return np.where((self.nuclei == 0) & (self.mn > 0), self.mn + self.nuclei.max(), self.nuclei).astype(np.uint16)


def cells_shown(scene: Scene) -> list[PlacedCell]:
    """Cells of which any part lies on the picture, in the order of the truth (from the top, row by row)."""
    shown = [cell for cell in scene.cells if _shows(cell, scene)]
    return sorted(shown, key=lambda cell: (cell.y, cell.x))


def truth_rows(scene: Scene, where: Where) -> Iterator[tuple[Value, ...]]:
    """Rows in the order of TRUTH_COLUMNS; cells are counted from 1."""
    for number, cell in enumerate(cells_shown(scene), 1):
        left, top, right, bottom = cell.box
        border = left < 0 or top < 0 or right > scene.width or bottom > scene.height
        contact = contact_of(cell)
        scorable = cell.order.cell_class == "binucleated" and contact != "overlapping" and not border
        x, y = centre(cell)
        box = (max(0, left), max(0, top), min(scene.width, right), min(scene.height, bottom))
        yield (
            *(where.slide, where.donor, where.dose_gy, where.file, number, round(x, 1), round(y, 1), *box),
            *(cell.order.cell_class, len(cell.nuclei), cell.order.n_mn, int(cell.order.n_mn > 0), contact),
            *(int(border), int(scorable), round(cell.order.blur, 2), where.look),
            *(_circles(cell.nuclei), _circles(cell.micronuclei)),
        )


def centre(cell: PlacedCell) -> tuple[float, float]:
    """Centre of area of a cell's main nuclei, px."""
    areas = np.array([r * r for _, _, r in cell.nuclei])
    at = np.array([(x, y) for x, y, _ in cell.nuclei])
    x, y = (at * areas[:, None]).sum(axis=0) / areas.sum()
    return float(x), float(y)


def label_images(scene: Scene, slide: SlideLook) -> LabelImages:
    """Draw the label images of a field; the first of two that overlap keeps the pixels."""
    cells, nuclei, mn = (np.zeros((scene.height, scene.width), dtype=np.uint16) for _ in range(3))
    n_nuclei = n_mn = 0
    for number, cell in enumerate(cells_shown(scene), 1):
        plan = plan_of(cell.order, slide)
        _fill(cells, plan.cell, cell, number)
        for nucleus in plan.nuclei:
            n_nuclei += 1
            _fill(nuclei, nucleus, cell, n_nuclei)
            for bud in plan.buds:
                if nucleus.depth_at(bud.x, bud.y) > -bud.reach:
                    _fill(nuclei, bud, cell, n_nuclei)
        for body in plan.places[: cell.order.n_mn]:
            n_mn += 1
            _fill(mn, body, cell, n_mn)
    return LabelImages(cells, nuclei, mn)


def _fill(labels: Labels, outline: Outline, cell: PlacedCell, number: int) -> None:
    """Write a number into the free pixels inside an outline that is given in the cell's frame."""
    height, width = labels.shape
    moved = outline.moved(cell.left, cell.top)
    reach = moved.reach + 1
    x0, y0 = max(0, int(moved.x - reach)), max(0, int(moved.y - reach))
    x1, y1 = min(width, int(moved.x + reach) + 2), min(height, int(moved.y + reach) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    xs, ys = np.arange(x0, x1, dtype=np.float32)[None, :], np.arange(y0, y1, dtype=np.float32)[:, None]
    window = labels[y0:y1, x0:x1]
    window[(moved.depth(xs, ys)[0] > 0) & (window == 0)] = number


def _shows(cell: PlacedCell, scene: Scene) -> bool:
    left, top, right, bottom = cell.box
    return right > 0 and bottom > 0 and left < scene.width and top < scene.height


def _circles(circles: tuple[Circle, ...]) -> str:
    """x:y:radius in px, separated by semicolons."""
    return ";".join(f"{x:.1f}:{y:.1f}:{r:.1f}" for x, y, r in circles)

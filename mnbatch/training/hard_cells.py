"""Simulated training cells with the look-alikes of real slides, in files as small and compressed as galleries hold."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from mnbatch.assay.cells import Stain
from mnbatch.imaging.preparation import Decoded
from mnbatch.simulate.cell_drawing import CellSpec, SimulatedCell, simulate_cell
from mnbatch.simulate.cell_plan import Kind
from mnbatch.simulate.hard_look_alikes import harder_slide
from mnbatch.simulate.slide_appearance import draw_slide_appearance
from mnbatch.training.synthetic_cells import COUNTS, KINDS, Chances, Made, bits_of_file

DRAWN = 224
LEAST_MN = 2.6
"""Diameter, in pixels of the file, below which a micronucleus could not be told from noise."""


def hard_cells(indices: range, seed: int, giemsa: float = 0.75, counts: Chances = COUNTS) -> Iterator[Made]:
    """Cells with hard look-alikes, each from a slide of its own, every other one with micronuclei.

    Yields:
        The picture, 60 to 300 pixels wide, and its number of micronuclei.
    """
    for index in indices:
        rng = np.random.default_rng([seed, index, 6])
        stain: Stain = "giemsa" if rng.uniform() < giemsa else "fluorescence"
        wanted = int(rng.choice(counts[0], p=counts[1])) if index % 2 == 0 else 0
        kind: Kind = KINDS[0][int(rng.choice(len(KINDS[0]), p=KINDS[1]))]
        if wanted == 0 and rng.uniform() < 0.06:
            kind = "apoptotic"
        neighbours = int(rng.integers(1, 4)) if rng.uniform() < 0.3 else None
        width = float(rng.uniform(0.2, 0.45)) if rng.uniform() < 0.5 else None
        slide = harder_slide(rng, draw_slide_appearance(rng, stain))
        bits = bits_of_file(rng, stain)
        spec = CellSpec(
            stain,
            wanted,
            kind,
            DRAWN,
            nucleus_fraction=width,
            neighbours=neighbours,
            bits=bits,
            hard=True,
        )
        cell = simulate_cell(rng, spec, slide)
        yield as_file(rng, cell, stain), cell.n_mn


def as_file(rng: np.random.Generator, cell: SimulatedCell, stain: Stain) -> Decoded:
    """The cell as a gallery might hold it: sampled at 60 to 300 pixels and, mostly if stained, JPEG with coarse colour.

    A cell of 16 bits stays one, without compression.

    A file is never so small that its smallest micronucleus has less than `LEAST_MN` pixels; a cell without any is
    treated as if it had one of a drawn size, so that the size of a file says nothing.
    """
    diameter = 2 * min((m.radius for m in cell.micronuclei), default=float(rng.uniform(4.0, 11.0)))
    small = rng.uniform() < (0.6 if stain == "giemsa" else 0.35)
    width = np.exp(rng.uniform(np.log(60), np.log(110)) if small else rng.uniform(np.log(110), np.log(300)))
    width = round(min(300.0, max(float(width), LEAST_MN * DRAWN / diameter)))
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    chosen = filters[int(rng.integers(3))]
    if cell.image.dtype == np.uint16:
        # Pillow samples 16 bits well as floating point alone.
        plane = np.asarray(Image.fromarray(cell.image.astype(np.float32)).resize((width, width), chosen))
        return np.clip(np.round(plane), 0, 65535).astype(np.uint16)
    picture = Image.fromarray(cell.image).convert("RGB").resize((width, width), chosen)
    if rng.uniform() < (0.75 if stain == "giemsa" else 0.2):
        buffer = io.BytesIO()
        subsampling = 2 if rng.uniform() < 0.8 else 0
        picture.save(buffer, "JPEG", quality=int(rng.integers(40, 96)), subsampling=subsampling)
        picture = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    return np.asarray(picture)

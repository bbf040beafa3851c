"""TIFFs of known content: crops that differ in form, and every way of keeping them in pages."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from mnbatch.assay.cells import CellCrop, Slide, UnreadableCell
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.imaging.discovery import find_slides
from mnbatch.imaging.readers import read_cells, read_tasks
from tests.imaging.imaging_helpers import NATURAL, put

Pixels = npt.NDArray[Any]
GREY: dict[str, Any] = {"photometric": "minisblack", "metadata": None}


def cell(seed: int, size: int = 64) -> Pixels:
    """A crop, uint8: two nuclei, of which place, size and direction go with the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    angle, apart = rng.uniform(0, np.pi), rng.uniform(0.14, 0.24)
    middle, radius = rng.uniform(0.42, 0.58, 2), rng.uniform(0.09, 0.16, 2)
    inside = np.zeros((size, size))
    for sign, r in zip((-1, 1), radius, strict=True):
        cx, cy = middle + sign * apart * np.array([np.cos(angle), np.sin(angle)])
        inside = np.maximum(inside, np.clip((1 - np.hypot(x - cx, y - cy) / r) * 6 + 0.5, 0, 1))
    return np.clip(15 + 150 * inside + rng.normal(0, 2, inside.shape), 0, 255).astype(np.uint8)


def cells(count: int, first: int = 0, size: int = 64) -> Pixels:
    """(count, size, size)."""
    return np.stack([cell(first + i, size) for i in range(count)])


def cytoplasm(nuclear: Pixels) -> Pixels:
    """Another stain of the same crop: the body round the nuclei."""
    wide = ndimage.gaussian_filter(nuclear.astype(float), 5)
    return np.clip(20 + 0.7 * wide + np.random.default_rng(1).normal(0, 2, wide.shape), 0, 255).astype(np.uint8)


def blurred(nuclear: Pixels, sigma: float) -> Pixels:
    """Another focal plane."""
    return ndimage.gaussian_filter(nuclear.astype(float), sigma).astype(np.uint8)


def written(*images: Pixels, each: dict[str, Any] | None = None, **writer: Any) -> bytes:
    """A TIFF of several images, each written with the same options."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, **writer) as tiff:
        for image in images:
            tiff.write(image, **(GREY if each is None else each))
    return stream.getvalue()


def slide_of(root: Path, files: dict[str, bytes]) -> Slide:
    """A slide of crops, of these files."""
    for name, content in files.items():
        put(root, f"S/{name}", content)
    (slide,) = find_slides(root, layout="folder-per-slide")
    return slide


def read_slide(slide: Slide, options: PageOptions = NO_OPTIONS) -> list[CellCrop | UnreadableCell]:
    """All cells of a slide of crops."""
    return [one for task in read_tasks(slide, options) for one in read_cells(task, NATURAL)]


def readable(root: Path, files: dict[str, bytes] | bytes, options: PageOptions = NO_OPTIONS) -> int:
    """Cells of a slide that can be read."""
    known = {"a.tif": files} if isinstance(files, bytes) else files
    return sum(isinstance(one, CellCrop) for one in read_slide(slide_of(root, known), options))

"""Small crops and files of known content."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mnbatch.assay.cells import CellCrop, ReadTask, SourceFile, UnreadableCell
from mnbatch.imaging.preparation import ContrastRule, Preparation
from mnbatch.imaging.readers import read_cells

NATURAL = Preparation(size=96, contrast=ContrastRule(rule="none"))
"""A preparation that leaves a drawn cell as it is."""


def draw_cell(
    *, size: int = 96, light: bool = False, seed: int = 0, noise: float = 2.0, sharp: float = 5.0
) -> np.ndarray:
    """Two nuclei on a plain background: grey on black, or (light) purple on cream as RGB."""
    y, x = np.mgrid[:size, :size] / size
    inside = np.zeros((size, size))
    for centre in (0.36, 0.64):
        distance = np.hypot(x - centre, y - 0.5) / 0.11
        inside = np.maximum(inside, np.clip((1 - distance) * sharp + 0.5, 0, 1))
    jitter = np.random.default_rng(seed).normal(0, noise, (size, size))
    if not light:
        return np.clip(12 + 150 * inside + jitter, 0, 255).astype(np.uint8)
    background, stain = np.array([236, 230, 222]), np.array([110, 150, 70])
    values = background - inside[..., None] * stain + jitter[..., None]
    return np.clip(values, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, fmt: str = "png", **options: object) -> bytes:
    """Bytes of an image file as Pillow writes it."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, fmt, **options)
    return stream.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """Bytes of a TIFF as tifffile writes it."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def put(root: Path, path: str, content: bytes | None = None, *, seed: int = 0) -> Path:
    """Write a file with its folders; without content a small crop that differs by seed."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encoded(draw_cell(size=24, seed=seed)) if content is None else content)
    return target


def read(
    root: Path, content: bytes, preparation: Preparation = NATURAL, name: str = "cell.img"
) -> list[CellCrop | UnreadableCell]:
    """Cells of one file of this content; its name says nothing of its format."""
    put(root, name, content)
    return read_cells(ReadTask("s-1", root, SourceFile(name, len(content), 0)), preparation)


def crop_of(root: Path, content: bytes, preparation: Preparation = NATURAL) -> CellCrop:
    """The one readable cell of a file."""
    (cell,) = read(root, content, preparation)
    assert isinstance(cell, CellCrop), cell
    return cell


def reason_of(root: Path, content: bytes, preparation: Preparation = NATURAL) -> str:
    """Why the one cell of a file cannot be read."""
    (cell,) = read(root, content, preparation)
    assert isinstance(cell, UnreadableCell), cell
    assert not cell.transient
    return cell.reason

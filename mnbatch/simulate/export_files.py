"""Writing the crops of one slide in the layouts that `mnbatch run` reads."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

Layout = Literal["donor-slide-folders", "folder-per-slide", "flat-files", "tiff-galleries"]
Format = Literal["tif", "png", "jpg"]
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

LAYOUTS: tuple[Layout, ...] = ("donor-slide-folders", "folder-per-slide", "flat-files", "tiff-galleries")
FORMATS: tuple[Format, ...] = ("tif", "png", "jpg")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a crop went: file relative to the export, and its page (0 for a single-page file)."""

    file: str
    page: int


class CropWriter(Protocol):
    """Takes the crops of one slide, in order, and says where each went."""

    def write(self, pixels: Pixels) -> Place:
        """Write the next crop."""
        ...


class _FileWriter:
    """One file a crop, named by a pattern with the crop's number."""

    def __init__(self, export: Path, pattern: str, fmt: Format) -> None:
        self._export, self._pattern, self._format = export, pattern, fmt
        self._count = 0
        (export / pattern).parent.mkdir(parents=True, exist_ok=True)

    def write(self, pixels: Pixels) -> Place:
        self._count += 1
        name = self._pattern.format(number=self._count)
        (self._export / name).write_bytes(encoded(pixels, self._format))
        return Place(name, 0)


class _CropWriter:
    """All crops of a slide as the pages of one TIFF."""

    def __init__(self, tiff: tifffile.TiffWriter, name: str) -> None:
        self._tiff, self._name = tiff, name
        self._count = 0

    def write(self, pixels: Pixels) -> Place:
        _add_page(self._tiff, pixels)
        self._count += 1
        return Place(self._name, self._count - 1)


@contextmanager
def slide_writer(export: Path, layout: Layout, donor: str, slide: str, fmt: Format) -> Iterator[CropWriter]:
    """Open one slide for writing; crops go to disk as they come."""
    if layout == "tiff-galleries":
        name = f"{slide}.tif"
        export.mkdir(parents=True, exist_ok=True)
        with tifffile.TiffWriter(export / name) as tiff:
            yield _CropWriter(tiff, name)
        return
    patterns: dict[Layout, str] = {
        "donor-slide-folders": f"{donor}/{slide}/cell_{{number:04d}}.{fmt}",
        "folder-per-slide": f"{slide}/cell_{{number:04d}}.{fmt}",
        "flat-files": f"{donor}_{slide}_{{number:04d}}.{fmt}",
    }
    yield _FileWriter(export, patterns[layout], fmt)


def slide_path(layout: Layout, donor: str, slide: str) -> str:
    """The slide's folder or file relative to the export; "." for flat files."""
    places: dict[Layout, str] = {
        "donor-slide-folders": f"{donor}/{slide}",
        "folder-per-slide": slide,
        "flat-files": ".",
        "tiff-galleries": f"{slide}.tif",
    }
    return places[layout]


def encoded(pixels: Pixels, fmt: Format) -> bytes:
    """The bytes of an LZW TIFF, a PNG, or a JPEG of quality 92 (8-bit only); no times or names inside."""
    buffer = io.BytesIO()
    if fmt == "tif":
        with tifffile.TiffWriter(buffer) as tiff:
            _add_page(tiff, pixels)
    elif fmt == "png":
        Image.fromarray(pixels).save(buffer, "PNG")
    else:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _add_page(tiff: tifffile.TiffWriter, pixels: Pixels) -> None:
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    # Without metadata and software tag the bytes depend on the pixels alone.
    tiff.write(pixels, photometric=photometric, compression="lzw", metadata=None, software=False, contiguous=False)

"""Files of fields with their pixel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from mnbatch.simulate.fields.plan import FieldFormat
from mnbatch.simulate.fields.render import Pixels

_UM_PER_CM = 10_000.0
_UM_PER_INCH = 25_400.0


def write_field(path: Path, pixels: Pixels, fmt: FieldFormat, um_per_px: float) -> None:
    """Write a field as LZW TIFF, OME-TIFF, PNG or JPEG (quality 92, 8 bits).

    TIFF says the pixel size as resolution per cm, OME-TIFF as PhysicalSizeX and Y, PNG as pixels per metre. A JPEG
    cannot: its resolution ends at 65535 dots per inch, 0.39 um per pixel.
    """
    if fmt == "tif":
        _write_tiff(path, pixels, um_per_px)
    elif fmt == "ome.tif":
        _write_ome(path, pixels, um_per_px)
    elif fmt == "png":
        dpi = _UM_PER_INCH / um_per_px
        Image.fromarray(pixels).save(path, "PNG", dpi=(dpi, dpi))
    else:
        Image.fromarray(pixels).save(path, "JPEG", quality=92)


def write_labels(path: Path, labels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> None:
    """Write a label image as LZW TIFF, 16 bits."""
    tifffile.imwrite(path, labels, photometric="minisblack", compression="lzw", metadata=None, software=False)


def resolution(um_per_px: float) -> dict[str, object]:
    """The TIFF tags of a pixel size, as tifffile takes them: pixels per cm."""
    per_cm = _UM_PER_CM / um_per_px
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}


def _write_tiff(path: Path, pixels: Pixels, um_per_px: float) -> None:
    # Without metadata and software tag the bytes depend on the pixels and their size alone.
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    options = resolution(um_per_px)
    tifffile.imwrite(path, pixels, photometric=photometric, compression="lzw", metadata=None, software=False, **options)


def _write_ome(path: Path, pixels: Pixels, um_per_px: float) -> None:
    rgb = pixels.ndim == 3
    metadata = {
        "axes": "YXS" if rgb else "YX",
        "PhysicalSizeX": um_per_px,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": um_per_px,
        "PhysicalSizeYUnit": "µm",
    }
    photometric = "rgb" if rgb else "minisblack"
    tifffile.imwrite(path, pixels, ome=True, photometric=photometric, compression="lzw", metadata=metadata)

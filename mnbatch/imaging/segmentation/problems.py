"""Fields of which nothing can be said: each with the reason that the report gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.reasons import say
from mnbatch.imaging.segmentation.nuclei import Nuclei
from mnbatch.imaging.segmentation.settings import SegmentationSettings
from mnbatch.imaging.segmentation.signal import FloatImage, StainSignal, median

_STEP = 4
_MOST_SATURATED = 0.3
_LEAST_PROMINENCE = 4.5
"""Noise cut at any threshold stays below 3.5, however coarse its grain; the faintest annotated fields reach 6.9."""


def problem_of_pixels(image: npt.NDArray[Any], ground: str) -> str:
    """Why a field's pixels cannot be segmented, or ""."""
    grid = image[::_STEP, ::_STEP]
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        return say("not-numbers")
    low, high = float(grid.min()), float(grid.max())
    if low == high and float(image.min()) == float(image.max()):
        return say("empty-value", value=low)
    top = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1.0
    end = grid >= top if ground == "fluorescence" else grid <= 0
    share = float(end.all(axis=2).mean() if grid.ndim == 3 else end.mean())
    if share > _MOST_SATURATED:
        return say("saturated", share=share)
    return ""


def problem_of_signal(
    signal: StainSignal, nuclei: Nuclei, pixel_um: float | None, settings: SegmentationSettings
) -> str:
    """Why what was found cannot be nuclei, or ""."""
    if not nuclei.diameter:
        return say("nothing-stands-out")
    if prominence(signal.nuclear, nuclei) < _LEAST_PROMINENCE:
        return say("only-ground")
    if pixel_um is not None:
        low, high = settings.range_um
        size = nuclei.diameter * pixel_um
        if not low <= size <= high:
            return say("objects-size", size=size, pixel=pixel_um, low=low, high=high)
    return ""


def prominence(stain: FloatImage, nuclei: Nuclei) -> float:
    """How far the nuclei's mean stain lies from the ground's middle, in robust standard deviations of the ground."""
    halved = np.asarray(Image.fromarray(stain).reduce(2))
    rows, columns = halved.shape
    main, small = nuclei.main[::2, ::2][:rows, :columns] > 0, nuclei.small[::2, ::2][:rows, :columns] > 0
    inside, ground = halved[main], halved[~main & ~small]
    if not inside.size or not ground.size:
        return float("inf")
    middle = median(ground)
    spread = 1.4826 * median(np.abs(ground - middle))
    return (float(inside.mean()) - middle) / max(spread, 1e-6)

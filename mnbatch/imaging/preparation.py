"""The one way a crop becomes a network's input: contrast, square, size; the same in training and in use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mnbatch.assay.cells import UInt8Array
from mnbatch.assay.reasons import say
from mnbatch.imaging.quality import Measured, find_nuclei
from mnbatch.imaging.stain_channels import stain_channels
from mnbatch.imaging.stain_recognition import Background, background_of, density, grey_of, looked_up, thinned

Decoded = npt.NDArray[Any]
"""A decoded crop: (height, width) or (height, width, 3); uint8, uint16 or float32."""

_LEVELS = np.arange(256, dtype=np.float32)
_LOOK_STEP = 16


class PreparationError(ValueError):
    """A crop that the rule cannot be applied to; the message is the reason of its exclusion."""


class ContrastRule(BaseModel):
    """How values of any depth become 0..255. Colour is kept: all channels get the same range.

    Attributes:
        rule: `none` maps the full range of the file's type (8 bit: as it is; 16 bit: 0..65535; float: 0..1);
            `per_crop` the range between two percentiles of the crop's own values, and `per_slide` the one
            between two percentiles of a sample of the slide's cells; linear, and clipped outside.
            `deep_per_crop` leaves 8 bit as it is and treats deeper files as `per_crop` does: camera counts
            have no natural full range, while stretching 8-bit absorbance would distort it.
        low_percentile: percentile that becomes 0.
        high_percentile: percentile that becomes 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["none", "per_crop", "per_slide", "deep_per_crop"] = "per_crop"
    low_percentile: float = Field(default=0.5, ge=0, le=100)
    high_percentile: float = Field(default=99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> ContrastRule:
        if self.low_percentile >= self.high_percentile:
            raise ValueError("low_percentile must be below high_percentile")
        return self


class ZoomRule(BaseModel):
    """How large cells are shown to the network.

    A micronucleus is at most a third of its main nucleus wide: where nuclei are small in the crop, micronuclei fall
    between the strides of the first convolution. Galleries come at any scale, so it is read from the crop itself.

    Attributes:
        rule: `as_cut` leaves the crop; `main_nucleus` cuts its middle out, from the pixels of the file, where the
            largest main nucleus takes less than `smallest` of the crop's width.
        smallest, wanted: diameter of the largest main nucleus / width of the crop, below which the middle is cut
            out, and which the cut then aims at.
        largest_zoom: no less than 1 / `largest_zoom` of the crop's width is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["as_cut", "main_nucleus"] = "as_cut"
    smallest: float = Field(default=0.22, gt=0, lt=1)
    wanted: float = Field(default=0.29, gt=0, lt=1)
    largest_zoom: float = Field(default=2.5, ge=1, le=8)

    def factor(self, nucleus_width: float) -> float:
        """Width of the crop / width of the middle that is kept; 1 where the crop stays whole.

        Args:
            nucleus_width: diameter of the largest main nucleus / width of the crop; 0 where none was found.
        """
        if self.rule == "as_cut" or not 0 < nucleus_width < self.smallest:
            return 1.0
        return min(self.largest_zoom, self.wanted / nucleus_width)


class Preparation(BaseModel):
    """Everything that happens to a crop between the file and the network, as a model's card states it.

    Attributes:
        size: side of the network's input, pixels.
        contrast: see `ContrastRule`; zoom: see `ZoomRule`.
        padding: a crop that is not square is padded with the median colour of its own border.
        resampling: Pillow's bicubic filter, antialiased when it reduces.
        polarity: `as_is` gives the network the colours of the crop; `density` and `stains` see `network_input`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=224, ge=16, le=4096)
    contrast: ContrastRule = ContrastRule()
    zoom: ZoomRule = ZoomRule()
    padding: Literal["border_median"] = "border_median"
    resampling: Literal["bicubic"] = "bicubic"
    polarity: Literal["as_is", "density", "stains"] = "as_is"

    def digest(self) -> str:
        """32 hex digits that change when any of it changes."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def prepare_crop(
    decoded: Decoded, preparation: Preparation, slide_range: tuple[float, float] | None = None
) -> UInt8Array:
    """Make a decoded crop a uint8 RGB square that still looks natural.

    Args:
        decoded: (height, width) or (height, width, 3).
        preparation: from the model's card.
        slide_range: values that become 0 and 255; needed for the rule `per_slide` and only there.

    Returns:
        (size, size, 3), uint8.

    Raises:
        PreparationError: the contrast rule cannot be applied to these values.
    """
    return np.asarray(prepare(decoded, preparation, slide_range).image.convert("RGB"))


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A crop made ready, and what was measured on the way.

    Attributes:
        image: what is scored and shown, "L" for a grey crop, else "RGB".
        values: its pixels, uint8 (size, size) or (size, size, 3); not to be written to.
        limits: values of the file that became 0 and 255.
        background: background of the whole crop; found: its main nuclei.
        zoom: width of the whole crop / width of the part that `image` shows.
    """

    image: Image.Image
    values: UInt8Array
    limits: tuple[float, float]
    background: Background
    found: Measured
    zoom: float


def prepare(decoded: Decoded, preparation: Preparation, slide_range: tuple[float, float] | None = None) -> Prepared:
    """`prepare_crop` with what was measured on the way.

    Raises:
        PreparationError: the contrast rule cannot be applied to these values.
    """
    single = decoded[..., 0] if _is_grey(decoded) else decoded
    limits = contrast_range(single, preparation.contrast, slide_range)
    image, values = _squared(_stretched(single, limits), preparation.size)
    background = background_of(thinned(values))
    found = find_nuclei(values, background)
    zoom = preparation.zoom.factor(found.nucleus_width)
    if zoom > 1:
        image, values = _squared(_stretched(_middle(single, zoom), limits), preparation.size)
    return Prepared(image=image, values=values, limits=limits, background=background, found=found, zoom=zoom)


def _middle(decoded: Decoded, zoom: float) -> Decoded:
    """The middle of a crop, 1 / zoom of its longer side wide and high where it reaches that far."""
    wanted = max(1, round(max(decoded.shape[:2]) / zoom))
    rows, columns = (slice(max(0, (n - wanted) // 2), max(0, (n - wanted) // 2) + wanted) for n in decoded.shape[:2])
    return decoded[rows, columns]


def contrast_range(
    decoded: Decoded, contrast: ContrastRule, slide_range: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Values of the crop that become 0 and 255.

    Raises:
        PreparationError: float values outside 0..1 under the rule `none`, or no range for `per_slide`.
    """
    if contrast.rule == "none" or (contrast.rule == "deep_per_crop" and decoded.dtype == np.uint8):
        return _type_range(decoded)
    if contrast.rule == "per_slide":
        if slide_range is None:
            raise PreparationError(say("no-range"))
        return slide_range
    return percentile_range(decoded, contrast.low_percentile, contrast.high_percentile)


def percentile_range(values: Decoded, low: float, high: float) -> tuple[float, float]:
    """Two percentiles of all values (the smallest value that at least this share does not exceed).

    Where both fall on one value, the crop's smallest and largest are taken.
    """
    if values.dtype == np.uint8:
        counts = _histogram(values)
        levels = np.arange(256)
    else:
        levels, counts = np.unique(values, return_counts=True)
    cumulative = np.cumsum(counts)
    wanted = np.array([low, high]) / 100 * cumulative[-1]
    first, last = (float(levels[index]) for index in np.searchsorted(cumulative, np.maximum(wanted, 1)))
    if last > first:
        return first, last
    return float(values.min()), float(values.max())


def _type_range(decoded: Decoded) -> tuple[float, float]:
    if decoded.dtype.kind == "u":
        return 0.0, float(np.iinfo(decoded.dtype).max)
    if decoded.min() < 0 or decoded.max() > 1:
        raise PreparationError(say("outside-range"))
    return 0.0, 1.0


def _is_grey(decoded: Decoded) -> bool:
    """Three equal channels: one is enough until the end, at a third of the cost and with the same result."""
    if decoded.ndim == 2:
        return False
    sample = decoded[::_LOOK_STEP, ::_LOOK_STEP]
    if not np.array_equal(sample[..., :-1], sample[..., 1:]):
        return False
    first = decoded[..., 0]
    return np.array_equal(first, decoded[..., 1]) and np.array_equal(first, decoded[..., 2])


def _histogram(values: UInt8Array) -> npt.NDArray[np.int64]:
    counts = np.array(Image.fromarray(np.ascontiguousarray(values)).histogram(), dtype=np.int64)
    return np.asarray(counts.reshape(-1, 256).sum(axis=0))


def _stretched(decoded: Decoded, limits: tuple[float, float]) -> UInt8Array:
    low, high = limits
    scale = 255.0 / (high - low) if high > low else 0.0
    if decoded.dtype != np.uint8:
        # Floating-point files may hold any number; in 32 bits their differences could overflow.
        real = np.dtype(np.float64 if decoded.dtype.kind == "f" else np.float32)
        values = (decoded.astype(real) - real.type(low)) * real.type(scale) + real.type(0.5)
        return np.clip(values, 0, 255).astype(np.uint8)
    if (low, high) == (0.0, 255.0):
        return np.ascontiguousarray(decoded)
    table = np.clip((_LEVELS - np.float32(low)) * np.float32(scale) + np.float32(0.5), 0, 255)
    return looked_up(decoded, table.astype(np.uint8))


def _squared(values: UInt8Array, size: int) -> tuple[Image.Image, UInt8Array]:
    """Scale the longer side to `size` and fill the rest with the median colour of the border; as image and as array."""
    image = Image.fromarray(values)
    width, height = image.size
    longer = max(width, height)
    inner = (max(1, round(width * size / longer)), max(1, round(height * size / longer)))
    if inner == image.size == (size, size):
        return image, values
    if inner != image.size:
        image = image.resize(inner, Image.Resampling.BICUBIC)
    if inner == (size, size):
        return image, np.asarray(image)
    square = Image.new(image.mode, (size, size), _border_median(np.asarray(image)))
    square.paste(image, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square, np.asarray(square)


def _border_median(values: UInt8Array) -> tuple[int, ...]:
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    return tuple(np.atleast_1d(np.median(border, axis=0)).astype(int).tolist())


def fill_channels(target: UInt8Array, values: UInt8Array) -> None:
    """Write (size, size, 3) into an array of the same shape; a channel at a time where it is grey: much faster."""
    grey = grey_of(values)
    if grey is None:
        target[...] = values
        return
    for channel in range(3):
        target[..., channel] = grey


def network_input(pixels: UInt8Array, preparation: Preparation) -> UInt8Array:
    """What the network sees of prepared crops.

    With `as_is` the crops themselves. With `density` one polarity for both stains, background 0 and nuclei
    bright, so that one network may serve both: on dark background the brightest channel less its background, the
    same in all channels; on light background the optical density -log10((I + 1) / (background + 1)) of each
    channel (Beer-Lambert). Both are scaled so that the 99th percentile of the channels' mean becomes 230. `stains` is
    `density` on dark background; on light background its channels are absorbance in the nuclei's colour, grey, and what
    neither explains (`mnbatch.imaging.stain_channels`).

    Args:
        pixels: (..., size, size, 3), as `prepare_crop` gives them.
        preparation: from the model's card.

    Returns:
        The same shape, uint8.
    """
    if preparation.polarity == "as_is":
        return pixels
    if pixels.ndim == 3:
        return density(pixels) if preparation.polarity == "density" else stain_channels(pixels)
    crops = pixels.reshape(-1, *pixels.shape[-3:])
    result = np.empty_like(crops)
    for index, crop in enumerate(crops):
        result[index] = density(crop) if preparation.polarity == "density" else stain_channels(crop)
    return result.reshape(pixels.shape)

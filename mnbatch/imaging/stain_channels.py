"""What the network's input keeps of a stained crop's colour: absorbance in the nuclei's own colour, grey, the rest.

A micronucleus has the colour of the nuclei of its cell; stain precipitate is grey to green-black, cytoplasm and
platelets have colours of their own. What colour nuclei have differs between slides (blue, purple, red), so it is read
from the
crop: the nuclei are always there. The optical density of a pixel, a vector over red, green and blue (Beer-Lambert:
densities of stains add), is written in the basis

    n  the direction of the crop's nuclei,
    u  grey, (1, 1, 1) / sqrt(3), and
    e  n x u, at right angles to both,

as `density = a n + b u + c e`. The idea of a direction for each stain, taken from the picture, is that of Macenko et
al. 2009 (doi 10.1109/ISBI.2009.5193250); there the directions are the extremes of all pixels, which in a crop with
precipitate are the precipitate's. Here one direction is known to be the nuclei's and one to be grey.

Three channels are kept, in units of the absorbance of the nuclei:

    0  density along n, that is a + b (n . u): everything that is dark in the nuclei's colour; 0 is the empty slide
    1  b, grey: about 0 in nuclei and micronuclei, above 0 in precipitate
    2  c: what neither explains; cytoplasm, red cells, eosin
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import UInt8Array
from mnbatch.imaging.stain_recognition import LOGARITHMS, Background, background_of, density, grey_of, thinned

Vector = npt.NDArray[np.float32]

NUCLEI_LEVEL = 165.0
"""Level of channel 0 at the median absorbance of the nuclei; a body one and a half times as dense is at the top."""

ZERO_LEVEL = 128.0
COLOUR_GAIN = 100.0
"""Channels 1 and 2: `ZERO_LEVEL` is nothing, this many levels more are the absorbance of the nuclei."""

LEAST_SINE = 0.12
"""Sine of the angle between the nuclei's colour and grey below which a crop counts as unicolour."""

STEADY_SINE = 0.3
"""Grey and a nearly grey nucleus are told apart badly: below this sine channel 1 is that much weaker instead of
noisy."""

CLIP_SHARE = 0.93
"""Nuclei fill more than the rest of a crop: the density of this share of the pixels is taken for that of nuclei."""

BODY_SHARE = 0.6
"""Cytoplasm is paler than this share of the nuclei's density (where it is granular and dense, Otsu's threshold is too
low)."""

GREY = np.full(3, 3**-0.5, np.float32)

OTSU_LEVELS = 128


@dataclass(frozen=True, slots=True, eq=False)
class StainVectors:
    """Directions of optical density of one crop.

    Attributes:
        nuclei: (3,), length 1, red, green, blue.
        absorbance: median optical density of the nuclei along `nuclei`, decadic; above 0.
        unicolour: the nuclei are as good as grey, so that colour tells nothing; `nuclei` is grey then.
    """

    nuclei: Vector
    absorbance: float
    unicolour: bool


def stain_channels(crop: UInt8Array) -> UInt8Array:
    """The three channels of one crop, (size, size, 3) uint8; see the module.

    On dark background (fluorescence) there is one signal: all channels are `density`. Where the crop is unicolour (grey
    crops, a monochrome camera, nuclei of a neutral stain) channels 1 and 2 are `ZERO_LEVEL` throughout.

    Args:
        crop: (size, size, 3), uint8 RGB, as `preparation.prepare_crop` gives it.
    """
    grey = grey_of(crop)
    if grey is not None and background_of(thinned(grey)).dark:
        return density(crop)
    grid = thinned(crop)
    background = background_of(grid)
    if background.dark:
        return density(crop)
    tables = _density_tables(background)
    vectors = stain_vectors(np.stack([tables[channel][grid[channel]] for channel in range(3)]))
    result = np.empty(crop.shape, np.uint8)
    for channel, plane in enumerate(_planes(crop, tables, _to_levels(vectors))):
        result[..., channel] = plane
    return result


def colourless(crop: UInt8Array, background: Background) -> bool:
    """Whether a stained crop tells a network nothing by its colour: a grey file, or nuclei that are as good as grey.

    Args:
        crop: (size, size) or (size, size, 3), uint8, as `preparation.prepare` leaves it, and `background` its own.

    Returns:
        False on dark background, where there is no colour to miss.
    """
    if background.dark:
        return False
    if crop.ndim == 2:
        return True
    grid = thinned(crop[::2, ::2])  # a few thousand pixels: medians over the nuclei need no more
    tables = _density_tables(background)
    return stain_vectors(np.stack([tables[channel][grid[channel]] for channel in range(3)])).unicolour


def _planes(crop: UInt8Array, tables: Vector, to_levels: Vector) -> UInt8Array:
    """(3, size, size): a channel after the other, so that every step runs over long rows."""
    optical = np.empty((3, crop.shape[0] * crop.shape[1]), np.float32)
    for channel in range(3):
        np.take(tables[channel], crop[..., channel].ravel(), out=optical[channel], mode="clip")
    levels = to_levels.T @ optical
    for plane, lift in zip(levels, (0.5, ZERO_LEVEL + 0.5, ZERO_LEVEL + 0.5), strict=True):
        plane += np.float32(lift)
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8).reshape(3, *crop.shape[:2])


def stain_vectors(optical: Vector) -> StainVectors:
    """Read the direction of the nuclei from optical densities of a crop's pixels.

    Nuclei are what lies above Otsu's threshold of the mean density and above a share of a high percentile, beyond which
    densities are cut (precipitate is darker than nuclei and would draw the threshold above them). Medians over these
    pixels leave out precipitate over the nuclei as long as it covers less than half of them.

    Args:
        optical: (3, pixels), decadic, at least 0.
    """
    mean = optical.mean(axis=0)
    top = float(np.quantile(mean, CLIP_SHARE))
    cut = np.minimum(mean, top)
    body = optical[:, cut > max(_otsu(cut), BODY_SHARE * top)]
    lengths = np.sqrt((body**2).sum(axis=0))
    if not body.shape[1] or float(np.median(lengths)) <= 0:
        return StainVectors(GREY, 1.0, True)
    direction = np.median(body / np.maximum(lengths, 1e-6), axis=1)
    direction = np.asarray(direction / np.linalg.norm(direction), np.float32)
    unicolour = _sine(direction) < LEAST_SINE
    nuclei = GREY if unicolour else direction
    return StainVectors(nuclei, max(float(np.median(nuclei @ body)), 1e-3), unicolour)


def _to_levels(vectors: StainVectors) -> Vector:
    """(3, 3): optical density (red, green, blue) times this is the three channels in levels."""
    columns = np.zeros((3, 3), np.float32)
    columns[:, 0] = vectors.nuclei * (NUCLEI_LEVEL / vectors.absorbance)
    if not vectors.unicolour:
        sine = _sine(vectors.nuclei)
        across = (GREY - (GREY @ vectors.nuclei) * vectors.nuclei) / sine
        rest = np.cross(vectors.nuclei, GREY) / sine
        gain = COLOUR_GAIN / vectors.absorbance
        columns[:, 1] = across * (gain / max(sine, STEADY_SINE))
        columns[:, 2] = rest * gain
    return columns


def _sine(direction: Vector) -> float:
    return float(np.linalg.norm(np.cross(direction, GREY)))


def _density_tables(background: Background) -> Vector:
    """Optical density of each level of each channel, (3, 256); 0 where it is brighter than the background."""
    colour = np.broadcast_to(background.colour, (3,)).astype(np.float32)
    return np.asarray(np.maximum(np.log10(colour + 1)[:, None] - LOGARITHMS, 0), np.float32)


def _otsu(values: Vector) -> float:
    """Threshold that separates two classes best (Otsu 1979), on `OTSU_LEVELS` levels from 0 to the largest value."""
    top = float(values.max())
    if top <= 0:
        return 0.0
    counts, edges = np.histogram(values, OTSU_LEVELS, (0.0, top))
    below = np.cumsum(counts)
    weighted = np.cumsum(counts * np.arange(OTSU_LEVELS))
    product = below * (below[-1] - below)
    between = (weighted[-1] * below / below[-1] - weighted) ** 2 / np.maximum(product, 1)
    return float(edges[int(between.argmax()) + 1])

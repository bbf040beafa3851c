"""Drawing the appearance of a slide: culture, stain and camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.assay.cells import Stain

# The records of a slide's appearance: culture, stain and camera.
#
# Lengths without a unit are shares of a main nucleus's diameter.


Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CultureAppearance:
    """Shape and texture of cells, and what else lies on the slide.

    Attributes:
        nucleus_fraction: diameter of a main nucleus / width of the crop.
        margin: mean width of the cytoplasm around the nuclei.
        roughness: relative deviation of the nuclear outline from an ellipse.
        gap: mean distance between the two nuclei's edges; negative where they overlap.
        clump, reticulated, contrast: chromatin: distance of clumps, net (1) or cloud (0), relative deviation.
        rim: relative density added at the nuclear edge; dome: thinning towards it; softness: its width.
        nucleoli: mean number a nucleus.
        cyto_contrast, cyto_scale: texture of the cytoplasm.
        cyto_rise, cyto_edge: density added towards the cell's edge, and on the membrane.
        halo: thinning around the nuclei.
        ruffles: relative roughness of the cell's outline; roundness: 0 with a waist, 1 a disc.
        cyto_softness: width of the cell's edge; wide where the cytoplasm is lysed.
        granules, vacuoles: mean share of cells with granules; mean number of vacuoles a cell.
        mn_size: median diameter of a micronucleus; mn_density: mean density relative to the main nuclei.
        debris, decoys, neighbours, red_cells: mean numbers a crop.
        ghosts: red cells are drawn as pale outlines.
        weak_share, blur_share: share of cells with weak stain, out of focus.
    """

    nucleus_fraction: float
    margin: float
    roughness: float
    gap: float
    clump: float
    reticulated: float
    contrast: float
    rim: float
    dome: float
    softness: float
    nucleoli: float
    cyto_contrast: float
    cyto_scale: float
    cyto_rise: float
    cyto_edge: float
    halo: float
    ruffles: float
    roundness: float
    cyto_softness: float
    granules: float
    vacuoles: float
    mn_size: float
    mn_density: float
    debris: float
    decoys: float
    neighbours: float
    red_cells: float
    ghosts: bool
    weak_share: float
    blur_share: float


@dataclass(frozen=True, slots=True)
class CameraAppearance:
    """From the specimen to the file.

    Attributes:
        native: width of the crop on the sensor / width of the crop in the file (below 1: upsampled).
        psf: standard deviation of the optical blur, native px.
        fringe: shift of the red and blue channels against green, native px.
        shot, read: noise as a share of full range: at full light, and in the dark.
        grain: correlation length of the noise, native px.
        vignette, gradient, gradient_angle: loss of light to the corners and along one direction.
        sharpen: amount of the scanner's unsharp mask.
        jpeg: quality 1..100, or 0 for none.
        smooth_upsampling: bicubic (True) or bilinear.
        glare: stray light, as a share of the empty slide's (Giemsa).
        gamma: exponent applied to the light before it is stored.
    """

    native: float
    psf: float
    fringe: float
    shot: float
    read: float
    grain: float
    vignette: float
    gradient: float
    gradient_angle: float
    sharpen: float
    jpeg: int
    smooth_upsampling: bool
    glare: float
    gamma: float


@dataclass(frozen=True, slots=True)
class GiemsaStain:
    """Absorbance (natural log, per unit density) of each layer in red, green, blue; light of the empty slide.

    Attributes:
        saturation: 1 keeps the colours, 0 is a monochrome camera.
        background: relative deviation of smears and protein film on the empty slide.
    """

    nucleus: Colour
    cytoplasm: Colour
    granule: Colour
    dark: Colour
    red: Colour
    background: Colour
    saturation: float
    smear: float


@dataclass(frozen=True, slots=True)
class FluorescenceStain:
    """Light of each layer as a share of full range.

    Attributes:
        exposure: light of a main nucleus; background: of the empty slide.
        cytoplasm, granule, dark: light of these layers, relative to a nucleus.
        haze, haze_width: out-of-focus light around nuclei: share and width (of d).
        full_scale: counts at full range in a 16-bit file; offset: its dark level in counts.
    """

    exposure: float
    background: float
    cytoplasm: float
    granule: float
    dark: float
    haze: float
    haze_width: float
    full_scale: float
    offset: float


@dataclass(frozen=True, slots=True)
class SlideAppearance:
    """The appearance of one slide; see the parts."""

    stain: Stain
    culture: CultureAppearance
    camera: CameraAppearance
    giemsa: GiemsaStain | None
    fluorescence: FluorescenceStain | None


# Drawing the appearance of a slide: culture, stain and camera.
#
# Slides of different laboratories differ far more than cells of one slide, so the wide distributions are here
# and each cell only varies around its slide. Lengths without a unit are shares of a main nucleus's diameter.


class _Draw:
    """Uniform draws whose spread is scaled by `variety` (0: always the middle)."""

    def __init__(self, rng: np.random.Generator, variety: float) -> None:
        self.rng = rng
        self.variety = variety

    def between(self, low: float, high: float, power: float = 1.0) -> float:
        """Between low and high; power > 1 prefers the low end."""
        share = float(self.rng.random())
        return float(low + (high - low) * (0.5 + (share - 0.5) * self.variety) ** power)

    def chance(self, probability: float) -> bool:
        """True with this probability; at variety 0 the more likely answer."""
        return bool(0.5 + (float(self.rng.random()) - 0.5) * self.variety < probability)

    def pick(self, weights: tuple[float, ...]) -> int:
        """Index by weight; at variety 0 the heaviest."""
        drawn = int(self.rng.choice(len(weights), p=np.array(weights) / sum(weights)))
        return drawn if self.rng.random() < self.variety else int(np.argmax(weights))


def draw_slide_appearance(rng: np.random.Generator, stain: Stain, variety: float = 1.0) -> SlideAppearance:
    """Draw the appearance of one slide.

    Args:
        stain: "fluorescence" or "giemsa".
        variety: 0 gives the typical slide of that stain, 1 the full spread.

    Raises:
        ValueError: variety outside 0..1, or an unknown stain.
    """
    if not 0.0 <= variety <= 1.0:
        raise ValueError(f"variety must lie between 0 and 1, not {variety}")
    if stain not in ("fluorescence", "giemsa"):
        raise ValueError(f"look must be fluorescence or giemsa, not {stain}")
    draw = _Draw(rng, variety)
    stained = stain == "giemsa"
    return SlideAppearance(
        stain=stain,
        culture=_culture(draw, stained),
        camera=_camera(draw, stained),
        giemsa=_giemsa(draw) if stained else None,
        fluorescence=None if stained else _fluorescence(draw),
    )


def _culture(draw: _Draw, stained: bool) -> CultureAppearance:
    red_cells = draw.between(0.5, 6.0) if stained and draw.chance(0.25) else 0.0
    return CultureAppearance(
        nucleus_fraction=draw.between(0.2, 0.44),
        margin=draw.between(0.12, 0.6, 1.3),
        roughness=draw.between(0.015, 0.06),
        gap=draw.between(-0.1, 0.3),
        clump=draw.between(0.07, 0.22),
        reticulated=max(0.0, draw.between(-0.5, 0.9)),
        contrast=draw.between(0.08, 0.34),
        rim=draw.between(-0.08, 0.28),
        dome=draw.between(0.05, 0.4),
        softness=draw.between(0.015, 0.07 if stained else 0.09),
        nucleoli=draw.between(0.0, 2.0),
        cyto_contrast=draw.between(0.08, 0.4),
        cyto_scale=draw.between(0.02, 0.16),
        cyto_rise=draw.between(-0.2, 0.9),
        cyto_edge=draw.between(0.0, 0.9, 1.5) if stained else 0.0,
        halo=draw.between(0.0, 0.6) if stained else 0.0,
        ruffles=draw.between(0.01, 0.06),
        roundness=draw.between(0.1, 0.75),
        cyto_softness=draw.between(0.015, 0.25, 2.5),
        granules=draw.between(0.0, 0.35),
        vacuoles=draw.between(0.0, 1.6, 1.6),
        mn_size=draw.between(0.14, 0.21),
        mn_density=draw.between(0.75, 1.05),
        debris=draw.between(0.2, 3.0, 1.6),
        decoys=draw.between(0.1, 0.6),
        neighbours=draw.between(0.1, 1.6),
        red_cells=red_cells,
        ghosts=draw.chance(0.6),
        weak_share=0.05,
        blur_share=0.06,
    )


def _camera(draw: _Draw, stained: bool) -> CameraAppearance:
    return CameraAppearance(
        native=1.0 if draw.chance(0.3) else draw.between(0.35, 1.0),
        psf=draw.between(0.45, 1.7, 1.3),
        fringe=draw.between(0.0, 0.6, 1.5) if stained else 0.0,
        shot=draw.between(0.004, 0.02) if stained else draw.between(0.006, 0.09, 2.0),
        read=draw.between(0.002, 0.008) if stained else draw.between(0.002, 0.04, 2.5),
        grain=draw.between(0.6, 1.8),
        vignette=draw.between(0.0, 0.12, 1.5),
        gradient=draw.between(0.0, 0.15, 1.5),
        gradient_angle=draw.between(0.0, 2 * np.pi),
        sharpen=max(0.0, draw.between(-0.8, 1.2)),
        jpeg=int(draw.between(45, 96)) if draw.chance(0.55 if stained else 0.3) else 0,
        smooth_upsampling=draw.chance(0.7),
        glare=draw.between(0.0, 0.12, 1.5) if stained else 0.0,
        gamma=draw.between(0.8, 1.2),
    )


def _toned(draw: _Draw, colour: Colour, strength: float, drift: float) -> Colour:
    """A colour scaled to `strength` in green-dominant units, each channel drifting by `drift`."""
    parts = np.array([c * (1 + draw.between(-drift, drift)) for c in colour]) * strength
    red, green, blue = (float(p) for p in parts)
    return red, green, blue


_NUCLEUS_TONES: tuple[Colour, ...] = (
    (0.62, 1.0, 0.42),  # magenta-purple, the usual azure-eosin complex
    (0.80, 1.0, 0.22),  # blue-violet
    (0.48, 1.0, 0.58),  # reddish purple
    (1.00, 0.85, 0.25),  # blue, eosin washed out
    (0.90, 1.0, 0.75),  # greyish, nearly black
)
_CYTOPLASM_TONES: tuple[Colour, ...] = (
    (0.70, 0.75, 0.28),  # lilac-blue
    (0.95, 0.62, 0.18),  # basophilic blue
    (0.30, 0.90, 0.45),  # pink-lilac
    (0.80, 0.80, 0.70),  # grey
    (0.45, 0.75, 0.85),  # sand
)
_BACKGROUNDS: tuple[Colour, ...] = (
    (0.97, 0.97, 0.97),
    (0.82, 0.81, 0.78),
    (0.96, 0.92, 0.72),
    (0.93, 0.86, 0.91),
    (0.87, 0.87, 0.93),
    (0.97, 0.93, 0.86),
)


def _giemsa(draw: _Draw) -> GiemsaStain:
    tone = _NUCLEUS_TONES[draw.pick((0.4, 0.22, 0.2, 0.1, 0.08))]
    cytoplasm = _CYTOPLASM_TONES[draw.pick((0.42, 0.17, 0.2, 0.15, 0.06))]
    background = _BACKGROUNDS[draw.pick((0.3, 0.2, 0.12, 0.16, 0.1, 0.12))]
    strength = draw.between(0.65, 2.3, 1.2)
    return GiemsaStain(
        nucleus=_toned(draw, tone, strength, 0.15),
        cytoplasm=_toned(draw, cytoplasm, strength * draw.between(0.04, 0.34, 1.4), 0.15),
        granule=_toned(draw, (0.45, 1.0, 0.45), strength * draw.between(0.35, 0.85), 0.2),
        dark=_toned(draw, (1.0, 1.1, 0.85), draw.between(1.0, 2.0), 0.15),
        red=_toned(draw, (0.12, 0.5, 0.45), draw.between(0.3, 1.0), 0.3),
        background=_toned(draw, background, draw.between(0.9, 1.03), 0.02),
        saturation=0.0 if draw.chance(0.06) else draw.between(0.6, 1.25),
        smear=draw.between(0.0, 0.03, 1.5),
    )


def _fluorescence(draw: _Draw) -> FluorescenceStain:
    return FluorescenceStain(
        exposure=draw.between(0.25, 0.85),
        background=draw.between(0.005, 0.16, 2.2),
        cytoplasm=draw.between(0.0, 0.09, 2.0),
        granule=draw.between(0.02, 0.3),
        dark=draw.between(0.2, 1.3),
        haze=draw.between(0.0, 0.2),
        haze_width=draw.between(0.12, 0.4),
        full_scale=float(draw.pick((0.4, 0.4, 0.2)) + 1) * draw.between(1500.0, 12000.0),
        offset=draw.between(50.0, 400.0),
    )

"""The records of a slide's appearance: culture, stain and camera.

Lengths without a unit are shares of a main nucleus's diameter.
"""

from __future__ import annotations

from dataclasses import dataclass

from mnbatch.assay.cells import Look

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CultureLook:
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
class CameraLook:
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
        ground: relative deviation of smears and protein film on the empty slide.
    """

    nucleus: Colour
    cytoplasm: Colour
    granule: Colour
    dark: Colour
    red: Colour
    background: Colour
    saturation: float
    ground: float


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
class SlideLook:
    """The appearance of one slide; see the parts."""

    look: Look
    culture: CultureLook
    camera: CameraLook
    giemsa: GiemsaStain | None
    fluorescence: FluorescenceStain | None

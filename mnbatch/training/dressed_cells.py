"""Training cells drawn on real ones: micronuclei pasted in, fluorescence crops drawn as stained cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.special import expit
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from mnbatch.training.composite_scene import (
    CANVAS,
    Disc,
    Scene,
    SceneDrawer,
    UInt8Array,
    absorb,
    expose,
    recompressed,
    smooth_noise,
)
from mnbatch.training.real_pieces import Box, FloatArray, PatchLibrary, optical_density, read_boxes, smear_pairs

# Composite cells on real stained white blood cells: a small piece of the cell's own nucleus pasted into its cytoplasm.
#
# Cells without a micronucleus get a paste of another kind by the same law (a pale piece, a platelet, the cytoplasm
# itself), so that the edge of a paste says nothing about the label.


MARGIN = 1.3
"""Side of a cell's crop / longer side of its box."""


@dataclass(frozen=True, slots=True, eq=False)
class SmearCell:
    """One real stained white cell.

    Attributes:
        pixels: (S, S, 3) uint8.
        nucleus: (S, S), True on the nucleus.
        room: (S, S), True where a micronucleus could lie: in the cell, beside the nucleus.
        platelets: (h, w, 3) uint8 pictures from the same slide.
    """

    pixels: UInt8Array
    nucleus: npt.NDArray[np.bool_]
    room: npt.NDArray[np.bool_]
    platelets: tuple[UInt8Array, ...]


def smear_cells(folder: Path, first: float = 0.0, last: float = 1.0) -> list[SmearCell]:
    """White cells of a smear folder, from the images between two fractions of the sorted list.

    Cells cut by the image's edge, and those whose nucleus or cytoplasm is not found, are left out.
    """
    pairs = smear_pairs(folder)
    pairs = pairs[round(first * len(pairs)) : round(last * len(pairs))]
    read = [(np.asarray(Image.open(image).convert("RGB")), read_boxes(boxes)) for image, boxes in pairs]
    platelets = tuple(
        image[b.top : b.bottom, b.left : b.right] for image, boxes in read for b in boxes if b.kind == "Platelets"
    )
    found = [_cell(image, box, platelets) for image, boxes in read for box in boxes if box.kind == "WBC"]
    return [cell for cell in found if cell is not None]


def _cell(image: UInt8Array, box: Box, platelets: tuple[UInt8Array, ...]) -> SmearCell | None:
    height, width = image.shape[:2]
    half = round(MARGIN * max(box.right - box.left, box.bottom - box.top) / 2)
    x, y = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    if x < half * 0.8 or y < half * 0.8 or x + half * 0.8 > width or y + half * 0.8 > height or half < 40:
        return None
    padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode="reflect")
    pixels = padded[y : y + 2 * half, x : x + 2 * half]
    red = ndimage.gaussian_filter(optical_density(pixels)[..., 0], 1.5)
    nucleus = red > max(threshold_otsu(red), 0.12)
    ys, xs = np.mgrid[0 : 2 * half, 0 : 2 * half] - half
    in_box = (xs / (box.right - box.left)) ** 2 + (ys / (box.bottom - box.top)) ** 2 < 0.16
    distance = ndimage.distance_transform_edt(~nucleus)
    room = in_box & (distance > 5)
    if nucleus.mean() < 0.08 or nucleus.mean() > 0.6 or room.sum() < 60:
        return None
    return SmearCell(pixels, nucleus, room, platelets)


def paste_on(rng: np.random.Generator, cell: SmearCell, with_mn: bool) -> UInt8Array:
    """The cell with one thing pasted into its cytoplasm, a micronucleus or something else, recompressed."""
    rows, columns = np.nonzero(cell.room)
    chosen = int(rng.integers(len(rows)))
    y, x = float(rows[chosen]), float(columns[chosen])
    nuclear_radius = float(np.sqrt(cell.nucleus.sum() / np.pi))
    free = ndimage.distance_transform_edt(~cell.nucleus)[int(y), int(x)]
    radius = min(nuclear_radius * np.exp(rng.uniform(np.log(1 / 10), np.log(0.3))), 1.15 * free)
    radius = max(radius, 4.0)
    light = cell.pixels.astype(np.float32) + 1
    background = np.percentile(light.reshape(-1, 3), 98, axis=0).astype(np.float32)
    density = np.log10(background / light)
    alpha = _soft_disc(rng, density.shape[:2], x, y, radius)[..., None]
    source = (
        _mn_density(rng, cell, density)
        if with_mn
        else _other_density(rng=rng, cell=cell, density=density, background=background, x=x, y=y, radius=radius)
    )
    mixed = density * (1 - alpha) + source * alpha
    picture = Image.fromarray((background * 10**-mixed - 1).clip(0, 255).astype(np.uint8))
    width = int(rng.uniform(70, 225))
    return recompressed(rng, picture.resize((width, width), Image.Resampling.BILINEAR))


def _soft_disc(rng: np.random.Generator, shape: tuple[int, int], x: float, y: float, radius: float) -> FloatArray:
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]]
    angle = np.arctan2(ys - y, xs - x)
    edge = radius * (1 + 0.08 * rng.standard_normal() * np.cos(2 * angle + rng.uniform(0, 6.3)))
    return np.asarray(expit((edge - np.hypot(xs - x, ys - y)) / rng.uniform(0.6, 1.6)), np.float32)


def _mn_density(rng: np.random.Generator, cell: SmearCell, density: FloatArray) -> FloatArray:
    """The stain of the nucleus's own middle, as deep or a little paler, with some texture."""
    depth = ndimage.distance_transform_edt(cell.nucleus)
    core = density[depth > 0.4 * depth.max()]
    noise = ndimage.gaussian_filter(rng.standard_normal(density.shape[:2]), 2.0)
    stain = np.median(core, axis=0) * rng.uniform(0.7, 1.05)
    return np.asarray(stain * (1 + 0.6 * noise[..., None]), np.float32)


def _other_density(
    rng: np.random.Generator,
    cell: SmearCell,
    density: FloatArray,
    background: FloatArray,
    x: float,
    y: float,
    radius: float,
) -> FloatArray:
    """What a cell without micronucleus gets instead: precipitate, smoothed cytoplasm, other stain, a platelet."""
    kind = rng.uniform()
    if kind < 0.2:  # precipitate: grey to green-black, flat, mostly darker than the nucleus
        tone = np.array([rng.uniform(0.95, 1.15), rng.uniform(0.85, 1.0), rng.uniform(0.85, 1.05)])
        return np.broadcast_to(tone * rng.uniform(0.5, 1.8), density.shape).astype(np.float32)
    if kind < 0.4 or not cell.platelets:
        return np.asarray(ndimage.gaussian_filter(density, (2, 2, 0)), np.float32)
    if kind < 0.55:
        return np.asarray(ndimage.gaussian_filter(density, (3, 3, 0)) * rng.uniform(0.5, 1.35), np.float32)
    picture = cell.platelets[int(rng.integers(len(cell.platelets)))]
    side = max(4, int(2.2 * radius))
    small = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR), np.float32) + 1
    stamped = density.copy()
    top, left = int(y - side / 2), int(x - side / 2)
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(len(stamped), top + side), min(stamped.shape[1], left + side)
    piece = np.log10(background / small).clip(0)[y0 - top : y1 - top, x0 - left : x1 - left]
    stamped[y0:y1, x0:x1] = np.maximum(stamped[y0:y1, x0:x1] * 0.6, piece)
    return stamped


# Fluorescence crops drawn as stained cells: the real nuclei and micronuclei, absorbing, in a drawn cytoplasm.
#
# The dye of a DNA stain and the absorbance of chromatin both follow the amount of DNA in the light's way, so a crop's
# grey level above its background serves as density of chromatin.


def chromatin_of(grey: UInt8Array) -> tuple[FloatArray, Disc] | None:
    """Density of chromatin of a fluorescence crop (1: the main nucleus) and the main nucleus's place.

    Args:
        grey: (CANVAS, CANVAS) uint8, bright nuclei on dark background.

    Returns:
        None where no nucleus lies near the middle.
    """
    light = grey.astype(np.float32)
    background = float(np.percentile(light, 20))
    smooth = ndimage.gaussian_filter(light, 1.0)
    bodies = label(
        smooth > min(threshold_otsu(smooth), background + 0.45 * (float(np.percentile(light, 99)) - background))
    )
    middle = bodies[CANVAS // 2 - 12 : CANVAS // 2 + 12, CANVAS // 2 - 12 : CANVAS // 2 + 12]
    ids = np.bincount(middle.ravel())[1:]
    if ids.sum() == 0:
        return None
    main = regionprops((bodies == int(ids.argmax()) + 1).astype(int))[0]
    level = float(np.median(light[tuple(main.coords.T)])) - background
    noise = 2.0 * float(np.median(np.abs(light - background)[light <= np.percentile(light, 40)]))
    density = ((light - background - noise) / max(level, 8.0)).clip(0, 1.6)
    y, x = main.centroid
    return density.astype(np.float32), Disc(float(x), float(y), float(np.sqrt(main.area / np.pi)))


class DressedDrawer(SceneDrawer):
    """Draws cytoplasm, platelets and debris round the chromatin of a real fluorescence crop."""

    def dress(self, grey: UInt8Array) -> Scene | None:
        """The crop as a scene; its micronuclei are those that the crop has (`n_mn` is left 0)."""
        found = chromatin_of(grey)
        if found is None:
            return None
        density, nucleus = found
        scene = Scene()
        scene.chromatin[:] = density
        self._wide_cytoplasm(scene, density, nucleus)
        self._surroundings(scene, [nucleus])
        return scene

    def _wide_cytoplasm(self, scene: Scene, density: FloatArray, nucleus: Disc) -> None:
        """Cytoplasm wide enough for the cell's own micronuclei, and round its neighbours too."""
        rng = self.rng
        bulk = ndimage.gaussian_filter((density > 0.4).astype(np.float32), rng.uniform(0.45, 0.8) * nucleus.radius)
        spread = 0.06 * smooth_noise(rng, 0.8 * nucleus.radius)
        soft = rng.uniform(0.01, 0.03)
        outline = 1 / (1 + np.exp((rng.uniform(0.04, 0.09) + spread * 0.3 - bulk) / soft))
        texture = 1 + rng.uniform(0.02, 0.25) * smooth_noise(rng, rng.uniform(1.5, 5))
        texture += rng.uniform(0.02, 0.25) * smooth_noise(rng, rng.uniform(12, 50))
        level = rng.uniform(0.05, 0.55)
        scene.cytoplasm[:] = level * outline * texture.clip(0.1, 2.5)


def dressed_cell(rng: np.random.Generator, library: PatchLibrary, grey: UInt8Array) -> UInt8Array | None:
    """A fluorescence crop (CANVAS, CANVAS) as a stained picture 90 to 224 pixels wide, or None without a nucleus."""
    width = int(np.exp(rng.uniform(np.log(90), np.log(CANVAS))))
    scene = DressedDrawer(rng, library, least_radius=2.0).dress(grey)
    return None if scene is None else expose(rng, absorb(rng, scene), width)

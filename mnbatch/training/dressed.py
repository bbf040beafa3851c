"""Fluorescence crops drawn as stained cells: the real nuclei and micronuclei, absorbing, in a drawn cytoplasm.

The dye of a DNA stain and the absorbance of chromatin both follow the amount of DNA in the light's way, so a crop's
grey level above its background serves as density of chromatin.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from mnbatch.training.bodies import CANVAS, Disc, smooth_noise
from mnbatch.training.patches import FloatArray, PatchLibrary
from mnbatch.training.scene import Scene, SceneDrawer
from mnbatch.training.stain import UInt8Array, absorb, expose


def chromatin_of(grey: UInt8Array) -> tuple[FloatArray, Disc] | None:
    """Density of chromatin of a fluorescence crop (1: the main nucleus) and the main nucleus's place.

    Args:
        grey: (CANVAS, CANVAS) uint8, bright nuclei on dark ground.

    Returns:
        None where no nucleus lies near the middle.
    """
    light = grey.astype(np.float32)
    ground = float(np.percentile(light, 20))
    smooth = ndimage.gaussian_filter(light, 1.0)
    bodies = label(smooth > min(threshold_otsu(smooth), ground + 0.45 * (float(np.percentile(light, 99)) - ground)))
    middle = bodies[CANVAS // 2 - 12 : CANVAS // 2 + 12, CANVAS // 2 - 12 : CANVAS // 2 + 12]
    ids = np.bincount(middle.ravel())[1:]
    if ids.sum() == 0:
        return None
    main = regionprops((bodies == int(ids.argmax()) + 1).astype(int))[0]
    level = float(np.median(light[tuple(main.coords.T)])) - ground
    noise = 2.0 * float(np.median(np.abs(light - ground)[light <= np.percentile(light, 40)]))
    density = ((light - ground - noise) / max(level, 8.0)).clip(0, 1.6)
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

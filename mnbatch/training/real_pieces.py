"""Real nuclei and platelets, cut from annotated images, as building blocks of composite training cells.

Two folder layouts are read: fields with instance masks (`images/NAME.png` and `labels/NAME.png`, 16-bit instances,
nuclei bright on dark), and stained blood smears with boxes (`images/NAME.jpg` and Pascal VOC `annotations/NAME.xml`,
classes WBC, RBC and Platelets).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from mnbatch.errors import TrainingError

PATCH = 72
"""Side of a patch in pixels; the body fills two thirds of it."""
MIN_BODY = 12
"""Bodies with a smaller bounding box (pixels) have no texture worth copying."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One body, resampled to a fixed frame.

    Attributes:
        density: (PATCH, PATCH), stain or dye per pixel; the median inside the body is 1.
        alpha: (PATCH, PATCH), 0..1, soft mask of the body.
    """

    density: FloatArray
    alpha: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class PatchLibrary:
    """Bodies to build cells from; either tuple may be empty, then bodies are drawn procedurally."""

    nuclei: tuple[Patch, ...] = ()
    platelets: tuple[Patch, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated object of a smear image; pixels, upper ends exclusive."""

    kind: str
    left: int
    top: int
    right: int
    bottom: int


def cut_patch(density: FloatArray, mask: npt.NDArray[np.bool_]) -> Patch:
    """Resample the body in `mask` (with its surroundings) to the patch frame.

    Args:
        density: (H, W), 0 on background.
        mask: (H, W), the body.
    """
    rows, columns = np.nonzero(mask)
    side = 1.5 * max(np.ptp(rows) + 1, np.ptp(columns) + 1)
    step = side / PATCH
    centre = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
    offsets = (np.arange(PATCH) - (PATCH - 1) / 2) * step
    grid = np.meshgrid(centre[0] + offsets, centre[1] + offsets, indexing="ij")
    body = ndimage.map_coordinates(density, grid, order=1, mode="nearest")
    alpha = ndimage.map_coordinates(mask.astype(np.float32), grid, order=1, mode="constant")
    middle = float(np.median(density[mask]))
    return Patch((body / max(middle, 1e-3)).clip(0, 2.5).astype(np.float32), alpha.astype(np.float32))


def instance_patches(image: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]) -> list[Patch]:
    """Every whole, compact, large enough nucleus of one fluorescence field.

    Nuclei smaller than half of the field's median area are left out: they are not reliably nuclei.
    """
    grey = image.astype(np.float32)
    grey = (grey - np.percentile(grey, 5)).clip(0)
    regions = regionprops(labels)
    if not regions:
        return []
    median_area = float(np.median([region.area for region in regions]))
    height, width = labels.shape
    kept = []
    for region in regions:
        top, left, bottom, right = region.bbox
        whole = top > 0 and left > 0 and bottom < height and right < width
        large = region.area >= 0.5 * median_area and min(bottom - top, right - left) >= MIN_BODY
        if whole and large and region.solidity > 0.92 and region.eccentricity < 0.82:
            window = np.s_[max(0, top - 8) : bottom + 8, max(0, left - 8) : right + 8]
            kept.append(cut_patch(grey[window], labels[window] == region.label))
    return kept


def read_boxes(annotation: Path) -> list[Box]:
    """Boxes of one Pascal VOC file; degenerate ones are left out."""
    boxes = []
    for item in ElementTree.parse(annotation).getroot().iter("object"):
        sides = [int(item.findtext(f"bndbox/{side}", "0")) for side in ("xmin", "ymin", "xmax", "ymax")]
        if sides[2] - sides[0] >= MIN_BODY and sides[3] - sides[1] >= MIN_BODY:
            boxes.append(Box(item.findtext("name", ""), *sides))
    return boxes


def optical_density(rgb: npt.NDArray[np.uint8]) -> FloatArray:
    """(H, W, 3) uint8 -> optical density, log10 of the background (98th percentile of a channel) over the pixel."""
    light = rgb.astype(np.float32) + 1
    background = np.percentile(light.reshape(-1, 3), 98, axis=0)
    return np.asarray(np.log10(background / light).clip(0), np.float32)


def body_in_box(density: FloatArray, box: Box, margin: int = 6) -> Patch | None:
    """The largest compact body above Otsu's threshold within a box, or None where there is none."""
    window = density[max(0, box.top - margin) : box.bottom + margin, max(0, box.left - margin) : box.right + margin]
    if float(np.ptp(window)) < 0.1:
        return None
    bodies = label(window > threshold_otsu(window))
    largest = max(regionprops(bodies), key=lambda region: region.area)
    if largest.area < MIN_BODY**2 / 2 or largest.solidity < 0.88:
        return None
    return cut_patch(window, bodies == largest.label)


def smear_patches(image: npt.NDArray[np.uint8], boxes: list[Box]) -> PatchLibrary:
    """Nuclei of white cells and platelets of one stained smear.

    Nuclei are taken from red light, which they absorb and red cells hardly do; platelets from green light.
    """
    density = optical_density(image)
    nuclei = [body_in_box(density[..., 0], box, margin=0) for box in boxes if box.kind == "WBC"]
    platelets = [body_in_box(density[..., 1], box) for box in boxes if box.kind == "Platelets"]
    return PatchLibrary(
        tuple(patch for patch in nuclei if patch is not None),
        tuple(patch for patch in platelets if patch is not None),
    )


def load_library(
    nuclei_dir: Path | None, smear_dir: Path | None, most: int = 900, smear_share: float = 1.0
) -> PatchLibrary:
    """Collect building blocks from the two layouts.

    Args:
        most: nuclei of fluorescence fields to keep.
        smear_share: of the smear images (in name order) that may be used; the rest is held out.

    Raises:
        TrainingError: a folder is not of its layout.
    """
    nuclei: list[Patch] = []
    platelets: list[Patch] = []
    if nuclei_dir is not None:
        fields = _pairs(nuclei_dir / "images", "*.png", nuclei_dir / "labels", ".png")
        nuclei += _thinned([patch for pair in fields for patch in _field_patches(*pair)], most)
    if smear_dir is not None:
        pairs = smear_pairs(smear_dir)
        for picture, annotation in pairs[: round(smear_share * len(pairs))]:
            found = smear_patches(np.asarray(Image.open(picture).convert("RGB")), read_boxes(annotation))
            nuclei += found.nuclei
            platelets += found.platelets
    return PatchLibrary(tuple(nuclei), tuple(platelets))


def smear_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(image, annotation) files of a smear folder, in name order."""
    return _pairs(folder / "images", "*.jpg", folder / "annotations", ".xml")


def _field_patches(picture: Path, labels: Path) -> list[Patch]:
    """Nuclei of one field; none where the field is coloured (stained tissue) or light (brightfield)."""
    rgb = np.asarray(Image.open(picture).convert("RGB"))
    grey = rgb[..., 1]
    if int(np.ptp(rgb.astype(int), axis=2).max()) > 8 or grey.mean() > 110:
        return []
    return instance_patches(grey, np.asarray(Image.open(labels)).astype(np.int32))


def _thinned(patches: list[Patch], most: int) -> list[Patch]:
    """At most `most` patches, evenly spread over the list, so that no single field fills the library."""
    if len(patches) <= most:
        return patches
    return [patches[i] for i in np.linspace(0, len(patches) - 1, most).astype(int)]


def _pairs(images: Path, pattern: str, partners: Path, suffix: str) -> list[tuple[Path, Path]]:
    if not images.is_dir() or not partners.is_dir():
        raise TrainingError(f"{images.parent} has no folders images and {partners.name}.", "Check the folder's layout.")
    pairs = [(image, partners / (image.stem + suffix)) for image in sorted(images.glob(pattern))]
    return [pair for pair in pairs if pair[1].is_file()]

"""Files of simulated fields and whole slides with their pixel size, and their truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from mnbatch.assay.cells import Stain
from mnbatch.csvfile import Value
from mnbatch.files import staging_folder
from mnbatch.simulate.cell_shapes import Outline
from mnbatch.simulate.fields.cell_stamps import plan_of
from mnbatch.simulate.fields.field_plan import FieldFormat
from mnbatch.simulate.fields.field_rendering import Pixels
from mnbatch.simulate.fields.field_scene import Circle, PlacedCell, Scene, contact_of
from mnbatch.simulate.slide_appearance import SlideAppearance

# Files of fields with their pixel size.


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


def resolution(um_per_px: float) -> dict[str, Any]:
    """The TIFF tags of a pixel size, as tifffile takes them: pixels per cm."""
    per_cm = _UM_PER_CM / um_per_px
    return {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}


def _write_tiff(path: Path, pixels: Pixels, um_per_px: float) -> None:
    # Without metadata and software tag the bytes depend on the pixels and their size alone.
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    options = resolution(um_per_px)
    tifffile.imwrite(path, pixels, photometric=photometric, compression="lzw", metadata=None, software=False, **options)


CHANNELS = ("DAPI", "Cytoplasm")


def write_channels(path: Path, channels: Sequence[Pixels], um_per_px: float) -> None:
    """Write a field of two channels, nuclei and cytoplasm, as LZW OME-TIFF; both (h, w)."""
    metadata = {"axes": "CYX", "Channel": {"Name": list(CHANNELS)}, **_ome_pixel_size(um_per_px)}
    stack = np.stack(channels)
    tifffile.imwrite(path, stack, ome=True, photometric="minisblack", compression="lzw", metadata=metadata)


def _ome_pixel_size(um_per_px: float) -> dict[str, Any]:
    return {
        "PhysicalSizeX": um_per_px,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": um_per_px,
        "PhysicalSizeYUnit": "µm",
    }


def _write_ome(path: Path, pixels: Pixels, um_per_px: float) -> None:
    rgb = pixels.ndim == 3
    metadata = {"axes": "YXS" if rgb else "YX", **_ome_pixel_size(um_per_px)}
    photometric = "rgb" if rgb else "minisblack"
    tifffile.imwrite(path, pixels, ome=True, photometric=photometric, compression="lzw", metadata=metadata)


# A pyramidal tiled TIFF written tile by tile: what is held in memory does not grow with the slide.
#
# While a level is written, its tiles halved go to a temporary file, from which the next level
# is made; a level's temporary file is deleted when it has been read.


TILE = 512
_SMALLEST_LEVEL = 512
_JPEG_QUALITY = 88

Tile = npt.NDArray[np.uint8]


def write_pyramid(
    path: Path, scratch: Path, width: int, height: int, channels: int, um_per_px: float, tiles: Iterator[Tile]
) -> list[tuple[int, int]]:
    """Write a slide as BigTIFF of JPEG tiles with levels halved down to 512 px.

    Args:
        scratch: directory for temporary files, a third of the slide's uncompressed size at most.
        channels: 3 (RGB) or 1 (grey).
        tiles: of the full resolution, row by row from the top left, each TILE x TILE, (TILE, TILE[, 3]); those
            at the right and lower border are filled up beyond it.

    Returns:
        Width and height of each level.

    Raises:
        OSError: the file or the temporary one cannot be written.
    """
    levels = level_sizes(width, height)
    with (
        tifffile.TiffWriter(path, bigtiff=True) as tiff,
        staging_folder(scratch) as folder,
    ):
        source: Iterator[Tile] = tiles
        for number, (wide, high) in enumerate(levels):
            halves = folder / f"{number}.raw"
            last = number == len(levels) - 1
            with halves.open("wb") as store:
                keep = None if last else store
                _write_level(
                    tiff=tiff,
                    tiles=_halved_into(source, keep, wide, high),
                    number=number,
                    size=(wide, high),
                    channels=channels,
                    um_per_px=um_per_px,
                )
            if number:
                (folder / f"{number - 1}.raw").unlink()
            source = _from_halves(halves, levels[number], channels)
    return levels


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Widths and heights of the levels; an odd side is rounded up when it is halved."""
    levels = [(width, height)]
    while max(levels[-1]) > _SMALLEST_LEVEL:
        levels.append(((levels[-1][0] + 1) // 2, (levels[-1][1] + 1) // 2))
    return levels


def tile_counts(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of tiles."""
    return -(-width // TILE), -(-height // TILE)


def _write_level(
    tiff: tifffile.TiffWriter,
    tiles: Iterator[Tile],
    number: int,
    size: tuple[int, int],
    channels: int,
    um_per_px: float,
) -> None:
    shape = (size[1], size[0], 3) if channels == 3 else (size[1], size[0])
    tiff.write(
        tiles,
        shape=shape,
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb" if channels == 3 else "minisblack",
        compression="jpeg",
        compressionargs={"level": _JPEG_QUALITY},
        subfiletype=1 if number else 0,
        metadata=None,
        software=False,
        maxworkers=1,
        **resolution(um_per_px * 2**number),
    )


def _halved_into(tiles: Iterator[Tile], store: BinaryIO | None, width: int, height: int) -> Iterator[Tile]:
    """Pass tiles on, with what lies beyond the border repeated from it, and append each one halved to a file."""
    columns, _ = tile_counts(width, height)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        filled = _filled(tile, min(TILE, width - column * TILE), min(TILE, height - row * TILE))
        if store is not None:
            store.write(_halved(filled).tobytes())
        yield filled


def _filled(tile: Tile, width: int, height: int) -> Tile:
    if (height, width) == tile.shape[:2]:
        return tile
    pads = ((0, TILE - height), (0, TILE - width), (0, 0))[: tile.ndim]
    return np.pad(tile[:height, :width], pads, mode="edge")


def _halved(tile: Tile) -> Tile:
    """Mean of two by two pixels, rounded."""
    wide = tile.astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def _from_halves(path: Path, size: tuple[int, int], channels: int) -> Iterator[Tile]:
    """Tiles of the next level from the halved tiles of one of `size`, four to a tile."""
    columns, rows = tile_counts(*size)
    half = TILE // 2
    shape = (half, half, 3) if channels == 3 else (half, half)
    length = int(np.prod(shape))
    across, down = tile_counts((size[0] + 1) // 2, (size[1] + 1) // 2)
    with path.open("rb") as store:
        for row in range(down):
            for column in range(across):
                tile = np.zeros((TILE, TILE, *shape[2:]), dtype=np.uint8)
                for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    if 2 * row + y < rows and 2 * column + x < columns:
                        store.seek(((2 * row + y) * columns + 2 * column + x) * length)
                        part = np.frombuffer(store.read(length), dtype=np.uint8).reshape(shape)
                        tile[y * half : (y + 1) * half, x * half : (x + 1) * half] = part
                yield tile


# The truth of simulated fields and slides: a row a cell, and label images.


TRUTH_COLUMNS = (
    "slide",
    "donor",
    "dose_gy",
    "file",
    "cell",
    "x",
    "y",
    "left",
    "top",
    "right",
    "bottom",
    "class",
    "nuclei",
    "n_mn",
    "mn",
    "contact",
    "border",
    "scorable",
    "blur",
    "stain",
    "nuclei_at",
    "mn_at",
)

Labels = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Where:
    """What all rows of a file share: slide and file relative to the export, donor, dose, stain."""

    slide: str
    donor: str
    dose_gy: float | int | str
    file: str
    stain: Stain


@dataclass(frozen=True, slots=True)
class LabelImages:
    """Label images of a field, (height, width) uint16, 0 where there is nothing.

    Attributes:
        cells: number of the cell, as in the truth; nuclei: main nuclei, buds with their nucleus, counted
            through in the order of the cells; mn: micronuclei, counted likewise.
    """

    cells: Labels
    nuclei: Labels
    mn: Labels

    def together(self) -> Labels:
        """Nuclei and micronuclei as separate objects, as a tool for the segmentation of nuclei leaves them."""
        return np.where((self.nuclei == 0) & (self.mn > 0), self.mn + self.nuclei.max(), self.nuclei).astype(np.uint16)


def cells_shown(scene: Scene) -> list[PlacedCell]:
    """Cells of which any part lies on the picture, in the order of the truth (from the top, row by row)."""
    shown = [cell for cell in scene.cells if _shows(cell, scene)]
    return sorted(shown, key=lambda cell: (cell.y, cell.x))


def truth_rows(scene: Scene, where: Where) -> Iterator[tuple[Value, ...]]:
    """Rows in the order of TRUTH_COLUMNS; cells are counted from 1."""
    for number, cell in enumerate(cells_shown(scene), 1):
        left, top, right, bottom = cell.box
        border = left < 0 or top < 0 or right > scene.width or bottom > scene.height
        contact = contact_of(cell)
        scorable = cell.order.cell_class == "binucleated" and contact != "overlapping" and not border
        x, y = centre(cell)
        box = (max(0, left), max(0, top), min(scene.width, right), min(scene.height, bottom))
        yield (
            *(where.slide, where.donor, where.dose_gy, where.file, number, round(x, 1), round(y, 1), *box),
            *(cell.order.cell_class, len(cell.nuclei), cell.order.n_mn, int(cell.order.n_mn > 0), contact),
            *(int(border), int(scorable), round(cell.order.blur, 2), where.stain),
            *(_circles(cell.nuclei), _circles(cell.micronuclei)),
        )


def centre(cell: PlacedCell) -> tuple[float, float]:
    """Centre of area of a cell's main nuclei, px."""
    areas = np.array([r * r for _, _, r in cell.nuclei])
    at = np.array([(x, y) for x, y, _ in cell.nuclei])
    x, y = (at * areas[:, None]).sum(axis=0) / areas.sum()
    return float(x), float(y)


def label_images(scene: Scene, slide: SlideAppearance) -> LabelImages:
    """Draw the label images of a field; the first of two that overlap keeps the pixels."""
    cells, nuclei, mn = (np.zeros((scene.height, scene.width), dtype=np.uint16) for _ in range(3))
    n_nuclei = n_mn = 0
    for number, cell in enumerate(cells_shown(scene), 1):
        plan = plan_of(cell.order, slide)
        _fill(cells, plan.cell, cell, number)
        for nucleus in plan.nuclei:
            n_nuclei += 1
            _fill(nuclei, nucleus, cell, n_nuclei)
            for bud in plan.buds:
                if nucleus.depth_at(bud.x, bud.y) > -bud.reach:
                    _fill(nuclei, bud, cell, n_nuclei)
        for body in plan.places[: cell.order.n_mn]:
            n_mn += 1
            _fill(mn, body, cell, n_mn)
    return LabelImages(cells, nuclei, mn)


def _fill(labels: Labels, outline: Outline, cell: PlacedCell, number: int) -> None:
    """Write a number into the free pixels inside an outline that is given in the cell's frame."""
    height, width = labels.shape
    moved = outline.moved(cell.left, cell.top)
    reach = moved.reach + 1
    x0, y0 = max(0, int(moved.x - reach)), max(0, int(moved.y - reach))
    x1, y1 = min(width, int(moved.x + reach) + 2), min(height, int(moved.y + reach) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    xs, ys = np.arange(x0, x1, dtype=np.float32)[None, :], np.arange(y0, y1, dtype=np.float32)[:, None]
    window = labels[y0:y1, x0:x1]
    window[(moved.depth(xs, ys)[0] > 0) & (window == 0)] = number


def _shows(cell: PlacedCell, scene: Scene) -> bool:
    left, top, right, bottom = cell.box
    return right > 0 and bottom > 0 and left < scene.width and top < scene.height


def _circles(circles: tuple[Circle, ...]) -> str:
    """x:y:radius in px, separated by semicolons."""
    return ";".join(f"{x:.1f}:{y:.1f}:{r:.1f}" for x, y, r in circles)

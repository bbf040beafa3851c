"""A pyramidal tiled TIFF written tile by tile: what is held in memory does not grow with the slide.

While a level is written, its tiles halved go to a temporary file, from which the next level
is made; a level's temporary file is deleted when it has been read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import tifffile

from mnbatch.files import staging_folder
from mnbatch.simulate.fields.formats import resolution

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
                _write_level(tiff, _halved_into(source, keep, wide, high), number, (wide, high), channels, um_per_px)
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

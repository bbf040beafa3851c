"""What a page needs to show a cell when the export has long been archived: a small JPEG and its coarse maps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from mnbatch.assay.cells import UInt8Array
from mnbatch.assay.map_grid import positions_kept
from mnbatch.assay.near_copies import SIDE
from mnbatch.errors import StorageError

MAPS = ("attention5", "attention6", "evidence")
"""In the order in which a record holds them."""
JPEG_QUALITY = 85


@cache
def map_record(number: int) -> np.dtype[np.void]:
    """Type of one cell's maps of `number` x `number` positions, 511 bytes for 13.

    Attention of layers 5 and 6 in 1/255, evidence in evidence_scale/127 logits.
    """
    grid = (number, number)
    fields = [("attention", np.uint8, (2, *grid)), ("evidence", np.int8, grid), ("evidence_scale", "<f4")]
    return np.dtype(fields)


def encode_crop(pixels: UInt8Array) -> bytes:
    """The crop (S, S, 3) as a JPEG; grey crops are stored grey, which halves their size."""
    one_channel = pixels.strides[-1] == 0
    grey = one_channel or bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())
    if grey:
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[..., 0]), level=JPEG_QUALITY))
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=JPEG_QUALITY, subsampling="420"))


def thumbnail_of(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """A kept crop, grey and small, as near copies are told by: uint8 (64, 64); zeros where it cannot be read."""
    try:
        image = Image.open(io.BytesIO(jpeg))
        return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
    except (OSError, ValueError):
        return np.zeros((SIDE, SIDE), np.uint8)


def pack_maps(maps: npt.NDArray[np.float32]) -> bytes:
    """Quantise maps (..., 3, n, n) to a record each (`map_record`); a map that is not there (NaN) leaves zeros.

    Which maps are there is in the slide's record (`Scoring.maps`). Those of many cells together cost little more than
    those of one.
    """
    records = np.zeros(maps.shape[:-3], map_record(maps.shape[-1]))
    if not np.isfinite(maps).all():
        maps = np.nan_to_num(maps)
    attention, evidence = maps[..., :2, :, :], maps[..., 2, :, :]
    records["attention"] = np.clip(np.rint(attention * 255), 0, 255)
    scale = np.abs(evidence).max(axis=(-2, -1))
    records["evidence_scale"] = scale
    records["evidence"] = np.rint(evidence / np.where(scale > 0, scale, 1)[..., None, None] * 127)
    return records.tobytes()


def unpack_maps(record: npt.NDArray[np.void] | np.void) -> npt.NDArray[np.float32]:
    """The maps (3, n, n) of one record."""
    maps = np.empty((3, *record["evidence"].shape), np.float32)
    maps[:2] = record["attention"] / 255
    maps[2] = record["evidence"].astype(np.float32) * (record["evidence_scale"] / 127)
    return maps


@dataclass(frozen=True, slots=True)
class StoredCrops:
    """Crops and maps of a slide, read cell by cell.

    Attributes:
        crops, maps: files of the generation.
        offsets: row -> (byte offset, length) of its JPEG; None for an unreadable cell.
        positions: row -> index of its map record; None for an unreadable cell.
        given: names of the maps that the slide's model gives.
    """

    crops: Path
    maps: Path
    offsets: tuple[tuple[int, int] | None, ...]
    positions: tuple[int | None, ...]
    given: tuple[str, ...] = MAPS

    @property
    def side(self) -> int:
        """Positions a side of the maps, which the model's input decides; read off the size of the file.

        Raises:
            StorageError: it holds no whole number of records.
        """
        cells = sum(position is not None for position in self.positions)
        try:
            return positions_kept(self.maps.stat().st_size // max(1, cells))
        except ValueError as error:
            raise StorageError(f"{self.maps} is damaged: {error}.", "Score the slide again.") from error

    def jpeg(self, row: int) -> bytes | None:
        """JPEG bytes of the cell in `row`; None for an unreadable cell."""
        place = self.offsets[row]
        if place is None:
            return None
        with self.crops.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])

    def cell_maps(self, row: int) -> npt.NDArray[np.float32] | None:
        """Maps (3, n, n) of the cell in `row`: attention 5, attention 6, evidence in logits.

        NaN where the model gives no such map; None where it gives none at all, and for an unreadable cell.
        """
        position = self.positions[row]
        if position is None or not self.given:
            return None
        kind = map_record(self.side)
        record = np.fromfile(self.maps, kind, count=1, offset=position * kind.itemsize)
        maps = unpack_maps(record[0])
        maps[[name not in self.given for name in MAPS]] = np.nan
        return maps

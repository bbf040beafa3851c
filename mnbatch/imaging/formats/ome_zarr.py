"""OME-Zarr (NGFF 0.4 in Zarr 2, NGFF 0.5 in Zarr 3) through zarr (MIT).

A folder `.zarr` is one image, several (the layout of bioformats2raw), or a plate of wells, of which each well is a
slide (`mnbatch.imaging.plate_wells`). Of an image the largest level is read. Zarr puts the fill value where a chunk is
absent; here such a picture is unreadable. Never tried on a file of a real converter: the tests write theirs with zarr.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from math import prod
from typing import Any

import numpy as np

from mnbatch.assay.reasons import LONGEST, WITHHELD, Foreign, say
from mnbatch.imaging.formats.page_choice import UnclearError
from mnbatch.imaging.formats.pixels import Decoded, check_bytes
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.vendor_files import (
    MOST_POSITIONS,
    VendorContent,
    VendorFile,
    VendorFormat,
    one_description,
)
from mnbatch.imaging.wholeness.lost_sectors import DamageError, Piece, check_blocks

_VERSIONS = ("0.4", "0.5")
_AXES = "tczyx"
_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "angstrom": 1e-4}
_CODECS = frozenset(
    ("blosc", "zstd", "zlib", "gzip", "lz4", "lzma", "bz2", "shuffle", "delta", "bytes", "transpose", "crc32c", "crc32")
)
"""Codecs that are let at a file's bytes. Others (`pickle`) may run code."""

_SHARDS = "sharding_indexed"


@dataclass(frozen=True, slots=True)
class _Image:
    """The largest level of one image.

    Attributes:
        array: of zarr.
        axes: letters of its dimensions, of `tczyx`.
    """

    array: Any
    axes: str
    folder: str
    content: VendorContent


class _ZarrFile:
    def __init__(self, images: Sequence[Sequence[_Image]]) -> None:
        """Positions of each acquisition (point in time), the same number of each."""
        self._images = images
        together = one_description([image.content for at_time in images for image in at_time])
        times = together.times if len(images) == 1 else len(images)
        self.content = VendorContent(
            positions=len(images[0]),
            times=times,
            channels=together.channels,
            planes=together.planes,
            names=together.names,
            um_across=together.um_across,
            um_down=together.um_down,
        )

    def _at(self, position: int, time: int) -> tuple[_Image, int]:
        return (self._images[0][position], time) if len(self._images) == 1 else (self._images[time][position], 0)

    def size(self, position: int, channel: int) -> tuple[int, int]:
        image = self._images[0][position]
        # What is decoded is chunks, whole ones.
        check_bytes(prod(_stored(image.array)) * image.array.dtype.itemsize)
        return image.content.width, image.content.height

    def read(self, position: int, time: int, channel: int, plane: int) -> Decoded:
        image, time = self._at(position, time)
        at = {"t": time, "c": channel, "z": plane}
        places = [at.get(axis, 0) for axis in image.axes[:-2]]
        _check_chunks(image, places)
        values = np.asarray(image.array[(*places, slice(None), slice(None))])
        _check_tiles(image, values)
        return values


def _stored(array: Any) -> tuple[int, ...]:
    """Form of what is one file: a chunk, or a shard of chunks."""
    return tuple(array.shards or array.chunks)


def _check_chunks(image: _Image, places: Sequence[int]) -> None:
    """Raise a DamageError where a chunk of a picture is absent or empty, which zarr takes for its fill value."""
    stored = _stored(image.array)
    before = [place // length for place, length in zip(places, stored[:-2], strict=True)]
    counts = [-(-side // length) for side, length in zip(image.array.shape[-2:], stored[-2:], strict=True)]
    absent = 0
    for down, across in product(*map(range, counts)):
        key = image.array.metadata.encode_chunk_key((*before, down, across))
        try:
            absent += os.path.getsize(os.path.join(image.folder, key)) == 0
        except OSError:
            absent += 1
    if absent:
        raise DamageError(f"{absent} of its {prod(counts)} chunks are absent")


def _check_tiles(image: _Image, values: Decoded) -> None:
    """Raise a DamageError where a chunk ends in zeros: room that was made for a copy that broke off."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        return
    high, wide = image.array.chunks[-2:]
    pieces = [
        Piece(offset=0, data=tile.tobytes(), stride=tile.shape[1] * tile.itemsize, kind=tile.dtype)
        for top, left in product(range(0, values.shape[0], high), range(0, values.shape[1], wide))
        for tile in [values[top : top + high, left : left + wide]]
    ]
    for piece in pieces:
        check_blocks([piece])


# What an image says of itself.


def _image(group: Any, folder: str) -> _Image:
    """Raises UnclearError for metadata of another version or form, UndecodableError for values that are not read."""
    said = _ome(group)
    several = said.get("multiscales")
    if not isinstance(several, list) or len(several) != 1 or not isinstance(several[0], Mapping):
        raise UnclearError(say("zarr-metadata", what="multiscales of one image"))
    scales = several[0]
    version = str(said.get("version") or scales.get("version") or "")
    if version not in _VERSIONS:
        raise UnclearError(say("zarr-version", version=_foreign(version), known=" or ".join(_VERSIONS)))
    axes = _axes(scales)
    level = _mappings(scales.get("datasets"))[:1]
    if not level:
        raise UnclearError(say("zarr-metadata", what="datasets"))
    name = str(level[0].get("path"))
    if ".." in name.split("/"):
        raise UnclearError(say("zarr-metadata", what="datasets inside the folder"))
    array = group[name]
    _check_codecs(array)
    if len(array.shape) != len(axes):
        raise UnclearError(say("zarr-metadata", what=f"{len(array.shape)} axes"))
    letters = "".join(axis for axis, _ in axes)
    lengths = dict(zip(letters, array.shape, strict=True))
    across, down = _pixel_size(axes, level[0], scales)
    channels = _mappings(_mapping(said.get("omero")).get("channels"))
    content = VendorContent(
        positions=1,
        times=lengths.get("t", 1),
        channels=lengths.get("c", 1),
        planes=lengths.get("z", 1),
        names=tuple(str(channel.get("label") or "") for channel in channels),
        um_across=across,
        um_down=down,
        width=lengths["x"],
        height=lengths["y"],
    )
    return _Image(array, letters, os.path.join(folder, *name.split("/")), content)


def _foreign(text: str) -> Foreign | str:
    """Text of the file, which may hold any name."""
    return Foreign(text[:LONGEST], WITHHELD) if text else "none"


def _ome(group: Any) -> Mapping[str, Any]:
    """NGFF metadata: under `ome` since 0.5."""
    said = group.attrs.asdict()
    return _mapping(said["ome"]) if "ome" in said else _mapping(said)


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _mappings(content: Any) -> list[Mapping[str, Any]]:
    return [one for one in content if isinstance(one, Mapping)] if isinstance(content, list) else []


def _axes(scales: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Letter and unit of each axis, in the order of the array."""
    found = [(str(axis.get("name")), str(axis.get("unit") or "")) for axis in _mappings(scales.get("axes"))]
    letters = "".join(axis for axis, _ in found)
    known = all(axis in _AXES for axis, _ in found) and len(set(letters)) == len(found)
    if not known or not letters.endswith("yx"):
        raise UnclearError(say("axis-unknown", axes=_foreign(", ".join(axis for axis, _ in found))))
    return found


def _pixel_size(
    axes: Sequence[tuple[str, str]], level: Mapping[str, Any], scales: Mapping[str, Any]
) -> tuple[float | None, float | None]:
    """Width and height, micrometres; scales of the level and of the whole image are multiplied."""
    sides = [1.0] * len(axes)
    stated = False
    for holder in (level, scales):
        for step in _mappings(holder.get("coordinateTransformations")):
            factors = step.get("scale")
            if step.get("type") == "scale" and isinstance(factors, list) and len(factors) == len(axes):
                sides = [side * float(factor) for side, factor in zip(sides, factors, strict=True)]
                stated = True
    down, across = (
        side * _UM[unit] if stated and unit in _UM else None
        for side, (_, unit) in zip(sides[-2:], axes[-2:], strict=True)
    )
    return across, down


def _check_codecs(array: Any) -> None:
    if array.dtype.kind not in "buif":
        raise UndecodableError(say("no-picture", dtype=str(array.dtype)))
    used = _codec_names(array.metadata.to_dict())
    if refused := sorted(used - _CODECS):
        raise UndecodableError(say("zarr-codec", codecs=_foreign(", ".join(refused))))


def _codec_names(said: Mapping[str, Any]) -> set[str]:
    """Names of all codecs, those within shards among them."""
    own = _mappings([said.get("compressor")]) + _mappings(list(said.get("filters") or ()))
    found = {str(codec.get("id")) for codec in own}
    for codec in _mappings(list(said.get("codecs") or ())):
        name = str(codec.get("name"))
        inside = _mapping(codec.get("configuration"))
        if name == _SHARDS:
            found |= _codec_names({"codecs": list(inside.get("codecs") or ())})
            found |= _codec_names({"codecs": list(inside.get("index_codecs") or ())})
        else:
            found.add(name.removeprefix("numcodecs."))
    return found


# Which images a folder holds.


def _images(group: Any, folder: str) -> list[list[_Image]]:
    said = _ome(group)
    if "plate" in said and "multiscales" not in said:
        raise UnclearError(say("zarr-plate"))
    if "well" in said:
        return _of_well(group, folder, _mapping(said["well"]))
    if "multiscales" in said:
        return [[_image(group, folder)]]
    names = _series(group)
    return [[_image(group[name], os.path.join(folder, name)) for name in names]]


def _series(group: Any) -> list[str]:
    """Names of the images in the layout of bioformats2raw: listed in `OME`, else numbers from 0."""
    if _mapping(group.attrs.asdict()).get("bioformats2raw.layout", _ome(group).get("bioformats2raw.layout")) is None:
        raise UnclearError(say("no-image-inside"))
    listed = _ome(group["OME"]).get("series") if "OME" in group else None
    if isinstance(listed, list) and all(isinstance(name, str) and ".." not in name for name in listed):
        return listed[:MOST_POSITIONS]
    names: list[str] = []
    while len(names) < MOST_POSITIONS and str(len(names)) in group:
        names.append(str(len(names)))
    return names


def _of_well(group: Any, folder: str, well: Mapping[str, Any]) -> list[list[_Image]]:
    """Fields of a well by acquisition, which are points in time.

    Raises:
        UnclearError: the acquisitions have different numbers of fields.
    """
    by_time: dict[str, list[_Image]] = {}
    for one in _mappings(well.get("images"))[:MOST_POSITIONS]:
        name = str(one.get("path"))
        if "/" in name or name in (".", ".."):
            raise UnclearError(say("zarr-metadata", what="images inside the well"))
        by_time.setdefault(str(one.get("acquisition")), []).append(_image(group[name], os.path.join(folder, name)))
    if not by_time:
        raise UnclearError(say("no-image-inside"))
    counts = {len(fields) for fields in by_time.values()}
    own_times = any(image.content.times > 1 for fields in by_time.values() for image in fields)
    if len(by_time) > 1 and (len(counts) > 1 or own_times):
        raise UnclearError(say("zarr-acquisitions", count=len(by_time)))
    return list(by_time.values())


@contextmanager
def _open(path: str) -> Iterator[VendorFile]:
    zarr = import_module("zarr")
    # One thread: what is read is one picture at a time, and a worker's memory is bounded.
    with zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1}):
        group = zarr.open_group(zarr.storage.LocalStore(path, read_only=True), mode="r", use_consolidated=False)
        yield _ZarrFile(_images(group, path))


OME_ZARR = VendorFormat("OME-Zarr", ("zarr",), "zarr", _open)

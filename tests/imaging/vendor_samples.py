"""Small files of microscopes' own formats, written here from what is public about them.

Not one of them came from a microscope. What they hold is given as an array of axes (position, time, channel, plane,
height, width) or, for colours, with three values a pixel behind them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

Pictures = np.ndarray


def smooth(shape: tuple[int, ...]) -> Pictures:
    """Pictures of 16 bits with bright spots on a dark background, a little noise and no zeros; each is another one."""
    high, wide = shape[4:6] if len(shape) > 5 else shape[-2:]
    colours = shape[6:] or (1,)
    rows, columns = np.mgrid[:high, :wide]
    rng = np.random.default_rng(len(shape))
    made = []
    for i in range(int(np.prod(shape)) // (high * wide)):
        wave = np.sin(columns / (5 + i % 7) + i) + np.cos(rows / (6 + i % 5)) - 1
        made.append(900 + 2500 * np.clip(wave, 0, None) + rng.normal(0, 20, (high, wide)))
    pictures = np.clip(np.stack(made), 1, 8000).astype(np.uint16)
    if len(shape) < 7:
        return pictures.reshape(shape)
    return np.ascontiguousarray(np.moveaxis(pictures.reshape(*shape[:4], *colours, high, wide), 4, -1))


# LIF: a header, XML in UTF-16, then blocks of memory, each with its name and its bytes.


def write_lif(path: Path, images: dict[str, Pictures], *, um: float = 0.325, dyes: Sequence[str] = ()) -> None:
    """Each image is of axes (tile, time, channel, plane, height, width[, colour]).

    Args:
        dyes: names of the channels; without them LUT names of colours are in the file.
    """
    blocks = {f"MemBlock_{i}": pictures for i, pictures in enumerate(images.values())}
    elements = "".join(
        f'<Element Name={quoteattr(name)} UniqueID="{i}">{_lif_image(pictures, um, dyes)}'
        f'<Memory Size="{pictures.nbytes}" MemoryBlockID="MemBlock_{i}"/></Element>'
        for i, (name, pictures) in enumerate(images.items())
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="Project" UniqueID="p"><Data/>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_none"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    parts = [struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2), text]
    for name, pictures in blocks.items():
        label = name.encode("utf-16-le")
        header = struct.pack("<BQBI", 0x2A, pictures.nbytes, 0x2A, len(label) // 2) + label
        parts += [struct.pack("<II", 0x70, len(header)), header, np.ascontiguousarray(pictures).tobytes()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))


def _lif_image(pictures: Pictures, um: float, dyes: Sequence[str]) -> str:
    tiles, times, channels, planes, high, wide = pictures.shape[:6]
    samples = pictures.shape[6] if pictures.ndim == 7 else 1
    step = pictures.itemsize
    pixel, row, plane = step * samples, step * samples * wide, step * samples * wide * high
    bits = 8 * step
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="{sample + 1 if samples > 1 else 0}" Resolution="{bits}" '
        f'NameOfMeasuredQuantity="" Min="0" Max="{2**bits - 1}" Unit="" LUTName={quoteattr(_lut(channel))} '
        f'IsLUTInverted="0" BytesInc="{channel * planes * plane + sample * step}" BitInc="0">'
        f"{_dye(dyes[channel]) if dyes else ''}</ChannelDescription>"
        for channel in range(channels)
        for sample in range(samples)
    )
    whole = channels * planes * plane
    dimensions = [
        (1, wide, um * 1e-6 * (wide - 1), "m", pixel),
        (2, high, um * 1e-6 * (high - 1), "m", row),
        (3, planes, 1e-6, "m", plane),
        (4, times, 1.0, "s", whole),
        (10, tiles, 0.0, "", whole * times),
    ]
    sides = "".join(
        f'<DimensionDescription DimID="{number}" NumberOfElements="{count}" Origin="0" Length="{length}" '
        f'Unit="{unit}" BytesInc="{stride}" BitInc="0"/>'
        for number, count, length, unit, stride in dimensions
        if count > 1
    )
    return (
        f"<Data><Image><ImageDescription><Channels>{described}</Channels><Dimensions>{sides}</Dimensions>"
        "</ImageDescription></Image></Data>"
    )


def _lut(channel: int) -> str:
    return ("Green", "Blue", "Red", "Gray")[channel % 4]


def _dye(name: str) -> str:
    return f"<ChannelProperty><Key>DyeName</Key><Value>{name}</Value></ChannelProperty>"


# ND2 of version 3: named chunks with a map of them at the end. Metadata are records of (type, length of the name, name,
# value); a record of type 11 holds others.

_CHUNK = 0x0ABECEDA
_FRAME_NAME = 4072
"""Room of a frame's name, so that its pixels begin 4096 bytes behind its chunk."""


def write_nd2(path: Path, pictures: Pictures, *, um: float | None = 0.325, names: Sequence[str] = ()) -> None:
    """Axes (point, time, channel, plane, height, width[, colour]); loops are points, then times, then planes."""
    points, times, channels, planes, high, wide = pictures.shape[:6]
    colours = pictures.shape[6] if pictures.ndim == 7 else 1
    frames = pictures if colours > 1 else pictures[..., None]
    # A pixel holds all channels.
    frames = np.moveaxis(frames, 2, -2).reshape(points * times * planes, -1)
    components, bits = channels * colours, 8 * pictures.itemsize
    attributes = {
        "uiWidth": wide,
        "uiWidthBytes": wide * components * pictures.itemsize,
        "uiHeight": high,
        "uiComp": components,
        "uiBpcInMemory": bits,
        "uiBpcSignificant": bits,
        "uiSequenceCount": len(frames),
        "eCompression": 2,
    }
    planes_said = {
        f"a{i}": {
            "sDescription": names[i] if names else "",
            "uiCompCount": colours,
            "uiSampleIndex": i,
            "pFluorescentProbe": {"m_EmissionSpectrum": {"uiCount": 0}},
        }
        for i in range(channels)
    }
    metadata = {
        "bCalibrated": um is not None,
        "dCalibration": um or 0.0,
        "sPicturePlanes": {"uiCount": channels, "uiCompCount": components, "sPlaneNew": planes_said},
    }
    chunks: dict[str, bytes] = {
        "ImageAttributesLV!": _record("SLxImageAttributes", attributes),
        "ImageMetadataSeqLV|0!": _record("SLxPictureMetadata", metadata),
    }
    loops = _loops(points, times, planes)
    if loops:
        chunks["ImageMetadataLV!"] = _record("SLxExperiment", loops)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(
            struct.pack("<IIQ", _CHUNK, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!" + b"Ver3.0".ljust(64, b"\0")
        )
        places = {}
        for i, frame in enumerate(frames):
            data = struct.pack("<d", 0.0) + frame.tobytes()
            places[f"ImageDataSeq|{i}!"] = (_put(file, f"ImageDataSeq|{i}!", data, _FRAME_NAME), len(data))
        for name, data in chunks.items():
            places[name] = (_put(file, name, data, 32), len(data))
        listed = b"".join(name.encode() + struct.pack("<QQ", *place) for name, place in places.items())
        end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
        start = _put(file, "ND2 FILEMAP SIGNATURE NAME 0001!", listed + end, 32)
        file.write(end + struct.pack("<Q", start))


def _put(file: Any, name: str, data: bytes, room: int) -> int:
    start = int(file.tell())
    file.write(struct.pack("<IIQ", _CHUNK, room, len(data)) + name.encode().ljust(room, b"\0") + data)
    return start


def _loops(points: int, times: int, planes: int) -> dict[str, Any]:
    """Loops from the outermost to the innermost, each within the one before."""
    made: list[dict[str, Any]] = []
    if points > 1:
        spots = {f"p{i}": {"dPosX": 100.0 * i, "dPosY": 0.0, "dPosZ": 0.0} for i in range(points)}
        made.append({"eType": 2, "uLoopPars": {"uiCount": points, "Points": spots}})
    if times > 1:
        own = {"uiCount": times, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
        made.append({"eType": 1, "uLoopPars": own})
    if planes > 1:
        made.append({"eType": 4, "uLoopPars": {"uiCount": planes, "dZLow": 0.0, "dZHigh": 2.0, "dZStep": 1.0}})
    inner: dict[str, Any] = {}
    for loop in reversed(made):
        inner = {**loop, **({"ppNextLevelEx": {"n0": inner}} if inner else {})}
    return inner


def _record(name: str, value: Any) -> bytes:
    label = f"{name}\0".encode("utf-16-le")
    if isinstance(value, dict):
        inside = b"".join(_record(key, one) for key, one in value.items())
        length = 2 + len(label) + 12 + len(inside)
        head = struct.pack("<BB", 11, len(label) // 2) + label
        return head + struct.pack("<IQ", len(value), length) + inside + bytes(8 * len(value))
    kinds: dict[type, tuple[int, str]] = {bool: (1, "<B"), int: (3, "<I"), float: (6, "<d")}
    if isinstance(value, str):
        return struct.pack("<BB", 8, len(label) // 2) + label + f"{value}\0".encode("utf-16-le")
    kind, form = kinds[type(value)]
    return struct.pack("<BB", kind, len(label) // 2) + label + struct.pack(form, value)


# OME-Zarr, written by zarr: version 2 of its format with NGFF 0.4, version 3 with NGFF 0.5.


def write_zarr(folder: Path, pictures: Pictures, *, version: int = 2, chunks: int = 64, **said: Any) -> None:
    """One image of axes (time, channel, plane, height, width).

    Args:
        said: names, um, unit, compressors, shards.
    """
    import zarr

    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    create: dict[str, Any] = {"compressors": said["compressors"]} if "compressors" in said else {}
    if "shards" in said:
        create["shards"] = said["shards"]
    array = group.create_array(
        "0", shape=pictures.shape, chunks=(1, 1, 1, chunks, chunks), dtype=pictures.dtype, **create
    )
    array[:] = pictures
    half = pictures[..., ::2, ::2]
    group.create_array("1", shape=half.shape, chunks=(1, 1, 1, chunks, chunks), dtype=half.dtype)[:] = half
    um, unit = said.get("um", 0.325), said.get("unit", "micrometer")
    kinds = {"t": "time", "c": "channel"}
    axes = [
        {"name": axis, "type": kinds.get(axis, "space"), **({"unit": unit} if axis in "zyx" and unit else {})}
        for axis in "tczyx"
    ]
    levels = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1.0, um * 2**level, um * 2**level]}],
        }
        for level in (0, 1)
    ]
    stated: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": levels}]}
    if said.get("names"):
        stated["omero"] = {"channels": [{"label": name} for name in said["names"]]}
    _state(group, stated, version)


def _state(group: Any, stated: dict[str, Any], version: int) -> None:
    if version == 3:
        group.attrs.put({"ome": {"version": "0.5", **stated}})
        return
    for held in (*stated.get("multiscales", ()), *(stated[key] for key in ("plate", "well") if key in stated)):
        held["version"] = "0.4"
    group.attrs.put(stated)


def write_plate(folder: Path, wells: dict[str, list[Pictures]], *, version: int = 2, **said: Any) -> None:
    """A plate; wells such as `B/03`, each with its fields."""
    import zarr

    plate = zarr.open_group(str(folder), mode="w", zarr_format=version)
    _state(plate, {"plate": {"wells": [{"path": path} for path in wells]}}, version)
    for path, fields in wells.items():
        for i, pictures in enumerate(fields):
            write_zarr(folder / path / str(i), pictures, version=version, **said)
        well = zarr.open_group(str(folder / path), mode="a", zarr_format=version)
        _state(well, {"well": {"images": [{"path": str(i)} for i in range(len(fields))]}}, version)

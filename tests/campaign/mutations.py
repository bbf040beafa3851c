"""Damaged image files, each a pure function of a seed: 19 encodings of simulated crops, 14 kinds of damage.

Damage comes as disks, shares and broken-off copies make it: whole sectors counted from the file's start, cut ends, ends
of zeros, pages and strips that nothing leads to; and as bits that change.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from mnbatch.simulate import CellSpec, draw_slide_appearance, simulate_cell

SECTOR, PAGE = 512, 4096
PAGES = 5
"""Of the gallery among the encodings."""

Pixels = np.ndarray[Any, Any]
Random = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Mutant:
    """A damaged file.

    Attributes:
        name: `encoding/mutation/number`.
        reference: what the undamaged file's pages decode to.
    """

    name: str
    encoding: str
    mutation: str
    data: bytes
    reference: tuple[Pixels, ...]


@functools.cache
def crops(stain: str, number: int) -> Pixels:
    """A simulated crop, RGB (giemsa) or grey (fluorescence), 8 bits."""
    rng = np.random.default_rng([len(stain), number])
    pixels = simulate_cell(rng, CellSpec(stain), draw_slide_appearance(rng, stain)).image  # type: ignore[arg-type]
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def _pillow(fmt: str, **options: object) -> Callable[[Pixels], bytes]:
    def encode(pixels: Pixels) -> bytes:
        stream = io.BytesIO()
        image = Image.fromarray(pixels)
        (image.quantize(128) if options.get("palette") else image).save(
            stream, fmt, **{k: v for k, v in options.items() if k != "palette"}
        )
        return stream.getvalue()

    return encode


def _tiff(**options: object) -> Callable[[Pixels], bytes]:
    def encode(pixels: Pixels) -> bytes:
        stream = io.BytesIO()
        values = np.moveaxis(pixels, -1, 0) if options.get("planarconfig") == "separate" else pixels
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(stream, values, photometric=photometric, metadata=None, **options)
        return stream.getvalue()

    return encode


def _gallery(pages: list[Pixels]) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=True) as writer:
        for page in pages:
            writer.write(page, photometric="minisblack", compression="zstd", metadata=None, contiguous=False)
    return stream.getvalue()


_GREY, _RGB, _DEEP = "grey", "rgb", "deep"
ENCODINGS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "png grey": (_GREY, _pillow("PNG")),
    "png 16 bit": (_DEEP, _pillow("PNG")),
    "png rgb": (_RGB, _pillow("PNG")),
    "png palette": (_RGB, _pillow("PNG", palette=True)),
    "jpeg 92": (_RGB, _pillow("JPEG", quality=92, subsampling=0)),
    "jpeg 75 4:2:0": (_RGB, _pillow("JPEG", quality=75, subsampling=2)),
    "jpeg progressive": (_RGB, _pillow("JPEG", quality=85, progressive=True)),
    "jpeg grey": (_GREY, _pillow("JPEG", quality=95, optimize=True)),
    "bmp": (_RGB, _pillow("BMP")),
    "tiff plain": (_GREY, _tiff()),
    "tiff plain 16 bit": (_DEEP, _tiff(byteorder=">")),
    "tiff strips": (_RGB, _tiff(rowsperstrip=16)),
    "tiff tiles": (_GREY, _tiff(tile=(64, 64))),
    "tiff planar": (_RGB, _tiff(planarconfig="separate")),
    "tiff lzw": (_GREY, _tiff(compression="lzw")),
    "tiff deflate": (_RGB, _tiff(compression="zlib", predictor=True, rowsperstrip=32)),
    "tiff packbits": (_GREY, _tiff(compression="packbits")),
    "tiff jpeg": (_RGB, _tiff(compression="jpeg", compressionargs={"level": 90}, rowsperstrip=64)),
    "bigtiff zstd gallery": (_GREY, _gallery),
}


@functools.cache
def original(encoding: str, number: int) -> bytes:
    """The undamaged file."""
    kind, encode = ENCODINGS[encoding]
    if encode is _gallery:
        return _gallery([crops("fluorescence", number * PAGES + page) for page in range(PAGES)])
    pixels = crops("giemsa" if kind == _RGB else "fluorescence", number)
    return encode(pixels.astype(np.uint16) * 16 + 3 if kind == _DEEP else pixels)


def decoded(data: bytes) -> tuple[Pixels, ...]:
    """Pages of an undamaged file, by the libraries themselves."""
    if data[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            arrays = [np.asarray(page.asarray()) for page in tiff.pages]
            return tuple(np.moveaxis(a, 0, -1) if a.ndim == 3 and a.shape[0] == 3 else a for a in arrays)
    image = Image.open(io.BytesIO(data))
    return (np.asarray(image.convert("RGB") if image.mode == "P" else image),)


def _place(rng: Random, data: bytes, length: int) -> int:
    """Start of a whole block, not the first one (which holds the header)."""
    blocks = len(data) // length
    return length * int(rng.integers(1, max(2, blocks)))


def _overwritten(length: int, fill: Callable[[Random, int], bytes], most: int = 1) -> Callable[[Random, bytes], bytes]:
    def mutate(rng: Random, data: bytes) -> bytes:
        changed = bytearray(data)
        count = int(rng.integers(1, most + 1))
        start = _place(rng, data, length)
        end = min(len(data), start + count * length)
        changed[start:end] = fill(rng, max(0, end - start))
        return bytes(changed[: len(data)])

    return mutate


def _swapped(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    one, other = _place(rng, data, PAGE), _place(rng, data, PAGE)
    size = min(PAGE, len(data) - max(one, other))
    if size > 0:
        changed[one : one + size], changed[other : other + size] = data[other : other + size], data[one : one + size]
    return bytes(changed)


def _duplicated(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    one, other = _place(rng, data, PAGE), _place(rng, data, PAGE)
    size = min(PAGE, len(data) - max(one, other))
    if size > 0:
        changed[other : other + size] = data[one : one + size]
    return bytes(changed)


def _flipped(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(SECTOR, len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _kept(rng: Random, data: bytes) -> int:
    return int(len(data) * rng.uniform(0.3, 0.97))


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: _kept(rng, data)]


def _cut_with_end(rng: Random, data: bytes) -> bytes:
    """As a program that repairs files would leave it: formally closed."""
    part = data[: _kept(rng, data)]
    if data[:2] == b"\xff\xd8":
        return part + b"\xff\xd9"
    if data[:4] == b"\x89PNG":
        chunks = list(_chunks(data))
        body = b"".join(body for kind, body in chunks if kind == b"IDAT")
        return _png([c for c in chunks if c[0] not in (b"IDAT", b"IEND")], body[: _kept(rng, body)])
    return part + bytes(len(data) - len(part))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


def _png(before: list[tuple[bytes, bytes]], body: bytes | None) -> bytes:
    chunks = [*before, *([] if body is None else [(b"IDAT", body)]), (b"IEND", b"")]
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _zero_tail(rng: Random, data: bytes) -> bytes:
    kept = _kept(rng, data)
    return data[:kept] + bytes(len(data) - kept)


def _tag_values(data: bytes, *wanted: int) -> list[tuple[int, int]]:
    """(place, size) of each value of a TIFF's tags, over all pages."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tags = [tag for page in tiff.pages for tag in page.aspage().tags if tag.code in wanted]
        sizes = {3: 2, 4: 4, 16: 8}
        return [(t.valueoffset + i * sizes[int(t.dtype)], sizes[int(t.dtype)]) for t in tags for i in range(t.count)]


def _is_tiff(data: bytes) -> bool:
    return data[:2] in (b"II", b"MM")


def _with_tag(rng: Random, data: bytes, value: int, *codes: int) -> bytes:
    places = _tag_values(data, *codes)
    place, size = places[int(rng.integers(len(places)))]
    order = "little" if data[:2] == b"II" else "big"
    changed = bytearray(data)
    changed[place : place + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(changed)


def _count_zero(rng: Random, data: bytes) -> bytes:
    """A strip without bytes; elsewhere a picture without data."""
    if _is_tiff(data):
        return _with_tag(rng, data, 0, 279, 325)
    if data[:4] == b"\x89PNG":
        return _png([c for c in _chunks(data) if c[0] not in (b"IDAT", b"IEND")], None)
    if data[:2] == b"BM":
        return data[:54]
    return data[: data.index(b"\xff\xda")] + b"\xff\xd9"


def _offset_beyond(rng: Random, data: bytes) -> bytes:
    """A strip that would lie behind the end; elsewhere pixels that begin too late."""
    if _is_tiff(data):
        return _with_tag(rng, data, len(data) + int(rng.integers(0, 1 << 20)), 273, 324)
    if data[:2] == b"BM":
        changed = bytearray(data)
        struct.pack_into("<I", changed, 10, int(rng.integers(60, len(data))))
        return bytes(changed)
    start = data.index(b"IDAT") + 4 if data[:4] == b"\x89PNG" else data.index(b"\xff\xda") + 12
    gone = int(rng.integers(16, 2000))
    return data[:start] + data[start + gone :]


def _header_field(rng: Random, data: bytes) -> bytes:
    """A size, depth or method that is not the picture's."""
    if _is_tiff(data):
        code = int(rng.choice([256, 257, 258, 259, 277, 278, 284, 322, 323]))
        there = _tag_values(data, code)
        return _with_tag(rng, data, int(rng.integers(1, 1 << 12)), code if there else 256)
    changed = bytearray(data)
    if data[:4] == b"\x89PNG":
        changed[16 + int(rng.integers(13))] ^= 1 << int(rng.integers(8))
    elif data[:2] == b"BM":
        changed[int(rng.choice([10, 11, 18, 19, 22, 23, 28, 30]))] ^= 1 << int(rng.integers(8))
    else:
        sof = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        changed[sof + 5 + int(rng.integers(4))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _chain_cut(rng: Random, data: bytes) -> bytes:
    """A chain of pages that ends early or leads nowhere; elsewhere a file that ends after its header."""
    if not _is_tiff(data):
        return data[: int(rng.integers(20, SECTOR))]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        big, order = tiff.is_bigtiff, tiff.byteorder
        starts = [page.offset for page in tiff.pages]
    start = starts[int(rng.integers(max(1, len(starts) - 1)))]
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    place = start + (8 + 20 * count if big else 2 + 12 * count)
    changed = bytearray(data)
    struct.pack_into(order + ("Q" if big else "I"), changed, place, int(rng.choice([0, len(data) + 1000, start])))
    return bytes(changed)


MUTATIONS: dict[str, Callable[[Random, bytes], bytes]] = {
    "zero sectors": _overwritten(SECTOR, lambda _, n: bytes(n), most=8),
    "zero page": _overwritten(PAGE, lambda _, n: bytes(n)),
    "ff page": _overwritten(PAGE, lambda _, n: b"\xff" * n),
    "random page": _overwritten(PAGE, lambda rng, n: rng.bytes(n)),
    "swapped pages": _swapped,
    "duplicated page": _duplicated,
    "bit flips": _flipped,
    "cut": _cut,
    "cut with end": _cut_with_end,
    "zero tail": _zero_tail,
    "count zero": _count_zero,
    "offset beyond": _offset_beyond,
    "header field": _header_field,
    "chain cut": _chain_cut,
}


def mutants(seed: int, count: int) -> Iterator[Mutant]:
    """`count` damaged files; every pair of encoding and mutation comes in turn, on other crops and places."""
    pairs = [(encoding, mutation) for mutation in MUTATIONS for encoding in ENCODINGS]
    for number in range(count):
        turn, index = divmod(number, len(pairs))
        encoding, mutation = pairs[index]
        data = original(encoding, turn % 12)
        rng = np.random.default_rng([seed, number])
        changed = MUTATIONS[mutation](rng, data)
        yield Mutant(f"{encoding}/{mutation}/{turn}", encoding, mutation, changed, decoded(data))


def wrong_share(reference: tuple[Pixels, ...], found: list[Pixels]) -> float:
    """Share of the reference's pixels that differ by more than 1/32 of its range, or are not there at all."""
    wrong = total = 0.0
    for index, page in enumerate(reference):
        size = page.shape[0] * page.shape[1]
        total += size
        if index >= len(found) or found[index].shape != page.shape:
            wrong += size
            continue
        away = np.abs(page.astype(np.int64) - found[index].astype(np.int64))
        far = away > max(1, int(page.max())) / 32
        wrong += np.count_nonzero(far if far.ndim == 2 else far.any(axis=-1))
    return wrong / total

"""Small things that grow, loop or never end: images, models, sheets.

Each is met by a command that must end soon, in little memory, with a documented code, and with the slide beside it
counted.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests.campaign.forking import Ended, adopt_orphans, import_everything, run_forked
from tests.campaign.stage import BOTH, RUN
from tests.campaign.verdicts import Verdict
from tests.pipeline.conftest import write_random_model, write_slide

MOST_BYTES = 1 << 30
"""That a command and its workers may take together, beyond what they share with an undisturbed one."""

Make = Callable[[Path], None]


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **({"metadata": None} | options))  # type: ignore[arg-type]
    return stream.getvalue()


def _ifd(entries: list[tuple[int, int, int, int]], following: int = 0, at: int = 8) -> bytes:
    """A classic little-endian TIFF of one directory: (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<2sHI", b"II", 42, at) + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def _entries(
    width: int,
    height: int,
    compression: int,
    offset: int,
    count: int,
    samples: int = 1,
    bits: int = 8,
    photometric: int = 1,
) -> list[tuple[int, int, int, int]]:
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, compression),
        (262, 3, 1, photometric),
        (273, 4, 1, offset),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, count),
    ]


def _one_strip(width: int, height: int, compression: int, payload: bytes, **options: int) -> bytes:
    size = 8 + 2 + 9 * 12 + 4
    return _ifd(_entries(width, height, compression, size, len(payload), **options)) + payload


def _self_pointing() -> bytes:
    payload = bytes(64 * 64)
    size = 8 + 2 + 9 * 12 + 4
    return _ifd(_entries(64, 64, 1, size, len(payload)), following=8) + payload


def _two_in_a_ring() -> bytes:
    first = _entries(64, 64, 1, 300, 64 * 64)
    one = _ifd(first, following=8 + 114)
    second = struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *e) for e in first) + struct.pack("<I", 8)
    return (one + second).ljust(300, b"\0") + bytes(64 * 64)


def _shared_pages(pages: int = 60, side: int = 8000) -> bytes:
    """Many directories, all of the same strip."""
    payload = zlib.compress(bytes(side * side), 9)
    size, at = 2 + 9 * 12 + 4, 8
    data = struct.pack("<2sHI", b"II", 42, 8)
    offset = 8 + pages * size
    for page in range(pages):
        at += size
        body = b"".join(struct.pack("<HHII", *e) for e in _entries(side, side, 8, offset, len(payload)))
        data += struct.pack("<H", 9) + body + struct.pack("<I", at if page < pages - 1 else 0)
    return data + payload


def _jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header says a size that its data have not."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    place = data.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", data, place, height, width)
    return bytes(data)


def _png(width: int, height: int, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = 1 + width * channels * depth // 8
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(row * 64)) for _ in range(min(height, 20000) // 64)]
    body = b"".join(parts) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + extra
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def _text_chunk(kind: bytes) -> bytes:
    body = b"profile\0\0" + zlib.compress(bytes(1 << 28), 9)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>'
    '<Pixels PhysicalSizeX="&a11;"/></Image></OME>'
)


def _entities() -> str:
    levels = "".join(f'<!ENTITY a{i} "{("&a" + str(i - 1) + ";") * 10}">' for i in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{levels}]>' + _OME


def _many_scans() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (512, 512), np.uint8)).save(
        stream, "JPEG", progressive=True
    )
    data = stream.getvalue()
    first, end = data.index(b"\xff\xda"), data.rindex(b"\xff\xd9")
    scan = data[first : data.index(b"\xff\xda", first + 2)] if b"\xff\xda" in data[first + 2 :] else data[first:end]
    return data[:end] + scan[:200] * 3000 + data[end:]


def _flat(side: int = 8000) -> np.ndarray:
    return np.zeros((side, side), np.uint8)


IMAGES: dict[str, Callable[[], bytes]] = {
    "tiff directory points to itself": _self_pointing,
    "two tiff directories in a ring": _two_in_a_ring,
    "60 pages share one strip": _shared_pages,
    "5000 pages share one strip": lambda: _shared_pages(5000, 2000),
    "jpeg in tiff with an inner header of 65000 squared": lambda: _one_strip(64, 64, 7, _jpeg(65000, 65000)),
    "jpeg of 65500 squared": lambda: _jpeg(65500, 65500),
    "jpeg of many scans": _many_scans,
    "png of 30000 squared": lambda: _png(30000, 30000),
    "png of 7900 squared, RGBA of 16 bits": lambda: _png(7900, 7900, 16, 6),
    "png with a colour profile of 256 MB": lambda: _png(64, 64, extra=_text_chunk(b"iCCP")),
    "png with a text of 256 MB": lambda: _png(64, 64, extra=_text_chunk(b"zTXt")),
    "tiff float64 RGBA of 7900 squared": lambda: _one_strip(
        7900, 7900, 8, zlib.compress(bytes(1 << 28), 9), samples=4, bits=64
    ),
    "deflate that grows": lambda: _one_strip(96, 96, 8, zlib.compress(bytes(1 << 30), 9)),
    "lzw that grows": lambda: _one_strip(96, 96, 5, imagecodecs.lzw_encode(bytes(1 << 26))),
    "zstd that grows": lambda: _one_strip(96, 96, 50000, imagecodecs.zstd_encode(bytes(1 << 30))),
    "lzma that grows": lambda: _one_strip(96, 96, 34925, imagecodecs.lzma_encode(bytes(1 << 28))),
    "packbits that grow": lambda: _one_strip(96, 96, 32773, b"\x81\x00" * (1 << 20)),
    "jpeg 2000 in tiff of 40000 squared": lambda: _one_strip(64, 64, 34712, _jpeg2000()),
    "tag with four thousand million values": lambda: _ifd(
        [*_entries(64, 64, 1, 200, 4096), (270, 2, 0xFFFFFFFF, 8)]
    ).ljust(5000, b"\0"),
    "strip offsets without end": lambda: _ifd(
        [e for e in _entries(64, 64, 1, 200, 4096) if e[0] not in (273, 279)]
        + [(273, 4, 0x3FFFFFFF, 8), (279, 4, 0x3FFFFFFF, 8)]
    ).ljust(9000, b"\0"),
    "65535 tags": lambda: (
        struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 65535) + struct.pack("<HHII", 270, 2, 4, 8) * 65535
    ),
    "tiles of nothing": lambda: _ifd([*_entries(64, 64, 1, 200, 4096), (322, 4, 1, 0), (323, 4, 1, 0)]).ljust(
        5000, b"\0"
    ),
    "tiles of two thousand million": lambda: _ifd(
        [*_entries(64, 64, 1, 200, 4096), (322, 4, 1, 1 << 31), (323, 4, 1, 1 << 31)]
    ).ljust(5000, b"\0"),
    "tiff of 2^31 rows": lambda: _one_strip(16, (1 << 31) - 1, 1, bytes(4096)),
    "bmp of 2^31 squared": lambda: (
        struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 200, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(200)
    ),
    "bmp of runs": lambda: (
        struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 5000, 0, 0, 1078, 40, 60000, 60000, 1, 8, 1, 0, 0, 0, 0, 0)
        + bytes(1024)
        + b"\xff\x00" * 2000
    ),
    "ome xml with entities": lambda: _tiff(np.zeros((64, 64), np.uint8), description=_entities()),
    "description of 100 MB": lambda: _tiff(np.zeros((64, 64), np.uint8), description="x" * 100_000_000),
    "zip named tif": lambda: b"PK\x03\x04" + zlib.compress(bytes(1 << 20)),
    "gzip named tif": lambda: b"\x1f\x8b\x08" + zlib.compress(bytes(1 << 20)),
    "nan of float32": lambda: _tiff(np.full((96, 96), np.nan, np.float32)),
    "infinite float64": lambda: _tiff(np.full((96, 96), np.inf, np.float64)),
    "1e308 float64": lambda: _tiff(np.linspace(-1e308, 1e308, 96 * 96).reshape(96, 96)),
    "complex": lambda: _tiff(np.zeros((96, 96), np.complex64)),
    "64 bits": lambda: _tiff(np.full((96, 96), 2**63, np.uint64)),
    "one pixel wide": lambda: _png(1, 40000),
}


def _jpeg2000() -> bytes:
    data = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint8), codecformat="j2k"))
    place = data.index(b"\xff\x51") + 6
    struct.pack_into(">II", data, place, 40000, 40000)
    return bytes(data)


def _link(target: str) -> Make:
    return lambda path: path.symlink_to(target)


NODES: dict[str, Make] = {
    "a fifo": lambda path: os.mkfifo(path),
    "a link to /dev/zero": _link("/dev/zero"),
    "a link to /dev/full": _link("/dev/full"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": _link("nothing-there"),
    "a link to /proc/self/mem": _link("/proc/self/mem"),
    "deep JSON": lambda path: path.write_bytes(b"[" * 300_000),  # type: ignore[dict-item]
    "deep objects": lambda path: path.write_bytes(b'{"a":' * 200_000),  # type: ignore[dict-item]
    "a number of 100000 digits": lambda path: path.write_bytes(b'{"schema_version": ' + b"9" * 100_000 + b"}"),  # type: ignore[dict-item]
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00" * 100),  # type: ignore[dict-item]
    "NULs": lambda path: path.write_bytes(bytes(10_000)),  # type: ignore[dict-item]
    "an empty file": lambda path: path.write_bytes(b""),  # type: ignore[dict-item]
    "a list": lambda path: path.write_bytes(b"[1, 2]"),  # type: ignore[dict-item]
    "a sparse file of 1 TB": lambda path: _sparse(path),
}


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


PLACES: dict[str, tuple[str, tuple[str, ...]]] = {
    "model card": ("model/model.json", ("run", "{w}/export", "--out", "{w}/out", "--model", "{w}/model", *RUN)),
    "weights": ("model/model.safetensors", ("run", "{w}/export", "--out", "{w}/out", "--model", "{w}/model", *RUN)),
    "sample sheet": (
        "s.csv",
        ("run", "{w}/export", "--out", "{w}/out", "--model", "{w}/model", "--samples", "{w}/s.csv", *RUN),
    ),
    "settings": (
        "s.toml",
        ("run", "{w}/export", "--out", "{w}/out", "--model", "{w}/model", "--config", "{w}/s.toml", *RUN),
    ),
    "curve": ("curve.json", ("dose", "--cases", "{w}/cases.csv", "--curve", "{w}/curve.json")),
    "cases": ("table.csv", ("dose", "--cases", "{w}/table.csv", "--curve", "example:mayakannan2018")),
    "counts": ("table.csv", ("curve", "fit", "{w}/table.csv", "--out", "{w}/c.json")),
    "cell of an export": (
        "export/D1/A/cell_009.png",
        ("run", "{w}/export", "--out", "{w}/out", "--model", "{w}/model", *RUN),
    ),
    "review": ("review.json", ("review", "import", "{w}/scored", "{w}/review.json")),
    "record": ("scored/slides/{slide}/record.json", ("report", "{w}/scored")),
    "batch": ("scored/batch.json", ("run", "{w}/export", "--out", "{w}/scored", "--model", "{w}/model", *RUN)),
    "manifest": ("scored/manifest.json", ("status", "{w}/scored")),
    "samples in force": ("scored/annotations/samples.csv", ("report", "{w}/scored")),
}


class Bombs:
    """See the module.

    Args:
        folder: an empty one.
        size: share of the cases.
    """

    name = "bombs"
    wrong = frozenset({"internal error", "hung", "memory", "neighbour lost", "orphans", "counted", "killed"})

    def __init__(self, folder: Path, seed: int = 2026, size: float = 1.0) -> None:
        adopt_orphans()
        import_everything()
        self._size = size
        self._base, self._work, self._scratch = folder / "base", folder / "work", folder / "scratch"
        self._scratch.mkdir(parents=True)
        write_random_model(self._base / "model", 1, BOTH, architecture="alex-ca")
        for number, donor in enumerate(("D1", "D2")):
            write_slide(self._base / "export" / donor / "A", seed=31 + number, cells=3)
        (self._base / "cases.csv").write_text("id,N,X\na,1000,20\n")
        shutil.copytree(self._base, self._work)
        ended = self._mnbatch(("run", "{w}/export", "--out", "{w}/scored", "--model", "{w}/model", *RUN))
        assert ended.code == 0, ended
        shutil.copytree(self._work / "scored", self._base / "scored")
        self._slide = next((self._base / "scored/slides").iterdir()).name
        self._usual = ended.peak

    def cases(self) -> list[str]:
        """Images as a cell of a gallery and as a field; nodes at all places."""
        found = [f"image:{kind}:{name}" for kind in ("crops", "fields") for name in IMAGES]
        found += [f"{place}:{name}" for place in PLACES for name in NODES]
        step = round(1 / self._size)
        return found[::step]

    def check(self, case: str) -> Verdict:
        """Put it there, run the command, look."""
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._base, self._work, symlinks=True)
        if case.startswith("image:"):
            _, kind, name = case.split(":", 2)
            return self._image(case, kind, name)
        place, _, name = case.partition(":")
        path, argv = PLACES[place]
        target = self._work / path.format(slide=self._slide)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        NODES[name](target)
        return self._judge(case, self._mnbatch(argv)) or Verdict(self.name, case, "ended in time")

    def close(self) -> None:
        """Nothing is left running."""

    def _image(self, case: str, kind: str, name: str) -> Verdict:
        data = IMAGES[name]()
        suffix = (
            ".png"
            if data[:4] == b"\x89PNG"
            else ".jpg"
            if data[:2] == b"\xff\xd8"
            else ".bmp"
            if data[:2] == b"BM"
            else ".tif"
        )
        (self._work / f"export/D1/A/cell_009{suffix}").write_bytes(data)
        fields = ("--input", "fields", "--um-per-pixel", "0.25") if kind == "fields" else ()
        ended = self._mnbatch(("run", "{w}/export", "--out", "{w}/out", "--model", "{w}/model", *RUN, *fields))
        wrong = self._judge(case, ended)
        if wrong:
            return wrong
        if kind == "crops" and "D2" not in (self._work / "out/donors.csv").read_text():
            return Verdict(self.name, case, "neighbour lost", ended.stderr[-300:])
        return Verdict(self.name, case, "ended in time")

    def _judge(self, case: str, ended: Ended) -> Verdict | None:
        if ended.hung or ended.orphans:
            return Verdict(self.name, case, "hung" if ended.hung else "orphans", ended.stderr[-300:])
        if ended.code == 1 or "Traceback" in ended.stderr:
            return Verdict(self.name, case, "internal error", ended.stderr[-900:])
        if ended.code < 0:
            return Verdict(self.name, case, "killed", str(ended.code))
        if ended.peak > self._usual + MOST_BYTES:
            return Verdict(self.name, case, "memory", f"{ended.peak - self._usual >> 20} MiB more than usual")
        return None

    def _mnbatch(self, argv: tuple[str, ...]) -> Ended:
        filled = [part.replace("{w}", str(self._work)) for part in argv]
        return run_forked(filled, self._scratch, self._work, moment=None, measure=True, fork_workers=False)

"""What an archive beside images holds: its list of contents is read, within limits, and nothing is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Literal

from mnbatch.imaging.first_bytes import LOOKED_AT, NO_IMAGES, content_of
from mnbatch.imaging.foreign_files import PACKED_FILES, VENDOR_FORMATS, extension_of, packs_image
from mnbatch.imaging.layouts import EXTENSIONS, WHOLE_SLIDES
from mnbatch.imaging.litter import is_system_litter

Packed = Literal["images", "copies", "nothing"]
"""May hold images that are not there otherwise; holds what is there; holds no images."""

_MOST_READ = 32 << 20
"""Bytes that a list of contents may have; a compressed tar is read through, and this far."""

_XZ_MEMORY = 32 << 20
_MOST_PEEKED = 5
_MOST_COMPARED = 3
_LARGEST_COMPARED = 64 << 20
_TARS = ("tar", "tgz", "tbz2")
_IMAGES = frozenset((*EXTENSIONS, *WHOLE_SLIDES, *VENDOR_FORMATS))
_BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, TypeError, MemoryError, OverflowError, struct.error),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
"""What reading an archive that is damaged, locked, or not one raises."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive, with the checksum of its bytes where the archive states it."""

    path: str
    size: int
    checksum: int | None = None


_Peek = Callable[[str], bytes]
_Contents = tuple[list[_Member], _Peek]


def what_is_packed(path: str, beside: Collection[str]) -> Packed:
    """What an archive holds; of one that cannot be looked into: images.

    Args:
        path: of a file with the extension of an archive.
        beside: names of the images that are taken next to it, with and without their extensions.
    """
    name = os.path.basename(path)
    inside = name.rpartition(".")[0]
    if extension_of(name) in PACKED_FILES and extension_of(inside) != "tar":
        if inside in beside:
            return "copies"
        if packs_image(name):
            return "images"
        if extension_of(inside) in NO_IMAGES:
            return "nothing"
        return _told_by_content(path)
    return _of_members(path)


def _told_by_content(path: str) -> Packed:
    """Of one compressed file whose name does not say what is in it (`cell_0001.gz`)."""
    try:
        first = _first_unpacked(path)
    except _BROKEN:
        return "images"
    if first[257:262] == b"ustar":
        return _of_members(path)
    return "images" if content_of(first) in ("scan", "picture") else "nothing"


def _first_unpacked(path: str) -> bytes:
    extension = extension_of(path)
    with open(path, "rb") as stream:
        if extension == "xz":
            start = stream.read(1 << 16)
            return lzma.LZMADecompressor(memlimit=_XZ_MEMORY).decompress(start, LOOKED_AT)
        if extension == "zst":
            raise OSError("not read by this Python")
        unpacked = gzip.GzipFile(fileobj=stream) if extension == "gz" else bz2.BZ2File(stream)
        return unpacked.read(LOOKED_AT)


def _of_members(path: str) -> Packed:
    try:
        with _opened(path) as (members, peek):
            images = _images_among(members, peek)
    except _BROKEN:
        return "images"
    if not images:
        return "nothing"
    return "copies" if _are_there(path, images) else "images"


@contextmanager
def _opened(path: str) -> Iterator[_Contents]:
    """The files in an archive, and a way to see how one begins."""
    extension = extension_of(path)
    with open(path, "rb") as stream:
        if extension == "zip":
            with zipfile.ZipFile(_Limited(stream)) as packed:
                infos = [info for info in packed.infolist() if not info.is_dir()]
                yield [_Member(info.filename, info.file_size, info.CRC) for info in infos], _peek_zip(packed)
        elif extension in (*_TARS, "gz", "bz2"):
            with tarfile.open(fileobj=_tar_in(stream, extension), mode="r:") as tar:
                yield [_Member(info.name, info.size) for info in tar if info.isreg()], _peek_tar(tar)
        else:
            raise OSError("this kind of archive cannot be looked into")


def _tar_in(stream: IO[bytes], extension: str) -> IO[bytes]:
    if extension in ("gz", "tgz"):
        return _Limited(gzip.GzipFile(fileobj=stream), far=True)
    return _Limited(bz2.BZ2File(stream), far=True) if extension in ("bz2", "tbz2") else _Limited(stream)


def _peek_zip(packed: zipfile.ZipFile) -> _Peek:
    def first(name: str) -> bytes:
        if packed.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError("its first bytes cannot be had without unpacking much more")
        with packed.open(name) as stream:
            return stream.read(LOOKED_AT)

    return first


def _peek_tar(tar: tarfile.TarFile) -> _Peek:
    def first(name: str) -> bytes:
        stream = tar.extractfile(name)
        return b"" if stream is None else stream.read(LOOKED_AT)

    return first


class _Limited(io.RawIOBase, IO[bytes]):
    """A file of which not more than the limit is read, so that no archive makes a crawl read without end.

    Args:
        far: what is passed over is read, too (compressed files), so that no place behind the limit is gone to.
    """

    def __init__(self, stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File, *, far: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._left = _MOST_READ
        self._far = far

    def read(self, size: int = -1) -> bytes:
        found = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(found)
        if self._left < 0:
            raise OSError("its list of contents is too long")
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._far and (whence != 0 or offset > _MOST_READ):
            raise OSError("its list of contents is too long")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _images_among(members: list[_Member], peek: _Peek) -> list[_Member]:
    """Those that are images by their extension; of those whose names say nothing a few are looked at."""
    candidates = [member for member in members if not _is_litter(member)]
    named = [member for member in candidates if extension_of(member.path.rpartition("/")[2]) in _IMAGES]
    unnamed = [member for member in candidates if _says_nothing(member.path.rpartition("/")[2])]
    step = max(1, len(unnamed) // _MOST_PEEKED)
    seen = {content_of(peek(member.path)) for member in unnamed[::step]}
    return [*named, *unnamed] if seen & {"scan", "picture"} else named


def _is_litter(member: _Member) -> bool:
    return any(is_system_litter(part) for part in member.path.split("/") if part not in (".", ".."))


def _says_nothing(name: str) -> bool:
    extension = extension_of(name)
    return extension not in _IMAGES and extension not in NO_IMAGES


def _are_there(path: str, members: list[_Member]) -> bool:
    """Whether all lie unpacked next to an archive: same names and sizes, and of some the same bytes."""
    ways = [_unpacked(path, member) for member in members]
    if not all(ways):
        return False
    step = max(1, (len(members) - 1) // (_MOST_COMPARED - 1))
    return all(_same_bytes(way, member) for way, member in list(zip(ways, members, strict=True))[::step])


def _unpacked(path: str, member: _Member) -> str:
    """Where a file of an archive lies: by its path, of which the first folders may be those that the archive is in."""
    folder, name = os.path.split(path)
    *inside, last = member.path.replace("\\", "/").removeprefix("./").split("/")
    if ".." in inside or "" in (last, *inside):
        return ""
    above = folder.split(os.sep)
    shared = [count for count in range(len(inside) + 1) if count == 0 or above[-count:] == inside[:count]]
    ways = [os.path.join(folder, *inside[count:], last) for count in shared]
    for way in (*ways, os.path.join(folder, name.rpartition(".")[0], *inside, last)):
        try:
            if os.path.getsize(way) == member.size:
                return way
        except OSError:
            continue
    return ""


def _same_bytes(path: str, member: _Member) -> bool:
    """Uncompressed images of one width all have one size, so that a size alone says little."""
    if member.checksum is None or member.size > _LARGEST_COMPARED:
        return True
    try:
        with open(path, "rb") as stream:
            return zlib.crc32(stream.read()) == member.checksum
    except OSError:
        return False

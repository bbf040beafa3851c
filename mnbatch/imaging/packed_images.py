"""What an archive beside images holds: its list of contents is read, within limits, and nothing is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import re
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import IO, Literal

from mnbatch.imaging.first_bytes import LOOKED_AT, NO_IMAGES, Content, content_of, is_tar, packer_of
from mnbatch.imaging.foreign_files import (
    ARCHIVES,
    PACKED_FILES,
    VENDOR_FORMATS,
    extension_of,
    is_part_of_archive,
    packs_image,
)
from mnbatch.imaging.layouts import EXTENSIONS, WHOLE_SLIDES
from mnbatch.imaging.litter import is_system_litter, litter_reason, overviews_among

Packed = Literal["images", "copies", "nothing", "too large"]
"""May hold images that are not there otherwise; holds what is there; holds no images; none in the part that was read
(with more behind it)."""

_MOST_LISTED = 32 << 20
"""Bytes that the list of contents of a ZIP may have."""

_MOST_READ = {"": 1 << 30, "gz": 1 << 30, "bz2": 128 << 20}
"""Bytes of a tar that are read, by what it is packed with: a few seconds of work. Of one that is not packed only the
headers of its files are read."""

_MOST_MEMBERS = 50_000
_MOST_PADDING = 1 << 20
"""Bytes of zeros that a tar may end with."""

_XZ_MEMORY = 32 << 20
_MOST_PEEKED = 5
_MOST_COMPARED = 3
_LARGEST_COMPARED = 64 << 20
_MOST_AT_ONCE = _LARGEST_COMPARED
"""Bytes that are read in one go, as a damaged header may ask for any number."""

_TARS = ("tar", "tgz", "tbz", "tbz2", "txz", "tlz", "tzst")
_IMAGES = frozenset((*EXTENSIONS, *WHOLE_SLIDES, *VENDOR_FORMATS))
_BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, TypeError, MemoryError, OverflowError, struct.error),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
"""What reading an archive that is damaged, locked, or not one raises."""

_ADDED = re.compile(
    r"(?P<of>.+?)(?:[-_. ]?(?:19|20)[0-9]{2}[-_.]?[0-9]{2}[-_.]?[0-9]{2}(?:[-_.T ][-_.:h0-9]+)?|"
    r"[-_. ](?:backup|copy|kopie)| ?\([0-9]+\))",
    re.IGNORECASE,
)
"""What people add to the name of a folder when they pack it: a date, a word, a number."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive, with the checksum of its bytes where it is known, and what it is where it was looked at."""

    path: str
    size: int
    checksum: int | None = None
    content: Content | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


_Peek = Callable[[str], bytes]


class _TooMuchError(OSError):
    """An archive has more in it than is read of it."""


def what_is_packed(path: str, beside: Collection[str], top: str = "") -> Packed:
    """What an archive holds; of one that cannot be looked into: images.

    Args:
        path: of a file that is an archive by its extension, or by its first bytes.
        beside: names of the images that are taken next to it, with and without their extensions.
        top: folder (the export) outside of which nothing is looked for; "": the archive's own.
    """
    name = os.path.basename(path)
    inside = name.rpartition(".")[0]
    if is_part_of_archive(name):
        return "images"
    if extension_of(name) in PACKED_FILES and extension_of(inside) != "tar":
        if inside in beside:
            return "copies"
        if packs_image(name):
            return "images"
        if extension_of(inside) in NO_IMAGES:
            return "nothing"
    try:
        members, whole = _contents(path)
    except _BROKEN:
        return "images"
    images = _images_among(members, beside)
    if not images:
        return "nothing" if whole else "too large"
    return "copies" if _are_there(path, images, top or os.path.dirname(path)) else "images"


def _contents(path: str) -> tuple[list[_Member], bool]:
    """The files in an archive, and whether these are all; raises one of `_BROKEN` where it cannot be looked into."""
    name = os.path.basename(path)
    extension = extension_of(name)
    with open(path, "rb") as stream:
        first = stream.read(LOOKED_AT)
        stream.seek(0)
        form = packer_of(first) or (extension if extension in ARCHIVES else "")
        if form == "zip":
            return _of_zip(stream), True
        if form == "tar":
            return _of_tar(stream, "")
        if not packer_of(first):
            return [_Member("", -1, content=_content_of_misnamed(first, extension))], True
        unpacked = _first_unpacked(stream, form)
        stream.seek(0)
        if is_tar(unpacked) or extension in _TARS or extension_of(name.rpartition(".")[0]) == "tar":
            return _of_tar(stream, form)
        return [_Member("", -1, content=content_of(unpacked))], True


def _content_of_misnamed(first: bytes, extension: str) -> Content:
    """Of a file that is not packed: with the extension of an archive it is a damaged one; but `.z` has other uses."""
    if extension in ARCHIVES and (extension != "z" or not first.strip(b"\0")):
        raise OSError("it does not begin as its extension says")
    return content_of(first)


def _first_unpacked(stream: IO[bytes], form: str) -> bytes:
    if form == "xz":
        start = stream.read(1 << 16)
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY).decompress(start, LOOKED_AT)
    return _decompressed(stream, form).read(LOOKED_AT)


def _decompressed(stream: IO[bytes], form: str) -> gzip.GzipFile | bz2.BZ2File:
    if form == "gz":
        return gzip.GzipFile(fileobj=stream)
    if form == "bz2":
        return bz2.BZ2File(stream)
    raise OSError("this kind of archive cannot be looked into")


def _of_zip(stream: IO[bytes]) -> list[_Member]:
    with zipfile.ZipFile(_Limited(stream, _MOST_LISTED)) as packed:
        infos = [info for info in packed.infolist() if not info.is_dir()]
        members = [_Member(info.filename.replace("\\", "/"), info.file_size, info.CRC) for info in infos]
        unnamed = [number for number, member in enumerate(members) if _says_nothing(member) and not _is_litter(member)]
        for number in unnamed[:: max(1, len(unnamed) // _MOST_PEEKED)]:
            member, content = members[number], content_of(_first_in_zip(packed, infos[number]))
            members[number] = _Member(member.path, member.size, member.checksum, content)
        return members


def _first_in_zip(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise OSError("its first bytes cannot be had without unpacking much more")
    with packed.open(info) as stream:
        return stream.read(LOOKED_AT)


def _of_tar(stream: IO[bytes], form: str) -> tuple[list[_Member], bool]:
    """The files in a tar, in one pass from its begin on, as going back would unpack it again; up to the limit."""
    data = _decompressed(stream, form) if form else stream
    limited = _Limited(data, _MOST_READ[form], far=form != "")
    members: list[_Member] = []
    counts: Counter[str] = Counter()
    with tarfile.open(fileobj=limited, mode="r:") as tar:
        try:
            for info in tar:
                if not info.isreg():
                    continue
                if len(members) == _MOST_MEMBERS:
                    return members, False
                members.append(_of_tar_member(tar, info, counts))
        except _TooMuchError:
            return members, False
        if not form and os.fstat(stream.fileno()).st_size - tar.offset > _MOST_PADDING:
            raise OSError("it ends long before its file does, as a copy that broke off")
    return members, True


def _of_tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo, counts: Counter[str]) -> _Member:
    """A file in a tar: the first of each unknown extension are looked at; images number 1, 2, 4, 8, ... are read."""
    member = _Member(info.name, info.size)
    extension = extension_of(member.name)
    kind = "image" if extension in _IMAGES else f".{extension}"
    counts[kind] += 1
    if _says_nothing(member) and counts[kind] <= _MOST_PEEKED:
        return _Member(info.name, info.size, content=content_of(_read_of_tar(tar, info, LOOKED_AT)))
    power_of_two = counts[kind] & (counts[kind] - 1) == 0
    if kind == "image" and power_of_two and info.size <= _LARGEST_COMPARED:
        return _Member(info.name, info.size, zlib.crc32(_read_of_tar(tar, info, info.size)))
    return member


def _read_of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo, size: int) -> bytes:
    stream = tar.extractfile(info)
    return b"" if stream is None else stream.read(size)


class _Limited(io.RawIOBase, IO[bytes]):
    """A file of which not more than the limit is read, so that no archive makes a crawl read without end.

    Args:
        most: bytes that are read.
        far: what is passed over is read, too (compressed files), so that no place behind the limit is gone to.
    """

    def __init__(self, stream: IO[bytes] | gzip.GzipFile | bz2.BZ2File, most: int, *, far: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._most = most
        self._left = most
        self._far = far

    def read(self, size: int = -1) -> bytes:
        if size > _MOST_AT_ONCE:
            raise _TooMuchError("its list of contents states a size that none has")
        found = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(found)
        if self._left < 0:
            raise _TooMuchError("its list of contents is too long")
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._far and (whence != 0 or offset > self._most):
            raise _TooMuchError("its list of contents is too long")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _images_among(members: list[_Member], beside: Collection[str]) -> list[_Member]:
    """Those that are images by their extension, and, where one that was looked at is an image, those of unknown ones.

    Pictures that would be left out of a folder, too (`thumbs/a.jpg`, `overview.jpg`), are none where there are others.
    """
    candidates = [member for member in members if not _is_litter(member)]
    named = [member for member in candidates if extension_of(member.name) in _IMAGES and member.content is None]
    unnamed = [member for member in candidates if _says_nothing(member) or member.content is not None]
    seen = {member.content for member in unnamed}
    images = [*named, *unnamed] if seen & {"scan", "picture"} else named
    overviews = overviews_among([member.name for member in images])
    kept = [member for member in images if member.name not in overviews and not _lies_among_small_ones(member)]
    return kept or ([] if beside else images)


def _is_litter(member: _Member) -> bool:
    return any(is_system_litter(part) for part in member.path.split("/") if part not in (".", ".."))


def _lies_among_small_ones(member: _Member) -> bool:
    return any(litter_reason(part, folder=True) for part in member.path.split("/")[:-1] if part not in (".", ".."))


def _says_nothing(member: _Member) -> bool:
    extension = extension_of(member.name)
    return extension not in _IMAGES and extension not in NO_IMAGES


def _are_there(path: str, members: list[_Member], top: str) -> bool:
    """Whether all lie unpacked at one place near an archive: same names and sizes, and of some the same bytes."""
    insides = [_parts_of(member) for member in members]
    if not all(insides):
        return False
    for base in _places_near(path, top):
        for count in range(_folders_around(insides) + 1):
            ways = _all_there(base, [inside[count:] for inside in insides], members)
            if ways and _have_same_bytes(ways, members):
                return True
    return False


def _folders_around(insides: list[list[str]]) -> int:
    """How many folders all files of an archive lie in, one in the other."""
    first, last = min(insides)[:-1], max(insides)[:-1]
    same = (one == other for one, other in zip(first, last, strict=False))
    return sum(itertools.takewhile(bool, same))


def _all_there(base: str, insides: list[list[str]], members: list[_Member]) -> list[str]:
    """Where all of them lie in a folder; none where one is not there."""
    ways = []
    for inside, member in zip(insides, members, strict=True):
        way = _there(base, inside, member.size)
        if not way:
            return []
        ways.append(way)
    return ways


def _parts_of(member: _Member) -> list[str]:
    """Its path in the archive, part by part; none where it leads out of the archive."""
    parts = [part for part in member.path.split("/") if part != "."]
    return [] if ".." in parts or "" in parts else parts


def _places_near(path: str, top: str) -> Iterator[str]:
    """Folders that an archive may have been made of, or unpacked into; none outside of the export."""
    folder = os.path.dirname(path)
    above = os.path.dirname(folder)
    inside = f"{folder}{os.sep}".startswith(f"{top.rstrip(os.sep)}{os.sep}") and folder.rstrip(os.sep) != top.rstrip(
        os.sep
    )
    for place in (folder, above) if inside else (folder,):
        yield place
        for stem in _stems_of(os.path.basename(path)):
            yield os.path.join(place, stem)


def _stems_of(name: str) -> list[str]:
    """Names of the folder that an archive may hold, by its own: `S1.tar.gz`, `S1_20240301.zip` that of `S1`."""
    stem = name.rpartition(".")[0]
    if extension_of(stem) == "tar":
        stem = stem.rpartition(".")[0]
    match = _ADDED.fullmatch(stem)
    return [one for one in (stem, match["of"] if match else "") if one]


def _there(base: str, inside: list[str], size: int) -> str:
    """Where a file of an archive lies in a folder; its name may be there in another form of Unicode."""
    written = "/".join(inside)
    for name in dict.fromkeys((written, *_other_spellings(written))):
        way = os.path.join(base, name)
        try:
            if os.path.getsize(way) == size:
                return way
        except (OSError, ValueError):
            continue
    return ""


def _other_spellings(name: str) -> list[str]:
    """Composed and decomposed; and as a Mac wrote it, without saying in the ZIP that it is UTF-8."""
    if name.isascii():
        return []
    try:
        meant = name.encode("cp437").decode("utf-8")
    except UnicodeError:
        meant = name
    return [unicodedata.normalize(form, one) for one in (name, meant) for form in ("NFC", "NFD")]


def _have_same_bytes(ways: list[str], members: list[_Member]) -> bool:
    """Uncompressed images of one width all have one size, so that a size alone says little."""
    known = [pair for pair in zip(ways, members, strict=True) if _is_compared(pair[1])]
    step = max(1, (len(known) - 1) // (_MOST_COMPARED - 1))
    return all(_checksum_of(way) == member.checksum for way, member in known[::step])


def _is_compared(member: _Member) -> bool:
    return member.checksum is not None and member.size <= _LARGEST_COMPARED


def _checksum_of(path: str) -> int | None:
    try:
        with open(path, "rb") as stream:
            return zlib.crc32(stream.read())
    except OSError:
        return None

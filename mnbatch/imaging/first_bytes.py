"""What a file holds whose name does not say it: told by its first bytes, of a few of those that are alike."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from mnbatch.imaging.companions import image_behind
from mnbatch.imaging.copied_names import copies_among, is_small_version
from mnbatch.imaging.links import DOCUMENTS
from mnbatch.imaging.litter import is_overview

Content = Literal["scan", "picture", "archive", "text", "other"]
"""A TIFF or DICOM file, which may be a cell, a field or a whole slide; another image; files that are packed; text, or
nothing at all; anything else."""

LOOKED_AT = 1024
"""Bytes from which the content is told."""

_OF_SCANNERS = {"nd", "xdce", "htd", "mes", "mlf", "lut", "roi", "thm"}
_OF_OFFICES = {
    *("docm", "dotx", "dotm", "xlsb", "xltx", "pptm", "potx", "ppsx", "odp", "odg", "odf", "ott", "vsdx", "one"),
    *("pages", "numbers", "key", "epub", "msg", "eml", "pst", "ost", "accdb", "laccdb", "ldb", "pzfx", "idml"),
}
_OF_PROGRAMS = {
    *("jar", "war", "whl", "egg", "apk", "xpi", "crx", "nupkg", "vsix", "npz", "npy", "pt", "pth", "keras", "pyc"),
    *("rds", "rda", "rdata", "mlx", "mlapp", "svgz", "emz", "kmz", "ttf", "woff", "woff2"),
    *("db3", "sqlite3", *(f"{kind}-{part}" for kind in ("sqlite", "db") for part in ("wal", "shm", "journal"))),
}
_OF_SYSTEMS = {
    *("ocx", "sys", "cat", "inf", "drv", "msi", "cab", "mui", "so", "dylib", "dmp", "mdmp", "etl", "evtx", "reg", "pf"),
    *("wmv", "mkv", "m4a", "mpg", "mpeg", "webm", "flv", "ogg", "flac"),
}
NO_IMAGES = (DOCUMENTS - {"dat", "bin", "bak", "eps"}) | _OF_SCANNERS | _OF_OFFICES | _OF_PROGRAMS | _OF_SYSTEMS
"""Extensions of files that are never opened: documents, tables, programs, and what scanners write beside their images.
Some are packed inside (`.docx`, `.jar`, `.npz`); what is in there are no cells."""

_SCANS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (
    *(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II\xbc\x01", b"ZISRAWFILE"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL \r\n\x87\n"),
)
"""PNG, JPEG, GIF, JPEG XR, CZI, JPEG 2000 (a file, a stream), JPEG XL."""

_PACKERS = {
    **dict.fromkeys((b"PK\3\4", b"PK\5\6", b"PK\7\x08"), "zip"),
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\7": "rar",
    b"\x1f\x8b": "gz",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "z",
}
"""How archives, and files that are packed alone, begin -> the extension of such files."""

_BZIP = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_TAR_AT = 257

_CAMERA_PICTURES = (b"avif", b"heic", b"heix", b"mif1")
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_DICOM_AT = 128
_MOST_ALIKE = 5
"""Of more files of one series as many are looked at, the first and the last among them."""

_FEW_OVERVIEWS = 3
"""Where there are more and nothing else, `overview` and the like are names like any other."""

_DIGITS = re.compile(r"[0-9]+")


def content_of(first: bytes) -> Content:
    """What begins so."""
    if first.startswith(_SCANS) or first[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        return "scan"
    if first.startswith(_PICTURES) or _is_bitmap(first) or (first[:4] == b"RIFF" and first[8:12] == b"WEBP"):
        return "picture"
    if first[4:8] == b"ftyp" and first[8:12] in _CAMERA_PICTURES:
        return "picture"
    if packer_of(first):
        return "archive"
    return "text" if _is_text(first) else "other"


def packer_of(first: bytes) -> str:
    """Extension of the archives, or packed files, that begin so; "" for what is not packed."""
    if _BZIP.match(first):
        return "bz2"
    if is_tar(first):
        return "tar"
    return next((packer for begin, packer in _PACKERS.items() if first.startswith(begin)), "")


def is_tar(first: bytes) -> bool:
    """Whether a tar begins so; those of before 1988 cannot be told."""
    return first[_TAR_AT : _TAR_AT + 5] == b"ustar"


def _is_bitmap(first: bytes) -> bool:
    """`BM` alone begins many files; a bitmap also has an empty place and a header of a known size."""
    return first[:2] == b"BM" and first[6:10] == bytes(4) and int.from_bytes(first[14:18], "little") in _BITMAP_HEADERS


def _is_text(first: bytes) -> bool:
    """Nothing at all is text, too: programs leave empty files as signs (`done`)."""
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in first)


def is_nameless(name: str) -> bool:
    """Whether a name says nothing of its file: no extension, a number, or other signs than letters and digits."""
    extension = _extension(name)
    return not (extension.isascii() and extension.isalnum() and not extension.isdigit())


def explained_among(names: Sequence[str], beside: Collection[str]) -> set[str]:
    """Files that are no cells by their names, as an image of such a name would be none.

    They have the stem of an image beside them (`a.dat`), are copies or label images of one by their names (`a.tif.old`,
    `a_mask.dat`), or show the slide (`overview.dat`, `S1.thumb`).

    Args:
        names: of files with extensions that are not known.
        beside: names of images, with and without their extensions.
    """
    telling = [name for name in names if not is_nameless(name)]
    known = {name.casefold() for name in beside}
    shown = {name for name in telling if is_overview(name)}
    shown = shown if beside or len(shown) < len(names) or len(shown) <= _FEW_OVERVIEWS else set()
    copies = copies_among([*telling, *(_stem(name) for name in telling)], beside)
    return {
        name
        for name in telling
        if _stem(name).casefold() in known
        or name in copies
        or _stem(name) in copies
        or image_behind(name) in beside
        or is_small_version(f"a.{_extension(name)}")
        or name in shown
    }


def look_at(entries: Sequence[os.DirEntry[str]]) -> Mapping[str, Content]:
    """Content of the files of one folder, by name; one that cannot be read is something else.

    Each file without a name that says anything is looked at. Of others a few of each series (`a1.dat`, `a2.dat`), and
    where one of them is an image the series is one of images.
    """
    series: dict[str, list[os.DirEntry[str]]] = {}
    for entry in entries:
        key = entry.name if is_nameless(entry.name) else _DIGITS.sub("0", entry.name)
        series.setdefault(key, []).append(entry)
    found: dict[str, Content] = {}
    for alike in series.values():
        if len(alike) <= _MOST_ALIKE:
            found |= {entry.name: _read(entry.path) for entry in alike}
        else:
            found |= dict.fromkeys((entry.name for entry in alike), _of_series(alike))
    return found


def _of_series(alike: Sequence[os.DirEntry[str]]) -> Content:
    last = len(alike) - 1
    seen = {_read(alike[number * last // (_MOST_ALIKE - 1)].path) for number in range(_MOST_ALIKE)}
    order: tuple[Content, ...] = ("scan", "picture", "archive", "other", "text")
    return next(content for content in order if content in seen)


def _read(path: str) -> Content:
    try:
        with open(path, "rb") as stream:
            return content_of(stream.read(LOOKED_AT))
    except OSError:
        return "other"


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""

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

Content = Literal["scan", "picture", "text", "other"]
"""A TIFF or DICOM file, which may be a cell, a field or a whole slide; another image; text; anything else."""

LOOKED_AT = 1024
"""Bytes from which the content is told."""

NO_IMAGES = (DOCUMENTS - {"dat", "bin", "bak", "eps"}) | {"nd", "xdce", "htd", "mes", "mlf", "lut", "roi", "thm"}
"""Extensions of files that are never opened: documents, tables, and what scanners write beside their images."""

_SCANS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (
    *(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II\xbc\x01", b"ZISRAWFILE"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"\0\0\0\x0cJXL \r\n\x87\n"),
)
"""PNG, JPEG, GIF, JPEG XR, CZI, JPEG 2000 (a file, a stream), JPEG XL."""

_CAMERA_PICTURES = (b"avif", b"heic", b"heix", b"mif1")
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_DICOM_AT = 128
_MOST_ALIKE = 5
"""Of more files of one series as many are looked at, the first and the last among them."""

_DIGITS = re.compile(r"[0-9]+")


def content_of(first: bytes) -> Content:
    """What begins so."""
    if first.startswith(_SCANS) or first[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        return "scan"
    if first.startswith(_PICTURES) or _is_bitmap(first) or (first[:4] == b"RIFF" and first[8:12] == b"WEBP"):
        return "picture"
    if first[4:8] == b"ftyp" and first[8:12] in _CAMERA_PICTURES:
        return "picture"
    return "text" if _is_text(first) else "other"


def _is_bitmap(first: bytes) -> bool:
    """`BM` alone begins many files; a bitmap also has an empty place and a header of a known size."""
    return first[:2] == b"BM" and first[6:10] == bytes(4) and int.from_bytes(first[14:18], "little") in _BITMAP_HEADERS


def _is_text(first: bytes) -> bool:
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return first != b"" and all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in first)


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
    copies = copies_among([*telling, *(_stem(name) for name in telling)], beside)
    return {
        name
        for name in telling
        if _stem(name).casefold() in known
        or name in copies
        or _stem(name) in copies
        or image_behind(name) in beside
        or is_small_version(f"a.{_extension(name)}")
        or (beside and is_overview(name))
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
    order: tuple[Content, ...] = ("scan", "picture", "other", "text")
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

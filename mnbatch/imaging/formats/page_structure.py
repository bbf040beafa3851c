"""What the pictures of a TIFF are, by its metadata, against its IFDs: positions, channels, focal planes, times.

One directory (IFD) may hold many pictures one after the other, or several stains as samples of one picture; several
directories may hold one picture in smaller versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Literal, get_args

import tifffile

from mnbatch.imaging.formats.pixels import DECODING_ERRORS
from mnbatch.imaging.formats.tiff_headers import TiffHeader

Axis = Literal["positions", "channels", "planes", "times", "unstated"]
AXES: tuple[Axis, ...] = get_args(Axis)

_LETTERS: dict[str, Axis] = {"C": "channels", "Z": "planes", "T": "times", "R": "positions", "M": "positions"}
_SOURCES = {"ome": "OME-XML", "imagej": "ImageJ", "shaped": "tifffile's axes", "uniform": "", "generic": ""}
_PROGRAMS = ("shaped", "ome", "imagej", "micromanager", "lsm", "stk", "fluoview", "sis", "scanimage", "nih", "mdgel")
"""Programs whose metadata say what pages are, as tifffile knows them."""

_MICRO_MANAGER = 51123
_MM_AXES: dict[Axis, str] = {"positions": "Position", "channels": "Channel", "planes": "Slice", "times": "Frame"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a TIFF.

    Attributes:
        directory: of the chain, from 0; beyond its end for one that the metadata name and that the file does not hold.
        block: which of the pictures that lie in that directory one after the other.
        sample: which of the samples of its pixels; None for a grey or colour picture.
        at: its place on each of the picture axes of its structure, in the order of `Structure.axes`.
        size: (height, width), pixels.
    """

    directory: int
    block: int = 0
    sample: int | None = None
    at: tuple[int, ...] = ()
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Structure:
    """The pictures of a TIFF.

    Attributes:
        axes: axis and length, the slowest first; those of length 1 are left out. Two may be `unstated`.
        pictures: in the order of the axes.
        source: what states the axes ("OME-XML", ...); "" for nothing.
        names: of the channels, as far as they are known.
        beyond: full directories that the metadata say nothing of.
        samples: stains in one pixel; 1 for grey and for colour pictures.
        directories: in the file.
        elsewhere: pictures that are not in the file are in others, which its metadata name.
    """

    axes: tuple[tuple[Axis, int], ...]
    pictures: tuple[Picture, ...]
    source: str = ""
    names: tuple[str, ...] = ()
    beyond: tuple[int, ...] = ()
    samples: int = 1
    directories: int = 0
    elsewhere: bool = False

    def length(self, axis: Axis) -> int:
        """Pictures along an axis."""
        return prod(length for name, length in self.axes if name == axis)


def structure_of(tiff: tifffile.TiffFile, header: TiffHeader) -> Structure:
    """What the full-resolution pictures of a TIFF are, as far as it says so."""
    full = [index for index, directory in enumerate(header.directories) if directory.full]
    plain = _plain(header, full)
    found = plain
    try:
        # Following thousands of plain pages a second time would take seconds and say nothing.
        if any(directory.depth > 1 for directory in header.directories) or _says_more(tiff):
            found = _of_micro_manager(tiff, header, full) or _of_series(tiff, header) or plain
        covered = {picture.directory for picture in found.pictures}
        found = replace(found, beyond=tuple(index for index in full if index not in covered))
        if found.beyond and any(picture.block for picture in found.pictures):
            # Each picture had a directory of its own, and the chain of them is broken.
            found = plain
        named = b"FileName=" in header.directories[0].description
        known = len(header.directories)
        elsewhere = named and any(picture.directory >= known for picture in found.pictures)
        found = replace(found, directories=known, elsewhere=elsewhere)
        return _with_samples(tiff, header, found)
    except DECODING_ERRORS:
        # What is damaged shows when its pages are decoded, one by one.
        return plain


def _says_more(tiff: tifffile.TiffFile) -> bool:
    return any(getattr(tiff, f"is_{program}", False) for program in _PROGRAMS)


def is_colour(page: tifffile.TiffPage) -> bool:
    """Whether the samples of a pixel are one colour, and not stains of their own."""
    kinds = tifffile.PHOTOMETRIC
    if page.samplesperpixel == 1:
        return True
    if page.samplesperpixel == 2:
        return bool(page.extrasamples and page.extrasamples[0] in (1, 2))  # grey and opacity
    stated = page.photometric not in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.PALETTE)
    return (stated or 262 not in page.tags) and page.samplesperpixel <= 4


def _plain(header: TiffHeader, full: list[int]) -> Structure:
    sizes = [(header.directories[index].height, header.directories[index].width) for index in full]
    pictures = tuple(
        Picture(index, at=(i,), size=size) for i, (index, size) in enumerate(zip(full, sizes, strict=True))
    )
    if len(full) == 1:
        return Structure((), (replace(pictures[0], at=()),))
    return Structure((("unstated", len(full)),), pictures)


def _of_series(tiff: tifffile.TiffFile, header: TiffHeader) -> Structure | None:
    """By tifffile's series; None where there is nothing to be learned from them."""
    listed = [series for series in tiff.series if not _is_reduced(series, header)]
    if not listed or listed[0].kind == "generic":
        return None
    source = _SOURCES.get(listed[0].kind, listed[0].kind)
    parts = [_of_one(series, header) for series in listed]
    if len({axes for axes, _ in parts}) > 1:
        # Positions of different build: each picture is one of its own, and what they are is not stated.
        pictures = [picture for _, found in parts for picture in found]
        pictures = [replace(picture, at=(i,)) for i, picture in enumerate(pictures)]
        return Structure((("unstated", len(pictures)),), tuple(pictures), names=_names(tiff))
    axes, several = parts[0][0], len(parts) > 1
    outer: tuple[tuple[Axis, int], ...] = ((("positions" if source == "OME-XML" else "unstated"), len(parts)),)
    pictures = [
        replace(picture, at=(i, *picture.at)) if several else picture
        for i, (_, found) in enumerate(parts)
        for picture in found
    ]
    return Structure((outer if several else ()) + axes, tuple(pictures), source, _names(tiff))


def _is_reduced(series: tifffile.TiffPageSeries, header: TiffHeader) -> bool:
    """A series of reduced versions, or of a SubIFD, which is none of the chain."""
    page = series.keyframe
    chain = {directory.offset for directory in header.directories if directory.full}
    return page is None or page.offset not in chain


def _of_one(series: tifffile.TiffPageSeries, header: TiffHeader) -> tuple[tuple[tuple[Axis, int], ...], list[Picture]]:
    """Axes that are longer than 1, and the pictures of a series."""
    letters, shape = series.get_axes(False), series.get_shape(False)
    own = [(letter, length) for letter, length in zip(letters, shape, strict=True) if letter not in "YXS"]
    size = (shape[letters.index("Y")], shape[letters.index("X")])
    named = [(_axis_of(series, letter), length) for letter, length in own]
    places = product(*(range(length) for _, length in own))
    kept = [i for i, (_, length) in enumerate(own) if length > 1]
    pages, count = series.pages, prod(length for _, length in own)
    pictures = []
    for k, place in enumerate(places):
        at = tuple(place[i] for i in kept)
        if len(pages) == count:
            pictures.append(Picture(_directory_of(pages[k], header, k), 0, at=at, size=size))
        else:
            pictures.append(Picture(_directory_of(pages[0], header, k), k, at=at, size=size))
    return tuple(named[i] for i in kept), pictures


def _axis_of(series: tifffile.TiffPageSeries, letter: str) -> Axis:
    axis = _LETTERS.get(letter, "unstated")
    if series.kind == "imagej" and axis in ("planes", "times") and not _is_hyperstack(series):
        return "unstated"  # ImageJ calls the pictures of any stack slices
    return axis


def _is_hyperstack(series: tifffile.TiffPageSeries) -> bool:
    known: dict[str, Any] = (series.parent.imagej_metadata or {}) if series.parent is not None else {}
    return bool(known.get("hyperstack"))


def _directory_of(page: Any, header: TiffHeader, k: int) -> int:
    known = len(header.directories)
    if page is None:
        return known + k
    index = page.index if isinstance(page.index, int) else page.index[0]
    return int(index) if index < known else known + k


def _names(tiff: tifffile.TiffFile) -> tuple[str, ...]:
    """Names of the channels: of OME-XML, ImageJ's labels, or Micro-Manager."""
    if tiff.is_ome and tiff.ome_metadata:
        first = tiff.ome_metadata.split("</Pixels>")[0]
        return tuple(_unescaped(name) for name in re.findall(r'<Channel\b[^>]*?\bName="([^"]*)"', first))
    summary = (tiff.micromanager_metadata or {}).get("Summary", {}) if tiff.is_micromanager else {}
    if summary.get("ChNames"):
        return tuple(map(str, summary["ChNames"]))
    if tiff.is_shaped:
        given: Any = dict((tiff.shaped_metadata or ({},))[0]).get("Channel")
        named = given.get("Name") if isinstance(given, dict) else None
        return tuple(map(str, named)) if isinstance(named, list | tuple) else ()
    known: dict[str, Any] = tiff.imagej_metadata or {} if tiff.is_imagej else {}
    labels = known.get("Labels") or known.get("labels") or ()
    return tuple(map(str, labels[: int(known.get("channels", 1))])) if isinstance(labels, list | tuple) else ()


def _unescaped(text: str) -> str:
    for code, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(code, letter)
    return text


def _of_micro_manager(tiff: tifffile.TiffFile, header: TiffHeader, full: list[int]) -> Structure | None:
    """By the place that Micro-Manager notes with each page, where no other metadata say it."""
    if tiff.is_ome or tiff.is_imagej or not tiff.is_micromanager:
        return None
    places = list(_noted_places(tiff, full))
    if len(places) != len(full) or len(set(places)) != len(full):
        return None
    ranks = [sorted({place[i] for place in places}) for i in range(len(_MM_AXES))]
    if prod(map(len, ranks)) != len(full):
        return None
    kept = [i for i, rank in enumerate(ranks) if len(rank) > 1]
    pictures = [
        Picture(
            index,
            at=tuple(ranks[i].index(place[i]) for i in kept),
            size=(header.directories[index].height, header.directories[index].width),
        )
        for index, place in zip(full, places, strict=True)
    ]
    names = list(_MM_AXES)
    axes = tuple((names[i], len(ranks[i])) for i in kept)
    return Structure(axes, tuple(sorted(pictures, key=lambda picture: picture.at)), "Micro-Manager", _names(tiff))


def _noted_places(tiff: tifffile.TiffFile, full: list[int]) -> Iterator[tuple[int, ...]]:
    for index in full:
        page = tiff.pages[index]
        noted = page.aspage().tags.valueof(_MICRO_MANAGER)
        known = json.JSONDecoder().decode(noted) if isinstance(noted, str) else noted
        if not isinstance(known, dict):
            return
        yield tuple(int(known.get(f"{name}Index", 0) or 0) for name in _MM_AXES.values())


def _with_samples(tiff: tifffile.TiffFile, header: TiffHeader, found: Structure) -> Structure:
    """Stains that are samples of one pixel become pictures of their own: channels, the fastest axis."""
    known = len(header.directories)
    index = next((picture.directory for picture in found.pictures if picture.directory < known), None)
    if index is None or header.directories[index].samples == 1:
        return found
    page = tiff.pages[index].aspage()
    count = 1 if is_colour(page) else page.samplesperpixel
    if count == 1:
        return found
    pictures = (replace(picture, sample=k, at=(*picture.at, k)) for picture in found.pictures for k in range(count))
    names = found.names or _names(tiff)
    return replace(found, axes=(*found.axes, ("channels", count)), pictures=tuple(pictures), names=names, samples=count)

"""One walk through an export: folders in natural order, links followed once, every omission stated."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mnbatch.assay.cells import Companion, Skipped, Slide, SourceFile
from mnbatch.assay.field_records import InputKind
from mnbatch.errors import StorageError
from mnbatch.imaging.copied_names import copies_among, is_copy_folder
from mnbatch.imaging.formats.size_limits import MAX_COMPANIONS
from mnbatch.imaging.identity import slide_id
from mnbatch.imaging.layouts import EXTENSIONS, WHOLE_SLIDES, Layout, Place

# Files that belong to another one: label images next to fields, data files of whole slides.


_MASK_FILE = re.compile(r"(.+?)[_-](?:cp_masks?|masks?|labels?)", re.IGNORECASE)
_MASK_FOLDER = re.compile(r"(?:.*[_\- ])?(?:masks?|labels?|outlines?)", re.IGNORECASE)
_MASK_EXTENSIONS = ("tif", "tiff", "png")
_LARGEST_INDEX = 1 << 20


def field_of_mask(name: str) -> str | None:
    """Stem of the field whose label image this file is by its name (`a_cp_masks.png` is that of `a`), or None."""
    stem, _, extension = name.rpartition(".")
    match = _MASK_FILE.fullmatch(field_stem(f"{stem}.{extension}")) if extension.lower() in _MASK_EXTENSIONS else None
    return match[1] if match else None


def is_mask_folder(name: str) -> bool:
    """Whether a folder holds label images by its name (`masks`, `nucleus_masks`, `labels`)."""
    return _MASK_FOLDER.fullmatch(name) is not None


def field_stem(name: str) -> str:
    """Name of an image file without its extension; `a.ome.tif` is `a`."""
    stem = name.rpartition(".")[0]
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def whole_slide_companions(path: str) -> list[str]:
    """Data files of a whole slide that consists of several, as paths next to it; none for other formats.

    MRXS keeps its data in a folder of the same name, VMS and VMU name theirs in the index file. What cannot be listed
    is left out here: opening the slide will say what is missing.
    """
    stem, _, extension = path.rpartition(".")
    if extension.lower() == "mrxs":
        return _files_in(stem)
    if extension.lower() in ("vms", "vmu"):
        return _named_in(path)
    return []


def _files_in(folder: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return []


def _named_in(path: str) -> list[str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        with open(path, encoding="utf-8", errors="replace") as index:
            parser.read_string(index.read(_LARGEST_INDEX))
    except (OSError, ValueError, configparser.Error):
        return []
    folder = os.path.dirname(path)
    values = {value for section in parser.sections() for _, value in parser.items(section) if value}
    named = (os.path.join(folder, os.path.basename(value)) for value in sorted(values)[:MAX_COMPANIONS])
    return sorted(name for name in named if os.path.isfile(name) and name != path)


# One walk through an export: folders in natural order, links followed once, every omission said.


_JUNK = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "__macosx",
        "@eadir",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    }
)
"""Names (in lower case) that operating systems and file servers leave in folders; some hold thumbnails."""

_RANK = {extension: rank for rank, extension in enumerate((*WHOLE_SLIDES, *EXTENSIONS))}
_TAKEN: dict[InputKind, frozenset[str]] = {
    "crops": frozenset(EXTENSIONS),
    "fields": frozenset(EXTENSIONS),
    "wsi": frozenset((*WHOLE_SLIDES, "tif", "tiff")),
}
_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts `cell2` before `cell10` and ignores case; equal keys fall back to the spelling."""
    parts: list[str | int] = list(_DIGITS.split(name.casefold()))
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, name


@dataclass(slots=True)
class _Group:
    """A slide that is being put together."""

    place: Place
    files: list[SourceFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    companions: list[Companion] = field(default_factory=list)


_Fitting = tuple[os.DirEntry[str], str, Place]
"""An image, its path in the export, and its place in the layout."""


@dataclass(slots=True)
class _Listing:
    """One folder, sorted."""

    files: list[os.DirEntry[str]] = field(default_factory=list)
    folders: list[os.DirEntry[str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


class Walk:
    """State of one walk: what was seen, and the slides that are not complete yet."""

    def __init__(
        self, root: Path, layout: Layout, explain: Callable[[Skipped], None], kind: InputKind = "crops"
    ) -> None:
        self.root = root
        self._kind = kind
        self._real_root = os.path.realpath(root)
        self.layout = layout
        self.explain = explain
        self._seen: set[tuple[int, int]] = set()
        self._open: dict[str, _Group] = {}
        self._above: dict[str, frozenset[str]] = {}
        self.unfitting = 0

    def slides(self) -> Iterator[Slide]:
        """Depth first, each folder's own slides before those of its subfolders."""
        stack = [""]
        while stack:
            folder = stack.pop()
            yield from self._closed(folder)
            listing = self._list(folder)
            if listing is None:
                continue
            self._gather(folder, listing)
            if not self.layout.nested:
                yield from self._closed(None)
            stack.extend(_join(folder, entry.name) for entry in reversed(listing.folders))
        yield from self._closed(None)

    def _closed(self, folder: str | None) -> Iterator[Slide]:
        """Slides to which nothing can come any more when the walk enters `folder` (None: all of them)."""
        for path, group in list(self._open.items()):
            anchor = group.place.anchor
            inside = folder is not None and (anchor == "." or f"{folder}/".startswith(f"{anchor}/"))
            if not inside:
                del self._open[path]
                yield self._slide(group)

    def _slide(self, group: _Group) -> Slide:
        place = group.place
        return Slide(
            slide_id=slide_id(place.path),
            name=place.slide,
            path=place.path,
            donor=place.donor,
            root=self.root,
            files=tuple(group.files),
            layout=self.layout.name,
            skipped=tuple(group.skipped),
            kind=self._kind,
            companions=tuple(group.companions),
        )

    def _list(self, folder: str) -> _Listing | None:
        """Read one folder; None when it was taken before or cannot be read (which is said)."""
        path = os.path.join(self.root, folder) if folder else os.fspath(self.root)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in self._seen:
                self._skip(folder, "reached before by another way (a link)")
                return None
            self._seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                found = sorted(entries, key=lambda entry: natural_key(entry.name))
        except OSError as error:
            if not folder:
                raise StorageError(
                    f"The export {self.root} cannot be read: {error.strerror}.",
                    "Check that the share is mounted and that this user may read it.",
                ) from error
            self._skip(folder, f"folder cannot be read: {error.strerror}")
            return None
        return self._sorted(folder, found)

    def _sorted(self, folder: str, entries: list[os.DirEntry[str]]) -> _Listing:
        listing = _Listing()
        for entry in entries:
            path = _join(folder, entry.name)
            reason = self._why_not(entry, path)
            if reason:
                listing.skipped.append(self._skip(path, reason))
            elif entry.is_dir():
                listing.folders.append(entry)
            else:
                listing.files.append(entry)
        return listing

    def _why_not(self, entry: os.DirEntry[str], path: str) -> str:
        """Why an entry is left out before any layout is asked; "" for a candidate."""
        name = entry.name
        if name.startswith("."):
            return "hidden"
        if name.casefold() in _JUNK:
            return "left there by an operating system or file server, not by a scanner"
        if entry.is_symlink():
            reason = self._why_not_link(entry, path)
            if reason:
                return reason
        if entry.is_dir():
            return self._why_not_folder(entry)
        if not entry.is_file():
            return "neither a file nor a folder"
        if name.rpartition(".")[2].lower() not in _TAKEN[self._kind] or "." not in name:
            return "not an image file by its extension"
        return ""

    def _why_not_folder(self, entry: os.DirEntry[str]) -> str:
        if self._kind == "fields" and is_mask_folder(entry.name):
            return "label images by the folder's name; only those next to their field (NAME_mask.tif) are used"
        if self._kind == "wsi" and os.path.isfile(f"{entry.path}.mrxs"):
            return f"data of {entry.name}.mrxs, which is taken"
        return ""

    def _why_not_link(self, entry: os.DirEntry[str], path: str) -> str:
        """Links are followed, unless they lead to what is reached anyway, was taken, or holds the export."""
        target = os.path.realpath(os.path.join(self.root, path))
        if not os.path.exists(target):
            return "link that leads nowhere"
        if f"{self._real_root}{os.sep}".startswith(target.rstrip(os.sep) + os.sep):
            return "link that leads back to a folder above (a loop)"
        if target.startswith(self._real_root + os.sep):
            inside = os.path.relpath(target, self._real_root).replace(os.sep, "/")
            if self._is_walked(inside, entry.is_dir()):
                return f"link to {inside}, which is taken there"
        if entry.is_dir():
            return ""
        status = entry.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            return "link to a file that was taken before"
        self._seen.add((status.st_dev, status.st_ino))
        return ""

    def _is_walked(self, path: str, is_folder: bool) -> bool:
        """The walk comes to this path by itself (it is not hidden, and a file fits the layout)."""
        parts = path.split("/")
        if any(part.startswith(".") or part.casefold() in _JUNK for part in parts):
            return False
        return is_folder or self.layout.place(path, self.root.name) is not None

    def _gather(self, folder: str, listing: _Listing) -> None:
        """Put the files of one folder into their slides."""
        masks = self._take_masks_out(listing) if self._kind == "fields" else {}
        fitting = self._without_copies(folder, listing, self._fitting(folder, listing))
        best: dict[str, str] = {}
        for entry, _, _ in fitting:
            stem = self._stem(entry.name)
            if stem not in best or _rank(entry.name) < _rank(best[stem]):
                best[stem] = entry.name
        for entry, path, place in fitting:
            if best[self._stem(entry.name)] == entry.name:
                self._take(entry, path, place)
                self._take_companions(path, place, masks.get(self._stem(entry.name)))
        for entry, path, place in fitting:
            original = best[self._stem(entry.name)]
            if original != entry.name:
                skipped = self._skip(path, f"preview or second copy next to {original}, which is taken")
                if place.path in self._open:
                    self._open[place.path].skipped.append(skipped)
        own = self._open.get(folder or ".")
        if own is not None:
            own.skipped.extend(listing.skipped)

    def _without_copies(self, folder: str, listing: _Listing, fitting: list[_Fitting]) -> list[_Fitting]:
        """Leave out what is named as a copy of an image that is taken: next to it, or in the folder above."""
        stems = [self._stem(entry.name) for entry, _, _ in fitting]
        above = self._above.pop(folder, frozenset())
        copies = {**(copies_among(stems, above) if above else {}), **copies_among(stems)}
        for below in listing.folders:
            if stems and is_copy_folder(below.name):
                self._above[_join(folder, below.name)] = frozenset(stems)
        kept = []
        for stem, item in zip(stems, fitting, strict=True):
            if stem not in copies:
                kept.append(item)
                continue
            skipped = self._skip(item[1], f"by its name a copy or small version of {copies[stem]}, which is taken")
            listing.skipped.append(skipped)
        return kept

    def _stem(self, name: str) -> str:
        return field_stem(name) if self._kind == "fields" else name.rpartition(".")[0]

    def _take_masks_out(self, listing: _Listing) -> dict[str, os.DirEntry[str]]:
        """Label images of the folder's fields by the fields' stems; they are no fields themselves."""
        stems = {self._stem(entry.name) for entry in listing.files}
        found: dict[str, os.DirEntry[str]] = {}
        for entry in list(listing.files):
            stem = field_of_mask(entry.name)
            if stem in stems:
                found.setdefault(stem, entry)
                listing.files.remove(entry)
        return found

    def _take_companions(self, path: str, place: Place, mask: os.DirEntry[str] | None) -> None:
        beside = [mask.path] if mask is not None else []
        if self._kind == "wsi":
            beside = whole_slide_companions(os.path.join(self.root, path))
        for name in beside:
            relative = os.path.relpath(name, self.root).replace(os.sep, "/")
            self._open[place.path].companions.append(Companion(path, _source_file(name, relative)))

    def _fitting(self, folder: str, listing: _Listing) -> list[_Fitting]:
        """Files that the layout knows a place for; the others are said."""
        fitting = []
        for entry in listing.files:
            path = _join(folder, entry.name)
            place = self.layout.place(path, self.root.name)
            if place is not None:
                fitting.append((entry, path, place))
                continue
            self.unfitting += 1
            listing.skipped.append(self._skip(path, f"does not fit the layout '{self.layout.name}'"))
        return fitting

    def _take(self, entry: os.DirEntry[str], path: str, place: Place) -> None:
        try:
            status = entry.stat()
            file = SourceFile(path, status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            self._skip(path, "vanished while the folder was read")
            return
        except OSError:
            # It is there and cannot be examined: the reader will say so, and the cell counts as unreadable.
            file = SourceFile(path, 0, 0)
        self._open.setdefault(place.path, _Group(place)).files.append(file)

    def _skip(self, path: str, reason: str) -> Skipped:
        skipped = Skipped(path, reason)
        self.explain(skipped)
        return skipped


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _source_file(name: str, path: str) -> SourceFile:
    """A companion as it is there; one that cannot be examined is left for the reader to explain."""
    try:
        status = os.stat(name)
    except OSError:
        return SourceFile(path, 0, 0)
    return SourceFile(path, status.st_size, status.st_mtime_ns)


def _rank(name: str) -> int:
    return _RANK[name.rpartition(".")[2].lower()]

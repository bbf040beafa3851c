"""One walk through an export: folders in natural order, links followed once, every omission stated."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnbatch.assay.cells import Companion, Skipped, Slide, SourceFile
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.reasons import Named, foreign_os, say
from mnbatch.assay.sample_sheet import composed
from mnbatch.errors import StorageError
from mnbatch.imaging.companions import (
    belongs_to_file_above,
    field_of_mask,
    field_stem,
    holds_images,
    image_behind,
    is_mask_folder,
    shadows_images,
    whole_slide_companions,
)
from mnbatch.imaging.copied_names import copies_among, is_copy_folder, is_small_version
from mnbatch.imaging.entries import What, is_link_to_nowhere, lost_link_above, what_is
from mnbatch.imaging.first_bytes import NO_IMAGES, explained_among, look_at
from mnbatch.imaging.foreign_files import (
    CAMERAS,
    NAMELESS,
    extension_of,
    is_archive,
    is_hidden_image,
    is_one_of_many,
    readable_field_files,
    refusal,
    what_it_is,
)
from mnbatch.imaging.formats.folder_images import is_folder_image, state_of
from mnbatch.imaging.identity import slide_id
from mnbatch.imaging.layouts import (
    EXTENSIONS,
    FIELD_FILES,
    PRESETS,
    WHOLE_SLIDE_PRESETS,
    WHOLE_SLIDES,
    Layout,
    Place,
    parse_layout,
)
from mnbatch.imaging.links import NOWHERE, Reached, is_document, leads_to_image
from mnbatch.imaging.litter import (
    OVERVIEW,
    SMALL_VERSIONS,
    finished_name,
    is_system_litter,
    litter_reason,
    overviews_among,
)
from mnbatch.imaging.packed_images import Packed, what_is_packed
from mnbatch.imaging.settling import UNFINISHED_SECONDS, unfinished_since

_RANK = {extension: rank for rank, extension in enumerate((*WHOLE_SLIDES, *EXTENSIONS, *FIELD_FILES))}
_TAKEN: dict[InputKind, frozenset[str]] = {
    "crops": frozenset(EXTENSIONS),
    "fields": frozenset(EXTENSIONS),
    "wsi": frozenset((*WHOLE_SLIDES, "tif", "tiff")),
}
UNFITTING = "does not fit the layout"
"""Begins why an image is left out for which the layout has no place."""

EMPTY = "an empty folder where the layout has a slide"
"""Why a folder is said: its copy may have failed."""

UNREAD = "a folder where the layout has a slide, with files of which none is read as an image"
"""Why a folder is said: what it holds may be images of a format that mnbatch does not know."""

HIDDEN_IMAGES = "packed or misnamed images beside those of their slide, left out as --input says"
"""Why a file is said that may be more of a slide which was counted without it."""

TOO_LARGE = "an archive that is too large to look through, with no image in the part that was"
"""Why an archive is said that may hold images further on."""

_WHY_NOT_UNPACKED: dict[Packed, str] = {
    "copies": "an archive of what lies beside it, which is not unpacked",
    "nothing": "an archive without images, which is not unpacked",
    "too large": TOO_LARGE,
}
_NO_IMAGE = "not an image file by its extension"
_UNKNOWN = "not known by its extension: it is looked at"
_FOREIGN = "of a format or kind that is not read: a slide that is failed"
_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts `cell2` before `cell10` and ignores case; equal keys fall back to the spelling."""
    parts: list[str | int] = list(_DIGITS.split(name.casefold()))
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, name


_PICTURE_LIKE = CAMERAS | {"gif", "webp", "jxl", "avif", "heic"}
_FAMILIES = {"tif": "tiff", "tiff": "tiff", "jpg": "jpeg", "jpeg": "jpeg", "png": "png", "bmp": "bmp"}
_WHOLE_LAYOUTS = {name: parse_layout(name, "wsi") for name in WHOLE_SLIDE_PRESETS}


@dataclass(slots=True)
class _Group:
    """A slide that is being put together."""

    place: Place
    files: list[SourceFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    companions: list[Companion] = field(default_factory=list)
    namesakes: list[Companion] = field(default_factory=list)
    foreign: list[SourceFile] = field(default_factory=list)
    unfinished: list[SourceFile] = field(default_factory=list)
    broken_off: list[SourceFile] = field(default_factory=list)
    refused: tuple[str, str] | None = None


_Fitting = tuple[os.DirEntry[str], str, Place]
"""An image, its path in the export, and its place in the layout."""


@dataclass(slots=True)
class _Listing:
    """One folder, sorted."""

    files: list[os.DirEntry[str]] = field(default_factory=list)
    folders: list[os.DirEntry[str]] = field(default_factory=list)
    foreign: list[os.DirEntry[str]] = field(default_factory=list)
    unfinished: list[os.DirEntry[str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unknown: list[os.DirEntry[str]] = field(default_factory=list)
    unread: bool = False

    def images(self) -> set[str]:
        """Names of what holds images here, with and without their extensions."""
        names = [entry.name for entry in (*self.files, *self.foreign) if not is_archive(entry.name)]
        return {*names, *(field_stem(name) for name in names), *(name.rpartition(".")[0] for name in names)} - {""}


class Walk:
    """State of one walk: what was seen, and the slides that are not complete yet.

    Args:
        stated: a person said what the export holds, so that what is of another kind beside images is left out.
    """

    def __init__(
        self,
        root: Path,
        layout: Layout,
        explain: Callable[[Skipped], None],
        kind: InputKind = "crops",
        *,
        stated: bool = False,
    ) -> None:
        self.root = root
        self._kind = kind
        self._stated = stated
        self.layout = layout
        self.explain = explain
        self._reached = Reached(root, layout)
        self._open: dict[str, _Group] = {}
        self._above: dict[str, dict[str, str]] = {}
        self._misplaced: list[_Group] = []
        self._packed: set[str] = set()
        self._owners: dict[str, frozenset[str]] = {}
        self._with_images: dict[str, bool] = {}
        self._placed = False
        self.unfitting = 0

    def slides(self) -> Iterator[Slide]:
        """Depth first, each folder's own slides before those of its subfolders."""
        return self._slides_from("", deep=True)

    def slides_in(self, folder: str) -> Iterator[Slide]:
        """Those of one folder ("": of the export itself); with its subfolders where slides have files in several."""
        return self._slides_from(folder, deep=self.layout.nested and folder != "")

    def _slides_from(self, top: str, *, deep: bool) -> Iterator[Slide]:
        stack = [top]
        while stack:
            folder = stack.pop()
            yield from self._closed(folder)
            listing = self._list(folder)
            if listing is None:
                continue
            self._gather(folder, listing)
            if not self.layout.nested:
                yield from self._closed(None)
            if deep:
                stack.extend(_join(folder, entry.name) for entry in reversed(listing.folders))
        yield from self._closed(None)
        yield from self._folders_without_place()

    def _folders_without_place(self) -> Iterator[Slide]:
        """Failed slides where other images have a place; where none has, the layout is at fault, not the folders."""
        for group in self._misplaced:
            if self._placed:
                yield self._slide(group)
            else:
                for file in group.files:
                    self._skip_unfitting(file.path)

    def _closed(self, folder: str | None) -> Iterator[Slide]:
        """Slides to which nothing can come any more when the walk enters `folder` (None: all of them)."""
        for path, group in list(self._open.items()):
            anchor = group.place.anchor
            inside = folder is not None and (anchor == "." or f"{folder}/".startswith(f"{anchor}/"))
            if not inside:
                del self._open[path]
                yield self._slide(group)

    def _slide(self, group: _Group) -> Slide:
        place, refused = group.place, group.refused
        if group.foreign and group.files and self._stated:
            group.skipped += [self._skip(file.path, self._why_left_out(file)) for file in group.foreign]
        elif group.foreign:
            refused = refusal(group.foreign, len(group.files), self._kind, self._packed)
            if group.files:
                group.companions += [Companion(group.files[0].path, file) for file in group.foreign]
            group.files = group.files or group.foreign
        elif group.broken_off:
            refused = self._refused_for_broken_copies(group)
        group.files = group.files or group.unfinished
        return Slide(
            slide_id=slide_id(place.path),
            name=place.slide,
            path=place.path,
            donor=None if place.donor is None else composed(place.donor),
            root=self.root,
            files=tuple(group.files),
            layout=self.layout.name,
            skipped=tuple(group.skipped),
            kind=self._kind,
            companions=tuple(group.companions),
            namesakes=() if refused else tuple(group.namesakes),
            refused=refused,
            unfinished=tuple(group.unfinished),
        )

    def _why_left_out(self, file: SourceFile) -> str:
        hidden = is_hidden_image(file.path, self._kind)
        return HIDDEN_IMAGES if hidden else f"no image that --input {self._kind} reads"

    def _refused_for_broken_copies(self, group: _Group) -> tuple[str, str]:
        left = group.broken_off
        if group.files:
            group.companions += [Companion(group.files[0].path, file) for file in left]
        group.files = group.files or left
        why = say("unfinished-copy", count=len(left), file=Named("file", left[0].path))
        return why, say("unfinished-copy-do")

    def _list(self, folder: str) -> _Listing | None:
        """Read one folder; None when it was taken before or cannot be read (which is said)."""
        path = os.path.join(self.root, folder) if folder else os.fspath(self.root)
        try:
            if why := self._reached.why_not_folder(folder, os.stat(path)):
                self._skip(folder, why)
                return None
            with os.scandir(path) as entries:
                found = sorted(entries, key=lambda entry: natural_key(entry.name))
        except OSError as error:
            if not folder:
                raise StorageError(
                    f"The export {self.root} cannot be read: {error.strerror}.",
                    "Check that the share is mounted and that this user may read it.",
                ) from error
            if isinstance(error, FileNotFoundError) and not lost_link_above(self.root, folder):
                self._skip(folder, "vanished while the export was read")
            else:
                self._refuse_folder(folder, error)
            return None
        if folder and all(is_system_litter(entry.name) for entry in found) and self._slide_at(folder):
            self._skip(folder, EMPTY)
        listing = self._sorted(folder, found)
        self._look_into_archives(folder, listing)
        self._look_at_unknown(folder, listing)
        if (
            folder
            and listing.unread
            and not (listing.files or listing.foreign or listing.folders or listing.unfinished)
        ):
            self._say_unread(folder)
        return listing

    def _look_into_archives(self, folder: str, listing: _Listing) -> None:
        """Leave out those that hold no image, or only what lies unpacked beside them."""
        beside = listing.images()
        for entry in [entry for entry in listing.foreign if is_archive(entry.name)]:
            packed = what_is_packed(entry.path, beside, os.fspath(self.root))
            if packed != "images":
                listing.foreign.remove(entry)
                listing.skipped.append(self._skip(_join(folder, entry.name), _WHY_NOT_UNPACKED[packed]))

    def _look_at_unknown(self, folder: str, listing: _Listing) -> None:
        """Files whose names do not say what they hold: images among them are foreign; of others it is noted."""
        beside = listing.images()
        left = {entry.name for entry in listing.unknown if is_archive(entry.name) or self._is_unfinished(entry)}
        left |= explained_among([entry.name for entry in listing.unknown], beside)
        contents = look_at([entry for entry in listing.unknown if entry.name not in left])
        # A picture beside a whole slide shows its label or the like, whatever its extension.
        images = ("scan",) if self._kind == "wsi" and listing.files else ("scan", "picture")
        copied = self._copied(listing, [name for name, content in contents.items() if content in images])
        for entry in listing.unknown:
            content, path, why = contents.get(entry.name), _join(folder, entry.name), _NO_IMAGE
            if content == "archive" or is_archive(entry.name):
                packed = what_is_packed(entry.path, beside, os.fspath(self.root))
                why = _WHY_NOT_UNPACKED.get(packed, "")
            elif content in images:
                original = copied.get(entry.name)
                why = f"the same bytes as {original}, which is taken" if original else ""
            if not why:
                listing.foreign.append(entry)
                if content not in images:
                    self._packed.add(path)
                continue
            listing.unread = listing.unread or content == "other"
            listing.skipped.append(self._skip(path, why))
            if self._is_unfinished(entry):
                listing.unfinished.append(entry)
        listing.foreign.sort(key=lambda entry: natural_key(entry.name))

    def _copied(self, listing: _Listing, names: list[str]) -> dict[str, str]:
        """Backup -> image that is taken and has its bytes (`a.tif.1`, `a.tif_old`, `Kopie von a`).

        Compared are only those that it is named after, as a folder of thousands cannot be compared with itself.
        """
        taken = {self._stem(entry.name).casefold(): entry for entry in listing.files}
        behind = copies_among([name.casefold() for name in names], taken) if taken else {}
        paths = {entry.name: entry.path for entry in listing.unknown}
        found: dict[str, str] = {}
        for name in names if taken else ():
            folded = name.casefold()
            stems = (*(folded[:end] for end in range(len(folded), 0, -1)), behind.get(folded, ""))
            originals = [taken[stem] for stem in stems if stem in taken]
            same = [original.name for original in originals if _same_bytes(paths[name], original.path)]
            found |= {name: same[0]} if same else {}
        return found

    def _say_unread(self, folder: str) -> None:
        """A slide's folder whose files are not read as images; unless they belong to a slide or a file above it."""
        place = self.layout.place(_join(folder, "0.tif"), self.root.name)
        above = folder.rpartition("/")[0]
        # With a preset a folder `images` is the only place of a slide's fields below the slide.
        of_slide_above = self.layout.name in PRESETS and place is not None and place.path == above not in self._open
        if self._slide_at(folder) is None and not of_slide_above:
            return
        if not self._lies_in_slide(folder) and not belongs_to_file_above(self.root, folder, self._owners):
            self._skip(folder, UNREAD)

    def _lies_in_slide(self, folder: str) -> bool:
        """Whether images of a slide lie directly in a folder around this one, or in its folder `images`."""
        parts = folder.split("/")
        around = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(self._has_images(one) for one in around)

    def _has_images(self, folder: str) -> bool:
        """Whether a folder is a slide with images; asked of the folder around each of thousands, so it is kept."""
        if folder not in self._with_images:
            ways = (folder, *self._folders_of_fields(folder))
            slide = self._slide_at(folder) is not None
            self._with_images[folder] = slide and any(holds_images(os.path.join(self.root, way)) for way in ways)
        return self._with_images[folder]

    def _folders_of_fields(self, folder: str) -> list[str]:
        """Folders in this one whose images the layout gives to it (`images`, `fields` of a slide of fields)."""
        if self.layout.name not in PRESETS or self._kind != "fields":
            return []
        try:
            inside = os.listdir(os.path.join(self.root, folder))
        except OSError:
            return []
        ways = [_join(folder, name) for name in inside if name.casefold() in ("images", "fields")]
        places = [self.layout.place(_join(way, "0.tif"), self.root.name) for way in ways]
        return [way for way, place in zip(ways, places, strict=True) if place is not None and place.path == folder]

    def _slide_at(self, folder: str) -> Place | None:
        """Where images directly in this folder would belong, if to a slide that is the folder."""
        place = self.layout.place(_join(folder, "0.tif"), self.root.name)
        return place if place is not None and place.path == folder else None

    def _refuse_folder(self, folder: str, error: OSError) -> None:
        """A folder that cannot be read may hold slides: it is one, and failed; or it is a part of one, which fails."""
        place = self._place_in(folder) or self._place_of_lost(folder)
        group = self._open.setdefault(place.path, _Group(place))
        group.files.append(SourceFile(folder, 0, 0))
        code = "folder-link-lost" if is_link_to_nowhere(os.path.join(self.root, folder), error) else "folder-unreadable"
        why = say(code, folder=Named("folder", folder), error=foreign_os(error))
        group.refused = (why, say(f"{code}-do"))
        self._skip(folder, f"folder cannot be read: {error.strerror}")

    def _place_in(self, folder: str) -> Place | None:
        """Where images directly in this folder belong, if slides are folders."""
        if self.layout.slide_in_file_name:
            return None
        places = (self.layout.place(_join(folder, f"0.{extension}"), self.root.name) for extension in EXTENSIONS)
        return next((place for place in places if place is not None), None)

    def _place_of_lost(self, folder: str) -> Place:
        """Of a failed slide that stands for all in a folder; of the donor whose folder it is."""
        place = _named_after(folder)
        ways = (_join(folder, inside) for inside in ("0/0.tif", "0.tif"))
        below = [self.layout.place(way, self.root.name) for way in ways]
        own = any(found is not None and found.donor == place.slide for found in below)
        return replace(place, donor=place.slide) if own else place

    def _sorted(self, folder: str, entries: list[os.DirEntry[str]]) -> _Listing:
        listing = _Listing()
        for entry in entries:
            path, what = _join(folder, entry.name), what_is(entry)
            reason = self._why_not(entry, path, what)
            if reason == _FOREIGN:
                listing.foreign.append(entry)
            elif reason == _UNKNOWN:
                listing.unknown.append(entry)
            elif reason:
                listing.skipped.append(self._skip(path, reason))
                if what in ("file", "lost") and self._is_unfinished(entry):
                    listing.unfinished.append(entry)
            else:
                file = self._is_taken(entry.name) if what == "lost" else what == "file" or is_folder_image(entry.name)
                (listing.files if file else listing.folders).append(entry)
        return listing

    def _is_unfinished(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry will be a file that counts, once its copy is finished."""
        name = finished_name(entry.name)
        if not name or litter_reason(name, folder=False):
            return False
        return what_it_is(name, self._kind) != "" or self._is_taken(name)

    def _is_taken(self, name: str) -> bool:
        extension = _extension(name) if "." in name else ""
        return extension in _TAKEN[self._kind] or (self._kind == "fields" and extension in readable_field_files())

    def _why_not(self, entry: os.DirEntry[str], path: str, what: What) -> str:
        """Why an entry is left out before any layout is asked; "" for a candidate."""
        name = entry.name
        reason = litter_reason(name, folder=what == "folder")
        if what == "lost" and not self._is_taken(name):
            reason = reason or litter_reason(name, folder=True)
        if reason == SMALL_VERSIONS and not (holds_images(os.path.dirname(entry.path)) or shadows_images(entry.path)):
            reason = ""
        if reason:
            return reason
        if what == "gone":
            return "vanished while the folder was read"
        if what == "lost":
            return self._why_not_lost(entry, path)
        if entry.is_symlink() and (reason := self._reached.why_not_link(entry, path)):
            return reason
        if what == "folder":
            return self._why_not_folder(entry)
        if what == "other":
            return "neither a file nor a folder"
        if what_it_is(name, self._kind):
            return _FOREIGN
        if not self._is_taken(name):
            return _NO_IMAGE if extension_of(name) in NO_IMAGES else _UNKNOWN
        return ""

    def _why_not_lost(self, entry: os.DirEntry[str], path: str) -> str:
        """What cannot be examined is by its name an image, and cannot be read; or a folder, and may hold slides."""
        if what_it_is(entry.name, self._kind):
            return _FOREIGN
        if self._is_taken(entry.name):
            return ""
        if leads_to_image(entry):
            return _FOREIGN
        if is_document(entry) or not self.layout.may_lie_in(path):
            return NOWHERE
        return self._why_not_folder(entry)

    def _why_not_folder(self, entry: os.DirEntry[str]) -> str:
        if is_folder_image(entry.name):
            return _FOREIGN if what_it_is(entry.name, self._kind) else ""
        if self._kind == "fields" and is_mask_folder(entry.name):
            return "label images by the folder's name; only those beside their field (NAME_mask.tif) are used"
        if self._kind == "crops" and is_mask_folder(entry.name) and shadows_images(entry.path):
            return "label images by the folder's name and the names in it; of crops they are not used"
        if self._kind == "wsi" and os.path.isfile(f"{entry.path}.mrxs"):
            return f"data of {entry.name}.mrxs, which is taken"
        return ""

    def _gather(self, folder: str, listing: _Listing) -> None:
        """Put the files of one folder into their slides."""
        masks = self._take_masks_out(listing) if self._kind == "fields" else {}
        self._leave_out_pictures_of_pictures(listing, folder)
        fitting = self._without_copies(folder, listing, self._fitting(folder, listing))
        fitting = self._with_dicom_as_one(folder, fitting)
        originals = self._originals(fitting)
        for entry, path, place in fitting:
            original = originals[entry.name]
            if original == entry.name:
                self._take(entry, path, place)
                self._take_companions(path, place, masks.get(self._stem(entry.name)))
        for entry, path, place in fitting:
            original = originals[entry.name]
            if original == entry.name:
                continue
            if original == "":
                why = say("same-name", file=Named("file", path))
                self._open.setdefault(place.path, _Group(place)).refused = (why, say("same-name-do"))
                self._take(entry, path, place)
                continue
            skipped = self._skip(path, f"preview or second copy next to {original}, which is taken")
            if place.path in self._open:
                group = self._open[place.path]
                group.skipped.append(skipped)
                if self._kind != "wsi" and _extension(entry.name) != _extension(original):
                    group.namesakes.append(Companion(_join(folder, original), _source_file(entry.path, path)))
        self._take_foreign(folder, listing)
        self._note_unfinished(folder, listing)
        own = self._open.get(folder or ".")
        if own is not None:
            own.skipped.extend(listing.skipped)

    def _with_dicom_as_one(self, folder: str, fitting: list[_Fitting]) -> list[_Fitting]:
        """Levels, label and overview of a whole slide are DICOM files of one folder: one slide, named after the folder.

        That they are of one series is checked when it is opened.
        """
        files = [item for item in fitting if self._kind == "wsi" and _extension(item[0].name) == "dcm"]
        if len(files) < 2:
            return fitting
        entry, path, place = files[0]
        if self._is_preset:
            of_folder = parse_layout(self.layout.name, "crops").place(_join(folder, "0.tif"), self.root.name)
            place = of_folder or Place(folder.rpartition("/")[2] or self.root.name, None, folder or ".", folder or ".")
        return [(entry, path, place), *(item for item in fitting if item not in files)]

    def _originals(self, fitting: list[_Fitting]) -> dict[str, str]:
        """Name of an image -> name of the one that is taken for it, which may be itself.

        Of one stem the format that comes first is taken. Others are its previews, which is checked when they are read;
        but one of the same format (`0.tif` and `0.TIF`) only where it has the same bytes. Otherwise a crop is one of
        its own (that it has the same pixels would show later), and of fields and whole slides it has to be asked: "".
        """
        best: dict[str, os.DirEntry[str]] = {}
        for entry, _, _ in fitting:
            stem = self._stem(entry.name)
            if stem not in best or _rank(entry.name) < _rank(best[stem].name):
                best[stem] = entry
        found = {}
        for entry, _, _ in fitting:
            original = best[self._stem(entry.name)]
            other_format = _FAMILIES.get(_extension(entry.name)) != _FAMILIES.get(_extension(original.name))
            preview = other_format and self._kind != "wsi"
            copied = entry.name == original.name or preview or _same_bytes(entry.path, original.path)
            found[entry.name] = original.name if copied else entry.name if self._kind == "crops" else ""
        return found

    def _leave_out_pictures_of_pictures(self, listing: _Listing, folder: str) -> None:
        """Label images and outlines that are named like an image beside them, and pictures of the whole slide."""
        stems = {self._stem(entry.name) for entry in listing.files}
        shown = overviews_among([entry.name for entry in listing.files]) if self.layout.has_cell else set()
        for entry in list(listing.files):
            behind = image_behind(entry.name)
            if behind in stems:
                reason = f"label image or outlines of {behind} by its name, not used"
            elif entry.name in shown:
                reason = OVERVIEW
            else:
                continue
            listing.files.remove(entry)
            listing.skipped.append(self._skip(_join(folder, entry.name), reason))

    def _take_foreign(self, folder: str, listing: _Listing) -> None:
        """Files of formats or kinds that are not read: with the images beside them, else slides of their own."""
        held = {self._stem(entry.name) for entry in listing.files}
        for entry in listing.foreign:
            path, what = _join(folder, entry.name), what_it_is(entry.name, self._kind) or NAMELESS
            if self._kind == "wsi" and what == "pictures" and held:
                reason = "picture beside a whole slide, which is taken"
            elif path.rpartition(".")[2].lower() in _PICTURE_LIKE and copies_among([self._stem(entry.name)], held):
                reason = "by its name a small or raw version of an image beside it"
            else:
                place = self._place_of_foreign(folder, entry.name, what, alone=len(listing.foreign) == 1)
                self._open.setdefault(place.path, _Group(place)).foreign.append(_source_file(entry.path, path))
                continue
            listing.skipped.append(self._skip(path, reason))

    def _note_unfinished(self, folder: str, listing: _Listing) -> None:
        """Copies that are not finished make their slide wait; one that broke off and left no whole file fails it."""
        archives = (skipped.path for skipped in listing.skipped if is_archive(skipped.path))
        there = {entry.name for entry in (*listing.files, *listing.foreign)}
        there |= {path.rpartition("/")[2] for path in archives}
        for entry in listing.unfinished:
            name = finished_name(entry.name)
            place = self.layout.place(_join(folder, name), self.root.name)
            if place is None and what_it_is(name, self._kind):
                place = self._place_of_foreign(folder, name, what_it_is(name, self._kind), alone=True)
            if place is None:
                continue
            file = _source_file(entry.path, _join(folder, entry.name))
            group = self._open.get(place.path)
            if unfinished_since(self.root, file) < UNFINISHED_SECONDS:
                (group or self._open.setdefault(place.path, _Group(place))).unfinished.append(file)
            elif name not in there:
                (group or self._open.setdefault(place.path, _Group(place))).broken_off.append(file)

    def _place_of_foreign(self, folder: str, name: str, what: str, *, alone: bool) -> Place:
        """Where the layout would put an image of this name; a slide named after the file where it has no place."""
        stem = (name.rpartition(".")[0] or name).removesuffix(".ome")
        as_image = self.layout.place(_join(folder, f"{stem}.{'svs' if self._kind == 'wsi' else 'tif'}"), self.root.name)
        together = is_one_of_many(name, what) or (alone and folder != "")
        if as_image is not None and (as_image.path in self._open or together):
            return as_image
        if is_hidden_image(name, self._kind) and (around := self._open.get(folder or ".")) is not None:
            return around.place
        own = _WHOLE_LAYOUTS[self.layout.name].place(_join(folder, f"{stem}.svs"), "") if self._is_preset else None
        path = _join(folder, name)
        return Place(own.slide if own else stem, own.donor if own else None, folder or ".", path)

    @property
    def _is_preset(self) -> bool:
        return self.layout.name in _WHOLE_LAYOUTS

    def _without_copies(self, folder: str, listing: _Listing, fitting: list[_Fitting]) -> list[_Fitting]:
        """Leave out copies, by name and bytes, and small versions of an image that is taken: next to it, or above.

        Of other bytes a file is one of its own, whatever its name: that it shows the same would be found later.
        """
        stems = [self._stem(entry.name) for entry, _, _ in fitting]
        above = self._above.pop(folder, {})
        copies = {**(copies_among(stems, above) if above else {}), **copies_among(stems)}
        there = {stem: entry.path for stem, (entry, _, _) in zip(stems, fitting, strict=True)}
        for below in listing.folders:
            if stems and is_copy_folder(below.name):
                self._above[_join(folder, below.name)] = there
        kept = []
        for stem, item in zip(stems, fitting, strict=True):
            original = copies.get(stem)
            if original is None or not self._is_copy(item[0].path, stem, there.get(original) or above[original]):
                kept.append(item)
                continue
            skipped = self._skip(item[1], f"by its name a copy or small version of {original}, which is taken")
            listing.skipped.append(skipped)
        return kept

    def _is_copy(self, path: str, stem: str, original: str) -> bool:
        """Whether a file that is named as a copy is one."""
        folder = os.path.dirname(path)
        other_format = _FAMILIES.get(_extension(path)) != _FAMILIES.get(_extension(original))
        below = folder != os.path.dirname(original)
        return other_format or below or is_small_version(stem) or _same_bytes(path, original)

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
        """Files that the layout knows a place for; the others are said, and fail their folder where it has no place."""
        fitting: list[_Fitting] = []
        left: list[os.DirEntry[str]] = []
        for entry in listing.files:
            path = _join(folder, entry.name)
            place = self.layout.place(path, self.root.name)
            if place is None:
                left.append(entry)
            else:
                fitting.append((entry, path, place))
        self.unfitting += len(left)
        if folder and left and not fitting and self.layout.name in PRESETS:
            self._fail_folder(folder, left)
        else:
            listing.skipped.extend(self._skip_unfitting(_join(folder, entry.name)) for entry in left)
        return fitting

    def _skip_unfitting(self, path: str) -> Skipped:
        return self._skip(path, f"{UNFITTING} '{self.layout.name}'")

    def _fail_folder(self, folder: str, images: list[os.DirEntry[str]]) -> None:
        """A whole folder of images at a place where the layout has none may be a slide (`_folders_without_place`)."""
        group = _Group(_named_after(folder))
        group.files = [_source_file(entry.path, _join(folder, entry.name)) for entry in images]
        why = say("no-place", count=len(images), layout=self.layout.name, pattern=self.layout.pattern)
        group.refused = why, say("no-place-do")
        self._misplaced.append(group)

    def _take(self, entry: os.DirEntry[str], path: str, place: Place) -> None:
        try:
            state = state_of(entry.path)
            file = SourceFile(path, state.size, state.mtime_ns)
        except OSError:
            if not os.path.lexists(entry.path):
                self._skip(path, "vanished while the folder was read")
                return
            # It is there and cannot be examined: the reader will say so, and the cell counts as unreadable.
            file = SourceFile(path, 0, 0)
        self._placed = True
        self._open.setdefault(place.path, _Group(place)).files.append(file)

    def _skip(self, path: str, reason: str) -> Skipped:
        skipped = Skipped(path, reason)
        self.explain(skipped)
        return skipped


def _named_after(folder: str) -> Place:
    """Of a failed slide that is a folder to which the layout gives no place."""
    return Place(folder.rpartition("/")[2], None, folder, folder)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _source_file(name: str, path: str) -> SourceFile:
    """A companion as it is there; one that cannot be examined is left for the reader to explain."""
    try:
        state = state_of(name)
    except OSError:
        return SourceFile(path, 0, 0)
    return SourceFile(path, state.size, state.mtime_ns)


def _rank(name: str) -> int:
    return _RANK[_extension(name)]


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _same_bytes(path: str, other: str) -> bool:
    try:
        return os.path.getsize(path) == os.path.getsize(other) and filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False

"""Files that belong to another one: label images beside crops and fields, data files of whole slides."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import MutableMapping

from mnbatch.imaging.entries import is_folder, what_is
from mnbatch.imaging.formats.size_limits import MAX_COMPANIONS
from mnbatch.imaging.layouts import EXTENSIONS

_LABELS = r"cp_masks?|(?:cell|nuclei|nucleus|nuclear|seg)?[_-]?masks?|labels?|label_?image|seg|segmentation|segmented"
_PICTURES = r"cp_outlines?|outlines?|overlay|contours?|probabilit(?:y|ies)|prob|flows?|cp_flows?|annotated|boundaries"
_MASK_FILE = re.compile(rf"(.+?)[_-](?:{_LABELS})", re.IGNORECASE)
_DERIVED_FILE = re.compile(rf"(?:masks?|labels?|seg)[_-](.+)|(.+?)[_-](?:{_LABELS}|{_PICTURES})", re.IGNORECASE)
_MASK_FOLDER = re.compile(
    r"(?:.*[_\- ])?(?:cp_?masks?|masks?|labels?|outlines?|segmentations?|segmented|overlays?|contours?|flows)",
    re.IGNORECASE,
)
_MASK_EXTENSIONS = ("tif", "tiff", "png")
_LARGEST_INDEX = 1 << 20
_DATA_FOLDERS = (
    (re.compile(r"(?P<of>.+)"), (".mrxs", ".vms", ".vmu", ".xlef", ".sldy")),
    (re.compile(r"_(?P<of>.+)_"), (".vsi",)),
    (re.compile(r"(?P<of>.+)\.files"), ("",)),
    (re.compile(r"(?P<of>.+)\.dir"), (".sldy",)),
    (re.compile(r"(?P<of>.+)[-_. ](?:files|dateien|fichiers|archivos|file)"), (".htm", ".html", ".xhtml", ".dzi")),
)
"""How folders of data are called -> what the name of the file has behind the part that is called `of`."""

_WITH_DATA_FOLDERS = frozenset(
    ("mrxs", "vms", "vmu", "xlef", "sldy", "vsi", "oif", "oir", "htm", "html", "xhtml", "dzi")
)


def field_of_mask(name: str) -> str | None:
    """Stem of the field whose label image this file is by its name (`a_cp_masks.png` is that of `a`), or None."""
    stem, _, extension = name.rpartition(".")
    match = _MASK_FILE.fullmatch(field_stem(f"{stem}.{extension}")) if extension.lower() in _MASK_EXTENSIONS else None
    return match[1] if match else None


def image_behind(name: str) -> str | None:
    """Stem of the image that a program made this file from by its name: label image, outlines, overlay, or None.

    Unlike `field_of_mask` also for what is no label image (`a_outlines.png`), and for `mask_a.png`, in any format.
    """
    match = _DERIVED_FILE.fullmatch(field_stem(name))
    return (match[1] or match[2]) if match else None


def is_mask_folder(name: str) -> bool:
    """Whether a folder holds label images by its name (`masks`, `nucleus_masks`, `labels`)."""
    return _MASK_FOLDER.fullmatch(name) is not None


def field_stem(name: str) -> str:
    """Name of an image file without its extension; `a.ome.tif` is `a`."""
    stem = name.rpartition(".")[0]
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def whole_slide_companions(path: str) -> list[str]:
    """Data files of a whole slide that consists of several, as paths beside it; none for other formats.

    MRXS keeps its data in a folder of the same name, VMS and VMU name theirs in the index file; of DICOM all files of a
    folder are one slide. What cannot be listed is left out here: opening the slide will say what is missing.
    """
    stem, _, extension = path.rpartition(".")
    if extension.lower() == "mrxs":
        return _files_in(stem)
    if extension.lower() in ("vms", "vmu"):
        return _named_in(path)
    if extension.lower() == "dcm":
        return [name for name in dicom_files(os.path.dirname(path)) if name != path]
    return []


def dicom_files(folder: str) -> list[str]:
    """The DICOM files of a folder by their extension, in the order of their names."""
    return [name for name in _files_in(folder) if name.lower().endswith(".dcm") and "/." not in name]


def belongs_to_file_above(
    root: str | os.PathLike[str], folder: str, owners: MutableMapping[str, frozenset[str]]
) -> bool:
    """Whether a folder, or one around it, holds the data of a file next to it (`S1/` of `S1.mrxs`, `_a_` of `a.vsi`).

    Only of formats that keep their data in a folder: a table or report with a slide's name (`S1.csv`) owns nothing.

    Args:
        root: the export.
        folder: relative to it, with forward slashes.
        owners: files that may have such folders, by the folder that they are in; filled here, so that a folder of
            thousands of others is listed once.
    """
    parts = folder.casefold().split("/")
    for depth, name in enumerate(parts):
        around = "/".join(folder.split("/")[:depth])
        if around not in owners:
            owners[around] = _owners_in(os.path.join(root, around))
        if owners[around] and not owners[around].isdisjoint(_owners_of(name)):
            return True
    return False


def _owners_in(folder: str) -> frozenset[str]:
    try:
        names = [name.casefold() for name in os.listdir(folder)]
    except OSError:
        return frozenset()
    return frozenset(name for name in names if name.rpartition(".")[2] in _WITH_DATA_FOLDERS)


def _owners_of(name: str) -> list[str]:
    """Names of the files whose data a folder may hold by its name, which is in lower case."""
    found = [match["of"] + end for pattern, ends in _DATA_FOLDERS if (match := pattern.fullmatch(name)) for end in ends]
    return [owner for owner in found if owner != name]


def _files_in(folder: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(folder) if what_is(entry) == "file")
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


_MOST_LOOKED_AT = 500


def holds_images(folder: str) -> bool:
    """Whether images lie directly in a folder."""
    try:
        return any(_is_image(name) for name in os.listdir(folder))
    except OSError:
        return False


def shadows_images(folder: str) -> bool:
    """Whether most images of a folder are named like images or folders beside it, or images in those, as masks are."""
    inside = [name for _, name in _names_below(folder)]
    above = os.path.dirname(folder)
    known = {field_stem(name) for place, name in _names_below(above) if place != folder}
    known |= {entry.name for entry in _folders_in(above) if entry.path != folder}
    return 2 * sum(image_behind(name) in known or field_stem(name) in known for name in inside) > len(inside)


def _names_below(folder: str) -> list[tuple[str, str]]:
    """Folder and name of the images of a folder and the folders in it; at most 500 of each."""
    found: list[tuple[str, str]] = []
    for place in (folder, *(entry.path for entry in _folders_in(folder))):
        try:
            names = sorted(filter(_is_image, os.listdir(place)))
        except OSError:
            continue
        found += [(place, name) for name in names[:_MOST_LOOKED_AT]]
    return found


def _folders_in(folder: str) -> list[os.DirEntry[str]]:
    try:
        found = [entry for entry in os.scandir(folder) if not entry.is_symlink() and is_folder(entry)]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in EXTENSIONS and not name.startswith(".")

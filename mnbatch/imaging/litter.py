"""One list of what is no cell, field or slide by its name: for crawl, scan, train, evaluate and compare."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mnbatch.imaging.companions import field_stem, image_behind, is_mask_folder
from mnbatch.imaging.layouts import EXTENSIONS

HIDDEN = "hidden"
LEFT_THERE = "left there by an operating system or file server, not by a scanner"
SMALL_VERSIONS = "folder of small versions by its name"
UNFINISHED = "a copy that is not finished by its name"
OVERVIEW = "a picture of the whole slide or its label by its name, no cell and no field"

_SYSTEM = re.compile(
    r"thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|icon\r|\$recycle\.bin|recycler|recycled|#?recycle(?: ?bin)?|"
    r"@recycle|@recently-snapshot|@eadir|@tmp|@sharebin|@sharesnap|@appstore|@database|@syno.*|"
    r"[#~.@_]snapshots?|@gmt-[-.0-9]+|__macosx|network trash folder|temporary items|trashes|trash-[0-9]+|"
    r"system volume information|lost\+found|found\.[0-9]{3}|~\$.*|"
    r"_gsdata_|windowsimagebackup|\$extend|lost\.dir|msdownld\.tmp|"
    r".*[@.]synoeastream|.*@synoresource|synophoto_.*|syno(?:index|video)_.*",
    re.IGNORECASE | re.DOTALL,
)
"""What operating systems, file servers and office programs leave in folders; some of it holds thumbnails or old
versions of everything."""

_SMALL = re.compile(
    r"[@_.]?(?:thumbs?|thumbnails?|previews?|vorschau(?:bilder)?|apercus?|aperçus?|miniatur(?:e|es|en|as?)?)",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(
    r".*\.(?:part|partial|tmp|temp|crdownload|filepart|download|opdownload|!ut|!sync|!qb|rsync-tmp|incomplete|unfinished|"
    r"aria2|lftp-pget-status|icloud)",
    re.IGNORECASE | re.DOTALL,
)
_BEGUN = re.compile(
    r"\.(?P<rsync>.+)\.[A-Za-z0-9]{6}|\.(?P<owncloud>.+)\.~[0-9A-Fa-f]+|(?:\.syncthing\.|~syncthing~)(?P<syncthing>.+)\.tmp|"
    r"\.(?P<icloud>.+)\.icloud",
    re.IGNORECASE | re.DOTALL,
)
"""How programs that copy or synchronise name what they have not fetched yet."""
_OVERVIEW = re.compile(
    r"(?:.*[-_ .])?(?:over[-_ ]?view|[üu]bersicht|macro|makro|macro[-_ ]?image|barcode|slide[-_ ]?(?:label|map|"
    r"overview|thumbnail|preview)|label[-_ ]?image|map[-_ ]?image)|label|etikett|thumb(?:nail)?|preview|vorschau",
    re.IGNORECASE,
)


def is_system_litter(name: str) -> bool:
    """Whether an operating system, a file server or an office program left this file or folder there."""
    return name.startswith(".") or _SYSTEM.fullmatch(name) is not None


def litter_reason(name: str, *, folder: bool) -> str:
    """Why a file or folder is none of a scanner's by its name alone; "" for a candidate."""
    if name.startswith("."):
        return HIDDEN
    if _SYSTEM.fullmatch(name):
        return LEFT_THERE
    if folder:
        return SMALL_VERSIONS if _SMALL.fullmatch(name) else ""
    return UNFINISHED if _UNFINISHED.fullmatch(name) else ""


def finished_name(name: str) -> str:
    """Name that a file gets when its copy is finished (`a.tif.part`, `.a.tif.X4kQ9z`, `.a.tif.icloud`: `a.tif`).

    "" for a name that is none of a copy in progress. Whether the result names an image is for the caller to say.
    """
    if (match := _BEGUN.fullmatch(name)) and not (match["rsync"] and _UNFINISHED.fullmatch(name)):
        return str(next(filter(None, match.groups())))
    if _UNFINISHED.fullmatch(name):
        return name.removeprefix(".").rpartition(".")[0]
    return name.removeprefix(".").removesuffix("~") if name.endswith("~") else ""


def is_overview(name: str) -> bool:
    """Whether an image shows the whole slide, its label or a small version by its name (`S1_overview.jpg`)."""
    return _OVERVIEW.fullmatch(field_stem(name)) is not None


def overviews_among(names: list[str]) -> set[str]:
    """Images of a folder that show the slide; where all are named so it is a name like any other, but `thumbnail`."""
    found = {name for name in names if is_overview(name)}
    return {name for name in found if _SMALL.fullmatch(field_stem(name))} if len(found) == len(names) else found


def images_below(folder: Path) -> Iterator[Path]:
    """Images of cells in a folder and its subfolders, in order: without litter, label images and overviews.

    For folders in which a person sorted crops (`mn/`, `nomn/`); a crawl of an export also says what it leaves out.
    """
    for place, folders, files in os.walk(folder):
        names = [name for name in sorted(files) if _is_image(name)]
        stems = {field_stem(name) for name in names}
        labels = {name for name in names if image_behind(name) in stems}
        left_out = labels | overviews_among(names)
        yield from (Path(place) / name for name in names if name not in left_out)
        folders[:] = sorted(n for n in folders if not litter_reason(n, folder=True) and not is_mask_folder(n))


def _is_image(name: str) -> bool:
    known = name.rpartition(".")[2].lower() in EXTENSIONS and "." in name
    return known and not litter_reason(name, folder=False)

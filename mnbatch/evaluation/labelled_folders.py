"""Which files of a folder of sorted crops are cells: one of each scene and name, by the rules of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mnbatch.assay.cells import ReadTask, Slide, SourceFile
from mnbatch.assay.page_options import PageOptions
from mnbatch.errors import SlideError
from mnbatch.imaging.companions import field_stem
from mnbatch.imaging.first_bytes import NO_IMAGES
from mnbatch.imaging.formats.loading import load
from mnbatch.imaging.layouts import EXTENSIONS
from mnbatch.imaging.litter import images_below, is_system_litter
from mnbatch.imaging.namesakes import check_namesake
from mnbatch.imaging.scene_names import slides_by_names
from mnbatch.imaging.walk import natural_key


@dataclass(frozen=True, slots=True)
class CellFile:
    """The file of a cell.

    Attributes:
        planes: files that show it in other focal planes.
        options: what a person said of pages, without what chose the file itself.
    """

    path: Path
    planes: tuple[Path, ...]
    options: PageOptions


def cells_below(folder: Path, options: PageOptions) -> Iterator[CellFile]:
    """The cells of a folder and its subfolders, folder by folder.

    Files of one scene are told by their names, as in a run: one channel and time is taken, with its focal planes. Of
    files that differ in their extension alone the first format is taken, if both show the same.

    Raises:
        SlideError: which file of a scene is read has to be said; or two files of one name show different things.
    """
    paths = sorted(images_below(folder), key=lambda path: (path.parent, natural_key(path.name)))
    for place, images in groupby(paths, key=lambda path: path.parent):
        yield from _of_folder(place, [path.name for path in images], options)


def files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder in which a person sorted crops, without what systems leave there, documents and tables."""
    for place, folders, files in os.walk(folder):
        names = (name for name in sorted(files) if not is_system_litter(name) and _extension(name) not in NO_IMAGES)
        yield from (Path(place) / name for name in names)
        folders[:] = sorted(name for name in folders if not is_system_litter(name))


def _of_folder(place: Path, names: list[str], options: PageOptions) -> Iterator[CellFile]:
    root = place.absolute().parent
    kept = _without_namesakes(place, names, options)
    files = tuple(SourceFile(f"{place.name}/{name}", 0, 0) for name in kept)
    whole = Slide(
        slide_id="labels", name=place.name, path=place.name, donor=None, root=root, files=files, layout="labels"
    )
    for slide in slides_by_names(whole, options, lambda _: None):
        if slide.refused is not None:
            raise SlideError(*slide.refused)
        for file in slide.files:
            planes = (one.file for one in slide.companions if one.plane and one.of == file.path)
            path, *others = (place / os.path.basename(one.path) for one in (file, *planes))
            yield CellFile(path, tuple(others), slide.within_files(options))


def _without_namesakes(place: Path, names: list[str], options: PageOptions) -> Iterator[str]:
    """One of several files that differ in their extension alone.

    Raises:
        SlideError: they show different things.
    """
    originals: dict[str, str] = {}
    for name in sorted(names, key=lambda name: EXTENSIONS.index(_extension(name))):
        original = originals.setdefault(field_stem(name), name)
        if original != name and _family(original) == _family(name):
            originals[name] = name  # equal content is found later
        elif original != name:
            task = ReadTask("labels", place, SourceFile(original, 0, 0), hash_file=False, options=options)
            pictures = (page.decoded for page in load(task)[1] if page.decoded is not None)
            check_namesake(place, SourceFile(name, 0, 0), SourceFile(original, 0, 0), pictures)
    kept = set(originals.values())
    return (name for name in names if name in kept)


def _extension(name: str) -> str:
    return os.path.splitext(name)[1][1:].lower()


def _family(name: str) -> str:
    return {"tif": "tiff", "jpg": "jpeg"}.get(_extension(name), _extension(name))

"""Wells of a plate that is one OME-Zarr folder: each is a slide, as wells are that instruments write as files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.assay.reasons import Named, say
from mnbatch.imaging.companions import field_stem
from mnbatch.imaging.formats.folder_images import is_folder_image, state_of
from mnbatch.imaging.identity import slide_id
from mnbatch.imaging.walk import natural_key
from mnbatch.intake import read_json

_LARGEST_METADATA = 64 << 20


def slides_of_plates(slide: Slide) -> list[Slide]:
    """A slide as it is, or with each well of its plates as a slide of its own.

    Args:
        slide: as the walk found it; with an image `.zarr` that is a plate.
    """
    plates = [] if slide.refused or slide.kind != "fields" else [f for f in slide.files if _is_plate(slide, f)]
    if not plates:
        return [slide]
    rest = tuple(file for file in slide.files if file not in plates)
    made = [replace(slide, files=rest)] if rest else []
    wells = [well for plate in plates for well in _wells(slide, plate)]
    if not rest:
        wells[0] = replace(wells[0], skipped=slide.skipped)
    return [*made, *wells]


def _is_plate(slide: Slide, file: SourceFile) -> bool:
    return is_folder_image(file.path) and _plate(os.path.join(slide.root, file.path)) is not None


def _plate(folder: str) -> Mapping[str, Any] | None:
    """What a folder says of its plate (NGFF 0.5 in `zarr.json`, 0.4 in `.zattrs`); None for no plate.

    What cannot be read is no plate: reading it as an image will say what is wrong.
    """
    for name in ("zarr.json", ".zattrs"):
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        try:
            said = read_json(Path(path), most=_LARGEST_METADATA, finite=False)
        except (OSError, ValueError):
            return None
        said = said.get("attributes") if name == "zarr.json" and isinstance(said, Mapping) else said
        said = said.get("ome", said) if isinstance(said, Mapping) else None
        plate = said.get("plate") if isinstance(said, Mapping) else None
        return plate if isinstance(plate, Mapping) else None
    return None


def _wells(slide: Slide, file: SourceFile) -> Iterator[Slide]:
    """Raises nothing: a plate whose wells cannot be told is one failed slide."""
    plate = _plate(os.path.join(slide.root, file.path)) or {}
    paths = sorted({_path_of(well) for well in plate.get("wells") or () if isinstance(well, Mapping)}, key=natural_key)
    if not paths or "" in paths:
        why = say("plate-wells", file=Named("file", file.path))
        yield _named(slide, file, "", refused=(why, say("plate-wells-do")))
        return
    for path in paths:
        yield _named(slide, file, path)


def _path_of(well: Mapping[str, Any]) -> str:
    """`B/03`: folders of row and column; "" where it is none."""
    path = well.get("path")
    parts = path.split("/") if isinstance(path, str) else []
    return "/".join(parts) if len(parts) == 2 and all(part and part not in (".", "..") for part in parts) else ""


def _named(slide: Slide, file: SourceFile, well: str, refused: tuple[str, str] | None = None) -> Slide:
    path = f"{file.path}/{well}" if well else file.path
    stem = field_stem(file.path.rpartition("/")[2])
    try:
        state = state_of(os.path.join(slide.root, path))
        own = SourceFile(path, state.size, state.mtime_ns)
    except OSError:
        own = SourceFile(path, 0, 0)  # it is named and not there: the reader will say so
    return replace(
        slide,
        slide_id=slide_id(path),
        name=f"{stem}_{well.replace('/', '')}" if well else stem,
        path=path,
        files=(own,),
        skipped=(),
        companions=(),
        namesakes=(),
        refused=refused,
    )

"""Images that came into a slide's folders after its plan was made: what a job scores without them is no whole slide."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from mnbatch.assay.cells import Slide
from mnbatch.errors import StorageError
from mnbatch.imaging.layouts import parse_layout
from mnbatch.intake import reason

_SHOWN = 3


def arrived(slide: Slide) -> list[str]:
    """Paths of images that are the slide's by the layout and that its plan does not know, in order.

    The folders of its files are looked through, not the export: a slide that came since the plan is not found.

    Raises:
        StorageError: a folder cannot be read.
    """
    layout = parse_layout(slide.layout, slide.kind)
    known = {file.path for file in (*slide.files, *slide.unfinished)}
    known |= {other.file.path for other in (*slide.companions, *slide.namesakes)} | {one.path for one in slide.skipped}
    found = []
    for folder in sorted({str(PurePosixPath(file.path).parent) for file in slide.files}):
        if any(part.endswith(".zarr") for part in folder.split("/")):
            # A picture is a folder there, and its parts have no place of their own.
            continue
        for name in _names(slide, folder):
            path = name if folder == "." else f"{folder}/{name}"
            if name.startswith(".") or path in known:
                continue
            place = layout.place(path, slide.root.name)
            if place is not None and place.path == slide.path:
                found.append(path)
    return sorted(found)


def said_of(paths: list[str]) -> str:
    """What came, in words."""
    more = f", and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    what = "1 image" if len(paths) == 1 else f"{len(paths)} images"
    return f"{what} came after the plan was made ({', '.join(paths[:_SHOWN])}{more})"


def _names(slide: Slide, folder: str) -> list[str]:
    try:
        return os.listdir(slide.root / folder)
    except FileNotFoundError:
        # Its files are gone, which the reading says of each.
        return []
    except OSError as error:
        raise StorageError(
            f"Cannot list {slide.root / folder}: {reason(error)}.", "Check the share and its permissions."
        ) from error

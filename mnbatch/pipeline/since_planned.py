"""Images that came into a slide's folders after it was planned: what is scored without them is no whole slide."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from mnbatch.assay.cells import Slide
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.errors import StorageError
from mnbatch.imaging.discovery import slides_in_folder
from mnbatch.imaging.layouts import parse_layout
from mnbatch.intake import reason

_SHOWN = 3

# What belongs to a slide is decided by the walk that made the plan, not by rules of its own: where the two differed,
# a slide would either be scored without some of its images or stay unscored for ever.


class Arrivals:
    """Looks for what came since a plan; the folder that was read last is kept, for the other slides in it.

    Args:
        options: what a person said of names, channels, planes and times when the plan was made.
        stated: a person said what the export holds.
    """

    def __init__(self, options: PageOptions = NO_OPTIONS, *, stated: bool = False) -> None:
        self._options = options
        self._stated = stated
        self._last: tuple[tuple[str, ...], list[list[Slide]]] | None = None

    def of(self, slide: Slide) -> list[str]:
        """Paths of files that are the slide's and that its plan does not know, in order; also of unfinished copies.

        The slide's own folders are looked through, not the export: a slide that came since the plan is not found. One
        that fails unread fails with or without more files.

        Raises:
            StorageError: a folder cannot be read.
        """
        if slide.refused is not None:
            return []
        known = {file.path for file in (*slide.everything, *slide.unfinished)} | {one.path for one in slide.skipped}
        came = set()
        for folder in _folders(slide):
            if _is_there(slide.root, folder):
                here = _belonging(slide, self._slides_in(folder, slide))
                came |= {file.path for one in here for file in (*one.everything, *one.unfinished)} - known
        return sorted(came)

    def _slides_in(self, folder: str, slide: Slide) -> list[list[Slide]]:
        asked = (str(slide.root), folder, slide.layout, slide.kind)
        if self._last is None or self._last[0] != asked:
            found = slides_in_folder(slide.root, folder, slide, self._options, stated=self._stated)
            self._last = asked, found
        return self._last[1]


def said_of(paths: list[str]) -> str:
    """What came, in words."""
    more = f", and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    what = "1 image" if len(paths) == 1 else f"{len(paths)} images"
    return f"{what} came after the plan was made ({', '.join(paths[:_SHOWN])}{more})"


def _folders(slide: Slide) -> list[str]:
    """Where files of the slide may lie; "" for the export itself."""
    layout = parse_layout(slide.layout, slide.kind)
    found = set()
    for file in slide.files:
        path = _picture(file.path)
        place = layout.place(path, slide.root.name) if layout.nested else None
        folder = str(PurePosixPath(path).parent) if place is None else place.anchor
        found.add("" if folder == "." else folder)
    # Of a folder within another one that is read with all below it, the files would be taken twice.
    inside = [one for one in found if layout.nested and any(one.startswith(f"{top}/") for top in found if top)]
    return sorted(found.difference(inside))


def _picture(path: str) -> str:
    """Path of the folder that is one picture, for what lies in it (a well of a plate), else the path."""
    parts = path.split("/")
    ends = [number for number, part in enumerate(parts, 1) if part.lower().endswith((".zarr", ".n5"))]
    return "/".join(parts[: ends[0]]) if ends else path


def _belonging(slide: Slide, places: Sequence[Sequence[Slide]]) -> Iterator[Slide]:
    """The slide as it is now; where new files have its images told apart otherwise, all slides of its place."""
    same = [one for place in places for one in place if one.path == slide.path]
    if same:
        yield from same
        return
    mine = {file.path for file in slide.files}
    for place in places:
        if any(file.path in mine for one in place for file in one.everything):
            yield from place


def _is_there(root: Path, folder: str) -> bool:
    try:
        with os.scandir(root / folder):
            return True
    except FileNotFoundError:
        # Its files are gone, which the reading says of each.
        return False
    except OSError as error:
        raise StorageError(
            f"Cannot list {root / folder}: {reason(error)}.", "Check the share and its permissions."
        ) from error

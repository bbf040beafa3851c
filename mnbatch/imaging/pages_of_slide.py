"""What the multi-page files of a slide are, seen over several files: a few are looked into before any is read."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.assay.page_options import PageOptions
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import SlideError
from mnbatch.imaging.formats.loading import described_pages
from mnbatch.imaging.formats.pixels import DECODING_ERRORS
from mnbatch.imaging.formats.size_limits import UndecodableError

_LOOKED_AT = 3
_FEW = 8
"""Pages. Where every file of a slide has the same number of pages and so few, they may as well be stains, focal planes
or a preview of one cell; galleries hold more, and not all as many."""


@dataclass(frozen=True, slots=True)
class SeenPages:
    """What the pages of one file are.

    Attributes:
        what: in words; "" for one ordinary picture.
        unstated: pages of which nothing says what they are; 0 where it is said.
        cells: that are read of it.
    """

    file: str
    what: str
    unstated: int
    cells: int


def looked_into(slide: Slide, options: PageOptions) -> list[SeenPages]:
    """What the pages are of up to three TIFFs of a slide, evenly spaced; unreadable ones are left out.

    Raises:
        SlideError: it has to be said by a person.
    """
    seen = []
    for file in _sample([file for file in slide.files if file.path.lower().endswith((".tif", ".tiff"))]):
        try:
            seen.append(SeenPages(file.path, *described_pages(os.path.join(slide.root, file.path), file.path, options)))
        except (*DECODING_ERRORS, UndecodableError):
            continue  # reading it will say what is wrong
    return seen


def check_pages(slide: Slide, options: PageOptions) -> None:
    """Ask what pages are where all files of a slide have the same few, and nothing says what they are.

    Raises:
        SlideError: it has to be said by a person.
    """
    seen = looked_into(slide, options)
    counts = {one.unstated for one in seen}
    if len(seen) < 2 or options.pages is not None or len(counts) > 1:
        return
    (count,) = counts
    if 2 <= count <= _FEW:
        why = say("pages-few", count=count)
        file = Named("file", seen[0].file)
        raise SlideError(say("pages-unclear", file=file, why=why), say("pages-unclear-do"))


def said_of_pages(slide: Slide, options: PageOptions) -> str:
    """What the pages of a slide's files are and what of them is read, in words; "" where each is one ordinary picture.

    Only a few files are looked into.

    Raises:
        SlideError: it has to be said by a person, or a whole slide cannot be opened.
    """
    options = slide.within_files(options)
    if slide.kind == "crops":
        check_pages(slide, options)
        said = [one.what for one in looked_into(slide, options)]
    else:
        # What fields need takes a second to load, which crops need not spend.
        from mnbatch.imaging.fields.field_pages import pages_of_fields, pages_of_scans

        stain = pages_of_scans if slide.kind == "wsi" else pages_of_fields
        said = [stain(slide, file, options) for file in _sample(list(slide.files))]
    return " / ".join(dict.fromkeys(filter(None, said)))


def _sample(files: list[SourceFile]) -> list[SourceFile]:
    count = min(_LOOKED_AT, len(files))
    return [files[i * (len(files) - 1) // max(1, count - 1)] for i in range(count)]

"""What slides an export holds: one streaming walk in natural order, which says what it left out and why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from mnbatch.assay.cells import Skipped, Slide
from mnbatch.assay.fields import InputKind
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import NoInputError, UsageError
from mnbatch.imaging.duplicates import SlideCopies
from mnbatch.imaging.layouts import DEFAULT_LAYOUT, parse_layout
from mnbatch.imaging.settling import when_settled
from mnbatch.imaging.walk import Walk

Explain = Callable[[Skipped], None]


def find_slides(
    root: Path,
    *,
    layout: str = DEFAULT_LAYOUT,
    settle_seconds: float | None = None,
    explain: Explain | None = None,
    kind: InputKind = "gallery",
) -> Iterator[Slide]:
    """Walk an export once and yield its slides in natural order.

    Args:
        root: the export directory.
        layout: preset name or pattern (see `mnbatch.imaging.layouts`).
        settle_seconds: a slide whose newest file is younger than this, or that changed between two looks,
            comes with `settled=False`; None takes every slide as it is.
        explain: is told of every file and folder that is not taken, and why.
        kind: what the export holds (see `mnbatch.imaging.inputs`).

    Raises:
        UsageError: unknown layout (at once); two slides with one slide-id.
        NoInputError: the export does not exist (at once) or holds no slide (at the end of the walk).
        StorageError: the export cannot be read.
    """
    parsed = parse_layout(layout, kind)
    top = Path(os.path.abspath(root))
    if not top.is_dir():
        what = "is a file, not a folder" if top.exists() else "does not exist"
        raise NoInputError(f"The export {root} {what}.", "Give the folder that the scanner wrote.")
    return _find(Walk(top, parsed, explain or (lambda _: None), kind), settle_seconds)


def _find(walk: Walk, settle_seconds: float | None) -> Iterator[Slide]:
    root, layout, explain = walk.root, walk.layout, walk.explain
    copies = SlideCopies()
    ids: set[str] = set()
    slides = (_marked_copy(slide, copies, explain) for slide in walk.slides())
    for slide in when_settled(slides, settle_seconds, explain):
        if slide.slide_id in ids:
            raise UsageError(
                say(
                    "same-id",
                    export=Named("export", str(root)),
                    id=Named("slide", slide.slide_id),
                    path=Named("folder", slide.path),
                ),
                say("same-id-do"),
            )
        ids.add(slide.slide_id)
        yield slide
    if not ids:
        raise NoInputError(
            f"No slide was found in {root} with the layout '{layout.name}' ({layout.explanation}); "
            f"{walk.unfitting} image files do not fit it.",
            "See `mnbatch scan EXPORT --explain`, and choose a layout with --layout.",
        )


def _marked_copy(slide: Slide, copies: SlideCopies, explain: Explain) -> Slide:
    original = copies.original_of(slide)
    if original is None:
        return slide
    explain(Skipped(slide.path, f"copy of slide {original}: the same files by content"))
    return replace(slide, copy_of=original)

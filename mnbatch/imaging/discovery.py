"""What slides an export holds: one streaming walk in natural order, which says what it left out and why."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mnbatch.assay.cells import Skipped, Slide
from mnbatch.assay.field_records import InputKind
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.assay.reasons import Named, say
from mnbatch.errors import NoInputError, UsageError
from mnbatch.imaging.formats.folder_images import digest_of, is_folder_image, sample_digest
from mnbatch.imaging.layouts import DEFAULT_LAYOUT, Layout, parse_layout
from mnbatch.imaging.name_tokens import Naming, Tokens, naming_of, tokens_of_groups
from mnbatch.imaging.plate_wells import slides_of_plates
from mnbatch.imaging.scene_names import slides_by_names
from mnbatch.imaging.settling import Rested, when_settled
from mnbatch.imaging.walk import Walk

# Whole slides copied under another name, found by content and cheaply.
#
# Three sieves, each only for what the one before could not tell apart: the sizes of the files; a few
# hundred bytes from the middle of each file; the whole content. Uncompressed crops of one size would
# otherwise make every slide a candidate, and a crawl would read the whole export.


_PROBE_BYTES = 512
_FileDigest = Callable[[str], bytes]


@dataclass(slots=True)
class _Known:
    """What is kept of a slide; its paths as one string, which takes far less memory than its records."""

    slide_id: str
    root: Path
    paths: str
    real: str | None = None
    probe: bytes | None = None
    content: bytes | None = None


class SlideCopies:
    """Slides seen so far, by content."""

    def __init__(self) -> None:
        self._by_sizes: dict[bytes, list[_Known]] = {}

    def original_of(self, slide: Slide) -> str | None:
        """Slide-id of an earlier slide with byte-identical files under whatever names, or None.

        Files that two slides share by a link are the same, also where they cannot be read. Otherwise a slide that
        cannot be read whole, or that has no content, is nobody's copy.
        """
        slide = replace(slide, namesakes=())  # they are not counted
        if not any(file.size for file in slide.everything):
            return None
        new = _Known(slide.slide_id, slide.root, "\0".join(file.path for file in slide.everything))
        same_sizes = self._by_sizes.setdefault(_sizes(slide), [])
        for known in same_sizes:
            if _same_files(known, new) or (_same_probe(known, new) and _same_content(known, new)):
                return known.slide_id
        same_sizes.append(new)
        return None


def _sizes(slide: Slide) -> bytes:
    sizes = ",".join(map(str, sorted(file.size for file in slide.everything)))
    return hashlib.blake2b(sizes.encode(), digest_size=16).digest()


def _same_files(known: _Known, new: _Known) -> bool:
    """Whether both are the same files of the disk; the first of them is asked about first, which mostly answers it."""
    for slide in (known, new):
        if slide.real is None:
            slide.real = os.path.realpath(os.path.join(slide.root, slide.paths.split("\0", 1)[0]))
    if known.real != new.real:
        return False
    places = (
        sorted(os.path.realpath(os.path.join(slide.root, path)) for path in slide.paths.split("\0"))
        for slide in (known, new)
    )
    return next(places) == next(places)


def _same_probe(known: _Known, new: _Known) -> bool:
    for slide in (known, new):
        if slide.probe is None:
            slide.probe = _digest(slide, _middle)
    return known.probe == new.probe != b""


def _same_content(known: _Known, new: _Known) -> bool:
    for slide in (known, new):
        if slide.content is None:
            slide.content = _digest(slide, _whole)
    return known.content == new.content != b""


def _digest(slide: _Known, of_file: _FileDigest) -> bytes:
    """Digest of the files' digests whatever their order; b"" when a file cannot be read."""
    try:
        digests = sorted(of_file(os.path.join(slide.root, path)) for path in slide.paths.split("\0"))
    except OSError:
        return b""
    return _combined(digests)


def _combined(digests: Iterable[bytes]) -> bytes:
    return hashlib.blake2b(b"".join(digests), digest_size=16).digest()


def _middle(path: str) -> bytes:
    return sample_digest(path, _PROBE_BYTES)


def _whole(path: str) -> bytes:
    return digest_of(path)


# What slides an export holds: one streaming walk in natural order, which says what it left out and why.


Explain = Callable[[Skipped], None]


def find_slides(
    root: Path,
    *,
    layout: str = DEFAULT_LAYOUT,
    settle_seconds: float | None = None,
    explain: Explain | None = None,
    kind: InputKind = "crops",
    stated: bool = False,
    options: PageOptions = NO_OPTIONS,
    rested: Rested | None = None,
) -> Iterator[Slide]:
    """Walk an export once and yield its slides in natural order.

    Args:
        root: the export directory.
        layout: preset name or pattern (see `mnbatch.imaging.layouts`).
        settle_seconds: a slide whose newest file is younger than this, or that changed between two looks,
            comes with the reason in `waits`; None takes every slide as it is. One with a copy in its place that is not
            finished by its name waits in any case.
        explain: is told of every file and folder that is not taken, and why.
        kind: what the export holds (see `mnbatch.imaging.inputs`).
        stated: a person said so: what is of another kind beside images of a slide is left out, and does not fail it.
        options: what a person says of the files' names, channels, planes and times.
        rested: whether an earlier run saw a slide in this state long enough ago; for slides dated in the future.

    Raises:
        UsageError: unknown layout or names (at once); two slides with one slide-id.
        NoInputError: the export does not exist (at once) or holds no slide (at the end of the walk).
        StorageError: the export cannot be read.
    """
    parsed = parse_layout(layout, kind)
    if options.names is not None:
        naming_of(options.names)
    top = Path(os.path.abspath(root))
    if not top.is_dir():
        what = "is a file, not a folder" if top.exists() else "does not exist"
        raise NoInputError(f"The export {root} {what}.", "Give the folder that the scanner wrote.")
    if is_folder_image(top.name):
        raise NoInputError(f"The folder {root} is one image, not an export.", "Give the folder that holds it.")
    return _find(Walk(top, parsed, explain or (lambda _: None), kind, stated=stated), settle_seconds, options, rested)


def slides_in_folder(root: Path, folder: str, known: Slide, options: PageOptions, *, stated: bool) -> list[list[Slide]]:
    """The slides of one folder of an export by the rules of `find_slides`, unsettled; each list is one place's.

    Args:
        folder: relative to the root; "" for the root itself. Folders below it are read where the layout has files of
            one slide in several.
        known: of it layout and kind are taken.
        stated: as for `find_slides`.
    """
    layout = parse_layout(known.layout, known.kind)
    return list(_places(Walk(root, layout, lambda _: None, known.kind, stated=stated), options, folder))


def _places(walk: Walk, options: PageOptions, folder: str | None = None) -> Iterator[list[Slide]]:
    """The slides of each place of an export, or of a folder of it."""
    naming = _naming_of_layout(walk.layout)
    for place in walk.slides() if folder is None else walk.slides_in(folder):
        yield [
            well for named in slides_by_names(place, options, walk.explain, naming) for well in slides_of_plates(named)
        ]


def _naming_of_layout(layout: Layout) -> Naming | None:
    """What a pattern with placeholders for channels, planes or wells says of the files' names."""

    def parse(path: str) -> Tokens | None:
        groups = layout.groups(path)
        return None if groups is None else tokens_of_groups({**groups, "name": groups.get("donor")})

    return Naming(layout.name, parse) if layout.says_scenes else None


def _find(walk: Walk, settle_seconds: float | None, options: PageOptions, rested: Rested | None) -> Iterator[Slide]:
    root, layout, explain = walk.root, walk.layout, walk.explain
    copies = SlideCopies()
    ids: set[str] = set()
    wells = (well for place in _places(walk, options) for well in place)
    slides = (_marked_copy(slide, copies, explain) for slide in wells)
    for slide in when_settled(slides, settle_seconds, explain, rested):
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
    original = None if slide.refused or slide.unfinished else copies.original_of(slide)
    if original is None:
        return slide
    explain(Skipped(slide.path, f"copy of slide {original}: the same files by content"))
    return replace(slide, copy_of=original)

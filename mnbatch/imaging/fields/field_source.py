"""A slide of fields as a source of cells: pieces of work, each of which gives crops and a report of its field."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from mnbatch.assay.cells import CellCrop, FileDigest, ReadItem, Slide, SourceFile, UnreadableCell
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.assay.reasons import Named, reason_in, reason_of, say
from mnbatch.errors import SlideError
from mnbatch.imaging.fields.cytoplasm_channel import with_cytoplasm
from mnbatch.imaging.fields.field_images import FieldImage, load_fields
from mnbatch.imaging.fields.field_options import FieldOptions, FieldTask
from mnbatch.imaging.fields.field_survey import Seen, SlideTraits
from mnbatch.imaging.fields.finding import FoundField, cut_crop, find_cells, look_at, median_colour, overview_jpeg
from mnbatch.imaging.fields.label_images import load_labels
from mnbatch.imaging.fields.pixel_sizes import plausible
from mnbatch.imaging.fields.plane_files import joined_fields
from mnbatch.imaging.formats.likeness_of_pages import details_of
from mnbatch.imaging.formats.pixels import Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.identity import cell_id
from mnbatch.imaging.preparation import Preparation
from mnbatch.imaging.readers import make_cell


class FieldWork(Protocol):
    """What a field comes from: a file, or a region of one."""

    @property
    def file(self) -> SourceFile:
        """The image file."""

    @property
    def mask(self) -> SourceFile | None:
        """Its label image."""


class FieldSource:
    """The fields of one slide.

    Args:
        slide: of kind `fields`.
        preparation: of the crops, from the model's card.
        options: how cells are found and cut.

    Raises:
        SlideError: the model's contrast rule cannot be served for fields.
    """

    def __init__(self, slide: Slide, preparation: Preparation, options: FieldOptions) -> None:
        if preparation.contrast.rule == "per_slide":
            raise SlideError(say("contrast-rule", slide=Named("slide", slide.name)), say("contrast-rule-do"))
        self._slide = slide
        self._preparation = preparation
        self._options = options
        self._pages = slide.within_files(options.page_options)
        masks = {one.of: one.file for one in slide.companions if not one.plane and not one.cytoplasm}
        planes = slide.beside("plane")
        cytoplasm = slide.beside("cytoplasm") if options.cytoplasm else {}
        self._tasks = [
            FieldTask(file, masks.get(file.path), planes.get(file.path, ()), cytoplasm.get(file.path, ()))
            for file in slide.files
        ]

    def tasks(self) -> list[FieldTask]:
        """Pieces of work, in the order of the files."""
        return list(self._tasks)

    def read(self, task: FieldTask, shared: SlideTraits) -> list[ReadItem]:
        """Crops of the cells of a file, each field's followed by its report.

        Args:
            shared: what a `Survey` of the slide's fields found.

        Raises:
            SlideError: crops cannot be cut at the model's scale, because the pixel size is not known or absurd; or what
                the pages of a file are has to be said by a person.
        """
        digest, images, planes = self._images(task)
        items: list[ReadItem] = []
        for image in self._with_cytoplasm(task, images):
            if image.unclear or image.lost:
                why, file = reason_in(image.problem), Named("file", task.file.path)
                if image.lost:
                    raise SlideError(say("file-lost", file=file, why=why), say("file-lost-do"))
                raise SlideError(say("pages-unclear", file=file, why=why), say("pages-unclear-do"))
            items.extend(self._field(task, image, shared, digest))
            digest = ""
        return items + planes + list(self._hashed_companions(task))

    def _with_cytoplasm(self, task: FieldTask, images: Iterator[FieldImage]) -> Iterator[FieldImage]:
        if self._options.cytoplasm is None:
            return images
        return with_cytoplasm(images, self._slide, task.file, task.cytoplasm, self._pages)

    def _images(self, task: FieldTask) -> tuple[str, Iterator[FieldImage], list[FileDigest]]:
        """Digest of a file and its fields; with further focal planes the one field, and the digests of their files."""
        digest, images = load_fields(self._path(task.file), self._pages)
        if not task.planes:
            return digest, images, []
        read = [load_fields(self._path(file), self._pages) for file in task.planes]
        digests = [FileDigest(file.path, known) for file, (known, _) in zip(task.planes, read, strict=True)]
        stack = [list(images), *(list(fields) for _, fields in read)]
        return digest, iter([joined_fields(stack, self._pages.planes)]), digests

    def _path(self, file: SourceFile) -> str:
        return os.path.join(self._slide.root, file.path)

    def look(self, task: FieldTask) -> Seen:
        """What a field tells of its slide."""
        images = self._images(task)[1]
        seen = [look_at(image, self._labels(task, image), self._options) for image in images]
        return Seen(tuple(d for one in seen for d in one.diameters), seen[0].stain if seen else "unknown")

    def _labels(self, task: FieldWork, image: FieldImage) -> Decoded | None:
        """The label image of a field; raises UndecodableError where it cannot be used."""
        if task.mask is None or image.pixels is None:
            return None
        labels = load_labels(self._path(task.mask), image.page)
        if labels.shape != image.pixels.shape[:2]:
            size = "{1} x {0}".format(*labels.shape)
            own = "{1} x {0}".format(*image.pixels.shape)
            raise UndecodableError(say("mask-size", mask=size, field=own))
        return labels

    def _field(
        self, task: FieldWork, image: FieldImage, traits: SlideTraits, digest: str
    ) -> Iterator[CellCrop | UnreadableCell | FieldReport]:
        um = self._um_per_pixel(image)
        try:
            found = find_cells(image, self._labels(task, image), self._options, traits, um)
        except UndecodableError as error:
            found = FoundField(problem=reason_of(error))
        crops, cells = cut_cells(self._slide, task.file.path, image, found, self._cutting(traits, found, um))
        yield from crops
        yield replace(self._report(task, image, replace(found, cells=cells), digest), um_per_pixel=um)

    def _um_per_pixel(self, image: FieldImage) -> float | None:
        given = self._slide.um_per_pixel or self._options.um_per_pixel
        if given is not None:
            return given
        size = image.um_per_pixel
        if image.pixel_problem:
            slide = Named("slide", self._slide.name)
            raise SlideError(
                say("pixels-not-square", slide=slide, why=reason_in(image.pixel_problem)), say("pixels-not-square-do")
            )
        if size is not None and not plausible(size):
            raise SlideError(say("pixel-size", slide=Named("slide", self._slide.name), size=size), say("pixel-size-do"))
        return size

    def _cutting(self, traits: SlideTraits, found: FoundField, um: float | None) -> Cutting:
        own = found.segmented.nucleus_diameter if found.segmented is not None else 0.0
        width = crop_width(self._options, traits.nucleus_diameter or own, um) if found.cells else 1
        if width is None:
            raise SlideError(say("no-pixel-size", slide=Named("slide", self._slide.name)), say("no-pixel-size-do"))
        return Cutting(width, self._preparation)

    def _report(self, task: FieldWork, image: FieldImage, found: FoundField, digest: str) -> FieldReport:
        keep = self._options.keep_overviews and image.pixels is not None
        return FieldReport(
            slide_id=self._slide.slide_id,
            source=task.file.path,
            page=image.page,
            left=image.left,
            top=image.top,
            width=image.shape[1],
            height=image.shape[0],
            cells=found.cells,
            problem="" if found.empty else found.problem,
            empty=found.empty,
            emptiness=found.problem if found.empty else "",
            transient=image.transient,
            file_digest=digest,
            overview=overview_jpeg(image.pixels) if keep and image.pixels is not None else b"",
            stage=image.stage,
            detail=details_of(image.pixels).tobytes() if image.core is None and image.pixels is not None else b"",
        )

    def _hashed_companions(self, task: FieldTask) -> Iterator[FileDigest]:
        if task.mask is not None:
            yield hashed(self._slide, task.mask)
        yield from (hashed(self._slide, file) for file in task.cytoplasm)


def hashed(slide: Slide, file: SourceFile) -> FileDigest:
    """A companion with the digest of its content; "" where it cannot be read."""
    try:
        with open(os.path.join(slide.root, file.path), "rb") as stream:
            return FileDigest(file.path, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError:
        return FileDigest(file.path, "")


@dataclass(frozen=True, slots=True)
class Cutting:
    """How crops are cut.

    Attributes:
        width: of a crop, pixels of the field.
    """

    width: int
    preparation: Preparation


def crop_width(options: FieldOptions, diameter: float, um: float | None) -> int | None:
    """Width of a crop in pixels; None where it takes a pixel size that is not known."""
    scale = options.scale
    if scale.nucleus_diameters is not None:
        return max(16, round(scale.nucleus_diameters * diameter))
    if scale.width_um is None or um is None:
        return None
    return max(16, round(scale.width_um / um))


def cut_cells(
    slide: Slide, source: str, image: FieldImage, found: FoundField, cutting: Cutting
) -> tuple[list[CellCrop | UnreadableCell], tuple[FoundAt, ...]]:
    """Crops of the cells to be scored, and all cells; those whose crop reaches over the edge are marked.

    A cell that is whole is scored wherever it is: what its crop lacks is no part of it.
    """
    crops: list[CellCrop | UnreadableCell] = []
    cells = []
    field = image.pixels
    background = None if field is None else functools.cache(functools.partial(median_colour, field))
    for cell in found.cells:
        if field is not None and not cell.reason:
            pixels, whole = cut_crop(field, cell.x - image.left, cell.y - image.top, cutting.width, background)
            if not whole:
                cell = replace(cell, at_border=True)
            identity = cell_id(slide.slide_id, source, image.page) + cell.mark
            known = UnreadableCell(slide.slide_id, identity, source, image.page, "", found=cell)
            crops.append(make_cell(known, pixels, cutting.preparation))
        cells.append(cell)
    return crops, tuple(cells)

"""Camera fields as arrays: decoded, the nuclear channel chosen, the pixel size read where the file says one."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import tifffile

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.assay.reasons import foreign, reason_of, say
from mnbatch.imaging.fields.pixel_sizes import pixel_size, plausible, square_problem
from mnbatch.imaging.fields.stage_positions import Place, tiff_places
from mnbatch.imaging.formats.colour_choice import one_colour
from mnbatch.imaging.formats.decoding import decode_plain, kind_of, reraise_io
from mnbatch.imaging.formats.folder_images import digest_of
from mnbatch.imaging.formats.loading import io_reason, is_too_large, read_whole, retried
from mnbatch.imaging.formats.page_choice import Chosen, UnclearError
from mnbatch.imaging.formats.page_meaning import meaning_of
from mnbatch.imaging.formats.picture_reading import page_of, read_chosen
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TIFF_STARTS, TiffHeader, open_tiff
from mnbatch.imaging.formats.vendor_files import VendorFormat
from mnbatch.imaging.formats.vendor_pictures import vendor_format, vendor_pictures
from mnbatch.imaging.wholeness.page_count import expected_pages


@dataclass(frozen=True, slots=True, eq=False)
class FieldImage:
    """One field, or why it cannot be had.

    Attributes:
        page: of a multi-page file, counted from 0.
        pixels: (height, width) or (height, width, 3); None with a `problem`.
        um_per_pixel: what the file says; None where it says nothing.
        left, top: where it is in the file, full-resolution pixels.
        core: x0, y0, x1, y1 in the file: cells centred here belong to this image; None for all of them.
        size: (height, width) of a region, known also where its pixels are not.
        pixel_problem: what is wrong with the pixel size that the file says; "" for nothing.
        unclear: the problem is a question to a person, without whose answer the slide cannot be counted.
        lost: the problem is that of a whole file of many fields.
        stage: where the stage stood, micrometres; None where the file says nothing.
        cytoplasm: a second channel of as many pixels, by which nuclei are paired; None where none was asked for.
    """

    page: int | None
    pixels: Decoded | None
    um_per_pixel: float | None = None
    problem: str = ""
    transient: bool = False
    left: int = 0
    top: int = 0
    core: tuple[int, int, int, int] | None = None
    size: tuple[int, int] = (0, 0)
    pixel_problem: str = ""
    unclear: bool = False
    lost: bool = False
    cytoplasm: Decoded | None = None
    stage: Place | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels; `size` where there are no pixels."""
        return self.size if self.pixels is None else (self.pixels.shape[0], self.pixels.shape[1])


def load_fields(path: str, options: PageOptions | None) -> tuple[str, Iterator[FieldImage]]:
    """SHA-256 of a file (or "") and its fields, each decoded when it is asked for; a bad file is one with its problem.

    Args:
        path: image file.
        options: what a person says of channels, planes and pages; None for nothing.
    """
    options = options or NO_OPTIONS
    known = vendor_format(path)
    try:
        if known is not None:
            return digest_of(path).hex(), _explained(_vendor_fields(path, known, options), several=True)
        if _is_large_tiff(path):
            with open(path, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return digest, _explained(_streamed(path, options))
        data = retried(lambda: read_whole(path))
        digest = hashlib.sha256(data).hexdigest()
        return digest, _explained(_fields_in(data, options))
    except UndecodableError as error:
        return "", iter([FieldImage(None, None, problem=reason_of(error))])
    except OSError as error:
        return "", iter([FieldImage(None, None, problem=io_reason(error), transient=True)])


def _vendor_fields(path: str, known: VendorFormat, options: PageOptions) -> Iterator[FieldImage]:
    for index, (number, pixels, content) in enumerate(vendor_pictures(path, known, options)):
        place = content.places[index] if len(content.places) == content.positions else None
        um = content.um_across if content.um_across and plausible(content.um_across) else None
        problem = square_problem(content.um_across, content.um_down)
        if isinstance(pixels, UndecodableError):
            yield FieldImage(number, None, um, problem=reason_of(pixels))
            continue
        single = content.channels == 1
        shown = one_colour(pixels, options.channel if single else None)
        yield FieldImage(number, shown, um, pixel_problem=problem, stage=place)


def _fields_in(data: bytes, options: PageOptions) -> Iterator[FieldImage]:
    kind = kind_of(data)
    if kind == "tiff":
        yield from _tiff_fields(io.BytesIO(data), options)
    else:
        yield FieldImage(None, one_colour(decode_plain(data, kind), options.channel))


def _is_large_tiff(path: str) -> bool:
    with open(path, "rb") as stream:
        return stream.read(4) in TIFF_STARTS and is_too_large(os.fstat(stream.fileno()).st_size)


def _explained(found: Iterator[FieldImage], *, several: bool = False) -> Iterator[FieldImage]:
    """The same, with a problem in place of what ends them.

    Args:
        several: the file may hold many fields, so that it is not known how many are lost.
    """
    try:
        yield from found
    except UndecodableError as error:
        # A field of which only the channel is not known is set aside, as others that differ from their slide.
        known = getattr(reason_of(error), "code", "") == "channel-unknown"
        asked = isinstance(error, UnclearError)
        lost = several and not asked
        yield FieldImage(None, None, problem=reason_of(error), unclear=asked and not known, lost=lost)
    except OSError as error:
        yield FieldImage(None, None, problem=io_reason(error), transient=True)


def _tiff_fields(stream: BinaryIO, options: PageOptions) -> Iterator[FieldImage]:
    try:
        tiff, header = open_tiff(stream)
        with tiff:
            yield from _fields_of(tiff, header, options, expected_pages(stream).lost)
    except DECODING_ERRORS as error:
        reraise_io(error)
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error


def _streamed(path: str, options: PageOptions) -> Iterator[FieldImage]:
    """Fields of a file that is too large to be held in memory: its pages are, one at a time."""
    with open(path, "rb") as stream:
        yield from _tiff_fields(stream, options)


def _fields_of(tiff: tifffile.TiffFile, header: TiffHeader, options: PageOptions, lost: int) -> Iterator[FieldImage]:
    """The fields of a TIFF, and one with its problem for each page that is lost."""
    if not any(directory.full for directory in header.directories):
        raise UndecodableError(say("no-full-page"))
    header.check_total()
    size = pixel_size(tiff)
    lost = max(lost, int(header.broken))
    if lost and sum(directory.full for directory in header.directories) == 1:
        raise UndecodableError(say("page-missing"))
    meaning = meaning_of(tiff, header, options, "positions")
    stated = [axis for axis, _ in meaning.found.axes if axis != "unstated"]
    if lost and (stated or len(meaning.chosen) == 1):
        raise UndecodableError(say("page-missing"))
    for one, place in zip(meaning.chosen, _places(tiff, header, meaning.chosen), strict=True):
        number = None if len(meaning.chosen) == 1 else one.number
        image = replace(_field(tiff, header, one, options), page=number, stage=place)
        yield replace(image, um_per_pixel=size.um, pixel_problem=size.problem)
    known = len(header.directories)
    yield from (FieldImage(index, None, size.um, say("page-missing")) for index in range(known, known + lost))


def _places(tiff: tifffile.TiffFile, header: TiffHeader, chosen: Sequence[Chosen]) -> list[Place | None]:
    """Where the stage stood for each field; nothing where it cannot be read, since a count does without it."""
    firsts = [one.pictures[0].directory for one in chosen]
    known = len(header.directories)
    try:
        pages = [page_of(tiff, header, index) if index < known else None for index in firsts]
        return tiff_places(tiff, pages)
    except DECODING_ERRORS:
        return [None] * len(chosen)


def _field(tiff: tifffile.TiffFile, header: TiffHeader, one: Chosen, options: PageOptions) -> FieldImage:
    try:
        values = read_chosen(tiff, header, one, options.planes)
        return FieldImage(None, one_colour(values, None if one.by_channel else options.channel))
    except UndecodableError as error:
        return FieldImage(None, None, problem=reason_of(error))
    except DECODING_ERRORS as error:
        reraise_io(error)
        return FieldImage(None, None, problem=say("damaged", kind="TIFF", error=foreign(error)))

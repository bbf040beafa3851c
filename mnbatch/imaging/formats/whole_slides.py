"""Whole slides read region by region: through OpenSlide, or through tifffile for tiled TIFFs that it does not take."""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

import numpy as np
import tifffile

from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.assay.reasons import Named, foreign, foreign_os, say
from mnbatch.errors import SlideError
from mnbatch.imaging.companions import dicom_files
from mnbatch.imaging.fields.pixel_sizes import plausible, square_problem
from mnbatch.imaging.formats.loading import unclear
from mnbatch.imaging.formats.page_choice import UnclearError
from mnbatch.imaging.formats.page_structure import is_colour, structure_of
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import MAX_PIXELS, MAX_SLIDE_PIXELS, UndecodableError
from mnbatch.imaging.formats.tiff_headers import TIFF_STARTS, TiffHeader, open_tiff, read_header
from mnbatch.imaging.formats.tiled_tiffs import scans_in, tiled_images
from mnbatch.imaging.layouts import WHOLE_SLIDES
from mnbatch.imaging.wholeness.slide_tiles import Tiles

_PHOTOMETRIC = 262


class WholeImage(Protocol):
    """A whole slide at full resolution; `read` is safe to call from many threads.

    Attributes:
        um: micrometres a pixel; None where nothing is said.
        problem: what is wrong with that size; "" for nothing.
        number: page of the scan where a file has several, else None.
    """

    width: int
    height: int
    um: float | None
    problem: str
    number: int | None

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """Pixels of a region inside the slide, (height, width) or (height, width, 3).

        Raises:
            UndecodableError: that region cannot be read.
        """


def open_whole(path: str, name: str, options: PageOptions | None) -> WholeImage:
    """Open a whole slide of one scan, the first one of several; see `open_scans`."""
    return open_scans(path, name, options)[0]


def open_scans(path: str, name: str, options: PageOptions | None) -> tuple[WholeImage, ...]:
    """Open the scans of a whole slide, nearly always one.

    Args:
        path: its main file.
        name: of the slide, for messages.
        options: what a person says of the channels, planes and pages of a TIFF; None for nothing.

    Raises:
        SlideError: neither OpenSlide nor tifffile can open it, or what its pages are has to be said by a person.
    """
    try:
        header = slide_header(path)
        if path.rpartition(".")[2].lower() in WHOLE_SLIDES or (header is not None and _is_for_openslide(path, header)):
            image = OpenSlideImage(path)
            _check_series(path, name)
            return (image,)
        images: tuple[WholeImage, ...] = tiled_images(path, options or NO_OPTIONS, header)
        if any(not image.width or not image.height for image in images):
            raise UndecodableError(say("no-tiff-image"))
        return images
    except OSError as error:
        if error.errno is not None:
            said = say("whole-unreadable", slide=Named("slide", name), error=foreign_os(error))
            raise SlideError(said, say("whole-unreadable-do"), transient=True) from error
        raise _refused(path, name, error) from error
    except UnclearError as error:
        raise unclear(os.path.basename(path), error) from error
    except (*DECODING_ERRORS, UndecodableError) as error:
        raise _refused(path, name, error) from error


def _check_series(path: str, name: str) -> None:
    """Whether the DICOM files of a folder are one slide: OpenSlide takes those of one series, and is silent on others.

    Raises:
        SlideError: they are not, or one of them cannot be opened.
    """
    if not path.lower().endswith(".dcm"):
        return
    series: dict[str, str] = {}
    for file in dicom_files(os.path.dirname(path)):
        slide = _opened(file)
        series.setdefault(str(slide.properties.get("dicom.SeriesInstanceUID", "")), os.path.basename(file))
        slide.close()
    if len(series) > 1:
        first, other = list(series.values())[:2]
        why = say(
            "dicom-series",
            slide=Named("slide", name),
            count=len(series),
            first=Named("file", first),
            other=Named("file", other),
        )
        raise SlideError(why, say("dicom-series-do"))


def slide_header(path: str) -> TiffHeader | None:
    """Directories of a whole slide that is a kind of TIFF, checked; None for other formats.

    Raises:
        UndecodableError: directories in a circle, tiles or a slide of a size that none has.
        ValueError, OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        if stream.read(4) not in TIFF_STARTS:
            return None
        ndpi = path.lower().endswith(".ndpi")
        header = read_header(stream, ndpi=ndpi)
    for directory in header.directories:
        _check_sides(directory.width, directory.height)
        # Hamamatsu's pages are one picture each, of which its reader takes parts.
        if directory.tile_width * directory.tile_height > MAX_PIXELS and not ndpi:
            raise UndecodableError(say("huge-segments"))
    return header


def _check_sides(width: int, height: int) -> None:
    if width * height > MAX_SLIDE_PIXELS:
        raise UndecodableError(say("large-slide", width=width, height=height))


def _refused(path: str, name: str, error: Exception) -> SlideError:
    slide = Named("slide", name)
    if path.lower().endswith(".mrxs") and not os.path.isdir(path[:-5]):
        folder = Named("folder", os.path.basename(path)[:-5])
        return SlideError(say("whole-without-data", slide=slide, folder=folder), say("whole-without-data-do"))
    return SlideError(say("whole-refused", slide=slide, error=foreign(error)), say("whole-refused-do"))


def _is_for_openslide(path: str, header: TiffHeader) -> bool:
    """Whether OpenSlide is asked for a TIFF: it reads one scan of 8-bit colour in tiles, and vendors' own TIFFs."""
    with open(path, "rb") as stream:
        tiff = open_tiff(stream, header)[0]
        page = tiff.pages.first
        together = page.planarconfig == tifffile.PLANARCONFIG.CONTIG and _PHOTOMETRIC in page.tags
        colour = page.is_tiled and page.bitspersample == 8 and page.samplesperpixel in (3, 4)
        if not colour or not together or not is_colour(page):
            return False
        return len(scans_in(structure_of(tiff, header)).pictures) == 1 or _is_of_vendor(path)


def _is_of_vendor(path: str) -> bool:
    import openslide

    return openslide.OpenSlide.detect_format(path) not in (None, "generic-tiff")


class OpenSlideImage:
    """A slide that OpenSlide opens.

    Args:
        path: main file.

    Raises:
        OSError, OpenSlideError (a kind of Exception that DECODING_ERRORS hold): it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._slide = _opened(path)
        self.width, self.height = self._slide.dimensions
        _check_sides(self.width, self.height)
        self._tiles = _tiles_of(path, (self.width, self.height))
        size = float(self._slide.properties.get("openslide.mpp-x") or 0)
        self.um = size if plausible(size) else None
        down = float(self._slide.properties.get("openslide.mpp-y") or 0)
        self.problem = square_problem(self.um, down) if plausible(down) else ""
        self.number: int | None = None

    def read(self, left: int, top: int, width: int, height: int) -> Decoded:
        """RGB of a region; what was not scanned is white."""
        if self._tiles is not None:
            self._tiles.check(left, top, width, height)
        with self._lock:
            slide = self._slide = self._slide or _opened(self._path)
        try:
            region = np.asarray(slide.read_region((left, top), 0, (width, height)))
        except Exception as error:
            # OpenSlide refuses everything after its first error; the next region opens the slide anew.
            with self._lock:
                self._slide = None
            raise UndecodableError(say("region-unreadable", error=foreign(error))) from error
        colours, opacity = region[..., :3], region[..., 3:]
        return np.ascontiguousarray(colours if opacity.all() else np.where(opacity == 0, np.uint8(255), colours))


def _tiles_of(path: str, size: tuple[int, int]) -> Tiles | None:
    """The tiles of a slide that is a TIFF, whatever its extension; None for slides of many files."""
    with open(path, "rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
    return Tiles(path, size)


def _opened(path: str) -> Any:
    # Loaded here, because crops need neither it nor its libraries.
    try:
        import openslide
    except ModuleNotFoundError as error:
        raise UndecodableError(say("no-openslide")) from error
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise UndecodableError(say("openslide", error=foreign(error))) from error

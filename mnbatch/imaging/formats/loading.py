"""From a path to decoded pages: one read, one hash, bounded retries; a bad file becomes a reason."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

import tifffile

from mnbatch.assay.cells import ReadTask
from mnbatch.assay.page_options import NO_OPTIONS, PageOptions
from mnbatch.assay.reasons import Named, Reason, foreign, foreign_os, reason_of, say
from mnbatch.errors import SlideError
from mnbatch.imaging.entries import is_link_to_nowhere
from mnbatch.imaging.formats.colour_choice import one_colour
from mnbatch.imaging.formats.decoding import decode_plain, kind_of, reraise_io
from mnbatch.imaging.formats.page_choice import UnclearError
from mnbatch.imaging.formats.page_meaning import Meaning, meaning_of
from mnbatch.imaging.formats.picture_reading import read_chosen
from mnbatch.imaging.formats.pixels import DECODING_ERRORS, Decoded
from mnbatch.imaging.formats.size_limits import UndecodableError
from mnbatch.imaging.formats.tiff_headers import TiffHeader, open_tiff, read_header
from mnbatch.imaging.wholeness.page_count import Expected, expected_pages

_LARGEST_FILE = 1 << 30
"""Bytes that are read at once for one crop; more cannot be a crop of at most 64 megapixels."""

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05
_LASTING = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
_MOST_KNOWN = 4
_known: dict[tuple[str, int, int], _Pages] = {}
_known_lock = threading.Lock()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DecodedPage:
    """One decoded cell, or why it could not be decoded."""

    page: int | None
    decoded: Decoded | None
    reason: str = ""
    transient: bool = False


def load(task: ReadTask) -> tuple[str, Iterator[DecodedPage]]:
    """SHA-256 of the file (or "") and its pages, each decoded when it is asked for: one is in memory at a time.

    Raises:
        SlideError: what the file's pages are has to be said by a person (also while pages are taken).
    """
    path = os.path.join(task.root, task.file.path)
    digest = ""
    pages: tuple[int | None, ...] = task.pages or (None,)
    try:
        if task.pages is not None:
            digest = retried(lambda: _hash(path)) if task.hash_file else ""
            return digest, _explained(_wanted_pages(path, task), pages)
        data = retried(lambda: read_whole(path))
        digest = hashlib.sha256(data).hexdigest() if task.hash_file else ""
        kind = kind_of(data)
        found = _pages_in_memory(data, task) if kind == "tiff" else _only(data, kind, task.options.channel)
        return digest, _explained(found, pages)
    except UndecodableError as error:
        return digest, iter([DecodedPage(page, None, reason_of(error)) for page in pages])
    except OSError as error:
        return digest, iter([DecodedPage(page, None, io_reason(error), transient=True) for page in pages])


def _only(data: bytes, kind: str, channel: str | None) -> Iterator[DecodedPage]:
    yield DecodedPage(None, one_colour(decode_plain(data, kind), channel))


def _explained(found: Iterator[DecodedPage], pages: tuple[int | None, ...]) -> Iterator[DecodedPage]:
    """The pages that were found; what stops the reading becomes the reason of all that have not come."""
    seen: set[int | None] = set()
    reason, transient = "", False
    try:
        for page in found:
            seen.add(page.page)
            yield page
        return
    except UndecodableError as error:
        reason = reason_of(error)
    except OSError as error:
        reason, transient = io_reason(error), True
    yield from (DecodedPage(page, None, reason, transient) for page in pages if page not in seen)


def io_reason(error: OSError) -> Reason:
    """What an I/O error means for a cell or a field."""
    if isinstance(error.filename, str) and is_link_to_nowhere(error.filename, error):
        return say("link-lost", error=foreign_os(error))
    if isinstance(error, FileNotFoundError):
        return say("vanished")
    if isinstance(error, PermissionError):
        return say("no-permission")
    return say("io-error", error=foreign_os(error))


def retried(action: Callable[[], T]) -> T:
    """Try an I/O action three times; what will not change by waiting is not tried again."""
    for attempt in range(1, _ATTEMPTS):
        try:
            return action()
        except OSError as error:
            if error.errno in _LASTING:
                raise
            time.sleep(_PAUSE_SECONDS * attempt)
    return action()


def read_whole(path: str) -> bytes:
    """All bytes of an image file.

    Raises:
        UndecodableError: it is too large for one image.
    """
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if is_too_large(size):
            raise UndecodableError(say("large-file", mib=size >> 20))
        return stream.readall()


def is_too_large(size: int) -> bool:
    """Whether a file of so many bytes is not read at once."""
    return size > _LARGEST_FILE


def _hash(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def page_count(path: str, file: str, options: PageOptions = NO_OPTIONS) -> int:
    """Pages of a TIFF, those that are lost included: what cannot be found then shows as an unreadable cell.

    1 for anything that cannot be counted, which the reader will then explain.

    Args:
        file: its path in the export.
        options: what a person said of pages.

    Raises:
        SlideError: the chain of a TIFF's pages is broken, and how many are lost cannot be known; or what its pages
            are has to be said.
    """
    try:
        with open(path, "rb") as stream:
            pages = _pages_of(path, stream, file)
            tiff, header = open_tiff(stream, pages.header)
            return pages.total(pages.meaning(tiff, header, options, file))
    except (*DECODING_ERRORS, UndecodableError):
        return 1


def described_pages(path: str, file: str, options: PageOptions) -> tuple[str, int, int]:
    """What the pages of a TIFF are in words ("" for an ordinary picture), pages in it, and cells that are read.

    Raises:
        SlideError: it has to be said by a person.
        UndecodableError, or one of `DECODING_ERRORS`: it cannot be read.
    """
    with open(path, "rb") as stream:
        pages = _pages_of(path, stream, file)
        tiff, header = open_tiff(stream, pages.header)
        meaning = pages.meaning(tiff, header, options, file)
    unstated = meaning.found.axes[0][1] if [axis for axis, _ in meaning.found.axes] == ["unstated"] else 0
    return meaning.described(), unstated, len(meaning.chosen)


@dataclass(frozen=True, slots=True)
class _Pages:
    """A TIFF before it is decoded: its directories, checked, and the pages that it should have."""

    header: TiffHeader
    expected: Expected
    meanings: dict[PageOptions, Meaning] = field(default_factory=dict)

    def meaning(self, tiff: tifffile.TiffFile, header: TiffHeader, options: PageOptions, file: str) -> Meaning:
        """What its pages are; raises SlideError where a person has to say it."""
        if options not in self.meanings:
            try:
                self.meanings[options] = meaning_of(tiff, header, options, "cells")
            except UnclearError as error:
                raise unclear(file, error) from error
        return self.meanings[options]

    def total(self, meaning: Meaning) -> int:
        """Numbers that pages can have, those of lost pages among them."""
        return max(self.expected.total, 1 + max((one.number for one in meaning.chosen), default=0))


def _looked_at(stream: BinaryIO, file: str) -> _Pages:
    """Raises SlideError where how many pages a TIFF lost cannot be known."""
    header = read_header(stream)
    header.check_total()
    expected = expected_pages(stream)
    if expected.broken and not expected.known and expected.found > 1:
        known = say("pages-broken", file=Named("file", file), pages=expected.found)
        raise SlideError(known, say("pages-broken-do"))
    return _Pages(header, expected)


def _pages_of(path: str, stream: BinaryIO, file: str) -> _Pages:
    """The same, kept for the next run of its pages as long as the file stays as it is."""
    status = os.fstat(stream.fileno())
    key = (path, status.st_size, status.st_mtime_ns)
    with _known_lock:
        if key in _known:
            return _known[key]
    pages = _looked_at(stream, file)
    with _known_lock:
        while len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = pages
    return pages


def unclear(file: str, error: UnclearError) -> SlideError:
    """The error of a slide of which a file has to be explained by a person."""
    return SlideError(say("pages-unclear", file=Named("file", file), why=foreign(error)), say("pages-unclear-do"))


def _pages_in_memory(data: bytes, task: ReadTask) -> Iterator[DecodedPage]:
    try:
        pages = _looked_at(io.BytesIO(data), task.file.path)
        tiff, header = open_tiff(io.BytesIO(data), pages.header)
    except DECODING_ERRORS as error:
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
    total = pages.expected.total
    if total == len(header.directories) and not any(directory.full for directory in header.directories):
        raise UndecodableError(say("no-full-page"))
    with tiff:
        yield from _OpenPages(tiff, header, pages, task).read(None)


def _wanted_pages(path: str, task: ReadTask) -> Iterator[DecodedPage]:
    with open(path, "rb") as stream:
        try:
            pages = retried(lambda: _pages_of(path, stream, task.file.path))
            tiff, header = retried(lambda: open_tiff(stream, pages.header))
        except DECODING_ERRORS as error:
            reraise_io(error)
            raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
        yield from _OpenPages(tiff, header, pages, task).read(task.pages)


class _OpenPages:
    """The cells of an open TIFF."""

    def __init__(self, tiff: tifffile.TiffFile, header: TiffHeader, pages: _Pages, task: ReadTask) -> None:
        self._tiff, self._header, self._options = tiff, header, task.options
        meaning = retried(lambda: pages.meaning(tiff, header, task.options, task.file.path))
        self._total = pages.total(meaning)
        self._chosen = {one.number: one for one in meaning.chosen}
        # Where metadata say what there is, they also say what is lost.
        self._lost = range(len(header.directories), 0 if meaning.found.source else self._total)

    def read(self, wanted: tuple[int, ...] | None) -> Iterator[DecodedPage]:
        """The cells of these numbers, or of all; a number that is no cell gives nothing."""
        for number in range(self._total) if wanted is None else wanted:
            name = None if wanted is None and self._total == 1 else number
            if number in self._chosen:
                yield retried(lambda number=number, name=name: self._decoded(number, name))  # type: ignore[misc]
            elif number in self._lost:
                yield DecodedPage(name, None, say("page-missing"))

    def _decoded(self, number: int, name: int | None) -> DecodedPage:
        options = self._options
        try:
            one = self._chosen[number]
            values = read_chosen(self._tiff, self._header, one, options.planes)
            return DecodedPage(name, one_colour(values, None if one.by_channel else options.channel))
        except UndecodableError as error:
            return DecodedPage(name, None, reason_of(error))
        except DECODING_ERRORS as error:
            reraise_io(error)
            return DecodedPage(name, None, say("damaged", kind="TIFF", error=foreign(error)))

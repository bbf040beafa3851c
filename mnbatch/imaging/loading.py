"""From a path to decoded pages: one read, one hash, bounded retries; a bad file becomes a reason."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import tifffile

from mnbatch.assay.cells import ReadTask
from mnbatch.assay.reasons import Named, Reason, foreign, foreign_os, reason_of, say
from mnbatch.errors import SlideError
from mnbatch.imaging.decoding import (
    DECODING_ERRORS,
    Decoded,
    UndecodableError,
    decode_page,
    decode_plain,
    kind_of,
    reraise_io,
)
from mnbatch.imaging.wholeness.pages import Expected, expected_pages

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
_NOT_A_CROP = 0b101
"""TIFF NewSubfileType bits: a reduced-resolution version, a transparency mask."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DecodedPage:
    """One decoded cell, or why it could not be decoded."""

    page: int | None
    decoded: Decoded | None
    reason: str = ""
    transient: bool = False


def load(task: ReadTask) -> tuple[str, list[DecodedPage]]:
    """SHA-256 of the file (or "") and its decoded pages."""
    path = os.path.join(task.root, task.file.path)
    digest = ""
    try:
        if task.pages is not None:
            digest = retried(lambda: _hash(path)) if task.hash_file else ""
            return digest, retried(lambda: _pages_of_gallery(path, task.pages or ()))
        data = retried(lambda: read_whole(path))
        digest = hashlib.sha256(data).hexdigest() if task.hash_file else ""
        kind = kind_of(data)
        if kind == "tiff":
            return digest, _pages_in_memory(data, task.file.path)
        return digest, [DecodedPage(None, decode_plain(data, kind))]
    except UndecodableError as error:
        pages: tuple[int | None, ...] = task.pages or (None,)
        return digest, [DecodedPage(page, None, reason_of(error)) for page in pages]
    except OSError as error:
        pages = task.pages or (None,)
        return digest, [DecodedPage(page, None, io_reason(error), transient=True) for page in pages]


def io_reason(error: OSError) -> Reason:
    """What an I/O error means for a cell or a field."""
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
        if size > _LARGEST_FILE:
            raise UndecodableError(say("large-file", mib=size >> 20))
        return stream.readall()


def _hash(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def page_count(path: str, file: str) -> int:
    """Pages of a TIFF, those that are lost included: what cannot be found then shows as an unreadable cell.

    1 for anything that cannot be counted, which the reader will then explain.

    Args:
        file: its path in the export.

    Raises:
        SlideError: the chain of a gallery's pages is broken, and how many are lost cannot be known.
    """
    try:
        with open(path, "rb") as stream:
            return _expected(stream, file).total
    except DECODING_ERRORS:
        return 1


def _expected(stream: BinaryIO, file: str) -> Expected:
    """The pages of a gallery; raises SlideError where how many it lost cannot be known."""
    expected = expected_pages(stream)
    if expected.broken and not expected.known and expected.found > 1:
        known = say("gallery-broken", file=Named("file", file), pages=expected.found)
        raise SlideError(known, say("gallery-broken-do"))
    return expected


def _pages_in_memory(data: bytes, file: str) -> list[DecodedPage]:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            expected = _expected(io.BytesIO(data), file)
            count = expected.total
            pages = [_decoded(tiff, index, len(data), single=count == 1) for index in range(expected.found)]
            pages.extend(_lost(index) for index in range(expected.found, count))
    except DECODING_ERRORS as error:
        raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
    if not pages:
        raise UndecodableError(say("directory-missing"))
    cells = [page for page in pages if page is not None]
    if not cells:
        raise UndecodableError(say("no-full-page"))
    return cells


def _pages_of_gallery(path: str, wanted: tuple[int, ...]) -> list[DecodedPage]:
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            tiff = tifffile.TiffFile(stream)
        except DECODING_ERRORS as error:
            reraise_io(error)
            raise UndecodableError(say("damaged", kind="TIFF", error=foreign(error))) from error
        # A chain that leads back into itself would give pages again and again.
        found = _found(path, size, os.fstat(stream.fileno()).st_mtime_ns)
        pages = [_decoded(tiff, index, size, single=False) if index < found else _lost(index) for index in wanted]
    return [page for page in pages if page is not None]


@functools.lru_cache(maxsize=32)
def _found(path: str, size: int, mtime_ns: int) -> int:
    """Pages of a gallery that are there; its tasks, of 64 pages each, ask again and again."""
    with open(path, "rb") as stream:
        try:
            return expected_pages(stream).found
        except DECODING_ERRORS:
            return 1


def _lost(index: int) -> DecodedPage:
    return DecodedPage(index, None, say("page-missing"))


def _decoded(tiff: tifffile.TiffFile, index: int, size: int, *, single: bool) -> DecodedPage | None:
    """One page, or None when it is no cell but a reduced version of another page."""
    number = None if single else index
    try:
        page = tiff.pages[index]
        if page.subfiletype & _NOT_A_CROP:
            return None
        return DecodedPage(number, decode_page(page, size))
    except UndecodableError as error:
        return DecodedPage(number, None, reason_of(error))
    except IndexError:
        return _lost(index)
    except DECODING_ERRORS as error:
        reraise_io(error)
        return DecodedPage(number, None, say("damaged", kind="TIFF", error=foreign(error)))

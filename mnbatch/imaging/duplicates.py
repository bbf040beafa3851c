"""Whole slides copied under another name, found by content and cheaply.

Three sieves, each only for what the one before could not tell apart: the sizes of the files; a few
hundred bytes from the middle of each file; the whole content. Uncompressed crops of one size would
otherwise make every slide a candidate, and a crawl would read the whole export.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mnbatch.assay.cells import Slide

_PROBE_BYTES = 512
_FileDigest = Callable[[str], bytes]


@dataclass(slots=True)
class _Known:
    """What is kept of a slide; its paths as one string, which takes far less memory than its records."""

    slide_id: str
    root: Path
    paths: str
    probe: bytes | None = None
    content: bytes | None = None


class SlideCopies:
    """Slides seen so far, by content."""

    def __init__(self) -> None:
        self._by_sizes: dict[bytes, list[_Known]] = {}

    def original_of(self, slide: Slide) -> str | None:
        """Slide-id of an earlier slide with byte-identical files under whatever names, or None.

        A slide that cannot be read whole, or that has no content, is nobody's copy.
        """
        if not any(file.size for file in slide.everything):
            return None
        new = _Known(slide.slide_id, slide.root, "\0".join(file.path for file in slide.everything))
        same_sizes = self._by_sizes.setdefault(_sizes(slide), [])
        for known in same_sizes:
            if _same_probe(known, new) and _same_content(known, new):
                return known.slide_id
        same_sizes.append(new)
        return None


def _sizes(slide: Slide) -> bytes:
    sizes = ",".join(map(str, sorted(file.size for file in slide.everything)))
    return hashlib.blake2b(sizes.encode(), digest_size=16).digest()


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
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size // 2 - _PROBE_BYTES // 2))
        return hashlib.blake2b(stream.read(_PROBE_BYTES), digest_size=16).digest()


def _whole(path: str) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()

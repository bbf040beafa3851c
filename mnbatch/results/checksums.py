"""Checksums (BLAKE2b, 16 bytes) of what OUT holds, made while it is written, so that a later change is noticed.

They tell accidents and edits by hand. They are no signature: who can write to OUT can make them anew.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

DIGEST_SIZE = 16


class HashedFile(io.FileIO):
    """A new file whose checksum is made of the bytes as they go out; nothing is read again for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w")
        self._hash = hashlib.blake2b(digest_size=DIGEST_SIZE)

    @classmethod
    def buffered(cls, path: Path) -> tuple[Self, io.BufferedWriter]:
        """The file, and the buffer to write to."""
        raw = cls(path)
        return raw, io.BufferedWriter(raw, 1 << 16)

    def write(self, data: Any, /) -> int:
        """Write and hash what was written."""
        number = super().write(data) or 0
        self._hash.update(memoryview(data).cast("B")[:number])
        return number

    @property
    def checksum(self) -> str:
        """Of all bytes that left the buffers: flush them first."""
        return self._hash.hexdigest()


def checksum(data: bytes) -> str:
    """32 hex digits over bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_SIZE).hexdigest()


def file_checksum(path: Path) -> str:
    """The same over a file, which need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new).hexdigest()


def content_checksum(content: Mapping[str, Any]) -> str:
    """The same over a JSON object, whatever the order and spacing of its text."""
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())


def _new() -> Any:
    return hashlib.blake2b(digest_size=DIGEST_SIZE)

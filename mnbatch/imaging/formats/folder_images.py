"""Images that are folders of many files (OME-Zarr): their size, time and digest, as a file has them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

FOLDER_FORMATS = ("zarr", "n5")
"""Extensions of folders that are one image, or one plate of images."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What an image's files are by their directory entries.

    Attributes:
        size: bytes; of a folder those of all files in it.
        mtime_ns, ctime_ns: of a folder the latest of all that is in it.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


def is_folder_image(name: str) -> bool:
    """Whether a folder of this name is an image and no folder of images."""
    return "." in name and name.rpartition(".")[2].lower() in FOLDER_FORMATS


def folder_format(path: str) -> str:
    """Extension of the folder image that a path leads into (`plate.zarr/B/03`); "" for every other path."""
    *above, name = path.replace(os.sep, "/").split("/")
    if "." in name:
        return ""
    return next((part.rpartition(".")[2].lower() for part in reversed(above) if is_folder_image(part)), "")


def state_of(path: str) -> FileState:
    """The state of a file, or of a folder with all that is in it; raises OSError."""
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    all_of_it = [status, *(os.stat(name) for name in _everything(path))]
    files = [one for one in all_of_it if not stat.S_ISDIR(one.st_mode)]
    return FileState(
        sum(one.st_size for one in files),
        max(one.st_mtime_ns for one in all_of_it),
        max(one.st_ctime_ns for one in all_of_it),
    )


def digest_of(path: str, new: Callable[[], Any] = hashlib.sha256) -> bytes:
    """Digest of a file's bytes; of a folder that of the names and bytes of its files.

    Raises:
        OSError: something cannot be read.
    """
    if not _is_folder(path):
        with open(path, "rb") as stream:
            return _of_stream(stream, new)
    whole = new()
    for name in _files_below(path):
        with open(name, "rb") as stream:
            inside = os.path.relpath(name, path).replace(os.sep, "/")
            whole.update(inside.encode("utf-8", "surrogateescape") + b"\0" + _of_stream(stream, new))
    return bytes(whole.digest())


def sample_digest(path: str, length: int) -> bytes:
    """Digest of some bytes from the middle of a file; of a folder that of the names and sizes of its files.

    Raises:
        OSError: it cannot be read.
    """
    found = hashlib.blake2b(digest_size=16)
    if _is_folder(path):
        for name in _files_below(path):
            inside = os.path.relpath(name, path).replace(os.sep, "/")
            found.update(f"{inside}\0{os.path.getsize(name)}\0".encode("utf-8", "surrogateescape"))
        return found.digest()
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size // 2 - length // 2))
        found.update(stream.read(length))
    return found.digest()


def _is_folder(path: str) -> bool:
    # By its name first: asking the system about each of many thousand crops would take time on a share.
    return bool(is_folder_image(os.path.basename(path)) or folder_format(path)) and os.path.isdir(path)


def _of_stream(stream: BinaryIO, new: Callable[[], Any]) -> bytes:
    return bytes(hashlib.file_digest(stream, new).digest())  # type: ignore[arg-type]


def _files_below(folder: str) -> list[str]:
    return [name for name in sorted(_everything(folder)) if os.path.isfile(name)]


def _everything(folder: str) -> Iterator[str]:
    """Files and folders below; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        yield from (os.path.join(place, name) for name in (*folders, *files))

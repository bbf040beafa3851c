"""Writes that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnbatch.errors import StorageError


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a `StorageError` that says which path and what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """The message for an I/O error at `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"The disk that holds {path} is full.",
            "Free some space and run the same command again; finished slides are kept.",
        )
    what = error.strerror or str(error)
    return StorageError(f"Cannot write {path}: {what}.", "Check that the path exists and that you may write there.")


def write_atomically(
    path: Path, data: bytes, *, durable: bool = False, private: bool = False, staged_in: Path | None = None
) -> None:
    """Replace `path` by `data` in one step: a reader sees the old bytes or the new.

    Args:
        path: target; its folder must exist.
        data: the whole content.
        durable: also wait until the bytes are on the disk (for what cannot be derived again).
        private: nobody but the owner may read it, at no time.
        staged_in: folder on the same disk where it is written first, so that a kill leaves nothing elsewhere;
            otherwise the folder of `path`.

    Raises:
        StorageError: when the disk is full or the path cannot be written.
    """
    with storage_errors(path):
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=staged_in or path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if not private:
                os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    # There is no call that only reads it; mkstemp makes 0600, and results are to be readable as other files are.
    mask = os.umask(0)
    os.umask(mask)
    return mask

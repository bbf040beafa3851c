"""Writes that are either whole or absent, their leftovers, and what a full or failing disk means to a person.

Every temporary file and folder is named by `temporary_name`, next to its target and with the process that writes it, so
that one sweep finds what a killed process left and touches nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mnbatch.errors import StorageError
from mnbatch.intake import open_regular
from mnbatch.processes import runs, this_process

TEMPORARY_PREFIX = ".tmp-"
FOREIGN_SECONDS = 3600.0
"""Age by the share's clock at which a temporary file of another machine is taken for a leftover."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
DISK_FAULTS = FULL | {errno.EIO, errno.EROFS, errno.EFBIG, errno.ENXIO, errno.ESTALE}
"""What a disk says of itself, at whatever file."""

_TEMPORARY = re.compile(
    r"\.tmp-(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<started>\d{0,20})-[0-9a-f]{8}(\.\w{1,8})?"
)
_COPIED_AT_ONCE = 1 << 20
_SAID = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a `StorageError` that says which path and what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: object) -> StorageError:
    """The message for an I/O error at `path`."""
    if error.errno in FULL:
        return StorageError(
            f"The disk that holds {path} is full.",
            "Free some space and run the same command again; finished slides are kept.",
        )
    what = error.strerror or str(error)
    return StorageError(f"Cannot write {path}: {what}.", "Check that the path exists and that you may write there.")


def _unforeseen(error: OSError, path: object) -> StorageError:
    """As `storage_error`, where it is not known whether it was read or written."""
    if error.errno in FULL:
        return storage_error(error, path)
    what = error.strerror or str(error)
    return StorageError(f"Cannot read or write {path}: {what}.", "Check the disk, the path and its permissions.")


def as_storage_error(error: BaseException) -> StorageError | None:
    """What a disk had to do with an error that was not expected where it arose; None: nothing.

    Libraries wrap the system's message in errors of their own; the chain of causes, and the number in their text, still
    hold it.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, StorageError):
            return link
        if isinstance(link, OSError) and (link.errno in DISK_FAULTS or (link.errno and link.filename is not None)):
            place = link.filename if link.filename is not None else "the output"
            return _unforeseen(link, os.fsdecode(place) if isinstance(place, bytes) else place)
        number = _number_in(str(link))
        if number in DISK_FAULTS:
            return _unforeseen(OSError(number, os.strerror(number)), "the output")
        link = link.__cause__ or link.__context__
    return None


def write_atomically(
    path: Path,
    data: bytes,
    *,
    durable: bool = False,
    private: bool = False,
    staged_in: Path | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Replace `path` by `data` in one step: a reader sees the old bytes or the new.

    Args:
        path: target; its folder must exist.
        data: the whole content.
        durable: also wait until the bytes are on the disk (for what cannot be derived again).
        private: only the owner may read it, at any time.
        staged_in: folder on the same disk where it is written first, so that a kill leaves nothing elsewhere;
            otherwise the folder of `path`.
        check: called when the bytes are written, as the last thing before they take their place; what it raises keeps
            the old ones.

    Raises:
        StorageError: when the disk is full or the path cannot be written.
    """
    with (
        storage_errors(path),
        replacing(path, durable=durable, staged_in=staged_in, check=check) as staged,
        _new_file(staged, 0o600 if private else 0o666) as file,
    ):
        file.write(data)


def stream_if_changed(path: Path, pieces: Iterable[bytes]) -> bool:
    """Make `path` hold these bytes, in one step, with one piece in memory at a time; says whether it was replaced.

    Where the file there begins with the same bytes, they are copied; where all are the same, nothing is written.

    Raises:
        StorageError: when the disk is full or the path cannot be written.
    """
    rest = iter(pieces)
    with storage_errors(path), contextlib.ExitStack() as stack:
        old: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            old = stack.enter_context(open_regular(path))
        same, differing = 0, b""
        for piece in rest:
            if old is None or old.read(len(piece)) != piece:
                differing = piece
                break
            same += len(piece)
        else:
            if old is not None and not old.read(1):
                return False
        with replacing(path) as staged, _new_file(staged, 0o666) as file:
            if old is not None:
                old.seek(0)
                while same:
                    known = old.read(min(same, _COPIED_AT_ONCE))
                    if not known:
                        raise OSError(errno.EIO, "it was cut while it was copied", str(path))
                    same -= file.write(known)
            file.write(differing)
            file.writelines(rest)
    return True


def _new_file(path: Path, mode: int) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "wb")


def write_out_file(path: Path, data: bytes) -> None:
    """As `write_atomically`, for a file that a person asked for (`--out`): no later sweep comes to its folder.

    Raises:
        StorageError: when the disk is full or the path cannot be written.
    """
    sweep_folder(path.parent)
    write_atomically(path, data)


@contextmanager
def replacing(
    path: Path,
    *,
    durable: bool = False,
    suffix: str = "",
    staged_in: Path | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[Path]:
    """A temporary path next to `path`, which takes its place when the block ends well and is gone when it does not.

    Args:
        durable: also wait until the bytes are on the disk.
        suffix: of the temporary name, for writers that go by it.
        staged_in: another folder of the same disk for the temporary path.
        check: called as the last thing before the temporary path takes its place.

    Raises:
        OSError: it cannot be written.
    """
    staged = temporary_name(staged_in or path.parent, suffix)
    try:
        yield staged
        if durable:
            _sync(staged, os.O_RDWR)
        if check is not None:
            check()
        os.replace(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`, removed with all in it when the block ends, unless it was renamed.

    Raises:
        OSError: it cannot be made.
    """
    staged = temporary_name(parent)
    staged.mkdir()
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def temporary_name(folder: Path, suffix: str = "") -> Path:
    """A new name in `folder` that says which process of which machine uses it."""
    me = this_process()
    return folder / f"{TEMPORARY_PREFIX}{me.machine}-{me.pid}-{me.started}-{secrets.token_hex(4)}{suffix}"


def is_leftover(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a temporary file or folder whose writer is gone."""
    match = _TEMPORARY.fullmatch(entry.name)
    if match is None:
        return False
    if match["machine"] == this_process().machine:
        return runs(int(match["pid"]), match["started"]) is False
    try:
        age = share_time(Path(entry.path).parent) - entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return False
    return age > FOREIGN_SECONDS


def sweep_folder(folder: Path) -> None:
    """Remove what dead processes left in `folder` (not below it); what cannot be removed stays."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(TEMPORARY_PREFIX) and is_leftover(entry):
                remove(entry)


def remove(entry: os.DirEntry[str]) -> None:
    """Remove a file or a folder with all in it; what cannot be removed stays."""
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(entry.path)


def share_time(folder: Path) -> float:
    """What time it is by the clock that stamps files in `folder`, seconds: a share has its own.

    Raises:
        OSError: nothing can be written there.
    """
    probe = temporary_name(folder)
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name != "nt":
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _number_in(text: str) -> int:
    found = _SAID.search(text)
    if found:
        return int(found[1] or found[2])
    return errno.ENOSPC if "No space left on device" in text else 0


def write_files(out: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder, made where it is absent; each is whole or absent.

    Raises:
        StorageError: the place cannot be written.
    """
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    sweep_folder(out)
    for name, content in files.items():
        write_atomically(out / name, content)

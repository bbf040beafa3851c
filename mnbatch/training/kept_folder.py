"""The folder beside a model directory in which a command keeps its training; nothing else in it is ever removed.

`mnbatch train` and `mnbatch adapt` use the same name, and a person may have a folder of that name, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mnbatch.errors import MnbatchError, StorageError
from mnbatch.files import TEMPORARY_PREFIX, as_storage_error, storage_error, sweep_folder
from mnbatch.intake import short

_TOLD = 3
_ADVICE_OF_A_RUN = storage_error(OSError(errno.ENOSPC, ""), "").next_step
"""What is said of a full disk elsewhere: it speaks of slides, of which a training keeps none."""


def folder_beside(out: Path) -> Path:
    """MODEL_DIR.training of a model directory."""
    out = Path(os.path.abspath(out))  # "." has no name to put beside
    return out.with_name(f"{out.name}.training")


@contextlib.contextmanager
def full_disk_told(there: Path, kept: str) -> Iterator[None]:
    """Say of a full disk what this command keeps.

    Args:
        there: what exists as soon as anything is kept; kept: what that is, in words.

    Raises:
        StorageError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        known = None if isinstance(error, MnbatchError) and not isinstance(error, StorageError) else error
        full = as_storage_error(known) if known is not None else None
        if full is None or full.next_step != _ADVICE_OF_A_RUN:
            raise
        what = kept if there.exists() else "nothing is kept yet, so it starts anew"
        raise StorageError(full.message, f"Free some space and run the same command again; {what}.") from error


@dataclass(frozen=True, slots=True)
class KeptFolder:
    """What one command keeps in the folder.

    Attributes:
        by: the command.
        files: the names that it writes there.
        holds: whether there is a training of this command in the folder, by its content; names alone prove nothing.
    """

    by: str
    files: re.Pattern[str]
    holds: Callable[[Path], bool]

    def check(self, folder: Path) -> None:
        """Refuse a folder that this command did not make.

        Raises:
            StorageError: there is something and no training of this command, or it cannot be read.
        """
        try:
            names = sorted(name for name in os.listdir(folder) if not name.startswith(TEMPORARY_PREFIX))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"{folder} cannot be read: {error.strerror}.", "Choose another --out.") from error
        if names and not self.holds(folder):
            more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
            raise StorageError(
                f"{folder} exists and keeps no training of `mnbatch {self.by}` (it holds "
                f"{', '.join(map(short, names[:_TOLD]))}{more}): it is left as it is.",
                "Move it away if it is no longer needed, or choose another --out.",
            )

    def remove(self, folder: Path) -> None:
        """Remove what this command keeps, and the folder where that was all; what cannot be removed stays."""
        with contextlib.suppress(OSError):
            if not self.holds(folder):
                return
            sweep_folder(folder)
            # In this order what shows whose folder it is goes last, in case this is killed.
            for name in sorted(filter(self.files.fullmatch, os.listdir(folder)), reverse=True):
                (folder / name).unlink()
            folder.rmdir()  # not where anything else is left: the system refuses it

"""The folder beside a model directory in which a command keeps its training; nothing else in it is ever removed.

`mnbatch train` and `mnbatch adapt` use the same name, and a person may have a folder of that name, too.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mnbatch.errors import StorageError
from mnbatch.files import TEMPORARY_PREFIX, sweep_folder
from mnbatch.intake import short

_TOLD = 3


def folder_beside(out: Path) -> Path:
    """MODEL_DIR.training of a model directory."""
    out = Path(os.path.abspath(out))  # "." has no name to put beside
    return out.with_name(f"{out.name}.training")


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

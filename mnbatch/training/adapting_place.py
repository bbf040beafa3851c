"""Where the reviewed crops of one `mnbatch adapt` lie while it learns: a private folder that does not outlive it long.

The folder's name says which process uses it, so that the next adaptation finds what a killed one left.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnbatch.files import remove
from mnbatch.processes import runs, this_process

_NAME = re.compile(r"mnbatch-adapt-(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<started>\d{0,20})-\w+")


@contextlib.contextmanager
def adapting_place() -> Iterator[Path]:
    """A new folder that only its owner can read, gone when the block ends; those of dead processes go first."""
    _sweep(Path(tempfile.gettempdir()))
    me = this_process()
    with tempfile.TemporaryDirectory(prefix=f"mnbatch-adapt-{me.machine}-{me.pid}-{me.started}-") as place:
        yield Path(place)


def _sweep(folder: Path) -> None:
    """Remove what processes of this machine left that do not run any more; what another machine left stays."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            name = _NAME.fullmatch(entry.name)
            if name is None or name["machine"] != this_process().machine:
                continue
            if entry.is_dir(follow_symlinks=False) and runs(int(name["pid"]), name["started"]) is False:
                remove(entry)

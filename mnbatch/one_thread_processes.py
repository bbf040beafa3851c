"""Processes that `multiprocessing` starts anew, whose numeric libraries use one thread: there is one a core.

The libraries read their environment while they are loaded, which is before any code of the new process runs: so it has
to be there when the process starts.
"""

from __future__ import annotations

import os
from multiprocessing.context import SpawnContext, SpawnProcess

from mnbatch.processes import one_thread


class _OneThreadProcess(SpawnProcess):
    def start(self) -> None:
        before = dict(os.environ)
        os.environ.update(one_thread())
        try:
            super().start()
        finally:
            for name in one_thread().keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)


class OneThreadContext(SpawnContext):
    """For `ProcessPoolExecutor(workers, OneThreadContext())`."""

    Process = _OneThreadProcess

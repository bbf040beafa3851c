"""The work of worker processes done in this process, for tests that change what this process may do."""

import pickle

from mnbatch.pipeline.worker_messages import Known, Request
from mnbatch.pipeline.worker_process import done
from mnbatch.pipeline.workers import WorkerPool


class LocalPool(WorkerPool):
    """Asks nobody."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._opened = Known()

    def ask(self, operation, *arguments, key="", opening=None):
        new = opening if opening is not None and key not in self._opened else None
        answer = done(Request(operation, key, new, arguments, self.deadline), self._opened)
        # As an answer travels, so that what is packed for the way is what comes out at its end.
        return pickle.loads(pickle.dumps(answer, protocol=5))

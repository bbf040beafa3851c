"""Work in threads, results in order, a bounded look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

SIGNAL_SECONDS = 0.5
"""The main thread waits no longer at a time: see `result_of`."""

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], tasks: Iterator[T], workers: int, ahead: int) -> Iterator[R]:
    """Apply `function` to tasks in worker threads and yield the results in the order of the tasks.

    Tasks are taken from the iterator in the consumer's thread. An exception, of the function or of the
    iterator, comes up at its place: after the results of all tasks before it, and nothing follows it. A
    consumer that stops early waits only for the tasks that have started.

    Args:
        workers: threads, at least 1.
        ahead: tasks that may be under way or finished before their result is taken, at least 1.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers ({workers}) and ahead ({ahead}) must be at least 1")
    return _ordered_map(function, tasks, workers, ahead)


def result_of(future: Future[R]) -> R:
    """What a piece of work gives, waited for a while at a time.

    Python handles signals between two steps of the main thread: one that comes just before a wait without end would be
    handled after it, and could not end the work that is waited for.
    """
    while not wait((future,), SIGNAL_SECONDS).done:
        pass
    return future.result()


def _ordered_map(function: Callable[[T], R], tasks: Iterator[T], workers: int, ahead: int) -> Iterator[R]:
    pool = ThreadPoolExecutor(workers, "read")
    started: deque[Future[R]] = deque()
    try:
        failure: BaseException | None = None
        exhausted = False
        while started or not exhausted:
            while not exhausted and len(started) < ahead:
                try:
                    started.append(pool.submit(function, next(tasks)))
                except StopIteration:
                    exhausted = True
                except Exception as error:  # noqa: BLE001 - raised again below, at its place
                    failure, exhausted = error, True
            if started:
                yield result_of(started.popleft())
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

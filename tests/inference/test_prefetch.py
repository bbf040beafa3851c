"""Order, bounds, errors at their place, and no thread left behind."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from mnbatch.inference import prefetch
from mnbatch.inference.prefetch import ordered_map, result_of


def test_results_come_in_the_order_of_the_tasks() -> None:
    delays = [random.Random(1).uniform(0, 0.01) for _ in range(60)]

    def work(number: int) -> int:
        time.sleep(delays[number])
        return number

    assert list(ordered_map(work, iter(range(60)), workers=4, ahead=10)) == list(range(60))


def test_look_ahead_is_bounded() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    for seen, _ in enumerate(ordered_map(lambda number: number, tasks(), workers=3, ahead=7), start=1):
        assert taken <= seen + 7


def test_works_in_as_many_threads_as_asked() -> None:
    together = threading.Barrier(3, timeout=600)

    def meet(_: int) -> int:
        return together.wait()

    assert len(list(ordered_map(meet, iter(range(3)), workers=3, ahead=3))) == 3


def test_exception_comes_up_after_the_results_before_it() -> None:
    def work(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    results = ordered_map(work, iter(range(20)), workers=4, ahead=8)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_exception_of_the_tasks_comes_up_after_the_results_before_it() -> None:
    def tasks() -> Iterator[int]:
        yield from range(3)
        raise OSError("the share went away")

    results = ordered_map(lambda number: number, tasks(), workers=2, ahead=10)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="went away"):
        next(results)


def test_consumer_that_stops_early_leaves_no_thread_and_starts_nothing_more(monkeypatch) -> None:
    """Both threads are held at their task until what has not begun is cancelled."""
    before = threading.active_count()
    cancelled = threading.Event()
    started: list[int] = []

    class Pool(prefetch.ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def work(number: int) -> int:
        started.append(number)
        if number:
            cancelled.wait()
        return number

    monkeypatch.setattr(prefetch, "ThreadPoolExecutor", Pool)
    results = ordered_map(work, iter(range(10_000)), workers=2, ahead=50)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert set(started) <= {0, 1, 2}
    assert threading.active_count() == before


def test_no_task_gives_no_result() -> None:
    assert list(ordered_map(lambda number: number, iter(()), workers=2, ahead=2)) == []


@pytest.mark.parametrize(("workers", "ahead"), [(0, 1), (1, 0)])
def test_nonsense_is_refused_at_once(workers: int, ahead: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ordered_map(lambda number: number, iter(range(3)), workers, ahead)


def signalled_while_waiting(handle: Callable[[], object]) -> threading.Thread:
    """Once the main thread waits, a signal comes to another thread, which does not wake it: as one that comes just
    before a wait. `handle` is what the handler does."""
    signal.signal(signal.SIGUSR1, lambda number, frame: handle())
    main = threading.main_thread().ident
    assert main is not None

    def send() -> None:
        while sys._current_frames()[main].f_code.co_name not in {"wait", "acquire"}:
            time.sleep(0.001)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system sends no signals to threads")
def test_a_signal_that_does_not_wake_the_main_thread_is_handled_while_it_waits() -> None:
    """SIGTERM did not end a run whose disk hung, where it came in the moment before the run began to wait."""
    future: Future[int] = Future()
    before = signal.getsignal(signal.SIGUSR1)
    late = threading.Timer(60, future.cancel)
    late.start()
    try:
        thread = signalled_while_waiting(lambda: future.set_result(7))
        assert result_of(future) == 7
        thread.join()
    finally:
        late.cancel()
        signal.signal(signal.SIGUSR1, before)

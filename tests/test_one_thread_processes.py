"""Processes that are started anew compute in one thread, and the one that starts them as before."""

import os
from concurrent.futures import ProcessPoolExecutor

from mnbatch.one_thread_processes import OneThreadContext

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment():
    return [os.environ.get(name) for name in NAMES]


def test_the_libraries_of_a_new_process_find_one_thread_before_they_are_loaded(monkeypatch):
    monkeypatch.delenv(NAMES[0], raising=False)
    monkeypatch.setenv(NAMES[1], "7")
    before = dict(os.environ)
    with ProcessPoolExecutor(1, OneThreadContext()) as pool:
        assert pool.submit(environment).result() == ["1", "1", "1"]
    assert dict(os.environ) == before

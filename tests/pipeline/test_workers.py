"""Whatever a file does to its decoder costs that file alone, and never the end of the run."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

import mnbatch.pipeline.run as story
from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.imaging.fields.field_options import FieldOptions
from mnbatch.imaging.preparation import Preparation
from mnbatch.pipeline.run import run
from mnbatch.pipeline.worker_messages import Opening
from mnbatch.pipeline.workers import HurriedError, WorkerPool, WorkLostError, opening_key
from mnbatch.results.store import Store
from tests.stopping import LIMIT_SECONDS

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe stands for a file that never ends")

LONG = 86_400.0


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file whose reading never ends."""
    os.mkfifo(tmp_path / "endless.png")
    return tmp_path / "endless.png"


def opening_of(path: Path) -> Opening:
    file = SourceFile(path.name, 1, 1)
    slide = Slide("s", "s", "s", None, path.parent, (file,), "flat-files")
    return Opening(slide, Preparation(), FieldOptions(), keep_jpeg=False)


def until_read(pipe: Path) -> int:
    """Wait until somebody reads a pipe; gives the end that must stay open for the reader to wait on."""
    return os.open(pipe, os.O_WRONLY)


def ask(pool: WorkerPool, path: Path) -> object:
    opening = opening_of(path)
    return pool.ask("hash", opening.slide.files[0], key=opening_key(), opening=opening)


def test_a_file_that_never_ends_is_given_up_and_the_next_one_read(endless: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    with WorkerPool(1, 1.0, 4) as pool:
        with pytest.raises(WorkLostError, match="longer than 1 s"):
            ask(pool, endless)
        assert len(str(ask(pool, tmp_path / "a.png"))) == 64


def test_a_crash_is_told_with_its_signal(endless: Path) -> None:
    failure: list[BaseException] = []

    def wait_for_it(pool: WorkerPool) -> None:
        try:
            ask(pool, endless)
        except WorkLostError as lost:
            failure.append(lost)

    with WorkerPool(1, LONG, 4) as pool:
        asking = threading.Thread(target=wait_for_it, args=(pool,))
        asking.start()
        held = until_read(endless)
        (worker,) = pool._busy
        os.kill(worker._process.pid, signal.SIGSEGV)
        asking.join(LIMIT_SECONDS)
        os.close(held)
    assert "SIGSEGV" in str(failure[0])
    assert failure[0].crashed  # type: ignore[attr-defined]


def test_a_run_that_stops_gives_up_what_is_stuck_and_says_nothing_of_its_file(endless: Path) -> None:
    with WorkerPool(1, LONG, 4) as pool:
        threading.Thread(target=lambda: (until_read(endless), pool.hurry(0.0))).start()  # type: ignore[func-returns-value]
        with pytest.raises(HurriedError):
            ask(pool, endless)


def test_too_little_memory_is_said(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (6000, 6000), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "large.tif", noise)
    file = SourceFile("large.tif", 1, 1)
    slide = Slide("s", "s", "s", None, tmp_path, (file,), "flat-files", kind="fields")
    opening = Opening(slide, Preparation(), FieldOptions(), keep_jpeg=False)
    with WorkerPool(1, LONG, 0.25) as pool:
        key = opening_key()
        (task,) = pool.ask("tasks", key=key, opening=opening)
        with pytest.raises(WorkLostError, match=r"more than 0\.25 GiB"):
            pool.ask("look", task, key=key, opening=opening)


def then_endless(plan_slides, path: Path):
    """Plan the run, and put an endless file in the place of a crop."""

    def planned(*arguments):
        plans = list(plan_slides(*arguments))
        path.unlink()
        os.mkfifo(path)
        return iter(plans)

    return planned


def test_a_crop_that_never_ends_is_an_unreadable_cell_of_its_slide(settings, export, tmp_path, monkeypatch) -> None:
    path = export / "D1/A/cell_001.png"
    monkeypatch.setattr(story, "plan_slides", then_endless(story.plan_slides, path))
    outcome = run(settings(file_deadline=4.0, max_bad_fraction=0.5))
    assert outcome.exit_code == 0
    store = Store(tmp_path / "out")
    (record,) = [record for record in store.records() if record.unreadable]
    (row,) = [row for row in store.scores(record) if row.p_mn is None]
    assert "longer than 4 s" in row.reason
    assert len(store.records()) == 4


STUCK = """
import sys
from pathlib import Path
import mnbatch.pipeline.run as story
from tests.pipeline.test_workers import then_endless
planned = then_endless(story.plan_slides, Path(sys.argv[1]))
def told(*arguments):
    plans = planned(*arguments)
    print("laid", flush=True)
    return plans
story.plan_slides = told
sys.argv[:] = ["mnbatch", *sys.argv[2:]]
from mnbatch.cli import main
main()
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_signals_end_a_run_that_is_stuck(signals, export, tmp_path, models) -> None:
    """The deadline is a day: only the signals can end it."""
    path, out = export / "D1/A/cell_001.png", tmp_path / "out"
    options = ["--out", out, "--model", models["one"], "--layout", "donor-slide-folders", "--file-deadline", "86400"]
    command = [sys.executable, "-c", STUCK, path, "run", export, *options, "--workers", "1"]
    pipes, folder = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}, Path(__file__).parents[2]
    process = subprocess.Popen([*map(str, command)], **pipes, text=True, cwd=folder)  # type: ignore[call-overload]
    assert process.stdout.readline() == "laid\n"
    held = until_read(path)
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=LIMIT_SECONDS)
    os.close(held)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    assert not list(out.glob("slides/*/record.json"))

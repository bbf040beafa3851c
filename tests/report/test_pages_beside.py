"""Slides whose files are made beside each other have the bytes that one process gives them, whatever ends a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mnbatch.errors import LockHeldError
from mnbatch.report import pages_beside
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.donor_reports import DonorBuilder
from mnbatch.report.slide_reports import SlideBuilder
from mnbatch.results.lock import hold_out
from mnbatch.results.store import Store
from tests.report.conftest import add_slide

OPTIONS = ReportOptions(gallery=3, min_cells=5)
SLIDES, DONORS = 7, 4


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes for seven slides."""
    monkeypatch.setattr(pages_beside, "PAGES_A_PROCESS", 1)
    monkeypatch.setattr(pages_beside, "available_cores", lambda: 3)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, one process makes all."""
    return lambda: monkeypatch.setattr(pages_beside, "available_cores", lambda: 1)


@pytest.fixture
def made_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Slides and donors whose files this process makes."""
    here: list[str] = []
    slide, donor = SlideBuilder._build, DonorBuilder._build

    def made_slide(self, record, stamp):
        here.append(record.slide_id)
        return slide(self, record, stamp)

    def made_donor(self, item, stamp):
        here.append(item.call.donor)
        return donor(self, item, stamp)

    monkeypatch.setattr(SlideBuilder, "_build", made_slide)
    monkeypatch.setattr(DonorBuilder, "_build", made_donor)
    return here


def a_batch(root: Path) -> Store:
    """Slides of three donors: called cells, none, an unreadable one, a copy of cells, a failure, control marks."""
    store = Store(root)
    for i in range(SLIDES - 1):
        scores = [0.9 if k % (3 + i) == 0 else 0.1 + 0.01 * k for k in range(12)]
        digest = 1 if i == 4 else 1000 * (i + 1)
        add_slide(store, f"s{i}", [*scores, None] if i == 2 else scores, donor=f"D{i // 2}", first_digest=digest)
    add_slide(store, "s6", [0.1, 0.2, None, None], donor="D2", first_digest=90_000)
    return store


SAMPLES = {"s0": {"donor": "Änne", "dose_gy": "1"}, "s1": {"control": "yes"}, "s3": {"note": "ü\u2028x"}}


def files(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and "runs" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found if path.name != "lock.json"}


def test_the_bytes_are_those_of_one_process(several, made_here, alone, tmp_path: Path) -> None:
    beside = build_reports(a_batch(tmp_path / "beside"), OPTIONS, SAMPLES)
    assert made_here == []
    alone()
    single = build_reports(a_batch(tmp_path / "alone"), OPTIONS, SAMPLES)
    assert len(made_here) == SLIDES + DONORS
    assert (beside.slides_built, beside.slides, beside.damaged) == (SLIDES, single.slides, single.damaged)
    assert (beside.donors_built, beside.donors) == (DONORS, DONORS)
    assert times_apart(files(tmp_path / "beside")) == times_apart(files(tmp_path / "alone"))


def times_apart(found: dict[str, bytes]) -> dict[str, bytes]:
    """What was scored is the same but for its directory of a random name; what reports made is all there."""
    made = {name: data for name, data in found.items() if "/g1/" not in name}
    assert any(name.endswith("gallery.html") for name in made)
    assert any(name.endswith("cells.csv") for name in made)
    return {name: data for name, data in made.items() if not name.endswith(("record.json", "seal.json"))}


def test_only_what_is_out_of_date_is_made_again(several, made_here, tmp_path: Path) -> None:
    store = a_batch(tmp_path)
    assert build_reports(store, OPTIONS).slides_built == SLIDES
    again = build_reports(store, OPTIONS)
    assert (again.slides_built, again.donors_built) == (0, 0)
    before = files(tmp_path)
    forced = build_reports(store, replace(OPTIONS, force=True))
    assert (forced.slides_built, forced.donors_built) == (SLIDES, 3)
    assert made_here == []
    assert files(tmp_path) == before
    # A page that somebody changed has the right stamp: it is found by the look at the files, here.
    (store.paths.slide("s3").root / "index.html").write_text("changed", encoding="utf-8")
    assert build_reports(store, OPTIONS).slides_built == 1
    assert made_here == ["s3"]
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "start",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import sys; print('s0'); print('s1', end=''); sys.exit(1)",
        "raise SystemExit(1)",
    ],
    ids=["killed", "says what it did not do", "ends"],
)
def test_a_process_that_ends_early_costs_nothing_but_time(several, alone, tmp_path: Path, monkeypatch, start) -> None:
    monkeypatch.setattr(pages_beside, "_START", start)
    broken = build_reports(a_batch(tmp_path / "broken"), OPTIONS, SAMPLES)
    alone()
    single = build_reports(a_batch(tmp_path / "alone"), OPTIONS, SAMPLES)
    assert broken.slides == single.slides
    assert times_apart(files(tmp_path / "broken")) == times_apart(files(tmp_path / "alone"))


def test_a_process_that_is_killed_at_its_second_slide(several, made_here, tmp_path: Path, monkeypatch) -> None:
    kill = (
        "from mnbatch.report.slide_reports import SlideBuilder as B; import os; first = B.item; n = []\n"
        "def item(self, record):\n"
        "    n.append(1)\n"
        "    return os._exit(9) if len(n) == 2 else first(self, record)\n"
        "B.item = item\n"
    )
    start = pages_beside._START.replace("; main()", "\n" + kill + "main()")
    monkeypatch.setattr(pages_beside, "_START", start)
    made = build_reports(a_batch(tmp_path), OPTIONS)
    assert sorted(made_here) == ["s3", "s4", "s5", "s6"]  # its donors' pages have another kind of share
    assert made.slides_built == SLIDES


def test_pictures_that_were_altered_fail_their_slide_as_ever(several, tmp_path: Path) -> None:
    store = a_batch(tmp_path)
    (crops,) = store.paths.slide("s1").root.glob("g*/crops.bin")
    data = bytearray(crops.read_bytes())
    data[len(data) // 2] ^= 0xFF
    crops.write_bytes(data)
    made = build_reports(store, OPTIONS)
    assert made.damaged
    assert {slide.slide_id: slide.status for slide in made.slides}["s1"] == "failed"


def test_processes_write_for_the_run_that_holds_out_and_for_no_other(several, made_here, tmp_path: Path) -> None:
    store = a_batch(tmp_path)
    with hold_out(store.paths):
        assert build_reports(store, OPTIONS).slides_built == SLIDES
        assert made_here == []
        other = json.loads(store.paths.lock.read_text(encoding="utf-8"))
        store.paths.lock.write_text(json.dumps(other | {"token": "another"}), encoding="utf-8")
        with pytest.raises(LockHeldError):
            build_reports(store, replace(OPTIONS, force=True))

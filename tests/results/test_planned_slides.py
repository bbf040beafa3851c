"""What jobs of `mnbatch score` were given and none scored: noted, in the tables, known to `status`."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from mnbatch.app.out_status import out_status
from mnbatch.errors import StorageError, UsageError
from mnbatch.results.batch import Batch, write_batch
from mnbatch.results.lock import hold_out
from mnbatch.results.planned_slides import (
    NotedSlide,
    end_plans,
    note_plan,
    refuse_unknown_token,
    settle_plans,
    state_of,
)
from mnbatch.results.records import SlideRecord, Waiting
from mnbatch.results.store import Store
from tests.report.conftest import add_failed, add_slide


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "out")
    made.paths.runs.mkdir(parents=True)
    write_batch(made.paths, Batch("/e", "donor-slide", False))
    return made


def noted(slide_id: str, was: str = "") -> NotedSlide:
    record = SlideRecord(
        slide_id=slide_id, name=slide_id, path=slide_id, donor="D1", layout="l", status="scored", stat_key="k"
    )
    return NotedSlide(record, was)


def make_older(store: Store, days: int) -> None:
    (path,) = store.paths.plan_notes
    _, *slides = path.read_text().splitlines()
    since = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    path.write_text("\n".join([json.dumps({"since": since}), *slides, ""]))


def test_only_what_no_job_tried_waits(store):
    """A failure that may pass is a failure; a result that was to be made again stays, and waits."""
    before = add_slide(store, "again", [0.9], keep_crops=False)
    note_plan(store.paths, "t", [noted("new"), noted("lost"), noted("done"), noted("again", state_of(before))])
    add_slide(store, "done", [0.1], keep_crops=False)
    add_failed(store, "lost", "an I/O error", transient=True)
    assert [slide.slide_id for slide in settle_plans(store)] == ["new", "again"]
    states = {record.slide_id: (record.status, record.waiting is not None) for record in store.records()}
    assert states == {
        "again": ("scored", True),
        "done": ("scored", False),
        "lost": ("failed", False),
        "new": ("waiting", True),
    }
    files = {path: path.stat().st_mtime_ns for path in store.paths.slides.rglob("record.json")}
    assert len(settle_plans(store)) == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_plan_is_noted_once_and_keeps_since_when_its_slides_wait(store):
    slides = [noted("a"), noted("b")]
    note_plan(store.paths, "t", slides)
    make_older(store, 3)
    (path,) = store.paths.plan_notes
    before = path.read_bytes()
    note_plan(store.paths, "t", slides)
    assert path.read_bytes() == before
    note_plan(store.paths, "t", slides[:1])
    assert len(store.paths.plan_notes) == 2


def test_that_newer_files_wait_makes_no_other_result(store):
    record = add_slide(store, "s", [0.9], keep_crops=False)
    waiting = Waiting(since="2026", seen="2026", runs=1, state="x", same_since="2026", text="new files")
    assert state_of(record) == state_of(record.model_copy(update={"waiting": waiting})) != ""


def test_status_knows_before_any_report_and_is_louder_after_a_day(store):
    note_plan(store.paths, "t", [noted("a")])
    found = out_status(store.paths.root)
    assert (found.exit_code, found.slides, [slide.planned for slide in found.waiting]) == (8, 1, [True])
    with hold_out(store.paths):
        assert out_status(store.paths.root).exit_code == 0
    make_older(store, 2)
    for _ in range(2):
        found = out_status(store.paths.root)
        assert (found.exit_code, "1 slide waiting for too long" in found.verdict) == (3, True)
        settle_plans(store)
    assert not store.paths.slides_csv.exists()


def test_a_settled_plan_is_forgotten_and_its_token_is_not(store):
    note_plan(store.paths, "t-1", [noted("a")])
    end_plans(store.paths)
    assert settle_plans(store) == ()
    refuse_unknown_token(store.paths, "t-1")
    for other in ("t", "1", "t-1-0"):
        with pytest.raises(UsageError, match="known are t-1"):
            refuse_unknown_token(store.paths, other)


def test_where_no_job_noted_anything_every_token_may_be_one(store):
    refuse_unknown_token(store.paths, "of-an-earlier-version")


@pytest.mark.parametrize("text", ["{", "[]\n", '{"was": ""}\n', '{"was": "", "record": {"slide_id": "a"}}\n', "7\n"])
def test_a_note_that_is_damaged_is_named(store, text):
    path = store.paths.runs / f"planned-t-{'0' * 16}.jsonl"
    path.write_text(text)
    for use in (lambda: settle_plans(store), lambda: out_status(store.paths.root)):
        with pytest.raises(StorageError, match="planned-t-0") as refused:
            use()
        assert "mnbatch run" in refused.value.next_step

"""What an export and an OUT hold, without the command line."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from mnbatch.app.inspection import NothingFoundError, draw_history, scan_export, verify_results
from mnbatch.app.out_status import out_status
from mnbatch.app.rebuild import rebuild_after_change
from mnbatch.errors import NoInputError, UsageError
from mnbatch.imaging.walk import EMPTY
from mnbatch.results.commit import write_record
from mnbatch.results.lock import hold_lock
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord
from tests.in_process import mnbatch


@pytest.fixture
def export(tmp_path):
    for path in ("export/D1/s1/1.png", "export/D2/s1/1.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / path)
    (tmp_path / "export/D2/s1/Thumbs.db").write_bytes(b"x")
    return tmp_path / "export"


def test_a_status_is_what_the_command_prints(out):
    out.paths.batch.write_text("{}")
    out.paths.manifest.write_text('{"status": "running", "started": "now"}')
    assert out_status(out.paths.root).done == 0
    rebuild_after_change(out)
    found = out_status(out.paths.root)
    assert (found.slides, found.done, found.failed, found.copies, found.held_by) == (2, 2, (), (), None)
    assert found.latest_run["status"] == "killed"
    said = mnbatch("status", out.paths.root, "--json")
    assert said.stdout == json.dumps(asdict(found), indent=1) + "\n"
    with hold_lock(out.paths.lock):
        found = out_status(out.paths.root)
    assert found.held_by
    assert found.latest_run["status"] == "running"


def test_damage_is_a_failed_slide(out):
    out.paths.batch.write_text("{}")
    (out.paths.slide("s1").root / "g1/scores.csv").write_text("gone")
    (failed,) = out_status(out.paths.root).failed
    assert (failed.slide_id, failed.slide) == ("s1", "s1")
    assert failed.reason.startswith("its stored result is damaged")


def test_verify_names_what_was_changed(out):
    rebuild_after_change(out)
    assert verify_results(out.paths.root).wrong == ()
    out.paths.slides_csv.write_text("x")
    assert [one.path for one in verify_results(out.paths.root).wrong] == ["slides.csv"]
    said = json.loads(mnbatch("verify", out.paths.root, "--json").stdout)
    assert said["files"] == verify_results(out.paths.root).files


def test_a_control_chart_over_batches(out, tmp_path):
    out.paths.batch.write_text("{}")
    done = draw_history(tmp_path, tmp_path / "chart.html")
    assert [point.folder for point in done.points] == ["out"]
    assert (done.outside, done.missing) == ((), ())
    assert done.page.read_text().startswith("<!")
    said = mnbatch("history", tmp_path, "--out", tmp_path / "chart.html")
    assert said.stdout == f"1 batch: {tmp_path / 'chart.html'}\n"


def test_one_bad_record_does_not_keep_others_from_their_chart(out, tmp_path):
    out.paths.batch.write_text("{}")
    for name in ("b", "c", "d"):
        shutil.copytree(out.paths.root, tmp_path / name)
    (tmp_path / "b/slides/s1/record.json").write_text("{")
    (tmp_path / "c/annotations/samples.csv").write_bytes(b"\xff\x00")
    for path in sorted((tmp_path / "d/slides").glob("*/record.json")):
        record = SlideRecord.model_validate({k: v for k, v in json.loads(path.read_text()).items() if k != "checksum"})
        scored = record.scored.model_copy(update={"finished": "yesterday"})
        write_record(OutPaths(tmp_path / "d").slide(path.parent.name), record.model_copy(update={"scored": scored}))
    done = draw_history(tmp_path, tmp_path / "chart.html")
    assert [point.folder for point in done.points] == ["b", "out"]
    assert [missing.slide_id for missing in done.missing] == ["b/s1", "c", "d"]
    assert mnbatch("history", tmp_path, "--out", tmp_path / "chart.html").returncode == 3


def test_a_scan_lists_slides_and_reasons_and_asks_no_environment(export, tmp_path, monkeypatch):
    monkeypatch.setenv("MNBATCH_LAYOUT", "nonsense")
    found = scan_export(export, layout="donor-slide-folders", input="crops", keep_skipped=True)
    assert [(slide.donor, slide.slide, slide.files) for slide in found.slides] == [("D1", "s1", 1), ("D2", "s1", 1)]
    assert [skipped.path for skipped in found.skipped][:1] == ["D2/s1/Thumbs.db"]
    assert sum(found.reasons.values()) == len(found.skipped)
    assert scan_export(export, input="crops").skipped == ()
    (tmp_path / "samples.csv").write_text("slide,donor,dose_gy\nD1/s1,A,0\nD2/s1,B,2\n")
    found = scan_export(export, input="crops", samples=tmp_path / "samples.csv")
    assert [(slide.donor, slide.dose_gy) for slide in found.slides] == [("A", 0.0), ("B", 2.0)]


def test_refusals(export, tmp_path):
    for function in (out_status, verify_results):
        with pytest.raises(NoInputError, match="holds no results of mnbatch"):
            function(tmp_path / "nowhere")
    with pytest.raises(NoInputError, match="no batch of mnbatch"):
        draw_history(export, tmp_path / "chart.html")
    with pytest.raises(UsageError):
        scan_export(export, layout="nonsense")
    with pytest.raises(UsageError, match="--input cannot be"):
        scan_export(export, input="nonsense")
    for path in export.rglob("*.png"):
        path.unlink()
    with pytest.raises(NothingFoundError) as refused:
        scan_export(export, input="crops")
    assert refused.value.exit_code == 4
    reasons = refused.value.found.reasons
    assert reasons[EMPTY] == 2
    assert [number for reason, number in reasons.items() if reason != EMPTY] == [1]

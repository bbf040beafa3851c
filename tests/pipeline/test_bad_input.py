"""Nothing bad in an export stops the others, and nothing bad becomes a zero."""

import csv
import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mnbatch.cli import app
from mnbatch.errors import (
    LockHeldError,
    MismatchError,
    ModelError,
    NoInputError,
    StorageError,
    UsageError,
)
from mnbatch.pipeline.run import run
from tests.local_pool import LocalPool


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def slides(out):
    return {row["slide_id"].rsplit("-", 1)[0]: row for row in table(out / "slides.csv")}


def slide_named(out, donor, slide):
    rows = [row for row in table(out / "slides.csv") if (row["donor"], row["slide"]) == (donor, slide)]
    assert len(rows) == 1
    return rows[0]


def test_one_bad_cell_is_excluded_with_its_reason_and_the_rest_goes_on(settings, export, tmp_path, new_slide):
    new_slide(export / "D3" / "A", seed=7, cells=19)
    (export / "D3/A/cell_bad.png").write_bytes(b"")
    outcome = run(settings())
    row = slide_named(tmp_path / "out", "D3", "A")
    assert (outcome.exit_code, row["status"], row["bn_cells"], row["excluded_cells"]) == (0, "done", "19", "1")
    cells = table(tmp_path / "out" / "slides" / row["slide_id"] / "cells.csv")
    bad = [cell for cell in cells if cell["source"].endswith("cell_bad.png")]
    assert len(bad) == 1
    assert (bad[0]["p_mn"], bad[0]["mn"]) == ("", "")
    assert bad[0]["reason"]


def test_too_many_bad_cells_fail_the_slide_and_only_it(settings, export, tmp_path):
    (export / "D1/A/cell_000.png").write_bytes(b"%PDF-1.7 not an image")
    outcome = run(settings())
    row = slide_named(tmp_path / "out", "D1", "A")
    assert (outcome.exit_code, row["status"], row["bn_cells"], row["mnbn_cells"]) == (3, "failed", "", "")
    assert "1 of 6" in row["reason"]
    assert sum(slide.status == "done" for slide in outcome.report.slides) == 3
    donor = {row["donor"]: row for row in table(tmp_path / "out" / "donors.csv")}
    assert (donor["D1"]["status"], donor["D1"]["bn_cells"], donor["D2"]["status"]) == ("partial", "6", "done")
    assert run(settings()).exit_code == 3, "a slide that failed before is still failed"
    assert run(settings(max_bad_fraction=0.5)).exit_code == 0


def test_a_slide_without_a_readable_cell_is_failed_and_never_zero(settings, export, tmp_path):
    for path in (export / "D1/A").iterdir():
        path.write_bytes(b"\xff\xd8 torn")
    assert run(settings()).exit_code == 3
    row = slide_named(tmp_path / "out", "D1", "A")
    assert (row["status"], row["mnbn_cells"], row["mnbn_per_1000"]) == ("failed", "", "")


def test_a_look_that_the_model_does_not_serve_fails_with_that_reason(settings, models, tmp_path, export, new_slide):
    new_slide(export / "D3" / "G", seed=3, stain="giemsa")
    outcome = run(settings(model=str(models["giemsa"])))
    assert outcome.exit_code == 3
    failed = slide_named(tmp_path / "out", "D1", "A")
    assert failed["status"] == "failed"
    assert "fluorescence" in failed["reason"]
    assert slide_named(tmp_path / "out", "D3", "G")["status"] == "done"
    assert len(run(settings(model=str(models["giemsa"]))).kept) == 5
    assert run(settings(model=str(models["one"]))).exit_code == 0


def test_noise_is_no_stain(settings, export, tmp_path):
    rng = np.random.default_rng(0)
    for path in (export / "D1/A").iterdir():
        Image.fromarray(np.full((96, 96), 128, np.uint8) + rng.integers(0, 2, (96, 96), np.uint8)).save(path)
    run(settings())
    assert slide_named(tmp_path / "out", "D1", "A")["status"] == "failed"


def blank(folder, cells):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(cells):
        pixels = np.full((96, 96, 3), (200, 170, 210), np.uint8) + rng.integers(0, 3, (96, 96, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"cell_{number:03d}.png")


def test_a_slide_of_blank_pictures_fails_alone(settings, export, tmp_path):
    blank(export / "D3" / "A", cells=30)
    assert run(settings()).exit_code == 3
    row = slide_named(tmp_path / "out", "D3", "A")
    assert (row["status"], row["mnbn_cells"]) == ("failed", "")
    assert "not recognised" in row["reason"]
    assert [slide_named(tmp_path / "out", donor, "A")["status"] for donor in ("D1", "D2")] == ["done", "done"]


@pytest.mark.parametrize(
    "place",
    [
        "mnbatch.pipeline.reading.RemoteSource.runs",
        "mnbatch.pipeline.reading.RemoteSource.in_order",
        "mnbatch.imaging.crop_scenes.CropScenes.trouble",
        "mnbatch.pipeline.committing.SlideWriter.add",
        "mnbatch.pipeline.committing.SlideWriter.commit",
    ],
)
def test_a_fault_that_nobody_foresaw_costs_one_slide(settings, export, tmp_path, monkeypatch, place):
    real, at_fault = pytest.importorskip(place.rsplit(".", 2)[0]), []
    kind, name = place.rsplit(".", 2)[1:]
    usual = getattr(getattr(real, kind), name)

    def once(self, *arguments):
        at_fault[:] = at_fault or [self]
        if self is at_fault[0]:
            raise ValueError("cannot reshape array")
        return usual(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, once)
        outcome = run(settings())
    assert outcome.exit_code == 3
    rows = table(tmp_path / "out" / "slides.csv")
    assert sorted(row["status"] for row in rows) == ["done", "done", "done", "failed"]
    (failed,) = (row for row in rows if row["status"] == "failed")
    assert "ValueError: cannot reshape array" in failed["reason"]
    assert failed["mnbn_cells"] == ""
    logs = "".join(path.read_text() for path in (tmp_path / "out" / "runs").glob("*.jsonl"))
    assert "Traceback" in logs
    assert not list((tmp_path / "out" / "slides").glob("*/.staging*"))
    assert run(settings()).exit_code == 0, "it is tried again"


def test_a_full_disk_that_a_library_reports_in_its_own_words_ends_the_run(settings, export, monkeypatch):
    def full(*_):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RuntimeError("cannot encode") from error

    monkeypatch.setattr("mnbatch.pipeline.committing.SlideWriter.add", full)
    with pytest.raises(StorageError):
        run(settings())


def test_a_folder_that_vanishes_while_running_fails_alone_and_is_tried_again(settings, export, tmp_path, monkeypatch):
    import mnbatch.pipeline.run as module

    real = module.plan_slides

    def plan_then_vanish(*args):
        plans = list(real(*args))
        shutil.move(export / "D2/A", tmp_path / "away")
        return plans

    with monkeypatch.context() as patch:
        patch.setattr(module, "plan_slides", plan_then_vanish)
        outcome = run(settings())
    assert outcome.exit_code == 3
    assert [slide.status for slide in outcome.report.slides].count("failed") == 1
    shutil.move(tmp_path / "away", export / "D2/A")
    assert run(settings()).exit_code == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to drop its rights")
def test_files_without_permission_are_read_once_they_may_be(settings, export, models, monkeypatch):
    # A worker process of another user could not start an interpreter that lies in root's home.
    monkeypatch.setattr("mnbatch.pipeline.run.WorkerPool", LocalPool)
    run(settings())  # loads what is loaded lazily, from places that others may not read
    # Not under pytest's own folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        shutil.copytree(export, place / "export")
        shutil.copytree(models["one"], place / "model")
        (place / "out").mkdir()
        os.chown(place / "out", 65534, 65534)
        locked = place / "export/D1/A/cell_002.png"
        locked.chmod(0)
        options = {"export": place / "export", "out": place / "out", "model": str(place / "model")}
        os.seteuid(65534)
        try:
            first = run(settings(**options, max_bad_fraction=0.5))
        finally:
            os.seteuid(0)
        assert first.exit_code == 0
        row = next(row for row in table(place / "out/slides.csv") if row["excluded_cells"] == "1")
        assert row["bn_cells"] == "5"
        assert run(settings(**options, max_bad_fraction=0.5)).scored == [row["slide_id"]]


def test_a_copied_slide_and_a_copied_crop_count_once(settings, export, tmp_path):
    shutil.copytree(export / "D1/A", export / "D1/A - Copy")
    shutil.copy(export / "D2/A/cell_003.png", export / "D2/B/zz_again.png")
    outcome = run(settings())
    assert outcome.exit_code == 0
    donors = {row["donor"]: row for row in table(tmp_path / "out" / "donors.csv")}
    assert (donors["D1"]["bn_cells"], donors["D2"]["bn_cells"]) == ("12", "12")
    row = slide_named(tmp_path / "out", "D2", "B")
    assert (row["bn_cells"], row["excluded_cells"]) == ("6", "1")
    assert run(settings()).scored == []


def test_the_same_pictures_under_two_donors_are_a_failure(settings, export, tmp_path):
    shutil.copytree(export / "D1/A", export / "D7/A")
    outcome = run(settings())
    assert outcome.exit_code == 3
    first, second = (slide_named(tmp_path / "out", donor, "A") for donor in ("D1", "D7"))
    assert (first["status"], second["status"]) == ("failed", "failed")
    assert "of donor D7" in first["reason"]
    assert "of donor D1" in second["reason"]
    status = CliRunner().invoke(app, ["status", str(tmp_path / "out"), "--json"])
    content = json.loads(status.stdout)
    assert (status.exit_code, content["slides"], content["copies"], content["held_by"]) == (3, 5, [], None)
    assert [slide["reason"] for slide in content["failed"]] == [first["reason"], second["reason"]]


def test_output_inside_the_export_is_refused(settings, export):
    with pytest.raises(UsageError, match="inside the export"):
        run(settings(out=export / "results"))
    assert not (export / "results").exists()


def test_results_of_another_export_are_not_mixed(settings, export, tmp_path):
    run(settings())
    moved = tmp_path / "moved"
    shutil.copytree(export, moved, copy_function=shutil.copy2)
    with pytest.raises(MismatchError, match="export"):
        run(settings(export=moved))
    assert len(run(settings(export=moved, export_moved=True)).kept) == 4


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"layout": "no-such-layout"}, UsageError),
        ({"model": "no-such-model"}, ModelError),
        ({"export": "nowhere"}, NoInputError),
    ],
)
def test_what_stops_a_whole_run_has_its_own_error(settings, options, error):
    with pytest.raises(error) as caught:
        run(settings(**options))
    assert caught.value.message
    assert caught.value.next_step


def test_an_empty_export_is_no_input(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInputError):
        run(settings(export=tmp_path / "empty"))


def test_altered_weights_are_refused(settings, models, tmp_path):
    shutil.copytree(models["one"], tmp_path / "altered")
    weights = tmp_path / "altered/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        run(settings(model=str(tmp_path / "altered")))


@pytest.mark.parametrize("rows", ["D1/A,X1\nD9/Z,X2\n", "D1/A,X1\nD1/A,X2\n"])
def test_a_sheet_with_an_unknown_or_repeated_slide_is_refused_before_scoring(settings, tmp_path, rows):
    sheet = tmp_path / "samples.csv"
    sheet.write_text("slide,donor\n" + rows)
    with pytest.raises(UsageError):
        run(settings(samples=sheet))
    assert not list((tmp_path / "out").glob("slides/*"))


def test_a_sample_sheet_names_the_donors(settings, tmp_path):
    sheet = tmp_path / "samples.csv"
    sheet.write_text("slide,donor,dose_gy\nD1/A,X1,0\nD1/B,X1,0\nD2/A,X1,0\nD2/B,X2,2\n")
    run(settings(samples=sheet))
    donors = {row["donor"]: row["bn_cells"] for row in table(tmp_path / "out" / "donors.csv")}
    assert donors == {"X1": "18", "X2": "6"}


def test_a_held_out_is_refused(settings, tmp_path):
    from mnbatch.results.lock import hold_lock

    (tmp_path / "out").mkdir()
    (tmp_path / "out/lock.json").write_text(json.dumps({"host": "elsewhere", "pid": 4, "start": 0}))
    with pytest.raises(LockHeldError, match="elsewhere"):
        run(settings())
    (tmp_path / "out/lock.json").unlink()
    with hold_lock(tmp_path / "out/lock.json"):
        pass
    assert run(settings()).exit_code == 0


def test_too_little_room_is_said_before_scoring(settings, monkeypatch):
    monkeypatch.setattr("mnbatch.pipeline.run.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(StorageError, match="free"):
        run(settings())


def test_a_disk_that_fills_up_while_running_stops_the_run_and_keeps_what_is_whole(settings, monkeypatch, tmp_path):
    from mnbatch.results import writer as module

    real, calls = module.os.fsync, []

    def fill_up(descriptor):
        calls.append(descriptor)
        if len(calls) > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", fill_up)
        with pytest.raises(StorageError, match="full"):
            run(settings())
    outcome = run(settings())
    assert outcome.exit_code == 0
    assert outcome.kept
    assert outcome.scored


def test_pseudonyms_hide_every_source_name(settings, export, tmp_path):
    (export / "D1").rename(export / "Müller-Anna")
    (export / "D2").rename(export / "Herr Zwei")
    outcome = run(settings(pseudonymise=True))
    assert outcome.exit_code == 0
    out = tmp_path / "out"
    for path in [*out.rglob("*.html"), *out.rglob("*.csv"), *out.rglob("record.json"), *out.rglob("summary.json")]:
        text = path.read_text(encoding="utf-8-sig")
        for name in ("Anna", "M\\u00fcller", "Müller", "cell_00", "Herr Zwei", str(export)):
            assert name not in text, f"{name} in {path}"
    names = json.loads((out / "private/names.json").read_text())
    assert any("Anna" in json.dumps(name) or "M" in name for name in names.values())
    assert len(run(settings(pseudonymise=True)).kept) == 4
    with pytest.raises(MismatchError, match="pseudonymise"):
        run(settings())


def test_hostile_names_stay_text(settings, export, tmp_path):
    (export / "D1").rename(export / "=cmd|' C calc'!A0")
    (export / "D2").rename(export / "<script>alert(1)<")
    assert run(settings()).exit_code == 0
    page = (tmp_path / "out/index.html").read_text()
    assert "<script>alert" not in page
    donors = [row["donor"] for row in table(tmp_path / "out/donors.csv")]
    assert "'=cmd|' C calc'!A0" in donors

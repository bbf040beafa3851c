"""What is done again, and why; and that a kill costs nothing but time."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from mnbatch.console import SilentProgress
from mnbatch.inference.card import UNFINISHED
from mnbatch.pipeline.run import run
from mnbatch.results.paths import OutPaths
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, save_plan
from tests.in_process import mnbatch
from tests.pipeline.conftest import results_without_times, write_slide
from tests.stopping import run_with_signal


def generations(out):
    return {record.path: record.generation for record in Store(out).records()}


@pytest.fixture
def no_scoring(monkeypatch):
    """From here on, making a classifier is a failure of the test."""

    def fail(*args, **kwargs):
        raise AssertionError("the network was asked")

    def forbid():
        monkeypatch.setattr("mnbatch.pipeline.scoring.Classifier", fail)

    return forbid


def test_a_second_identical_run_does_nothing(settings, without_times, no_scoring, tmp_path):
    first = run(settings())
    assert (len(first.scored), first.exit_code) == (4, 0)
    before = without_times(tmp_path / "out")
    no_scoring()
    second = run(settings())
    assert (second.scored, second.called, len(second.kept)) == ([], [], 4)
    assert (second.report.slides_built, second.report.index_built) == (0, False)
    assert without_times(tmp_path / "out") == before


def test_a_changed_image_redoes_its_slide_alone_and_says_why(settings, export, tmp_path):
    run(settings())
    shutil.copy(export / "D2/B/cell_001.png", export / "D1/A/cell_000.png")
    outcome = run(settings())
    assert generations(tmp_path / "out") == {"D1/A": "g2", "D1/B": "g1", "D2/A": "g1", "D2/B": "g1"}
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["slides"][outcome.scored[0]]["why"] == "its files changed"


def test_a_new_time_alone_scores_nothing(settings, export, touch, no_scoring):
    run(settings())
    touch(export / "D1/A/cell_000.png")
    no_scoring()
    assert len(run(settings()).kept) == 4
    assert len(run(settings()).kept) == 4


def test_content_changed_behind_an_unchanged_time_is_found_with_verify(settings, export, tmp_path):
    run(settings())
    path = export / "D1/A/cell_000.png"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(run(settings()).kept) == 4
    assert len(run(settings(verify=True)).scored) == 1


def test_a_stated_precision_scores_again_what_has_another_and_both_in_one_out_are_warned_of(settings, tmp_path):
    """As after nights on a GPU: one record says bf16."""
    run(settings())
    store = Store(tmp_path / "out")
    record = next(iter(store.records()))
    on_gpu = record.model_copy(update={"scored": record.scored.model_copy(update={"precision": "bf16"})})
    store.put_record(on_gpu)
    said = Said()
    assert len(run(settings(), said).kept) == 4
    assert [text for text in said.warnings if "two precisions: 1 in bf16, 3 in fp32" in text] != []
    said = Said()
    assert run(settings(precision="fp32"), said).scored == [record.slide_id]
    assert said.warnings == []
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert "--precision fp32" in manifest["slides"][record.slide_id]["why"]


class Said(SilentProgress):
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


def test_a_new_threshold_calls_anew_without_scoring(settings, no_scoring, tmp_path):
    run(settings())
    no_scoring()
    outcome = run(settings(threshold=0.0001))
    assert (len(outcome.called), outcome.scored) == (4, [])
    assert all(
        ",1," in line for line in (tmp_path / "out").glob("slides/*/cells.csv").__next__().read_text().splitlines()[1:]
    )
    for record in Store(tmp_path / "out").records():
        assert record.call.threshold == 0.0001
    back = run(settings())
    assert len(back.called) == 4


def test_a_record_without_the_model_s_errors_gets_them_without_scoring(settings, no_scoring, tmp_path):
    run(settings())
    store = Store(tmp_path / "out")
    complete = store.records()
    for record in complete:
        assert record.model.validation.threshold == record.call.threshold
        store.put_record(record.model_copy(update={"model": record.model.model_copy(update={"validation": None})}))
    no_scoring()
    outcome = run(settings())
    assert (len(outcome.called), outcome.scored) == (4, [])
    assert store.records() == complete


def test_a_new_model_scores_everything_again(settings, models, tmp_path):
    run(settings())
    outcome = run(settings(model=str(models["two"])))
    assert len(outcome.scored) == 4
    assert {record.model.name for record in Store(tmp_path / "out").records()} == {"random-2"}


def test_a_new_slide_is_the_only_one_scored(settings, export, new_slide):
    run(settings())
    new_slide(export / "D3" / "A", seed=99)
    outcome = run(settings())
    assert (len(outcome.scored), len(outcome.kept)) == (1, 4)


def test_deleted_report_files_come_back(settings, tmp_path, without_times):
    run(settings())
    out = tmp_path / "out"
    before = without_times(out)
    (out / "index.html").unlink()
    next(out.glob("slides/*/cells.csv")).unlink()
    next(out.glob("slides/*/index.html")).write_text("torn")
    run(settings())
    assert without_times(out) == before


def command(export, out, models):
    """`mnbatch run`, as `settings` has it, two cells a minibatch."""
    options = ["--layout", "donor-slide-folders", "--min-cells", "1", "--device", "cpu", "--minibatch", "2"]
    return ["run", export, "--out", out, "--model", models["one"], *options]


@pytest.fixture
def long_export(export, new_slide):
    for i in range(6):
        new_slide(export / "D9" / f"S{i}", seed=500 + i, cells=20)
    return export


MOMENTS = {
    "first staging": {"event": "os.mkdir", "path": r"slides/[^/]+/\.staging-"},
    "first record": {"event": "os.rename", "path": r"record\.json$"},
    "third record": {"event": "os.rename", "path": r"record\.json$", "number": 3},
    "first table": {"event": "os.rename", "path": r"cells\.csv$"},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, models):
    """An export that is only read, and the bytes of a run over it that nothing disturbed."""
    place = tmp_path_factory.mktemp("undisturbed")
    for i in range(5):
        write_slide(place / "export" / f"D{i // 3}" / f"S{i}", seed=500 + i, cells=10)
    done = mnbatch(*command(place / "export", place / "out", models))
    assert done.returncode == 0, done.stderr
    return place / "export", results_without_times(place / "out")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_ends_with_the_same_bytes_as_one_that_was_not(moment, undisturbed, tmp_path, models):
    export, whole = undisturbed
    killed = tmp_path / "killed"
    done = run_with_signal(command(export, killed, models), **MOMENTS[moment], signum=signal.SIGKILL)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (killed / "index.html").exists()
    done = mnbatch(*command(export, killed, models))
    assert done.returncode == 0, done.stderr
    assert results_without_times(killed) == whole
    assert not list(killed.glob("slides/*/.staging-*"))


@pytest.mark.parametrize("killed_at", ["first staging", "third record"])
def test_a_report_after_a_killed_run_says_what_is_not_scored(killed_at, undisturbed, tmp_path, models):
    """Donors of whose slides some are missing must not look complete, nor a donor be missing."""
    export, whole = undisturbed
    out = tmp_path / "killed"
    run_with_signal(command(export, out, models), **MOMENTS[killed_at], signum=signal.SIGKILL)
    scored = len(list(out.glob("slides/*/record.json")))
    in_no_table = f", {scored} scored and in no table yet" * (scored > 0)
    assert f"(0 of 5 slides counted{in_no_table})" in mnbatch("status", out).stdout
    done = mnbatch("report", out, "--min-cells", 1)
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("and has not") == 5 - scored
    assert f"{5 - scored} planned slides not scored: use `mnbatch run`" in " ".join(done.stderr.split())
    assert statuses(out / "slides.csv") == ["done"] * scored + ["waiting"] * (5 - scored)
    assert statuses(out / "donors.csv") == (["partial", "waiting"] if scored else ["waiting", "waiting"])
    status = mnbatch("status", out)
    assert status.returncode == 6, status.stdout
    assert f"{5 - scored} slides planned and not scored" in status.stdout
    assert mnbatch(*command(export, out, models)).returncode == 0
    assert results_without_times(out) == whole
    assert not list(out.glob("runs/planned*"))
    assert mnbatch("report", out, "--min-cells", 1).returncode == 0


def test_a_run_that_is_killed_while_it_takes_slides_over_leaves_none_out(undisturbed, tmp_path, models):
    """--reuse commits before anything is scored."""
    export, _ = undisturbed
    first, out = tmp_path / "first", tmp_path / "second"
    assert mnbatch(*command(export, first, models)).returncode == 0
    words = [*command(export, out, models), "--reuse", first]
    run_with_signal(words, event="os.rename", path=r"second/.*record\.json$", number=3, signum=signal.SIGKILL)
    taken = len(list(out.glob("slides/*/record.json")))
    assert 0 < taken < 5
    done = mnbatch("report", out, "--min-cells", 1)
    assert done.returncode == 3, done.stdout
    assert statuses(out / "slides.csv") == ["done"] * taken + ["waiting"] * (5 - taken)
    assert statuses(out / "donors.csv") == ["partial", "waiting"]
    assert mnbatch(*words).returncode == 0
    assert set(statuses(out / "slides.csv")) == {"done"}
    assert not list(out.glob("runs/planned*"))


def test_a_run_that_is_killed_among_thresholds_says_which_slides_have_the_old_one(undisturbed, tmp_path, models):
    export, _ = undisturbed
    out = tmp_path / "out"
    assert mnbatch(*command(export, out, models)).returncode == 0
    words = [*command(export, out, models), "--threshold", "0.123"]
    run_with_signal(words, event="os.rename", path=r"record\.json$", number=3, signum=signal.SIGKILL)
    done = mnbatch("report", out, "--min-cells", 1)
    assert done.returncode == 3, done.stdout
    assert done.stdout.count("was to call it by another threshold, and has not") == 3
    with (out / "donors.csv").open(encoding="utf-8-sig", newline="") as stream:
        warnings = [row["warnings"] for row in csv.DictReader(stream)]
    assert all("were to be scored or called again, and have not been: " in text for text in warnings)
    assert not any("newer files" in text for text in warnings)
    assert mnbatch(*words).returncode == 0
    assert mnbatch("report", out, "--min-cells", 1).returncode == 0


def statuses(table):
    """The column `status`, in alphabetical order."""
    with table.open(encoding="utf-8-sig", newline="") as stream:
        return sorted(row["status"] for row in csv.DictReader(stream))


def test_sigterm_commits_what_is_whole_and_leaves_with_143(long_export, tmp_path, models, settings):
    out = tmp_path / "out"
    first_record = {"event": "os.rename", "path": r"record\.json$"}
    done = run_with_signal(command(long_export, out, models), **first_record, signum=signal.SIGTERM)
    assert done.returncode == 143, done.stderr
    assert "run" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    committed = generations(out)
    assert 0 < len(committed) < 10
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    assert not list(out.glob("slides/*/.staging-*"))
    outcome = run(settings())
    assert len(outcome.kept) == len(committed)
    assert len(generations(out)) == 10


def test_a_damaged_result_is_scored_again(settings, tmp_path):
    run(settings())
    path = next((tmp_path / "out").glob("slides/*/g1/maps.bin"))
    path.write_bytes(path.read_bytes()[:100])
    outcome = run(settings())
    assert len(outcome.scored) == 1
    assert outcome.exit_code == 0


def test_a_run_with_nothing_to_score_loads_no_torch(settings, export, models, tmp_path):
    run(settings())
    arguments = ["run", str(export), "--out", str(tmp_path / "out"), "--model", str(models["one"]), "--min-cells", "1"]
    arguments += ["--layout", "donor-slide-folders", "--device", "cpu"]
    code = (
        "import sys; from mnbatch.cli import main\n"
        f"sys.argv = ['mnbatch', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


def _altered(path):
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])


def test_scores_that_were_altered_at_equal_length_are_scored_again(settings, tmp_path, without_times):
    first = run(settings())
    before = without_times(tmp_path / "out")
    scores = tmp_path / "out" / "slides" / first.scored[1] / "g1" / "scores.csv"
    scores.write_bytes(scores.read_bytes().replace(b"0.", b"1.", 1))
    again = run(settings())
    assert (again.scored, again.exit_code) == ([first.scored[1]], 0)
    after = without_times(tmp_path / "out")
    assert after["slides.csv"] == before["slides.csv"]


def test_verify_looks_at_pictures_and_annotations_too(settings, tmp_path):
    first = run(settings())
    out = tmp_path / "out"
    _altered(out / "slides" / first.scored[0] / "g1" / "crops.bin")
    assert run(settings()).scored == []
    assert run(settings(verify=True)).scored == [first.scored[0]]
    save_plan(OutPaths(out), ReviewPlan(seed=2))
    _altered(out / "annotations" / "checksums.json")
    assert run(settings()).exit_code == 0
    assert run(settings(verify=True)).exit_code == 3


def test_a_model_whose_training_is_not_finished_is_said(settings, models, tmp_path):
    begun = tmp_path / "begun"
    shutil.copytree(models["one"], begun)
    card = json.loads((begun / "model.json").read_text())
    card["version"], card["recipe"] = f"1 ({UNFINISHED}: epoch 2 of 30)", {UNFINISHED: True}
    (begun / "model.json").write_text(json.dumps(card))
    said = Said()
    assert run(settings(model=str(begun)), said).exit_code == 0
    assert [text for text in said.warnings if "(unfinished training: epoch 2 of 30): its training" in text] != []
    assert "unfinished training: epoch 2 of 30" in (tmp_path / "out/slides.csv").read_text()
    assert "unfinished training: epoch 2 of 30" in (tmp_path / "out/index.html").read_text()

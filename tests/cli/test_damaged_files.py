"""Whatever lies where a file of OUT or an input should lie: a documented exit code and a sentence, never a traceback.

A pipe is among it: a command that opens one and waits would never end (`faulthandler` ends such a test).
"""

import faulthandler
import json
import os
import shutil

import pytest

from mnbatch.dosimetry.calibration_curve import load_curve
from mnbatch.results import lock
from mnbatch.results.batch import Batch, open_batch
from mnbatch.results.dosing_settings import DoseSettings, Dosing, save_dosing
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, save_plan
from tests.in_process import mnbatch
from tests.review.conftest import commit_slide

DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12}
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
CONTENTS = {
    "empty": b"",
    "list": b"[]\n",
    "null": b"null\n",
    "object": b"{}\n",
    "deep": DEEP,
    "not UTF-8": b'{"caf\xe9": 1}\n',
    "NUL": b"\0" * 64,
    "huge number": b'{"pid": ' + b"9" * 5000 + b', "start": 1e999}\n',
    "long name": json.dumps({"slide_id": "x" * 5000, "generation": "../" * 1700, "name": "y" * 5000}).encode(),
}
IN_OUT = (
    "batch.json",
    "manifest.json",
    "lock.json",
    "annotations/samples.csv",
    "annotations/validation.csv",
    "annotations/dosing.json",
    "annotations/reviews/plan.json",
    "annotations/reviews/s2.jsonl",
    "annotations/signatures.jsonl",
    "slides/s2/record.json",
    "slides/s2/summary.json",
    "slides/s2/g1/scores.csv",
    "slides.csv",
    "donors/x",
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Commands write beside them what has no --out."""
    monkeypatch.chdir(tmp_path)
    # Nobody else is there whose heartbeat could be waited for.
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.1)


COMMANDS = (("status",), ("report",), ("history",), ("review", "export"))


def damage(path, way):
    """Put something else where a file should lie."""
    before = path.read_bytes() if path.is_file() else b"{}"
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if way == "pipe":
        os.mkfifo(path)
    elif way == "directory":
        path.mkdir()
    elif way == "cut":
        path.write_bytes(before[: len(before) // 2])
    elif way == "wrong types" and before.startswith(b"{"):
        path.write_text(json.dumps({name: [1e308, None] for name in json.loads(before)}))
    elif way == "half of its keys" and before.startswith(b"{"):
        path.write_text(json.dumps(dict(list(json.loads(before).items())[::2])))
    else:
        path.write_bytes(CONTENTS.get(way, b"1"))


WAYS = (*CONTENTS, "pipe", "directory", "cut", "wrong types", "half of its keys")


@pytest.fixture(autouse=True)
def _ends():
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An OUT with two slides, reviewed plan, curve and sheet."""
    out = tmp_path_factory.mktemp("whole") / "out"
    store = Store(out)
    open_batch(store.paths, Batch("/export", "folder-per-slide", pseudonymised=False), moved=False)
    for number in (1, 2):
        commit_slide(store, f"s{number}", [0.9, 0.1, 0.2, None, *[0.3] * 200], digest=1000 * number)
    save_plan(store.paths, ReviewPlan())
    save_dosing(store.paths, Dosing(load_curve("example:mayakannan2018"), DoseSettings("example")))
    (out / "manifest.json").write_text('{"settings": {"gallery": 4}, "slides": {"s1": {"attempts": 1}}}')
    (out / "lock.json").write_text('{"released": true}')
    (out / "annotations/samples.csv").write_text("slide,donor,note\ns1,D1,x\n")
    assert mnbatch("report", out).returncode == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def said(done):
    assert done.returncode in DOCUMENTED, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    return done


@pytest.mark.parametrize("file", IN_OUT)
@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_of_out_is_no_internal_error(out, tmp_path, file, way):
    damage(out / file, way)
    for command in COMMANDS:
        done = said(mnbatch(*command, out, *([tmp_path / "labels"] if command[-1] == "export" else [])))
        assert done.returncode == 0 or done.stderr or "failed" in done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_one_damaged_record_fails_its_slide_and_no_other(out, way):
    damage(out / "slides/s2/record.json", way)
    for command in ("report", "status"):
        done = said(mnbatch(command, out))
        # No run made this OUT, which `status` says first.
        assert done.returncode == (3 if command == "report" else 6)
        assert "1 done, 1 failed" in done.stdout
        assert "failed: s2: the record of this slide is damaged" in done.stdout
    assert said(mnbatch("history", out)).returncode == 3
    assert (out / "slides/s2/g1/scores.csv").exists(), "what a restored record would name is kept"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "command",
    [
        ("scan", "{export}", "--samples", "{file}"),
        ("report", "{out}", "--validation", "{file}"),
        ("review", "import", "{out}", "{file}"),
        ("dose", "--curve", "{file}", "--cells", "1000", "--events", "20"),
        ("dose", "{out}", "--curve", "{file}"),
        ("curve", "show", "{file}"),
        ("curve", "fit", "{file}"),
        ("run", "{export}", "--out", "{new}", "--config", "{file}"),
        ("model", "verify", "{file}"),
        ("evaluate", "attention-alexnet", "{file}", "--out", "{new}"),
        ("train", "{file}", "--out", "{new}"),
    ],
)
def test_a_damaged_input_is_no_internal_error(out, tmp_path, command, way):
    (tmp_path / "export/s1").mkdir(parents=True)
    damage(tmp_path / "input", way)
    words = {"export": tmp_path / "export", "out": out, "file": tmp_path / "input", "new": tmp_path / "new"}
    done = said(mnbatch(*(word.format(**words) for word in command)))
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_a_damaged_model_is_no_internal_error(tmp_path, file, way):
    damage(tmp_path / "model" / file, way)
    for command in (("model", "show"), ("model", "verify")):
        done = said(mnbatch(*command, tmp_path / "model"))
        assert done.returncode == 12, done.stderr


def test_a_record_of_another_slide_is_damaged(out):
    shutil.copy(out / "slides/s1/record.json", out / "slides/s2/record.json")
    done = mnbatch("status", out)
    assert done.returncode == 6
    assert "it is of the slide s1" in done.stdout


@pytest.mark.parametrize(
    ("field", "value"), [("generation", "../"), ("generation", "g0"), ("sizes", {"scores.csv": -1}), ("cells", -3)]
)
def test_a_record_with_impossible_values_is_damaged(out, field, value):
    path = out / "slides/s2/record.json"
    content = json.loads(path.read_bytes()) | {field: value}
    content.pop("checksum", None)
    path.write_text(json.dumps(content))
    assert "the record of this slide is damaged" in mnbatch("status", out).stdout


def test_a_note_with_a_bare_carriage_return_does_not_cost_the_control(out, tmp_path):
    from mnbatch.assay.sample_sheet import read_samples
    from mnbatch.results.annotations import load_samples, save_samples

    sheet = tmp_path / "sheet.csv"
    sheet.write_bytes(b'slide,donor,note,control\ns1,D1,"first\rsecond",yes\n')
    (row,) = read_samples(sheet)
    paths = Store(out).paths
    save_samples(paths, {"s1": row})
    assert load_samples(paths)["s1"] == {"donor": "D1", "note": "first\rsecond", "control": "yes"}


@pytest.mark.parametrize("values", ["1e308", "-1e308", "1e999", "NaN", "1" + "0" * 400])
def test_a_curve_of_impossible_numbers_is_refused_with_a_reason(tmp_path, values):
    text = '{"model": "linear", "endpoint": "mn", "coefficients": {"C": 0.01, "alpha": VALUE}}'.replace("VALUE", values)
    (tmp_path / "curve.json").write_text(text)
    done = said(mnbatch("curve", "show", tmp_path / "curve.json"))
    assert done.returncode == 2
    assert "curve.json is not a curve" in done.stderr


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e400"])
@pytest.mark.parametrize(
    "command",
    [
        ("run", "e", "--out", "o", "--settle"),
        ("scan", "e", "--settle"),
        ("dose", "--curve", "example:mayakannan2018", "--level"),
        ("dose", "--curve", "example:mayakannan2018", "--exposure-hours"),
        ("review", "plan", "o", "--band"),
        ("simulate", "o", "--variety"),
        ("simulate", "o", "--density"),
        ("compare", "x", "--out", "o", "--learning-rate"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(command, number):
    *before, option = command
    done = mnbatch(*before, f"{option}={number}")
    assert done.returncode == 2
    # By this product, or by the least value that the option has.
    said = " ".join(done.stderr.replace("│", " ").split())
    refused = f"{option} cannot be {float(number)}: it is not a number" in said
    assert refused or (f"Invalid value for '{option}'" in said and "greater than" in said)


def test_a_report_of_an_out_without_its_manifest_says_what_it_takes_instead(out):
    (out / "manifest.json").unlink(missing_ok=True)
    done = mnbatch("report", out)
    assert "manifest.json" in done.stderr
    assert "--min-cells" in done.stderr
    again = mnbatch("report", out, "--min-cells", "1", "--gallery", "1")
    assert "manifest.json" not in again.stderr

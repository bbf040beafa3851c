"""`ack` and `forget` on an OUT made through the store: no network is needed to keep house."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnbatch.results.annotations import change
from mnbatch.results.batch import Batch, write_batch
from mnbatch.results.store import Store
from mnbatch.review.sign_offs import Basis, add_signature, make_signature
from tests.in_process import mnbatch
from tests.review.conftest import commit_slide, score_record

MNBATCH = (sys.executable, "-m", "mnbatch")
SCORES = [0.9, 0.1, 0.2, 0.3]


def add_slide(store: Store, slide_id: str, donor: str, digest: int) -> None:
    commit_slide(store, slide_id, SCORES, digest=digest)
    record = store.record(slide_id)
    assert record is not None
    store.put_record(record.model_copy(update={"donor": donor, "path": f"{donor}/{slide_id}"}))


def add_failure(store: Store, slide_id: str, donor: str, **fields: object) -> None:
    known = {"status": "failed", "reason": "no usable cell", "next_step": "Export it again.", "donor": donor}
    made = {**known, "path": f"{donor}/{slide_id}", "generation": None, "call": None, "scored": None, "model": None}
    store.put_record(score_record(slide_id).model_copy(update={**made, **fields}))


@pytest.fixture
def laboratory(tmp_path: Path) -> Store:
    """Donors Anna and Bert with two slides each, one of Bert's failed; a log and a manifest that name them."""
    store = Store(tmp_path / "out")
    add_slide(store, "anna-1-aaaaaa", "Anna", 100)
    add_slide(store, "anna-2-bbbbbb", "Anna", 200)
    add_slide(store, "bert-1-cccccc", "Bert", 300)
    add_failure(store, "bert-2-dddddd", "Bert")
    paths = store.paths
    paths.runs.mkdir()
    write_batch(paths, Batch(str(tmp_path / "export"), "donor-slide-folders", False))
    (tmp_path / "export/Anna/anna-1-aaaaaa").mkdir(parents=True)
    lines = [{"event": "planned", "slide": "bert-1-cccccc"}, {"event": "skipped", "path": "Bert/bert-1-cccccc/x.db"}]
    (paths.runs / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"event": "finished"}]))
    manifest = {
        "status": "finished",
        "exit_code": 3,
        "finished": "2026-11-29T03:00:00+00:00",
        "slides": {"bert-1-cccccc": {"attempts": 1}, "anna-1-aaaaaa": {"attempts": 2}},
        "settings": {"min_cells": 1, "gallery": 4},
    }
    paths.manifest.write_text(json.dumps(manifest))
    change(paths, append={paths.review_trail("bert-1-cccccc"): [{"a": 1}]})
    for donor in ("Anna", "Bert"):
        add_signature(paths, make_signature(donor, Basis({}, {}), "Dr. X"))
    change(paths, replace={paths.samples: b"slide,donor\nbert-1-cccccc,Bert\nanna-1-aaaaaa,Anna\n"})
    assert mnbatch("report", paths.root).returncode == 3
    return store


def everything(root: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_an_acknowledged_failure_is_listed_and_exits_with_0(laboratory) -> None:
    out = laboratory.paths.root
    assert mnbatch("status", out).returncode == 3
    done = subprocess.run(
        [*MNBATCH, "ack", out, "--slide", "Bert/bert-2-dddddd", "--reason", "the glass is broken", "--by", "Dr. Y"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bert-2-dddddd: acknowledged by Dr. Y on " in done.stdout
    said = mnbatch("status", out)
    assert said.returncode == 0
    assert "failed: bert-2-dddddd: no usable cell (acknowledged by Dr. Y on" in said.stdout
    report = mnbatch("report", out)
    assert report.returncode == 0
    assert "1 failed" in report.stdout
    for name in ("slides.csv", "index.html", "slides/bert-2-dddddd/index.html"):
        assert "the glass is broken" in (out / name).read_text(), name
    assert mnbatch("verify", out).returncode == 0
    assert mnbatch("review", "status", out).returncode == 0


def test_an_acknowledgement_is_void_when_files_or_the_reason_change(laboratory) -> None:
    out = laboratory.paths.root
    said = ("ack", out, "--slide", "bert-2-dddddd", "--reason", "broken")
    assert mnbatch(*said).returncode == 0
    add_failure(laboratory, "bert-2-dddddd", "Bert", stat_key="other files")
    assert mnbatch("report", out).returncode == 3
    assert "broken" not in (out / "slides.csv").read_text()
    add_failure(laboratory, "bert-2-dddddd", "Bert", reason="no usable field")
    assert mnbatch("report", out).returncode == 3
    add_failure(laboratory, "bert-2-dddddd", "Bert")
    assert mnbatch("report", out).returncode == 0
    assert mnbatch("ack", out, "--slide", "bert-2-dddddd", "--withdraw").returncode == 0
    assert mnbatch("report", out).returncode == 3
    trail = laboratory.paths.acknowledged
    trail.write_bytes(trail.read_bytes().replace(b"broken", b"so so!"))
    assert [one for one in mnbatch("verify", out).stdout.splitlines() if "acknowledged.jsonl" in one]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--slide", "anna-1-aaaaaa", "--reason", "x"], "has not failed"),
        (["--slide", "berta", "--reason", "x"], "OUT has no slide berta"),
        (["--slide", "bert-2-dddddd"], "Give either --reason TEXT or --withdraw"),
        (["--slide", "bert-2-dddddd", "--reason", "a\nb"], "--reason must be a line"),
        (["--slide", "bert-2-dddddd", "--reason", "x", "--by", " "], "Give --by NAME"),
    ],
)
def test_what_cannot_be_acknowledged(laboratory, arguments, words) -> None:
    done = mnbatch("ack", laboratory.paths.root, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not laboratory.paths.acknowledged.exists()


def test_a_failure_that_may_pass_is_not_acknowledged(laboratory) -> None:
    add_failure(laboratory, "bert-2-dddddd", "Bert", transient=True)
    done = mnbatch("ack", laboratory.paths.root, "--slide", "bert-2-dddddd", "--reason", "x")
    assert done.returncode == 2
    assert "is tried again by each run" in done.stderr


def test_a_dry_run_changes_nothing(laboratory) -> None:
    out = laboratory.paths.root
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and path.name != "lock.json"}
    said = mnbatch("forget", out, "--donor", "Bert", "--dry-run")
    assert said.returncode == 0
    assert said.stdout.startswith("would be removed: 2 slides, 4 cells, ")
    assert "donor Bert, of whom nothing would stay" in said.stdout
    assert before == {path: path.read_bytes() for path in before}


def test_a_donor_leaves_out_everywhere(laboratory) -> None:
    out = laboratory.paths.root
    anna = {p: p.read_bytes() for p in sorted(out.glob("slides/anna-*/g1/*"))}
    for name in ("donors.xlsx", "index.pdf"):
        (out / name).write_bytes(b"Bert")
    done = subprocess.run([*MNBATCH, "forget", out, "--donor", "Bert"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    left = everything(out)
    assert b"Bert" not in left
    assert b"bert-" not in left
    assert not list(out.rglob("*bert*"))
    assert anna == {path: path.read_bytes() for path in anna}
    assert b"Anna" in (out / "donors.csv").read_bytes()
    assert [json.loads(line)["event"] for line in (out / "runs/1.jsonl").read_text().splitlines()] == ["finished"]
    (line,) = (out / "annotations/forgotten.jsonl").read_text().splitlines()
    assert {name: json.loads(line)[name] for name in ("slides", "donors", "cells")} == {
        "slides": 2,
        "donors": 1,
        "cells": 4,
    }
    assert (out / "annotations/signatures.jsonl").read_text().count("\n") == 1
    assert mnbatch("verify", out).returncode == 0
    assert mnbatch("report", out).returncode == 0


def test_a_slide_leaves_and_its_donor_stays(laboratory) -> None:
    out = laboratory.paths.root
    done = mnbatch("forget", out, "--slide", "anna-1-aaaaaa", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["slides"] == ["anna-1-aaaaaa"]
    assert "still in the export, so the next run scores it again: anna-1-aaaaaa" in done.stderr
    assert b"anna-1" not in everything(out)
    assert b"Anna" in (out / "donors.csv").read_bytes()
    assert mnbatch("verify", out).returncode == 0


def test_codes_and_the_names_behind_them_go(laboratory) -> None:
    out, private = laboratory.paths.root, laboratory.paths.private
    private.mkdir()
    source = "d/bert-1-cccccc/cell0000.tif"
    names = {"bert-1-cccccc": "secret/slide", "Bert": "Smith", source: "ward/Smith/cell.tif", "Anna": "Jones"}
    (private / "names.json").write_text(json.dumps({**names, "folder-1": "ward", "folder-2": "else"}))
    (out / "runs/2.jsonl").write_text('{"event": "reason", "text": "Smith is ill"}\n{"event": "finished"}\n')
    assert mnbatch("forget", out, "--donor", "Bert").returncode == 0
    assert json.loads((private / "names.json").read_text()) == {"Anna": "Jones", "folder-2": "else"}
    assert b"Smith" not in everything(out)


@pytest.mark.parametrize(
    "step", ["_erase_annotations", "_remove_tree", "_remove_pages", "_clean_manifest", "_clean_codes"]
)
def test_a_kill_in_between_is_completed_by_the_next_command(laboratory, step) -> None:
    out = laboratory.paths.root
    code = (
        "import os, sys, mnbatch.results.forgetting as f; from mnbatch.cli import main; "
        f"f.{step} = lambda *_: os.kill(os.getpid(), 9); "
        f"sys.argv = {['mnbatch', 'forget', str(out), '--donor', 'Bert']!r}; main()"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, env={**os.environ})
    assert killed.returncode == -9
    assert (out / ".forgetting.json").stat().st_mode & 0o077 == 0
    assert mnbatch("report", out).returncode == 0
    left = everything(out)
    assert b"Bert" not in left
    assert b"bert-" not in left
    assert (out / "annotations/forgotten.jsonl").read_text().count("\n") == 1
    assert mnbatch("verify", out).returncode == 0


def test_a_trail_changed_by_hand_is_not_written_again(laboratory) -> None:
    signatures = laboratory.paths.signatures
    signatures.write_bytes(signatures.read_bytes().replace(b"Dr. X", b"Dr. Z"))
    done = mnbatch("forget", laboratory.paths.root, "--donor", "Bert")
    assert done.returncode == 10
    assert "was changed by hand" in done.stderr
    assert mnbatch("forget", laboratory.paths.root, "--donor", "Berta").returncode == 2
    assert mnbatch("forget", laboratory.paths.root).returncode == 2


def test_an_archived_out_is_small_and_still_reportable(laboratory) -> None:
    out = laboratory.paths.root
    galleries = sorted(out.rglob("gallery.html"))
    assert galleries
    tables = {
        path: path.read_bytes() for path in (out / "slides.csv", out / "donors.csv", *out.glob("slides/*/cells.csv"))
    }
    done = subprocess.run([*MNBATCH, "archive", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(out.rglob("gallery.html"))
    assert tables == {path: path.read_bytes() for path in tables}
    assert mnbatch("report", out).returncode == 3
    assert not list(out.rglob("gallery.html"))
    assert mnbatch("verify", out).returncode == 0
    assert mnbatch("report", out, "--gallery", "4").returncode == 3
    assert sorted(out.rglob("gallery.html")) == galleries


def test_pictures_are_left_out_for_good_and_near_copies_still_found(laboratory) -> None:
    out = laboratory.paths.root
    before = laboratory.copies(laboratory.records())
    tables = {
        path: path.read_bytes() for path in (out / "slides.csv", out / "donors.csv", *out.glob("slides/*/cells.csv"))
    }
    damaged = out / "slides/anna-2-bbbbbb/g1/crops.bin"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = mnbatch("archive", out, "--no-pictures")
    assert said.returncode == 3
    assert "damaged, left as it is: anna-2-bbbbbb" in said.stderr
    damaged.write_bytes(whole)
    assert mnbatch("report", out).returncode == 3
    assert mnbatch("archive", out, "--no-pictures").returncode == 0
    assert not [*out.rglob("crops.bin"), *out.rglob("maps.bin")]
    assert tables == {path: path.read_bytes() for path in tables}
    assert Store(out).copies(Store(out).records()) == before
    assert [record.generation for record in Store(out).records() if record.generation] == ["g2"] * 3
    assert mnbatch("verify", out).returncode == 0

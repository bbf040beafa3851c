"""`mnbatch score`: jobs of a batch system score the slides of one plan beside each other."""

import csv
import json
import shutil
import signal
import subprocess
import sys

import pytest

from mnbatch.assay.cells import Companion, SceneNames, Skipped, Slide, SourceFile
from mnbatch.inference.catalogue import ModelSet
from mnbatch.pipeline.plan_file import different_versions, plan_lines, read_plan
from mnbatch.pipeline.planning import Plan
from mnbatch.pipeline.since_planned import Arrivals
from mnbatch.results.paths import OutPaths
from mnbatch.results.records import SlideRecord
from mnbatch.results.shared_lock import share_out
from mnbatch.results.store import Store
from tests.in_process import mnbatch
from tests.pipeline.conftest import results_without_times


@pytest.fixture
def arguments(export, models):
    return [export, "--layout", "donor-slide-folders", "--model", models["one"], "--device", "cpu", "--min-cells", 1]


@pytest.fixture
def planned(arguments, tmp_path):
    """A plan of the four slides, written by the command; and its OUT."""
    out, plan = tmp_path / "out", tmp_path / "plan.json"
    done = mnbatch("run", *arguments, "--out", out, "--plan-only", "--json")
    assert done.returncode == 0, done.stderr
    plan.write_text(done.stdout)
    assert not out.exists()
    return out, plan


def test_jobs_one_after_the_other_and_a_report_give_the_bytes_of_a_run(planned, arguments, tmp_path):
    """With a third job that finds its part done; then a run with the same options has nothing to do."""
    out, plan = planned
    for part in ("1/2", "2/2"):
        done = mnbatch("score", out, "--slides", plan, "--run", "array-77", "--part", part)
        assert (done.returncode, done.stdout) == (0, "slides: 2 scored, 0 failed\n"), done.stderr
    done = mnbatch("score", out, "--slides", plan, "--run", "array-77", "--part", "2/2")
    assert done.stdout == "slides: 0 scored, 0 failed, 2 were there\n"
    assert json.loads((out / "lock.json").read_text()) == {"released": True}
    assert mnbatch("report", out, "--after", "array-77", "--min-cells", 1).returncode == 0
    plain = tmp_path / "plain"
    assert mnbatch("run", *arguments, "--out", plain).returncode == 0
    assert results_without_times(out) == results_without_times(plain)
    assert "nothing to do, 4 slides" in mnbatch("run", *arguments, "--out", out).stdout


def test_two_jobs_at_once_share_out_and_a_run_is_refused_meanwhile(planned, arguments, tmp_path):
    """Real processes; the second is started while the first holds OUT, and both are of one token."""
    out, plan = planned
    with share_out(OutPaths(out), "array-78"):
        refused = mnbatch("run", *arguments, "--out", out)
        assert (refused.returncode, "is held by process" in refused.stderr) == (11, True)
        other = mnbatch("score", out, "--slides", plan, "--run", "another")
        assert other.returncode == 11, other.stderr
        command = [sys.executable, "-m", "mnbatch", "score", str(out), "--slides", str(plan), "--run", "array-78"]
        jobs = [subprocess.Popen([*command, "--part", f"{k}/2", "-q"]) for k in (1, 2)]
        assert [job.wait() for job in jobs] == [0, 0]
        assert json.loads((out / "lock.json").read_text())["token"] == "array-78"
    assert json.loads((out / "lock.json").read_text()) == {"released": True}
    assert list((out / "runs").glob(".sharing-*")) == []
    assert {record.generation for record in Store(out).records()} == {"g1"}


def test_a_job_that_two_were_given_commits_whole_slides(planned, tmp_path):
    """Requeued while the first one still ran: both score all slides at once."""
    out, plan = planned
    command = [sys.executable, "-m", "mnbatch", "score", str(out), "--slides", str(plan), "-q"]
    jobs = [subprocess.Popen(command) for _ in range(2)]
    assert [job.wait() for job in jobs] == [0, 0]
    store = Store(out)
    records = list(store.records())
    assert len(records) == 4
    assert [store.damage(record, pictures=True) for record in records] == [""] * 4


def test_a_killed_job_is_done_again_and_its_hold_is_taken_over_at_once(planned):
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, "--run", "array-79", "--part", "1/4").returncode == 0
    with subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE) as job:
        try:
            assert job.stdout.readline() == b"held\n"
            assert mnbatch("report", out, "--after", "array-79").returncode == 11  # the kernel knows that it lives
        finally:
            job.send_signal(signal.SIGKILL)
    lock = json.loads((out / "lock.json").read_text())
    (out / "lock.json").write_text(json.dumps(lock | {"host": "node17", "boot": "another"}))
    assert mnbatch("score", out, "--slides", plan, "--run", "other").returncode == 11  # node17 may live
    assert mnbatch("score", out, "--slides", plan, "--run", "array-79").returncode == 0
    assert mnbatch("report", out, "--after", "array-79").returncode == 0


def test_what_no_job_scored_waits_in_the_tables_until_it_is_scored(planned, arguments):
    """Half of the plan: its slides wait, their donors are partial, and neither report nor status says all is well."""
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, "--part", "1/2").returncode == 0
    before = mnbatch("status", out)
    assert (before.returncode, "look: 2 slides planned and not scored (0 of 4" in before.stdout) == (8, True)
    assert "4 slides, 0 done, 0 failed, 2 waiting" in before.stdout
    token = json.loads(plan.read_text())["run"]
    for _ in range(2):
        done = mnbatch("report", out, "--after", token, "--min-cells", 1)
        assert (done.returncode, "slides: 4, 2 done, 0 failed, 2 waiting" in done.stdout) == (3, True), done.stdout
        assert "not scored by any job" in done.stdout
        assert "2 planned slides not scored" in done.stderr
    after = mnbatch("status", out)
    assert (after.returncode, "look: 2 slides planned and not scored (2 of 4" in after.stdout) == (8, True)
    with (out / "donors.csv").open() as table:
        assert {row["status"] for row in csv.DictReader(table)} == {"partial"}
    assert mnbatch("score", out, "--slides", plan, "--part", "2/2").returncode == 0
    done = mnbatch("report", out, "--after", token, "--min-cells", 1)
    assert (done.returncode, "planned" in done.stderr) == (0, False), done.stdout
    assert mnbatch("status", out).stdout.startswith("ok:")
    assert "nothing to do, 4 slides" in mnbatch("run", *arguments, "--out", out).stdout


def test_a_run_scores_what_no_job_did_and_forgets_the_plan(planned, arguments):
    """Also a slide that is gone from the export by then."""
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, "--part", "4/4").returncode == 0
    assert mnbatch("report", out, "--min-cells", 1).returncode == 3
    (waiting, *_) = [record for record in Store(out).records() if record.status == "waiting"]
    shutil.rmtree(arguments[0] / waiting.path)
    done = mnbatch("run", *arguments, "--out", out)
    assert (done.returncode, "slides: 3 in OUT, 3 done" in done.stdout) == (0, True), done.stderr
    assert mnbatch("report", out, "--min-cells", 1).returncode == 0
    assert mnbatch("status", out).returncode == 0


def test_slides_that_were_to_be_scored_again_and_were_not_keep_their_result_and_say_so(planned, arguments):
    out, plan = planned
    assert mnbatch("run", *arguments, "--out", out).returncode == 0
    plan.write_text(mnbatch("run", *arguments, "--out", out, "--no-crops", "--plan-only", "--json").stdout)
    assert mnbatch("score", out, "--slides", plan, "--run", "again", "--part", "1/2").returncode == 0
    assert "look: 2 slides planned and not scored (4 of 4" in mnbatch("status", out).stdout
    done = mnbatch("report", out, "--after", "again")
    assert (done.returncode, done.stdout.count("not scored again: ")) == (3, 2), done.stdout
    assert mnbatch("status", out).stdout.count("not scored again: ") == 2
    done = mnbatch("score", out, "--slides", plan, "--run", "again")
    assert done.stdout == "slides: 2 scored, 0 failed, 2 were there\n"
    assert mnbatch("report", out, "--after", "again").returncode == 0
    assert mnbatch("status", out).returncode == 0


def test_a_job_that_is_killed_before_its_first_slide_has_noted_the_plan(planned):
    out, plan = planned
    command = [sys.executable, "-c", KILLED, str(out), str(plan)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    done = mnbatch("report", out, "--after", "killed")
    assert (done.returncode, "slides: 4, 0 done, 0 failed, 4 waiting" in done.stdout) == (3, True), done.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from mnbatch.pipeline import planned_scoring
planned_scoring._score = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
share = planned_scoring.Share(token="killed", part=(1, 2))
planned_scoring.score_planned(Path(sys.argv[1]), Path(sys.argv[2]), share)
"""


def test_a_token_that_no_job_had_is_refused(planned):
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, "--run", "array-81").returncode == 0
    done = mnbatch("report", out, "--after", "array-18")
    assert (done.returncode, "known are array-81" in done.stderr) == (2, True), done.stderr
    assert mnbatch("report", out, "--after", "array-81", "--min-cells", 1).returncode == 0
    assert mnbatch("report", out, "--after", "array-81", "--min-cells", 1).returncode == 0


def test_a_report_follows_jobs_that_had_nothing_to_do(planned, arguments):
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, "--run", "array-82").returncode == 0
    plan.write_text(mnbatch("run", *arguments, "--out", out, "--plan-only", "--json").stdout)
    assert mnbatch("score", out, "--slides", plan, "--run", "array-83", "--part", "3/9").returncode == 0
    assert mnbatch("report", out, "--after", "array-83", "--min-cells", 1).returncode == 0


def test_the_plan_of_another_out_is_refused(planned, tmp_path):
    out, plan = planned
    done = mnbatch("score", tmp_path / "slip", "--slides", plan)
    assert (done.returncode, f"was made for {out}, not for" in done.stderr) == (5, True), done.stderr
    assert not (tmp_path / "slip").exists()


def test_a_slide_that_is_twice_in_a_plan_is_named(planned):
    """Two plans that were joined."""
    out, plan = planned
    content = json.loads(plan.read_text())
    content["slides"].append(content["slides"][0])
    plan.write_text(json.dumps(content))
    done = mnbatch("score", out, "--slides", plan)
    said = f"holds the slide {content['slides'][0]['slide_id']} twice"
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not out.exists()


def test_a_slide_of_which_no_cell_can_be_read_counts_as_failed_as_in_the_report(export, arguments, tmp_path):
    for path in (export / "D1" / "A").iterdir():
        path.write_bytes(b"")
    out, plan = tmp_path / "out", tmp_path / "plan.json"
    plan.write_text(mnbatch("run", *arguments, "--out", out, "--plan-only", "--json").stdout)
    done = mnbatch("score", out, "--slides", plan)
    assert (done.returncode, done.stdout) == (3, "slides: 3 scored, 1 failed\n"), done.stderr
    assert done.stderr.count("failed: ") == 1
    again = mnbatch("score", out, "--slides", plan)
    assert (again.returncode, again.stdout) == (3, "slides: 0 scored, 1 failed, 3 were there\n"), again.stderr
    reported = mnbatch("report", out, "--min-cells", 1)
    assert (reported.returncode, "3 done, 1 failed" in reported.stdout) == (3, True)
    said = mnbatch("ack", out, "--slide", "D1/A", "--reason", "the glass is broken", "--by", "A. Person")
    assert said.returncode == 0, said.stderr
    known = mnbatch("score", out, "--slides", plan)
    assert (known.returncode, known.stdout) == (0, "slides: 0 scored, 1 failed, 3 were there\n")


def test_what_must_go_goes_from_the_notes_of_a_plan_too(planned):
    """`forget` before the report of half a plan: no slide of the donor comes back, and none of the text stays."""
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, "--part", "1/2").returncode == 0
    done = mnbatch("forget", out, "--donor", "D1")
    assert "D1/" not in "".join(path.read_text() for path in (out / "runs").glob("*.jsonl")), done.stderr
    again = mnbatch("report", out, "--min-cells", 1)
    assert "slides: 2, " in again.stdout, again.stdout
    assert [record.path for record in Store(out).records()] == ["D2/A", "D2/B"]


HOLD = """
import sys, time
from pathlib import Path
from mnbatch.results.paths import OutPaths
from mnbatch.results.shared_lock import share_out
with share_out(OutPaths(Path(sys.argv[1])), "array-79"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_process_of_a_token_that_lost_out_commits_nothing(planned, arguments):
    out, _ = planned
    paths = OutPaths(out)
    with share_out(paths, "array-80"):
        content = json.loads(paths.lock.read_text())
        paths.lock.write_text(json.dumps(content | {"token": "next", "pid": 1}))
        record = SlideRecord(slide_id="s", name="s", path="s", donor=None, layout="l", status="failed", stat_key="k")
        from mnbatch.errors import LockHeldError

        with pytest.raises(LockHeldError, match="taken over"):
            Store(out).put_record(record)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda plan: plan["versions"].update(torch="2.0"), 5, "torch"),
        (lambda plan: plan.update(model="0" * 64), 5, "not 000000000000"),
        (lambda plan: plan.update(plan=2), 2, "is no plan"),
        (lambda plan: plan["slides"][0]["slide"].update(slide_id="../x"), 2, "is no slide_id"),
        (lambda plan: plan["slides"][0]["slide"]["files"].append(["a", 1]), 2, "is no plan"),
        (lambda plan: plan["settings"].update(threshold=7), 2, "settings.threshold"),
        (lambda plan: plan["settings"].update(export="/nowhere/at/all"), 4, "mount the share"),
        (lambda plan: plan.pop("run"), 2, "'run' is missing"),
    ],
)
def test_what_does_not_belong_together_is_named(planned, change, code, said):
    out, plan = planned
    content = json.loads(plan.read_text())
    change(content)
    plan.write_text(json.dumps(content))
    done = mnbatch("score", out, "--slides", plan)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (out / "slides").exists()


@pytest.mark.parametrize("options", [("--run", "a b"), ("--part", "0/2"), ("--part", "3/2"), ("--part", "x")])
def test_wrong_options(planned, options):
    out, plan = planned
    assert mnbatch("score", out, "--slides", plan, *options).returncode == 2


def test_names_do_not_leave_a_plan_under_pseudonyms(arguments, tmp_path):
    out, plan = tmp_path / "coded", tmp_path / "plan.json"
    assert mnbatch("run", *arguments, "--out", out, "--pseudonymise").returncode == 0
    shutil.rmtree(next((out / "slides").iterdir()))
    plan.write_text(mnbatch("run", *arguments, "--out", out, "--pseudonymise", "--plan-only", "--json").stdout)
    assert "score" in plan.read_text()
    assert "export" not in plan.read_text()
    done = mnbatch("score", out, "--slides", plan)
    assert (done.returncode, "under pseudonyms" in done.stderr) == (2, True)


def test_a_slide_into_which_images_came_after_the_plan_waits(planned, arguments, export):
    """A count without them would look whole; other slides are scored, and a new plan takes all."""
    out, plan = planned
    shutil.copy(export / "D2/A/cell_000.png", export / "D1/A/late.png")
    (export / "D1/B/notes.txt").write_text("no image")
    done = mnbatch("score", out, "--slides", plan)
    assert (done.returncode, done.stdout) == (3, "slides: 3 scored, 1 failed\n"), done.stderr
    said = " ".join(done.stderr.split())
    assert "A is not scored: 1 image came after the plan was made (D1/A/late.png): plan again" in said
    report = mnbatch("report", out, "--min-cells", 1)
    assert report.returncode == 3
    assert "not scored by any job" in report.stdout
    with (out / "donors.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert {row["donor"]: row["status"] for row in csv.DictReader(stream)} == {"D1": "partial", "D2": "done"}
    assert mnbatch("run", *arguments, "--out", out).returncode == 0
    assert mnbatch("status", out).returncode == 0


def test_a_slide_that_the_plan_leaves_to_wait_waits_in_the_tables(arguments, export, tmp_path):
    """No job scores it, and the recipes end with the report: its donor must not look complete."""
    out, plan = tmp_path / "out", tmp_path / "plan.json"
    (export / "D1/B/cell_099.png.part").write_bytes(b"still being copied")
    done = mnbatch("run", *arguments, "--out", out, "--plan-only", "--json")
    assert {one["path"]: one["action"] for one in json.loads(done.stdout)["slides"]}["D1/B"] == "wait"
    plan.write_text(done.stdout)
    for part in ("1/2", "2/2"):
        job = mnbatch("score", out, "--slides", plan, "--run", "one", "--part", part)
        assert job.returncode == 3
        assert "0 failed, 1 waiting" in job.stdout
        assert "1 slide waits for its files, and no job of this plan scores it (B: " in " ".join(job.stderr.split())
    assert mnbatch("report", out, "--after", "one", "--min-cells", 1).returncode == 3
    with (out / "donors.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert {row["donor"]: row["status"] for row in csv.DictReader(stream)} == {"D1": "partial", "D2": "done"}
    (export / "D1/B/cell_099.png.part").unlink()
    assert mnbatch("run", *arguments, "--out", out).returncode == 0
    assert mnbatch("status", out).returncode == 0


@pytest.mark.parametrize("layout", ["{donor}_{slide}_{cell}.png", "**/{slide}/{cell}.png", "donor-slide-folders"])
def test_what_came_into_a_folder_is_of_the_slide_that_the_layout_says(layout, tmp_path):
    flat = layout.startswith("{donor}_")
    names = ["D1_A_1.png", "D1_A_2.png", "D1_B_1.png"] if flat else ["D1/A/1.png", "D1/A/2.png", "D1/B/1.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    path = "D1_A" if flat else "D1/A"
    of_a = (SourceFile(names[0], 1, 1),)
    slide = Slide("a", "A", path, "D1", tmp_path, of_a, layout)
    assert Arrivals().of(slide) == [names[1]]
    whole = Slide("a", "A", path, "D1", tmp_path, of_a, layout, skipped=(Skipped(names[1], "copy"),))
    assert Arrivals().of(whole) == []


def test_a_slide_comes_back_from_a_plan_as_it_was(settings, tmp_path):
    """With all that a slide can have, and a name that is no text."""
    file = SourceFile("D1/A/z\udce4hl.png", 5, 1)
    slide = Slide(
        slide_id="a",
        name="A",
        path="D1/A",
        donor=None,
        root=tmp_path,
        files=(file, SourceFile("b", 0, 2**62)),
        layout="l",
        skipped=(Skipped("x", "why"),),
        kind="fields",
        companions=(Companion("b", file, plane=True),),
        namesakes=(Companion("b", file),),
        um_per_pixel=0.5,
        refused=("no", "do"),
        named=SceneNames("lasx", 2, channels=("1", "2"), channel="1"),
    )
    resolved = settings()
    path = tmp_path / "plan.json"
    plans = [Plan(slide, "score", "new", None), Plan(slide, "keep", "", None)]
    path.write_text("".join(plan_lines(plans, resolved.settings, ModelSet.open(resolved.settings.model))))
    found = read_plan(path)
    assert [one.slide for one in found.slides] == [slide]
    assert found.settings == resolved.settings


def test_a_plan_says_how_the_report_after_it_is_made_and_after_which_run(planned, arguments):
    out, plan = planned
    found = read_plan(plan)
    assert (found.report.after, found.report.settings["min_cells"]) == ("", 1)
    earlier = json.loads(plan.read_text())
    del earlier["after"]
    plan.write_text(json.dumps(earlier))
    assert read_plan(plan) == found
    assert mnbatch("run", *arguments, "--out", out).returncode == 0
    plan.write_text(mnbatch("run", *arguments, "--out", out, "--plan-only", "--json").stdout)
    manifest = json.loads((out / "manifest.json").read_text())
    assert read_plan(plan).after == f"{manifest['started']} {manifest['pid']}"


def test_the_report_after_the_jobs_has_the_options_of_the_plan(planned, arguments, tmp_path):
    """Without them the default of 200 cells would make every donor insufficient."""
    out, plan = planned
    for part in ("1/2", "2/2"):
        assert mnbatch("score", out, "--slides", plan, "--run", "t", "--part", part).returncode == 0
    for command in (("report", out, "--after", "t"), ("report", out, "--force")):
        done = mnbatch(*command)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert {row["status"] for row in csv.DictReader((out / "donors.csv").open())} == {"done"}
    plain = tmp_path / "plain"
    assert mnbatch("run", *arguments, "--out", plain).returncode == 0
    assert results_without_times(out) == results_without_times(plain)
    assert mnbatch("report", out, "--min-cells", 200).returncode == 0
    assert {row["status"] for row in csv.DictReader((out / "donors.csv").open())} == {"insufficient"}
    # A run that comes after the plan has its own, also where a job of the plan is started again after it.
    assert mnbatch("run", *arguments, "--out", out, "--min-cells", 150).returncode == 0
    assert mnbatch("score", out, "--slides", plan, "--run", "t").returncode == 0
    assert mnbatch("report", out, "--after", "t").returncode == 0
    assert {row["status"] for row in csv.DictReader((out / "donors.csv").open())} == {"insufficient"}


def test_parts_are_alike_and_whole(settings, tmp_path):
    slides = [
        Slide(f"s{n}", "A", "A", None, tmp_path, tuple(SourceFile(str(i), 1, 1) for i in range(n % 5 + 1)), "l")
        for n in range(17)
    ]
    path = tmp_path / "plan.json"
    known = settings().settings
    plans = [Plan(one, "score", "", None) for one in slides]
    path.write_text("".join(plan_lines(plans, known, ModelSet.open(known.model))))
    plan = read_plan(path)
    parts = [plan.part(k, 4).slides for k in range(1, 5)]
    assert sorted(one.slide.slide_id for part in parts for one in part) == sorted(s.slide_id for s in slides)
    files = [sum(len(one.slide.files) for one in part) for part in parts]
    assert max(files) - min(files) <= 5


def test_versions_are_compared_by_name():
    here = {"python": "3.11.7", "torch": "2.14", "numpy": "1"}
    assert different_versions({"python": "3.11.2", "torch": "2.13", "numpy": "1"}, here) == ["torch 2.14, not 2.13"]
    assert different_versions({"python": "3.12.1", "torch": "2.14"}, here) == [
        "numpy 1, not none",
        "python 3.11, not 3.12",
    ]

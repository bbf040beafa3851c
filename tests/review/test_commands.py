"""The commands, from the outside."""

import csv
import json
import sys
from dataclasses import dataclass

import pytest

from mnbatch.cli import main
from mnbatch.evaluation.labelled_cells import read_labels
from mnbatch.review.review_import import queues_of


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mnbatch(monkeypatch, capsys):
    """Run `mnbatch review ...` as the console script does."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mnbatch", "review", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return Done(end.value.code or 0, said.out, said.err)

    return run


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def truth(cell_id):
    return "mn" if int(cell_id[-8:-4]) < 4 else "not_mn"


def test_import_puts_the_reviewed_number_beside_the_automatic_one(mnbatch, out, queue, tools, tmp_path):
    path = tools.write(tmp_path / "review.csv", tools.decide(queue, truth))
    done = mnbatch("import", out.paths.root, path)
    assert done.returncode == 0, done.stderr
    assert f"{queue.drawn} decisions of Ada added" in done.stdout
    first, second = rows(out.paths.slides_csv)
    assert (first["mnbn_cells"], first["review_status"], first["reviewed_mnbn_cells"]) == ("6", "complete", "4.0")
    assert float(first["reviewed_low"]) <= float(first["reviewed_per_1000"]) <= float(first["reviewed_high"])
    assert (second["review_status"], second["reviewed_per_1000"], second["reviewed_cells"]) == ("none", "", "")
    (donor,) = rows(out.paths.donors_csv)
    assert donor["review_status"] == "unfinished"
    assert donor["reviewed_per_1000"] == ""


def test_a_changed_result_marks_the_review_as_outdated_and_keeps_it(mnbatch, out, queue, tools, tmp_path):
    mnbatch("import", out.paths.root, tools.write(tmp_path / "review.csv", tools.decide(queue, truth)))
    trail = out.paths.review_trail("s1").read_bytes()
    tools.commit(out, "s1", [0.8] * 3 + [0.1] * 20)
    from mnbatch.report.build import ReportOptions, build_reports

    build_reports(out, ReportOptions())
    first = rows(out.paths.slides_csv)[0]
    assert (first["review_status"], first["reviewed_per_1000"]) == ("outdated", "")
    assert first["review_reason"].endswith(f"earlier result of this slide: {queue.drawn}")
    assert out.paths.review_trail("s1").read_bytes() == trail


def test_refusals_have_their_exit_codes(mnbatch, out, queue, tools, tmp_path):
    decisions = tools.decide(queue, truth)
    other = tools.write(tmp_path / "o.csv", [tools.change(decisions[0], slide_id="zz")])
    assert mnbatch("import", out.paths.root, other).returncode == 5
    broken = tools.write(tmp_path / "b.csv", [tools.change(decisions[0], decision="?")])
    assert mnbatch("import", out.paths.root, broken).returncode == 2
    assert mnbatch("import", tmp_path / "nothing", broken).returncode == 4


def test_export_is_a_labelled_set_that_training_takes(mnbatch, out, queue, tools, tmp_path):
    decisions = tools.decide(queue, truth)
    decisions[0] = tools.change(decisions[0], decision="unsure")
    mnbatch("import", out.paths.root, tools.write(tmp_path / "review.csv", decisions))
    done = mnbatch("export", out.paths.root, tmp_path / "labels")
    assert done.returncode == 0, done.stderr
    assert "left out: 1 unsure" in done.stdout
    cells = read_labels(tmp_path / "labels" / "labels.csv")
    assert len(cells) == queue.drawn - 1
    assert sum(cell.has_mn for cell in cells) in (3, 4)
    assert {(cell.slide, cell.donor) for cell in cells} == {("s1", "D1")}
    assert mnbatch("export", out.paths.root, tmp_path / "labels").returncode == 2


def test_a_reviewer_that_nobody_is_is_refused_with_those_who_are(mnbatch, out, queue, tools, tmp_path):
    root = out.paths.root
    nobody = mnbatch("export", root, tmp_path / "labels", "--reviewer", "Bob")
    assert (nobody.returncode, "import the review first" in nobody.stderr) == (4, True)
    path = tools.write(tmp_path / "r.csv", tools.decide(queue, truth, reviewer="Bob"))
    assert mnbatch("import", root, path).returncode == 0
    for name, meant in (("bob", " Did you mean 'Bob'?"), ("Zoe", "")):
        done = mnbatch("export", root, tmp_path / "labels", "--reviewer", name)
        assert done.returncode == 2
        assert f"Nobody named '{name}' decided in {root}.{meant}" in done.stderr
        assert "Reviewers in it: 'Bob'." in done.stderr
        assert not (tmp_path / "labels").exists()
    assert mnbatch("export", root, tmp_path / "labels", "--reviewer", "Bob").returncode == 0


def test_an_adjudication_of_the_own_difference_is_refused(mnbatch, out, queue, tools, tmp_path):
    def saved(decisions):
        path, rows = tmp_path / "review.json", [d.fields() for d in decisions]
        path.write_text(json.dumps({"format": "mnbatch-review", "version": 1, "decisions": rows}))
        return path

    ada = tools.decide(queue, truth)
    for said in (ada, tools.decide(queue, lambda _: "not_mn", reviewer="Bo")):
        assert mnbatch("import", out.paths.root, saved(said)).returncode == 0
    own = [tools.change(d, decision="not_mn", look="adjudication") for d in ada]
    done = mnbatch("import", out.paths.root, saved(own))
    assert done.returncode == 2
    assert "adjudications by one who may not adjudicate" in done.stderr
    assert mnbatch("status", out.paths.root).stdout.count("differ on") == 4


def test_status_tells_missing_cells_and_differences(mnbatch, out, queue, tools, tmp_path):
    ada = tools.decide(queue, truth)
    bo = [tools.change(d, reviewer="Bo", decision="unsure") for d in ada[:5]]
    mnbatch("import", out.paths.root, tools.write(tmp_path / "a.csv", ada[:-2]))
    mnbatch("import", out.paths.root, tools.write(tmp_path / "b.csv", bo))
    said = mnbatch("status", out.paths.root).stdout
    assert "s1: unfinished: 2 of 10 cells of the random sample not decided" in said
    assert "Ada and Bo: 0 of 5 alike, kappa 0.00" in said
    assert f"differ on {ada[0].cell_id}: Ada " in said
    assert "s2: none" in said


def test_a_plan_is_shown_and_changed(mnbatch, out):
    assert "sample        0.2" in mnbatch("plan", out.paths.root).stdout
    assert "sample        0.4" in mnbatch("plan", out.paths.root, "--sample", 0.4).stdout
    assert mnbatch("plan", out.paths.root, "--sample", 0).returncode == 2


@pytest.mark.parametrize("name", ["import", "export", "status", "plan"])
def test_every_command_has_help(mnbatch, name):
    assert mnbatch(name, "--help").returncode == 0


def test_a_confirmation_is_planned_and_its_state_told(mnbatch, out, tools, tmp_path):
    planned = mnbatch("plan", out.paths.root, "--mode", "confirm", "--negatives", 20, "--double", 0.5)
    assert planned.returncode == 0, planned.stderr
    for words in ("mode          confirm", "negatives     20", "quotas        21 on 2 slides", "double        0.5"):
        assert words in planned.stdout
    assert "proposed for donors of about 500 cells" in planned.stdout
    assert "band " not in planned.stdout
    queue = queues_of(out, {"s1": None})["s1"]
    path = tools.write(tmp_path / "review.csv", tools.decide(queue, truth))
    assert mnbatch("import", out.paths.root, path).returncode == 0
    said = mnbatch("status", out.paths.root).stdout
    assert "confirmed 4 of 6 called cells looked at; 0 found in 10 random negatives" in said
    assert "of the double-read sample wait for a second person" in said
    first, _ = rows(out.paths.slides_csv)
    assert (first["confirmed_mnbn_cells"], first["negatives_looked"], first["confirmed_per_1000"]) == ("4", "10", "")
    back = mnbatch("plan", out.paths.root, "--mode", "complete").stdout
    assert "the plan was changed after 16 decisions" in back
    assert "negatives" not in back

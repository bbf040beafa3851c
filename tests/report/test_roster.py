"""One answer to which slides count, for report, fit, dose, history, review and export."""

import json

import pytest

from mnbatch.assay.sample_sheet import SampleRow
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.annotations import save_samples
from mnbatch.results.roster import open_roster
from mnbatch.results.store import Store
from tests.in_process import mnbatch
from tests.report.conftest import add_failed, add_slide
from tests.report.test_reviews import decide, save

DOSES = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)


@pytest.fixture
def graded(tmp_path):
    """Six slides with rising doses, and what the sample sheet says of them."""
    store = Store(tmp_path / "root" / "out")
    for number, _ in enumerate(DOSES):
        mn = 6 + 8 * number
        add_slide(store, f"s{number}", [0.9] * mn + [0.1] * (300 - mn), first_digest=1000 * number + 1,
                  keep_crops=number == 0, donor=f"D{number}")  # fmt: skip
    (store.paths.root / "batch.json").write_text('{"export": "e", "layout": "l", "pseudonymised": false}')
    sheet(store, {f"s{number}": dose for number, dose in enumerate(DOSES)})
    return store


def sheet(store, doses):
    rows = {slide_id: SampleRow(line=2, slide=slide_id, donor="", dose_gy=dose) for slide_id, dose in doses.items()}
    save_samples(store.paths, rows)


def alter(store, slide_id):
    """One call turned at equal length, as an editor would."""
    path = store.paths.slide(slide_id).generation("g1").scores
    data = path.read_bytes()
    path.write_bytes(data.replace(b",0.9,", b",0.1,", 1))
    assert path.stat().st_size == len(data)


def contradict(store, slide_id="s9", original="s2"):
    """The pictures of another donor's slide once more."""
    add_failed(store, slide_id, "", donor="D9")
    record = store.record(slide_id)
    store.put_record(record.model_copy(update={"status": "copy", "copy_of": original}))
    sheet(store, {**{f"s{n}": dose for n, dose in enumerate(DOSES)}, slide_id: 5.0})


def fit(store, tmp_path):
    return mnbatch("curve", "fit", store.paths.root, "--out", tmp_path / "curve.json")


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [(lambda store: alter(store, "s3"), ["s3"]), (contradict, ["s2", "s9"])],
    ids=["altered", "two donors"],
)
def test_a_fit_refuses_what_the_report_calls_failed_and_names_it(graded, tmp_path, fault, wanted):
    assert fit(graded, tmp_path).returncode == 0
    (tmp_path / "curve.json").unlink()
    fault(graded)
    failed = [s.slide_id for s in build_reports(graded, ReportOptions(gallery=0), {}).slides if s.status == "failed"]
    assert failed == wanted
    done = fit(graded, tmp_path)
    assert done.returncode == 3
    assert all(slide_id in done.stderr for slide_id in failed)
    assert not (tmp_path / "curve.json").exists()


def test_the_same_pictures_cannot_have_had_two_doses(graded, tmp_path):
    contradict(graded)
    record = graded.record("s9")
    graded.put_record(record.model_copy(update={"donor": "D2"}))
    done = fit(graded, tmp_path)
    assert done.returncode == 3
    assert "s9 (5 Gy) is a copy of s2" in done.stderr


def test_every_command_names_the_same_slide_and_leaves_with_3(graded, tmp_path):
    save(graded, "s0", decide(graded, "s0"))
    curve = tmp_path / "curve.json"
    assert fit(graded, tmp_path).returncode == 0
    out = graded.paths.root
    asked = {
        "report": ["report", out, "--gallery", "0"],
        "dose": ["dose", out, "--curve", curve, "--json"],
        "history": ["history", tmp_path / "root", "--out", tmp_path / "chart.html"],
        "review status": ["review", "status", out, "--json"],
        "status": ["status", out, "--json"],
        "review export": ["review", "export", out, tmp_path / "labels"],
    }
    for name, arguments in asked.items():
        done = mnbatch(*arguments)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    alter(graded, "s0")
    for name, arguments in asked.items():
        if name == "review export":
            # It was the only slide that anybody had reviewed.
            done = mnbatch("review", "export", out, tmp_path / "none")
            assert done.returncode == 4
            continue
        done = mnbatch(*arguments)
        assert done.returncode == 3, f"{name}: {done.stderr}"
        assert "s0" in done.stdout + done.stderr, name
        assert "altered" in done.stdout + done.stderr, name
        if name in ("dose", "review status", "history"):
            assert "not counted: " in done.stderr, name
    first = json.loads(mnbatch(*asked["dose"]).stdout.splitlines()[0])
    assert [slide["slide_id"] for slide in first["slides_not_counted"]] == ["s0"]
    rows = json.loads(mnbatch(*asked["review status"]).stdout)
    assert ["altered" in row["not_counted"] for row in rows] == [True] + [False] * 5


def test_an_export_names_reviewed_slides_that_do_not_count(graded, tmp_path):
    save(graded, "s0", decide(graded, "s0"))
    add_slide(graded, "t0", [0.9, *[0.1] * 40], first_digest=9001)
    save(graded, "t0", decide(graded, "t0"))
    alter(graded, "t0")
    done = mnbatch("review", "export", graded.paths.root, tmp_path / "labels")
    assert done.returncode == 3, done.stderr
    assert "not counted: t0: " in done.stderr
    assert (tmp_path / "labels" / "labels.csv").exists()


def test_the_roster_says_who_counts(batch):
    roster = open_roster(batch)
    assert [r.slide_id for r in roster.records] == ["a1", "a2", "b1", "b2", "b3"]
    assert [r.slide_id for r in roster.copied] == ["c1"]
    assert {slide.slide_id for slide in roster.missing()} == {"b2", "b3"}
    assert {slide.slide_id for slide in roster.missing(["a1", "b2"])} == {"b2"}
    made = build_reports(batch, ReportOptions(gallery=0))
    assert {s.slide_id: s.reason for s in made.slides if s.status == "failed"} == {
        slide.slide_id: slide.reason for slide in roster.missing()
    }

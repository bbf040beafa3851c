"""Control samples with a range: a batch that misses it is flagged everywhere, and nowhere else."""

import re

import pytest

from mnbatch.app.night_summary import night
from mnbatch.app.out_status import out_status
from mnbatch.assay.sample_sheet import read_samples
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.control_samples import check_controls
from mnbatch.results.annotations import load_samples, save_samples
from mnbatch.results.lock import hold_lock
from mnbatch.results.roster import open_roster
from tests.in_process import mnbatch

OPTIONS = ReportOptions(gallery=0, min_cells=100)


@pytest.fixture
def scored(store, add_slide):
    """Donors D1 and D2, a negative control with 2 of 200 and a positive one with 20 of 200 cells called."""
    for number, (name, called) in enumerate((("d1", 6), ("d2", 8), ("neg", 2), ("pos", 20))):
        add_slide(
            store,
            name,
            [0.9] * called + [0.1] * (200 - called),
            keep_crops=False,
            first_digest=1 + 1000 * number,
            donor=name.upper(),
        )
    return store


def sheet(low="50", high="150", kind="positive"):
    return {
        "neg": {"donor": "NEG", "control": "yes", "target_high_per_1000": "15"},
        "pos": {"donor": "POS", "control": kind, "target_low_per_1000": low, "target_high_per_1000": high},
    }


def controls(store, samples, fewest=100):
    return check_controls(open_roster(store, samples), samples, fewest)


def test_controls_in_their_range_flag_nothing(scored, read_csv):
    made = build_reports(scored, OPTIONS, sheet())
    assert made.controls.sentence == ""
    assert {row["batch_controls"] for row in read_csv(scored.paths.donors_csv)} == {"met"}
    page = scored.paths.index.read_text(encoding="utf-8")
    assert "Controls out of range" not in page
    assert "Control samples" in page


def test_a_missed_range_is_on_every_page_and_in_every_table(scored, read_csv):
    build_reports(scored, OPTIONS, sheet())
    made = build_reports(scored, OPTIONS, sheet(low="120"))
    text = "POS (positive control): 100.0 per 1000 called (20 of 200 cells), wanted 120 to 150"
    assert text in made.controls.sentence
    pages = [path for path in scored.paths.root.rglob("*.html") if path.name != "gallery.html"]
    assert len(pages) == 1 + 4 + 2 * 4
    for page in pages:
        assert text in page.read_text(encoding="utf-8"), page
    for table in (scored.paths.donors_csv, scored.paths.slides_csv):
        rows = read_csv(table)
        assert {row["batch_controls"] for row in rows} == {f"missed: {text}"}
        assert "missed" not in "".join(row["warnings"] for row in rows)
    # And the flag goes when the range is corrected.
    build_reports(scored, OPTIONS, sheet())
    assert not [page for page in pages if text in page.read_text(encoding="utf-8")]


def test_a_batch_without_ranges_says_nothing_of_controls(scored, read_csv):
    made = build_reports(scored, OPTIONS, {"neg": {"control": "yes"}})
    assert made.controls.samples == ()
    assert {row["batch_controls"] for row in read_csv(scored.paths.donors_csv)} == {""}
    assert "ontrol samples" not in scored.paths.index.read_text(encoding="utf-8")


@pytest.mark.parametrize(("low", "high", "verdict"), [("100", "", "met"), ("", "100", "met"), ("100.1", "", "missed")])
def test_the_ends_of_a_range_belong_to_it(scored, low, high, verdict):
    assert [one.verdict for one in controls(scored, sheet(low, high)).samples] == ["met", verdict]


def test_a_control_that_could_not_be_counted_is_flagged(scored, add_failed):
    samples = sheet()
    assert "POS" in controls(scored, samples, fewest=201).state
    assert controls(scored, samples, fewest=201).state.startswith("not judged: ")
    add_failed(scored, "pos", "no model serves its stain", donor="POS")
    found = controls(scored, samples)
    assert found.state == "not judged: POS (positive control): no cell was counted, wanted 50 to 150"
    # A control that OUT does not hold at all (its slide is a copy, or never came) is not forgotten.
    gone = samples | {"gone": {"donor": "GONE", "control": "positive", "target_low_per_1000": "1"}}
    assert "GONE (positive control): no cell was counted" in controls(scored, gone).state


def test_slides_of_one_control_are_one_sample(scored, add_slide):
    add_slide(scored, "pos2", [0.1] * 200, keep_crops=False, first_digest=9000, donor="POS")
    samples = sheet()
    samples["pos2"] = samples["pos"]
    (_, sample) = controls(scored, samples).samples
    assert (sample.slides, sample.mnbn_cells, sample.bn_cells, sample.verdict) == (2, 20, 400, "met")


def test_a_positive_control_is_no_background(scored, read_csv):
    samples = {name: {"donor": name.upper(), "control": "positive"} for name in ("d1", "d2", "pos")}
    build_reports(scored, OPTIONS, samples)
    row = {row["slide_id"]: row for row in read_csv(scored.paths.slides_csv)}
    assert row["d1"]["control"] == "positive"
    assert row["neg"]["background"].startswith("not compared: the calls were not reviewed")


def test_the_exit_code_tells(scored, tmp_path):
    rows = tmp_path / "s.csv"
    text = "slide,donor,control,target_low_per_1000,target_high_per_1000\npos,POS,positive,{},150\nneg,NEG,negative,,\n"
    by_id = {"pos": "pos", "neg": "neg"}
    for low, code in ((50, 0), (120, 3)):
        rows.write_text(text.format(low))
        save_samples(scored.paths, {by_id[row.slide]: row for row in read_samples(rows)})
        done = mnbatch("report", scored.paths.root, "--gallery", "0", "--min-cells", "100")
        assert done.returncode == code, done.stderr
        assert ("out of their range" in done.stderr) == bool(code)
        scored.paths.batch.write_text("{}")
        found = out_status(scored.paths.root)
        assert (found.exit_code, "control samples missed" in found.verdict) == (code, bool(code))
        assert ("* Control samples missed: POS" in night(scored.paths.root, None, None, code)["summary"]) == bool(code)
    assert load_samples(scored.paths)["pos"]["control"] == "positive"
    assert load_samples(scored.paths)["neg"] == {"donor": "NEG", "control": "yes"}


def _cut(paths):
    data = paths.slides_csv.read_bytes()
    paths.slides_csv.write_bytes(data[: len(data) // 2])


def _emptied(paths):
    paths.slides_csv.write_bytes(b"")


def _other_bytes(paths):
    paths.slides_csv.write_bytes(bytes(range(256)) * 8)


def _edited(paths):
    text = paths.slides_csv.read_text(encoding="utf-8")
    assert "missed: POS" in text
    paths.slides_csv.write_text(re.sub("missed: [^\n,]*", "met", text), encoding="utf-8")


def _missing(paths):
    paths.slides_csv.unlink()


def _folder(paths):
    paths.slides_csv.unlink()
    paths.slides_csv.mkdir()


def _seal_damaged(paths):
    paths.report_seal.write_text("{")


def _header_cut_and_no_seal(paths):
    paths.report_seal.unlink()
    paths.slides_csv.write_bytes(paths.slides_csv.read_bytes()[40:])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_cut, "slides.csv is not as the report wrote it"),
        (_emptied, "slides.csv is not as the report wrote it"),
        (_other_bytes, "slides.csv is damaged"),
        (_edited, "slides.csv is not as the report wrote it"),
        (_missing, "slides.csv is missing"),
        (_folder, "slides.csv cannot be read (it is a directory, not a file)"),
        (_seal_damaged, "report.json, by which slides.csv is checked, is damaged or cannot be read"),
        (_header_cut_and_no_seal, "slides.csv is not as the report wrote it"),
    ],
)
def test_a_damaged_table_is_no_met_control(scored, harm, words):
    build_reports(scored, OPTIONS, sheet(low="120"))
    scored.paths.batch.write_text("{}")
    assert out_status(scored.paths.root).controls.startswith("missed: POS")
    harm(scored.paths)
    found = out_status(scored.paths.root)
    assert (found.exit_code, found.controls) == (3, f"not known: {words}")
    assert f"control samples: whether they met their ranges is not known: {words}" in found.verdict
    summary = night(scored.paths.root, None, None, 3)["summary"]
    assert f"* Control samples: whether they met their ranges is not known: {words}\n" in summary
    assert "out of their range" not in summary
    if harm is not _folder:
        build_reports(scored, OPTIONS, sheet(low="120"))
        assert out_status(scored.paths.root).controls.startswith("missed: POS")


def test_without_a_report_or_with_one_of_an_earlier_version_nothing_is_made_up(scored):
    build_reports(scored, OPTIONS, sheet())
    scored.paths.batch.write_text("{}")
    with hold_lock(scored.paths.lock):
        scored.paths.slides_csv.unlink()
        assert out_status(scored.paths.root).controls == ""
    build_reports(scored, OPTIONS, sheet())
    scored.paths.report_seal.unlink()
    assert out_status(scored.paths.root).controls == ""


@pytest.mark.parametrize(
    ("header", "line", "words"),
    [
        ("control", "perhaps", "control 'perhaps' is not known"),
        ("target_low_per_1000", "5", "the slide is no control"),
        ("control,target_low_per_1000,target_high_per_1000", "positive,9,5", "upside down"),
        ("control,target_high_per_1000", "negative,1500", "not a number that can be used"),
        ("control,target_low_per_100", "positive,5", "name it target_low_per_1000"),
        ("sampling_date", "03.04.2026", "is not a day as YYYY-MM-DD"),
    ],
)
def test_a_sheet_that_can_be_misread_is_refused(tmp_path, header, line, words):
    from mnbatch.errors import UsageError

    path = tmp_path / "s.csv"
    path.write_text(f"slide,donor,{header}\ns1,D1,{line}\n")
    with pytest.raises(UsageError, match=re.escape(words)):
        read_samples(path)

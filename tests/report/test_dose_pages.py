"""Doses of a scored OUT: tables, pages, the physician's page, and what is refused."""

import json
import re
import shutil
import subprocess

import pytest

from mnbatch.results.records import FieldsStamp
from tests.in_process import mnbatch

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DIGEST = "ab" * 32
CURVE = {
    "name": "Curve of the test",
    "model": "linear-quadratic",
    "endpoint": "mnbn",
    "coefficients": {"C": 0.01, "alpha": 0.06, "beta": 0.01},
    "covariance": [[1e-6, -1e-6, 0], [-1e-6, 1.5e-5, -3e-6], [0, -3e-6, 1e-6]],
    "dose_range": [0, 4],
    "scoring": {"mode": "automated (mnbatch)", "model_digest": DIGEST, "threshold": 0.5},
}


@pytest.fixture
def scored(store, add_slide, add_failed):
    """Donor D1 with 30 of 300 cells called, D2 with 2 of 200; D3 failed."""
    add_slide(store, "a1", [0.9] * 20 + [0.1] * 180, keep_crops=False)
    add_slide(store, "a2", [0.9] * 10 + [0.1] * 90, keep_crops=False, first_digest=1000)
    add_slide(store, "b1", [0.9] * 2 + [0.1] * 198, keep_crops=False, first_digest=2000, donor="D2")
    add_failed(store, "c1", "no model serves its stain", donor="D3")
    return store


@pytest.fixture
def curve(tmp_path):
    def write(**change):
        path = tmp_path / "curve.json"
        path.write_text(json.dumps(CURVE | change))
        return path

    return write


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def test_doses_stand_in_tables_and_pages_and_survive_a_rebuild(scored, curve, read_csv):
    out = scored.paths.root
    done = mnbatch("dose", out, "--curve", curve(), "--json")
    assert done.returncode == 3  # D3 has no dose
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["status"] for result in found] == ["ok", "ok", "failed"]
    rows = {row["donor"]: row for row in read_csv(scored.paths.donors_csv)}
    assert float(rows["D1"]["dose_estimate_gy"]) == pytest.approx(found[0]["dose"]["estimate"], abs=1e-4)
    assert float(rows["D1"]["dose_low_gy"]) < float(rows["D1"]["dose_high_gy"])
    assert (rows["D2"]["dose_below_detection"], rows["D2"]["dose_class"]) == ("1", "< 1 Gy")
    assert (rows["D3"]["dose_status"], rows["D3"]["dose_estimate_gy"], rows["D3"]["dose_high_gy"]) == ("failed", "", "")
    (folder,) = [f for f in scored.paths.donors.iterdir() if f.name.startswith("D1")]
    page = text_of(folder / "index.html")
    assert f"{found[0]['dose']['estimate']:.2f} Gy" in page
    assert "<svg" in (folder / "index.html").read_text()
    for name in ("index.html", "sheet.html"):
        (folder / name).unlink()
    assert mnbatch("report", out).returncode == 3
    assert text_of(folder / "index.html") == page
    assert (folder / "sheet.html").exists()


def test_every_nucleus_is_no_binucleated_cell_on_a_curve(store, add_slide, curve, read_csv):
    counts = {"fields": 1, "empty": 0, "skipped": (), "classes": {}, "not_scored": {}, "um_per_pixel": None}
    every = FieldsStamp(cells="all", **counts)
    add_slide(store, "a1", [0.9] * 20 + [0.1] * 180, keep_crops=False, fields=every)
    add_slide(store, "b1", [0.9] * 20 + [0.1] * 180, keep_crops=False, first_digest=1000, donor="D2")
    add_slide(store, "b2", [0.9] * 20 + [0.1] * 180, keep_crops=False, first_digest=2000, donor="D2", fields=every)
    assert mnbatch("dose", store.paths.root, "--curve", curve()).returncode == 3
    alone, mixed = read_csv(store.paths.donors_csv)
    assert (alone["dose_status"], alone["dose_estimate_gy"], mixed["dose_estimate_gy"]) == ("refused", "", "")
    assert "--cells all" in alone["dose_warnings"]
    assert "with and without --cells all" in mixed["dose_warnings"]
    assert alone["background_per_1000"] == ""


def test_the_physicians_page_says_what_the_dose_rests_on(scored, curve):
    mnbatch("dose", scored.paths.root, "--curve", curve())
    (folder,) = [f for f in scored.paths.donors.iterdir() if f.name.startswith("D1")]
    page = text_of(folder / "sheet.html")
    for words in (
        "D1", "2 of 2 counted", "300 binucleated cells", "attention-alexnet 1", "threshold 0.5", "30 of 300 cells",
        "no frequency: the model called 30 of 300 cells MN", "not compared: the calls were not reviewed",
        "the calls were not reviewed by a person", "P(dose above 1 Gy)", "Decision threshold",
        "Curve at 0 Gy", "95 % interval", "Detection limit", "acute",
        "equally likely", "not reviewed", "model digest abababababab,", DIGEST, "Curve of the test",
        "Not validated for clinical",
    ):  # fmt: skip
        assert words in page, words


def test_without_a_curve_the_page_says_so_and_gives_no_number(scored):
    assert mnbatch("report", scored.paths.root).returncode == 3
    (folder,) = [f for f in scored.paths.donors.iterdir() if f.name.startswith("D1")]
    page = text_of(folder / "sheet.html")
    assert "no dose: no calibration curve was given" in page
    assert "Estimate" not in page
    assert not re.search(r"\d Gy", page)


def test_a_donor_that_failed_has_a_page_without_a_number(scored, curve):
    mnbatch("dose", scored.paths.root, "--curve", curve())
    (folder,) = [f for f in scored.paths.donors.iterdir() if f.name.startswith("D3")]
    page = text_of(folder / "sheet.html")
    assert "no dose" in page
    assert "no frequency" in page
    assert "per 1000 (" not in page


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
@pytest.mark.browser
def test_the_physicians_report_prints_on_two_sheets(scored, add_slide, curve, tmp_path):
    # The worst case: a long code, many slides, every warning.
    for i in range(12):
        add_slide(scored, f"a-slide-with-quite-a-long-name-{i}", [0.9] * (3 * i) + [0.1] * 40, keep_crops=False,
                  first_digest=10_000 + 100 * i, donor="D-" + "long" * 12)  # fmt: skip
    mnbatch("dose", scored.paths.root, "--curve", curve(dose_range=[0, 1], covariance=None))
    for donor, reason in (("D1", "urgent"), ("D-" + "long" * 12, "a reason of many words " * 10)):
        signed = ("--donor", donor, "--name", "Ada Muster", "--role", "Head of the laboratory", "--unfinished", reason)
        assert mnbatch("review", "sign", scored.paths.root, *signed).returncode == 0
    for folder in scored.paths.donors.iterdir():
        pdf = tmp_path / f"{folder.name}.pdf"
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                   f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer", f"--print-to-pdf={pdf}",
                   f"file://{folder / 'sheet.html'}"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=900)
        data = pdf.read_bytes()
        assert len(re.findall(rb"/Type\s*/Page[^s]", data)) == 2, folder.name
        (box,) = {tuple(float(v) for v in m.split()) for m in re.findall(rb"/MediaBox\s*\[([^\]]+)\]", data)}
        assert box[2:] == pytest.approx((595, 842), abs=1.5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"endpoint": "mn"}, "endpoint mn"),
        ({"scoring": CURVE["scoring"] | {"model_digest": "cd" * 32}}, "another model"),
        ({"scoring": CURVE["scoring"] | {"threshold": 0.4}}, "threshold 0.4"),
        ({"scoring": {"mode": "manual"}}, "does not state which model digest and threshold"),
    ],
)
def test_a_curve_of_another_scoring_is_refused_and_not_kept(scored, curve, change, reason):
    done = mnbatch("dose", scored.paths.root, "--curve", curve(**change))
    assert done.returncode == 5
    assert reason in done.stderr
    assert not scored.paths.dosing.exists()


def test_an_allowed_mismatch_is_shown(scored, curve):
    other = curve(scoring=CURVE["scoring"] | {"model_digest": "cd" * 32})
    done = mnbatch("dose", scored.paths.root, "--curve", other, "--allow-mismatch")
    assert done.returncode == 3
    (folder,) = [f for f in scored.paths.donors.iterdir() if f.name.startswith("D1")]
    for name in ("index.html", "sheet.html"):
        assert "scored differently from the curve, and allowed" in text_of(folder / name)


def test_rates_of_all_cells_together_make_no_manual_curve_one_of_automatic_counts(scored, curve):
    manual = curve(scoring={"mode": "manual"})
    rates = ["--sensitivity", "270/300", "--specificity", "1990/2000"]
    refused = mnbatch("dose", scored.paths.root, "--curve", manual, *rates)
    assert refused.returncode == 5
    assert "errors differ from slide to slide" in refused.stderr
    done = mnbatch("dose", scored.paths.root, "--curve", manual, *rates, "--allow-mismatch")
    assert done.returncode == 3, done.stderr
    (folder,) = [f for f in scored.paths.donors.iterdir() if f.name.startswith("D1")]
    assert "scorer corrected" in text_of(folder / "sheet.html")


def test_a_damaged_curve_in_out_is_an_error_and_no_silence(scored, curve):
    mnbatch("dose", scored.paths.root, "--curve", curve())
    scored.paths.dosing.write_text("{")
    done = mnbatch("report", scored.paths.root)
    assert done.returncode == 10
    assert "is damaged" in done.stderr


def test_curve_fit_from_scored_slides_and_back_to_doses(store, add_slide, tmp_path):
    rows, first = ["slide,donor,dose_gy"], 1
    for dose, called in ((0, 4), (0.5, 12), (1, 24), (2, 56), (3, 90), (4, 130)):
        name = f"c{dose}"
        add_slide(store, name, [0.9] * called + [0.1] * (400 - called), keep_crops=False, first_digest=first)
        rows.append(f"{name},D1,{dose}")
        first += 1000
    sheet, curve = tmp_path / "samples.csv", tmp_path / "curve.json"
    sheet.write_text("\n".join(rows) + "\n")
    done = mnbatch("curve", "fit", store.paths.root, "--doses", sheet, "--out", curve)
    assert done.returncode == 0, done.stderr
    content = json.loads(curve.read_text())
    assert content["endpoint"] == "mnbn"
    assert content["scoring"]["model_digest"] == DIGEST
    assert content["scoring"]["threshold"] == 0.5
    assert [point["name"] for point in content["fit"]["points"]] == [f"c{d}" for d in (0, 0.5, 1, 2, 3, 4)]
    assert mnbatch("dose", store.paths.root, "--curve", curve).returncode == 0


def test_curve_fit_refuses_slides_without_dose_or_of_two_thresholds(store, add_slide, call_stamp, tmp_path):
    add_slide(store, "a", [0.9] * 5 + [0.1] * 95, keep_crops=False)
    none = mnbatch("curve", "fit", store.paths.root, "--out", tmp_path / "c.json")
    assert none.returncode == 2
    assert "No slide has a known dose" in none.stderr
    add_slide(store, "b", [0.9] * 9 + [0.1] * 91, keep_crops=False, first_digest=500, call=call_stamp(0.4))
    sheet = tmp_path / "s.csv"
    sheet.write_text("slide,donor,dose_gy\na,D1,0\nb,D1,2\n")
    mixed = mnbatch("curve", "fit", store.paths.root, "--doses", sheet, "--out", tmp_path / "c.json")
    assert mixed.returncode == 5
    assert "2 different ways" in mixed.stderr

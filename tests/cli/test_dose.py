"""`mnbatch dose --cases` and `mnbatch curve` as a laboratory meets them: streams, exit codes, reasons."""

import json

import pytest

from tests.in_process import mnbatch

HEADER = "id,C0,C1,C2,C3,C4,C5"
GOOD_ROW = "good,950,48,2,0,0,0"
KEYS = [
    "id", "status", "n", "x", "yield", "dispersion_index", "u", "dose", "method", "level", "below_detection",
    "above_range", "warnings",
]  # fmt: skip
CURVE = {
    "model": "linear-quadratic",
    "endpoint": "mn",
    "coefficients": {"C": 0.0077, "alpha": 0.0459, "beta": 0.0185},
    "covariance": [[1.56e-6, -2.73e-6, 5.8e-7], [-2.73e-6, 1.49e-5, -3.66e-6], [5.8e-7, -3.66e-6, 1.1e-6]],
    "standard_errors": [0.00125, 0.00386, 0.00105],
    "dose_range": [0, 5],
    "scoring": {"mode": "manual"},
}


@pytest.fixture
def files(tmp_path):
    def write(rows, header=HEADER, **change):
        (tmp_path / "curve.json").write_text(json.dumps(CURVE | change))
        (tmp_path / "cases.csv").write_text("\n".join([header, *rows]) + "\n")
        return ["--cases", tmp_path / "cases.csv", "--curve", tmp_path / "curve.json"]

    return write


def json_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_contract(files):
    done = mnbatch("dose", *files([GOOD_ROW]), "--json", "--level", "0.9", "--method", "delta")
    assert done.returncode == 0, done.stderr
    (found,) = json_of(done)
    assert list(found) == KEYS
    assert list(found["dose"]) == ["estimate", "lower", "upper"]
    assert (found["id"], found["status"], found["n"], found["x"], found["yield"]) == ("good", "ok", 1000, 52, 0.052)
    assert (found["method"], found["level"]) == ("delta", 0.9)
    assert 0 < found["dose"]["lower"] < found["dose"]["estimate"] < found["dose"]["upper"] < 2
    assert (found["below_detection"], found["above_range"]) == (False, False)
    assert found["warnings"] == []


BAD_ROWS = {
    "negative": ("bad,-3,4,0,0,0,0", "C0 = -3 is negative"),
    "fractional": ("bad,100,4.5,0,0,0,0", "not a whole number"),
    "empty": ("bad,100,,0,0,0,0", "C1 is empty"),
    "text": ("bad,100,few,0,0,0,0", "not a number"),
    "zero cells": ("bad,0,0,0,0,0,0", "no cell was counted"),
    "short row": ("bad,100", "C1 is empty"),
    "no id": (",100,3,0,0,0,0", "no id"),
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_has_its_reason_and_the_rest_is_computed(files, bad):
    row, reason = bad
    done = mnbatch("dose", *files([row, GOOD_ROW]), "--json")
    assert done.returncode == 3
    first, second = json_of(done)
    assert first["status"] == "failed"
    assert reason in first["warnings"][0]
    assert first["dose"] == {"estimate": None, "lower": None, "upper": None}
    assert second["status"] == "ok"
    assert second["dose"]["estimate"] > 0


def test_more_events_than_cells_where_a_cell_counts_once(files):
    arguments = files(["bad,100,120", "good,1000,50"], header="id,N,X", endpoint="mnbn")
    done = mnbatch("dose", *arguments, "--json")
    assert done.returncode == 3
    first, second = json_of(done)
    assert "X = 120 is more than N = 100" in first["warnings"][0]
    assert (second["status"], second["dispersion_index"]) == ("ok", None)


@pytest.mark.parametrize("header", ["id,C1,C2", "id,C0,C2", "id,N", "C0,C1,C2", "id,C0"])
def test_missing_columns_are_said_in_every_row(files, header):
    done = mnbatch("dose", *files(["901,900,20", "902,900,20"], header=header), "--json")
    assert done.returncode == 3
    for found in json_of(done):
        assert found["status"] == "failed"
        assert "there is no column" in found["warnings"][0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"coefficients": {"C": 0.3, "alpha": -0.03, "beta": -0.01}}, "falls with dose"),
        ({"coefficients": {"C": 0.3, "alpha": 0.03, "beta": -0.01}}, "turns down"),
        ({"coefficients": {"C": 0.02, "alpha": 0, "beta": 0}}, "flat"),
        ({"covariance": [[1e-6, 1e-4, 0], [1e-4, 1e-6, 0], [0, 0, 1e-6]]}, "positive semidefinite"),
    ],
)
def test_a_curve_without_doses_refuses_every_case_and_still_counts(files, change, reason):
    done = mnbatch("dose", *files([GOOD_ROW], **change), "--json")
    assert done.returncode == 3
    (found,) = json_of(done)
    assert (found["status"], found["n"], found["x"]) == ("refused", 1000, 52)
    assert reason in found["warnings"][0]


def test_a_case_of_another_scoring_mode_or_endpoint_is_refused(files):
    rows = ["a,950,48,2,0,0,0,automated,", "b,950,50,0,0,0,0,,mnbn", "c,950,48,2,0,0,0,manual,mn"]
    arguments = files(rows, header=HEADER + ",scoring,endpoint")
    done = mnbatch("dose", *arguments, "--json")
    assert done.returncode == 3
    found = json_of(done)
    assert [result["status"] for result in found] == ["refused", "refused", "ok"]
    assert "scored differently" in found[0]["warnings"][0]
    assert "endpoint mnbn" in found[1]["warnings"][0]
    allowed = json_of(mnbatch("dose", *arguments, "--json", "--allow-mismatch"))
    assert [result["status"] for result in allowed] == ["ok", "refused", "ok"]
    assert "and allowed" in allowed[0]["warnings"][0]


def test_one_line_a_case_for_people_with_class_and_prior(files):
    done = mnbatch("dose", *files([GOOD_ROW, "none,1000,0,0,0,0,0", "bad,-1,0,0,0,0,0"]))
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert "< 1 Gy" in lines[1]
    assert "not above the decision threshold (detection limit" in lines[2]
    assert "failed" in lines[3]
    assert "equally likely" in lines[4]


def test_triage_protraction_and_scorer_error_reach_the_json(files):
    arguments = files([GOOD_ROW.replace("950,48", "880,118")])
    (acute,) = json_of(mnbatch("dose", *arguments, "--json", "--triage"))
    assert sum(acute["triage"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    (suspected,) = json_of(mnbatch("dose", *arguments, "--json", "--suspected-gy", "1"))
    assert suspected["suspected"]["log10_background_over_suspected"] < -10
    asked = mnbatch("dose", *arguments, "--json", "--exposure-hours", "24")
    (slow,) = json_of(asked)
    assert slow["exposure_hours"] == 24
    assert "an exposure over 24 h (--exposure-hours, G = 0.153)" in asked.stderr
    assert slow["dose"]["estimate"] > acute["dose"]["estimate"]
    (corrected,) = json_of(
        mnbatch("dose", *arguments, "--json", "--sensitivity", "255/300", "--specificity", "1980/2000")
    )
    assert corrected["yield"] == acute["yield"]
    width = [r["dose"]["upper"] - r["dose"]["lower"] for r in (acute, corrected)]
    assert width[1] > width[0]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--cases", "nowhere.csv", "--curve", "example:serbia2014"],
        ["--cases", "nowhere.csv"],
        ["--cases", "nowhere.csv", "--curve", "example:none"],
        ["--cases", "nowhere.csv", "--curve", "example:serbia2014", "--level", "95"],
        ["--cases", "nowhere.csv", "--curve", "example:serbia2014", "--sensitivity", "9/10"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments, tmp_path):
    done = mnbatch("dose", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


TABLE = "D,C0,C1,C2\n0,1980,19,1\n0.5,1930,66,4\n1,1860,130,10\n2,1680,280,40\n4,1200,600,200\n"


def test_curve_fit_and_show(tmp_path):
    table, curve, figure = tmp_path / "t.csv", tmp_path / "curve.json", tmp_path / "c.svg"
    table.write_text(TABLE)
    done = mnbatch("curve", "fit", table, "--out", curve, "--scoring", "manual")
    assert done.returncode == 0, done.stderr
    assert "above 1" in done.stdout
    content = json.loads(curve.read_text())
    assert (content["model"], content["endpoint"], content["dose_range"]) == ("linear-quadratic", "mn", [0, 4])
    assert content["scoring"] == {"mode": "manual"}
    assert content["fit"]["points"][0]["dispersion_index"] > 1
    shown = mnbatch("curve", "show", curve, "--figure", figure)
    assert shown.returncode == 0, shown.stderr
    assert "95 % band" in shown.stdout
    assert "<svg" in figure.read_text()
    (found,) = json_of(mnbatch("dose", *_cases(tmp_path), "--curve", curve, "--json"))
    assert found["status"] == "ok"


def _cases(folder):
    (folder / "cases.csv").write_text(f"{HEADER}\n{GOOD_ROW}\n")
    return ["--cases", folder / "cases.csv"]


@pytest.mark.parametrize(
    ("table", "code", "reason"),
    [
        ("D,N,X\n0,1000,300\n1,1000,260\n2,1000,200\n3,1000,20\n", 3, "falls with dose"),
        ("D,N,X\n2,1000,30\n2,1000,33\n2,1000,29\n", 3, "1 different doses"),
        ("D,N,X\n0,1000,20\n1,1000,22\n2,1000,19\n3,1000,21\n", 3, "does not rise"),
        ("D,N,X\n0,1000,20\n1,1000,-3\n2,0,0\n4,1000,90\n", 3, "line 3: X = -3 is negative; line 4: no cell"),
        ("D,N,X\n0,1000,20\n-1,1000,30\n2,1000,60\n", 3, "line 3: the dose"),
        ("N,X\n1000,20\n", 2, "no column D"),
        ("", 2, "is empty"),
    ],
)
def test_tables_that_give_no_curve(tmp_path, table, code, reason):
    path = tmp_path / "t.csv"
    path.write_text(table)
    done = mnbatch("curve", "fit", path, "--out", tmp_path / "curve.json")
    assert done.returncode == code
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "curve.json").exists()


def test_show_refuses_a_curve_that_gives_no_dose(tmp_path):
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(CURVE | {"coefficients": {"C": 0.3, "alpha": -0.03, "beta": 0}}))
    done = mnbatch("curve", "show", path)
    assert done.returncode == 3
    assert "falls with dose" in done.stderr


def test_ten_thousand_donors_have_a_line_each(files):
    """How long it takes is measured by benchmarks/dose_batch.py."""
    rows = [f"d{i},{900 + i % 90},{20 + i % 83},{i % 7},0,0,0" for i in range(10_000)]
    done = mnbatch("dose", *files(rows), "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [f"d{i}" for i in range(10_000)]


IMPOSSIBLE = [
    {"pearson_chi2": "x"},
    {"p_pearson": 10**400},
    {"points": [3]},
    {"points": "none"},
    {"family": ["a"]},
    {"covariance_factor": {}},
    [1],
]


@pytest.mark.parametrize("fit", [{}, {"df": 4}, {"pearson_chi2": 3.5}, {"points": [{"dose": 1}]}, None])
def test_a_curve_is_shown_with_what_its_file_says_of_the_fit(tmp_path, fit):
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(CURVE | {"fit": fit}))
    done = mnbatch("curve", "show", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("chi2 3.50" in done.stdout) == (fit == {"pearson_chi2": 3.5})


@pytest.mark.parametrize("fit", IMPOSSIBLE)
def test_a_curve_with_an_impossible_fit_is_refused(tmp_path, fit):
    path = tmp_path / "curve.json"
    path.write_text(json.dumps(CURVE | {"fit": fit}))
    done = mnbatch("curve", "show", path)
    assert done.returncode == 2
    assert "is not a curve: fit" in done.stderr.replace("\n", " ")

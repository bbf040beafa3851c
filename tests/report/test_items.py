"""What a donor's lines of the sample sheet contradict each other in is told wherever the donor's number is."""

import html

import pytest

from mnbatch.report.build import ReportOptions, build_reports

TWO_PEOPLE = {
    "a1": {"donor": "D1", "sex": "f", "age": "30", "dose_gy": "0.5", "control": "yes"},
    "a2": {"donor": "D1", "sex": "m", "age": "50", "dose_gy": "1.5", "sampling_date": "2026-04-01"},
}


def reported(store, add_slide, read_csv, sheet):
    for number, slide_id in enumerate(sheet):
        add_slide(store, slide_id, [0.9] * 5 + [0.1] * 295, first_digest=1 + 1000 * number, keep_crops=False)
    build_reports(store, ReportOptions(gallery=0), sheet)
    (row,) = read_csv(store.paths.donors_csv)
    (folder,) = store.paths.donors.iterdir()
    pages = [(folder / name).read_text(encoding="utf-8") for name in ("index.html", "sheet.html")]
    return row, [*pages, store.paths.index.read_text(encoding="utf-8")]


def test_two_people_under_one_code_are_named_in_the_table_on_the_pages_and_in_the_light(store, add_slide, read_csv):
    """They were pooled without a word."""
    row, pages = reported(store, add_slide, read_csv, TWO_PEOPLE)
    for said in (
        "sex is f (a1) and m (a2) in the sample sheet: two people under one donor code, or a typing slip",
        "age is 30 (a1) and 50 (a2)",
        "dose_gy is 0.5 (a1) and 1.5 (a2)",
        "control is negative (a1) and not marked (a2)",
    ):
        assert said in row["warnings"]
        assert all(said in page for page in pages)
    assert row["light"] != "green"
    assert "The sample sheet contradicts itself on sex, age, dose_gy, control: " in row["light_reasons"]
    assert "The sample sheet contradicts itself on sex" in pages[0]
    assert row["bn_cells"] == "600", "the batch is not refused, and nothing is left out"


def test_a_sheet_that_is_corrected_makes_the_pages_again(store, add_slide, read_csv):
    reported(store, add_slide, read_csv, TWO_PEOPLE)
    build_reports(store, ReportOptions(gallery=0), dict.fromkeys(TWO_PEOPLE, TWO_PEOPLE["a1"]))
    (row,) = read_csv(store.paths.donors_csv)
    assert "in the sample sheet" not in row["warnings"]
    assert "contradicts itself" not in row["light_reasons"]


def test_two_days_of_sampling_are_told_and_change_no_light(store, add_slide, read_csv):
    sheet = {
        name: {"donor": "D1", "sex": "f", "age": "41", "sampling_date": day}
        for name, day in (("a1", "2026-03-01"), ("a2", "2026-04-01"))
    }
    row, pages = reported(store, add_slide, read_csv, sheet)
    said = "sampling_date is 2026-03-01 (a1) and 2026-04-01 (a2) in the sample sheet"
    assert said in row["warnings"]
    assert all(said in page for page in pages)
    assert "contradicts" not in row["light_reasons"]


def test_slides_of_one_name_are_told_apart(store, add_slide, read_csv):
    for number, slide_id in enumerate(("p-s2", "q-s2")):
        add_slide(store, slide_id, [0.1] * 3, first_digest=1 + 1000 * number, keep_crops=False, name="s2")
    build_reports(store, ReportOptions(gallery=0), {"p-s2": {"sex": "f"}, "q-s2": {"sex": "m"}})
    (row,) = read_csv(store.paths.donors_csv)
    assert "sex is f (p-s2) and m (q-s2)" in row["warnings"]


def test_folders_that_the_sheet_joins_are_told_and_counted_as_it_says(store, add_slide, read_csv):
    for number, (name, folder) in enumerate((("D01-1", "D01"), ("D01-2", "D01"), ("D02-1", "D02"), ("D02-2", "D02"))):
        add_slide(store, name, [0.9, 0.1] * 150, first_digest=1 + 1000 * number, keep_crops=False, donor=folder)
    mixed = {"D01-1": "P1", "D01-2": "P2", "D02-1": "P1", "D02-2": "P2"}
    report = build_reports(store, ReportOptions(gallery=0), {name: {"donor": donor} for name, donor in mixed.items()})
    joined = "it joins the folders &#39;D01&#39; (D01-1) and &#39;D02&#39; (D02-1)"
    rows = {row["donor"]: row for row in read_csv(store.paths.donors_csv)}
    assert html.unescape(joined) in rows["P1"]["warnings"]
    assert rows["P1"]["bn_cells"] == "600", "counted as the sheet says"
    for row in rows.values():
        assert "the sample sheet groups slides otherwise" in row["warnings"]
        assert "The sample sheet groups slides otherwise than their donors" in row["light_reasons"]
    assert [donor for donor, said in report.contradicted if "groups slides otherwise" in said] == ["P1", "P2"]
    pages = [html.unescape(page.read_text(encoding="utf-8")) for page in store.paths.donors.glob("*/index.html")]
    assert sum(html.unescape(joined) in page for page in pages) == 1
    one_to_one = {name: {"donor": "P1" if name.startswith("D01") else "P2"} for name in mixed}
    assert build_reports(store, ReportOptions(gallery=0), one_to_one).contradicted == ()
    assert not any("otherwise" in row["warnings"] for row in read_csv(store.paths.donors_csv))


def test_days_that_cannot_be_true_are_told(store, add_slide, read_csv):
    days = {"sampling_date": "2026-05-01", "culture_date": "2026-03-01", "report_date": "2999-01-01"}
    row, pages = reported(store, add_slide, read_csv, {"a1": {"donor": "D1", **days}})
    for said in (
        "culture_date 2026-03-01 is before sampling_date 2026-05-01 (a1)",
        "report_date 2999-01-01 lies in the future (a1)",
    ):
        assert said in row["warnings"]
        assert all(said in page for page in pages)
    assert "The sample sheet has days that cannot be true" in row["light_reasons"]


DOSED = {"exposure_date": "2026-03-02", "sampling_date": "2026-03-01", "culture_date": "2026-03-02"}
ORDINARY = {
    "two cultures": {
        "D01/1": {"donor": "D01", "culture": "A", "sex": "f", "age": "41", "sampling_date": "2026-03-01"},
        "D01/2": {"donor": "D01", "culture": "B", "sex": "f", "age": "41", "arrival_date": "2026-03-02"},
    },
    "codes alone": {"D01/1": {"donor": "D01"}, "D01/2": {"donor": "D01"}, "D02/1": {"donor": "D02"}},
    "a sheet of some slides": {"D01/1": {"donor": "D01"}, "D01/2": {}, "D02/1": {}},
    "controls": {
        "Controls/1": {"donor": "NEG-1", "control": "yes", "dose_gy": "0.0"},
        "Controls/2": {"donor": "POS-1", "control": "positive"},
        "D01/1": {"donor": "D01"},
    },
    "calibration": {
        "D01/1": {"donor": "D01-0", "dose_gy": "0.0", **DOSED},
        "D01/2": {"donor": "D01-1", "dose_gy": "1.0", **DOSED},
        "D02/1": {"donor": "D02-0", "dose_gy": "0.0", **DOSED},
        "D02/2": {"donor": "D02-1", "dose_gy": "1.0", **DOSED},
    },
    "folders of days": {
        "2026-03-01/1": {"donor": "D01"},
        "2026-03-01/2": {"donor": "D02"},
        "2026-03-02/1": {"donor": "D01"},
    },
    "a folder without a name": {"\u00a0/1": {"donor": "D01"}, "\u00a0/2": {"donor": "D02"}},
    "arrivals in one folder": {
        "D01/1": {"donor": "D01", "arrival_date": "2026-03-02", "culture_date": "2026-03-03"},
        "D01/2": {"donor": "D01", "arrival_date": "2026-03-09"},
    },
}


def doubted(store, add_slide, read_csv, sheet):
    """Warnings and reasons of the lights of all donors, of slides whose folders are their donors."""
    for number, name in enumerate(sheet):
        folder, _, last = name.partition("/")
        add_slide(
            store,
            f"s{number}",
            [0.9] * 5 + [0.1] * 295,
            first_digest=1 + 1000 * number,
            keep_crops=False,
            name=f"{folder}-{last}",
            path=name,
            donor=folder,
        )
    made = build_reports(
        store, ReportOptions(gallery=0), {f"s{number}": row for number, row in enumerate(sheet.values()) if row}
    )
    return made.contradicted, "".join(row["light_reasons"].lower() for row in read_csv(store.paths.donors_csv))


@pytest.mark.parametrize("sheet", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_sheet_is_not_doubted(store, add_slide, read_csv, sheet):
    told, reasons = doubted(store, add_slide, read_csv, sheet)
    assert told == ()
    assert "sheet" not in reasons


def test_blind_samples_are_told_and_change_no_light(store, add_slide, read_csv):
    told, reasons = doubted(store, add_slide, read_csv, {"B1/1": {"donor": "B1", **DOSED}, "B2/1": {"donor": "B2"}})
    assert [donor for donor, _ in told] == ["B1"]
    assert told[0][1].startswith("exposure_date 2026-03-02 is after sampling_date 2026-03-01 (B1-1): right for blood")
    assert "sheet" not in reasons


def test_two_arrivals_in_two_folders_are_told(store, add_slide, read_csv):
    sheet = {"D01/1": {"donor": "D01"}, "D01b/1": {"donor": "D01"}}
    ((donor, said),), reasons = doubted(store, add_slide, read_csv, sheet)
    assert (donor, "it joins the folders 'D01' (D01-1) and 'D01b' (D01b-1)" in said) == ("D01", True)
    assert "groups slides otherwise" in reasons

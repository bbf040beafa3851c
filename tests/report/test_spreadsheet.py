"""donors.xlsx: a workbook that opens, with units, a frozen header, notes, and no formula."""

import io
import zipfile
from xml.etree import ElementTree

import pytest

from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.spreadsheet import FIRST
from mnbatch.report.tables import DONORS

OPTIONS = ReportOptions(gallery=0)
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def sheets(data):
    """Rows of each sheet: place -> text or number."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        trees = {name: ElementTree.fromstring(archive.read(name)) for name in archive.namelist()}
    found = []
    for number in (1, 2):
        tree = trees[f"xl/worksheets/sheet{number}.xml"]
        cells = {}
        for cell in tree.iter(f"{MAIN}c"):
            value = cell.find(f"{MAIN}v")
            text = "".join(part.text or "" for part in cell.iter(f"{MAIN}t"))
            cells[cell.get("r")] = text if value is None else float(value.text)
        found.append((tree, cells))
    return found


@pytest.fixture
def workbook(batch):
    build_reports(batch, OPTIONS, {"a1": {"donor": "D1", "sex": "f", "age": "41"}})
    return batch.paths.donors_xlsx.read_bytes()


def test_columns_are_in_the_order_of_people_with_units_below(workbook):
    (tree, cells), (_, notes) = sheets(workbook)
    assert [cells[f"{letter}1"] for letter in "ABCDE"] == list(FIRST[:5])
    assert cells["B3"] == "f"
    assert cells["C3"] == 41.0
    assert cells["C2"] == "years"
    names = {text for place, text in cells.items() if place.rstrip("0123456789") + "1" == place}
    assert names == set(DONORS.header) - {"scored_at"}
    assert {text for place, text in notes.items() if place.startswith("A")} > names
    pane = next(tree.iter(f"{MAIN}pane"))
    assert (pane.get("state"), pane.get("ySplit"), pane.get("topLeftCell")) == ("frozen", "2", "B3")


def test_the_same_results_give_the_same_bytes(batch, workbook):
    build_reports(batch, ReportOptions(gallery=0, force=True), {"a1": {"donor": "D1", "sex": "f", "age": "41"}})
    assert batch.paths.donors_xlsx.read_bytes() == workbook


def test_hostile_names_are_text_and_valid_xml(store, add_slide, hostile):
    add_slide(store, "a1", [0.9, 0.1], keep_crops=False, donor=hostile)
    build_reports(store, OPTIONS)
    data = store.paths.donors_xlsx.read_bytes()
    (tree, cells), _ = sheets(data)
    assert cells["A3"] == hostile
    assert not list(tree.iter(f"{MAIN}f"))


def test_the_table_says_when_and_by_which_version(batch, read_csv):
    build_reports(batch, OPTIONS, {"a1": {"donor": "D1", "sex": "f", "age": "41"}})
    for table in (batch.paths.slides_csv, batch.paths.donors_csv):
        row = read_csv(table)[0]
        assert row["scored_at"].startswith("20")
        assert row["mnbatch_version"]
    assert (read_csv(batch.paths.donors_csv)[0]["sex"], read_csv(batch.paths.donors_csv)[0]["age"]) == ("f", "41")

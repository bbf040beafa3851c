"""The scale bar, the field round a cell, and the classes that reviewers noted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnbatch.assay.cells import CellCrop, CellScore
from mnbatch.assay.field_records import FieldReport, FoundAt
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.records import FieldsStamp, SlideRecord
from mnbatch.results.store import Store
from mnbatch.review.review_import import queues_of, save_decisions
from tests.report.conftest import GOOD, MODEL, draw_cell, draw_maps
from tests.review.conftest import decide
from tests.stamps import call_stamp, scoring

UM, WIDTH, ZOOM = 0.5, 80, 2.0
PLACES = ((200, 150), (640, 480))


def found_at(x: int, y: int) -> FoundAt:
    known: dict[str, Any] = {"cell_class": "binucleated", "reason": "", "nuclei": 2, "nucleus_area": 500}
    box = {"left": x - 30, "top": y - 20, "width": 60, "height": 40}
    return FoundAt(x=x, y=y, **box, **known, cell_area=None, at_border=False, um_per_pixel=UM)


def add_field_slide(store: Store, slide_id: str = "f1") -> None:
    """A slide of two fields of 800 x 600 pixels; a cell in each, the second called MN."""
    record = SlideRecord(
        slide_id=slide_id,
        name=slide_id,
        path=f"d/{slide_id}",
        donor="D1",
        layout="donor-slide",
        status="scored",
        stat_key="stat",
        score_key="score",
        stain="fluorescence",
        model=MODEL,
        call=call_stamp(),
        scored=scoring(),
        input="fields",
        fields=FieldsStamp(cells="binucleated", fields=2, empty=0, classes={"binucleated": 2}, um_per_pixel=UM),
    )
    with store.writer(slide_id, keep_crops=True) as writer:
        for number, (x, y) in enumerate(PLACES):
            source, at = f"d/{slide_id}/field{number}.tif", found_at(x, y)
            crop = CellCrop(
                slide_id=slide_id,
                cell_id=f"{slide_id}:{source}{at.mark}",
                source=source,
                page=None,
                pixels=draw_cell(number, bool(number)),
                digest=f"{number + 1:032x}",
                stain="fluorescence",
                quality=GOOD,
                zoom=ZOOM,
                found=at,
                size=(WIDTH, WIDTH),
            )
            writer.add(CellScore(crop, 0.2 + 0.6 * number, draw_maps(number, 0.5)))
            picture = io.BytesIO()
            Image.fromarray(np.full((300, 400), 40 + 100 * number, np.uint8)).save(picture, "JPEG")
            size = {"left": 0, "top": 0, "width": 800, "height": 600}
            writer.add_field(FieldReport(slide_id, source, None, **size, cells=(at,), overview=picture.getvalue()))
        writer.commit(record)


def data_of(store: Store, slide_id: str) -> dict[str, Any]:
    text = (store.paths.slide(slide_id).root / "gallery" / "data.js").read_text()
    content: dict[str, Any] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    return content


def test_fields_give_scale_and_surroundings(store: Store) -> None:
    add_field_slide(store)
    build_reports(store, ReportOptions(min_cells=1, geojson=True))
    data = data_of(store, "f1")
    # The picture shows the middle of the crop: 80 pixels of 0.5 um, twice enlarged.
    assert data["um"] == [WIDTH * UM / ZOOM] * 2
    assert [one[:5] for one in data["fields"]] == [[f"field{n}.tif", 0, 0, 800, 600] for n in (0, 1)]
    by_cell = {cell.split("@")[-1]: place for cell, place in zip(data["cell"], data["place"], strict=True)}
    assert sorted(place[1:3] for place in by_cell.values()) == [[200, 150], [640, 480]]
    folder = store.paths.slide("f1").root
    for place in data["place"]:
        name, *_, picture, drawn = data["fields"][place[0]]
        assert name == f"field{0 if place[1] == 200 else 1}.tif"
        shade = int(np.asarray(Image.open(folder / "gallery" / picture)).mean())
        assert shade == pytest.approx(40 if place[1] == 200 else 140, abs=2)
        (feature,) = json.loads((folder / drawn).read_text())["features"]
        assert feature["properties"]["name"] == f"{place[1]:.0f}_{place[2]:.0f}"


def test_crops_have_a_scale_where_the_sample_sheet_gives_one(store: Store) -> None:
    add_field_slide(store)
    build_reports(store, ReportOptions(min_cells=1), {"f1": {"donor": "D1", "um_per_pixel": "0.25"}})
    assert data_of(store, "f1")["um"] == [WIDTH * 0.25 / ZOOM] * 2


def test_without_a_pixel_size_nothing_is_claimed(store: Store, add_slide: Callable[..., object]) -> None:
    add_slide(store, "s1", [0.9, 0.1])
    build_reports(store, ReportOptions(min_cells=1))
    assert not {"um", "fields", "place"} & data_of(store, "s1").keys()


@pytest.mark.browser
def test_the_bar_is_as_long_as_it_says_and_the_key_shows_the_field(browser: Any, store: Store) -> None:
    add_field_slide(store)
    build_reports(store, ReportOptions(min_cells=1))
    browser.get((store.paths.slide("f1").root / "gallery.html").as_uri())
    bar = "const bar = document.querySelector('#plain .scale'), box = document.getElementById('plain');"
    share = f"{bar} return [bar.textContent, bar.getBoundingClientRect().width / box.getBoundingClientRect().width]"
    text, part = browser.execute_script(share)
    assert text == "5 µm"
    assert part == pytest.approx(5 / 20, abs=0.01)
    shown = """const mark = document.getElementById('context-mark').getBoundingClientRect(),
      field = document.getElementById('context-picture').getBoundingClientRect(), cell = mnbatch.cells.find(
        (one) => one.id === document.getElementById('bench').dataset.shown);
      const middle = (mark.left + mark.width / 2 - field.left) / field.width;
      return [document.getElementById('context').open, cell.place[1], middle]"""
    browser.find_element("css selector", "body").send_keys("y")
    browser.execute_async_script("document.getElementById('context-picture').decode().then(arguments[0], arguments[0])")
    is_open, x, middle = browser.execute_script(shown)
    assert is_open
    assert middle == pytest.approx(x / 800, abs=0.01)
    browser.switch_to.active_element.send_keys("y")
    assert not browser.execute_script("return document.getElementById('context').open")
    browser.execute_script("localStorage.clear()")


def test_classes_that_people_noted_are_counted(
    store: Store, add_slide: Callable[..., object], read_csv: Callable[..., list[dict[str, str]]]
) -> None:
    add_slide(store, "s1", [0.9] * 6 + [0.1] * 20, keep_crops=False)
    queue = queues_of(store, {"s1": None})["s1"]
    assert queue is not None
    said = decide(queue, lambda cell: "mn" if int(cell[-8:-4]) < 3 else "not_mn")
    noted = {0: ("bridge", "bud"), 1: ("bridge",)}
    said = [replace(d, classes=noted.get(int(d.cell_id[-8:-4]), ())) for d in said]
    build_reports(store, ReportOptions(min_cells=1, gallery=0))
    (row,) = read_csv(store.paths.donors_csv)
    assert (row["noted_bridge"], row["noted_apoptotic"]) == ("", "")
    save_decisions(store, said, "test")
    # A second person notes one of them again, and another cell: each cell counts once.
    other = [replace(d, reviewer="Ben", classes=("bridge",)) for d in said if int(d.cell_id[-8:-4]) in (1, 2)]
    save_decisions(store, other, "test")
    build_reports(store, ReportOptions(min_cells=1, gallery=0))
    for table in (store.paths.donors_csv, store.paths.slides_csv):
        (row,) = read_csv(table)
        assert (row["noted_bridge"], row["noted_bud"], row["noted_apoptotic"]) == ("3", "1", "0")
    page = (store.paths.slide("s1").root / "index.html").read_text(encoding="utf-8")
    assert "3 with a nucleoplasmic bridge, 1 with a nuclear bud" in page

"""Contact sheets, the running frequency, and the control chart over batches."""

import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from mnbatch.assay.calls import CalledCell
from mnbatch.cli import main
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.charts import HEIGHT, WIDTH, cumulative
from mnbatch.report.control_charts import chart_page, find_batches, limits, outside
from mnbatch.report.page_pictures import COLUMNS, SIDE, write_contact_sheets
from mnbatch.results.store import Store


def test_a_contact_sheet_shows_the_cells_to_look_at(batch):
    written = write_contact_sheets(batch, 3)
    assert batch.paths.slide("a1").root / "contact-sheet.png" in written
    assert all("b2" not in path.parts for path in written), "a failed slide has none"
    sheet = np.asarray(Image.open(io.BytesIO(written[0].read_bytes())))
    assert sheet.shape[1] > COLUMNS * SIDE
    assert len(np.unique(sheet)) > 50, "crops are drawn"


def test_a_slide_without_pictures_has_no_sheet(store, add_slide):
    add_slide(store, "bare", [0.9, 0.1], keep_crops=False)
    assert write_contact_sheets(store, 3) == []


def called(calls):
    return [CalledCell(f"{i}", f"{i}", None, 0.5, bool(c), (), "") for i, c in enumerate(calls)]


def test_the_running_frequency_ends_at_the_slides_own():
    calls = np.arange(400) % 20 == 0
    view = cumulative(called(calls))
    points = [tuple(map(float, pair.split(","))) for pair in view.line.split()]
    assert points[-1][0] == WIDTH
    assert HEIGHT - points[-1][1] == pytest.approx(HEIGHT * 50 / float(view.top), abs=0.5)
    assert "50.0 after all 400" in view.text
    assert cumulative(called(calls[:30])) is None


def test_the_running_frequency_is_on_the_slides_page(store, add_slide):
    add_slide(store, "long", [0.9, 0.1] * 30)
    build_reports(store, ReportOptions(gallery=1))
    page = store.paths.slide("long").page.read_text(encoding="utf-8")
    assert "500.0 after all 60" in page
    assert re.search(r'<polyline class="run" points="[\d., ]{50,}"', page)


def make_batches(root, add_slide, shares):
    for number, share in enumerate(shares):
        store = Store(root / f"batch{number}")
        scores = [0.9] * round(100 * share) + [0.1] * (100 - round(100 * share))
        add_slide(store, "s", scores, keep_crops=False, first_digest=1000 * number + 1)
        (store.paths.root / "batch.json").write_text(json.dumps({"export": "e", "layout": "l", "pseudonymised": False}))
        build_reports(store, ReportOptions(gallery=0))


def test_a_batch_that_drifts_is_outside_the_limits(tmp_path, add_slide, monkeypatch, capsys):
    make_batches(tmp_path / "root", add_slide, [0.05, 0.06, 0.05, 0.04, 0.05, 0.06, 0.05, 0.05, 0.06, 0.3])
    points = find_batches(tmp_path / "root")
    assert [point.per_1000 for point in points][-1] == pytest.approx(300)
    chart = limits([point.per_1000 for point in points])  # type: ignore[misc]
    assert [outside(point.per_1000, chart) for point in points] == [False] * 9 + [True]
    monkeypatch.setattr(sys, "argv", ["mnbatch", "history", str(tmp_path / "root"), "-o", str(tmp_path / "c.html")])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "outside the limits: batch9: 300.0" in capsys.readouterr().out
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.count("<circle") == 20
    assert page.count("outside</span>") == 1


def test_few_batches_get_no_limits_and_no_batch_is_an_error(tmp_path, add_slide, monkeypatch):
    make_batches(tmp_path / "root", add_slide, [0.05, 0.06])
    assert limits([50.0, 60.0]) is None
    assert "at least 5 batches" in chart_page(find_batches(tmp_path / "root")).decode()
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["mnbatch", "history", str(tmp_path / "empty")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 4

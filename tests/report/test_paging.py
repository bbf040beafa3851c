"""Long tables of the batch page: a page of rows at a time on a screen, all rows in the page and in print."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mnbatch.report import rendering
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.report.views import IndexPage
from mnbatch.results.store import Store

OPTIONS = ReportOptions(gallery=0, min_cells=5)


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a page."""
    render: Callable[[IndexPage, str], bytes] = rendering.render_index
    monkeypatch.setattr(rendering, "render_index", lambda page, stamp: render(replace(page, rows_a_page=2), stamp))


def text(store: Store) -> str:
    return store.paths.index.read_text(encoding="utf-8")


def test_a_page_of_few_rows_has_no_pages(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    page = text(batch)
    assert "data-pages" not in page
    assert 'class="later"' not in page
    assert "tr.later" not in page


@pytest.mark.usefixtures("short_pages")
def test_all_rows_are_in_the_page_and_those_of_later_pages_are_marked(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    page = text(batch)
    table = page[page.index('id="slide-table"') :]
    rows = re.findall(r"<tr data-status=\"\w+\"( class=\"later\")?>", table[: table.index("</table>")])
    assert rows == ["", "", *[' class="later"'] * 3]
    assert "@media screen and (scripting: enabled) { tr.later" in page, "printed, and without scripts, they are shown"
    assert page.count("data-pages=") == 1, "two donors are one page"


@pytest.mark.browser
@pytest.mark.usefixtures("short_pages")
def test_pages_turn_and_sorting_and_the_filter_go_over_all_rows(browser: Any, batch: Store) -> None:
    build_reports(batch, OPTIONS)
    browser.get_log("browser")
    browser.get(batch.paths.index.as_uri())
    assert browser.get_log("browser") == [], "the page's own policy lets its style and script in"

    def shown() -> list[str]:
        script = """return Array.from(document.querySelectorAll("#slide-table tbody tr"))
            .filter((row) => row.offsetParent !== null).map((row) => row.cells[0].innerText.trim().split("\\n")[0])"""
        found: list[str] = browser.execute_script(script)
        return found

    tools = browser.find_element("css selector", "[data-pages=slide-table]")
    back, on, whole = tools.find_elements("css selector", "button")
    said = tools.find_element("css selector", "output")
    first = shown()
    assert len(first) == 2
    assert (said.text, back.is_enabled()) == ("rows 1 to 2 of 5", False)
    on.click()
    on.click()
    assert (len(shown()), said.text, on.is_enabled()) == (1, "rows 5 to 5 of 5", False)
    heads = browser.find_elements("css selector", "#slide-table thead th")
    next(th for th in heads if th.text.startswith("BN cells")).find_element("css selector", "button").click()
    assert shown() == ["b1", "a2"], "the smallest of all rows, and the first page again"
    whole.click()
    assert len(shown()) == 5
    whole.click()
    browser.find_element("css selector", "[data-filters=slide-table] input").send_keys("b3")
    assert (shown(), said.text) == (["b3"], "rows 1 to 1 of 1")

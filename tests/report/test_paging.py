"""Long tables of the batch page: a page of rows at a time on a screen, all rows without scripts and in print."""

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
from tests import browsers

OPTIONS = ReportOptions(gallery=0, min_cells=5)


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a page."""
    render: Callable[[IndexPage, str, rendering.Rows], bytes] = rendering.render_index
    monkeypatch.setattr(
        rendering, "render_index", lambda page, stamp, rows: render(replace(page, rows_a_page=2), stamp, rows)
    )


def text(store: Store) -> str:
    return store.paths.index.read_text(encoding="utf-8")


def shown(browser: Any) -> list[str]:
    """Names of the slides whose rows are on the screen, in their order."""
    script = """return Array.from(document.querySelectorAll("#slide-table tbody tr"))
        .filter((row) => row.offsetParent !== null).map((row) => row.querySelector("bdi").textContent)"""
    found: list[str] = browser.execute_script(script)
    return found


def test_a_page_of_few_rows_has_no_pages(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    page = text(batch)
    assert "data-pages" not in page
    assert "<noscript" not in page


@pytest.mark.usefixtures("short_pages")
def test_all_rows_of_a_long_table_are_in_the_page_once(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    page = text(batch)
    table = page[page.index('<noscript data-rows-of="slide-table"><table id="slide-table">') :]
    assert len(re.findall(r"<tr data-status", table[: table.index("</table></noscript>")])) == 5
    assert page.count("data-pages=") == page.count("<noscript data-rows-of=") == 1, "two donors are one page"


@pytest.mark.browser
@pytest.mark.usefixtures("short_pages")
def test_pages_turn_and_sorting_and_the_filter_go_over_all_rows(browser: Any, batch: Store) -> None:
    build_reports(batch, OPTIONS)
    browser.get_log("browser")
    browser.get(batch.paths.index.as_uri())
    assert browser.get_log("browser") == [], "the page's own policy lets its style and script in"
    tools = browser.find_element("css selector", "[data-pages=slide-table]")
    back, on, whole = tools.find_elements("css selector", "button")
    said = tools.find_element("css selector", "output")
    assert len(shown(browser)) == 2
    assert (said.text, back.is_enabled()) == ("rows 1 to 2 of 5", False)
    on.click()
    on.click()
    assert (len(shown(browser)), said.text, on.is_enabled()) == (1, "rows 5 to 5 of 5", False)
    heads = browser.find_elements("css selector", "#slide-table thead th")
    next(th for th in heads if th.text.startswith("BN cells")).find_element("css selector", "button").click()
    assert shown(browser) == ["b1", "a2"], "the smallest of all rows, and the first page again"
    whole.click()
    assert len(shown(browser)) == 5
    whole.click()
    filters = browser.find_element("css selector", "[data-find=slide-table]")
    filters.find_element("css selector", "input").send_keys("b3")
    assert (shown(browser), said.text) == (["b3"], "rows 1 to 1 of 1")
    assert filters.find_element("css selector", "output").text == "1 of 5 shown"
    filters.find_element("css selector", "option:nth-child(2)").click()
    assert (shown(browser), said.text) == ([], "no rows"), "b3 is not done"


@pytest.mark.browser
def test_a_long_table_sorts_and_filters_as_a_short_one(
    browser: Any, batch: Store, hostile: str, add_slide: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_slide(batch, "h-1", [0.2, 0.9, 0.1], first_digest=900, name=hostile, donor='D<3>&"x" &amp; </noscript>')

    def orders() -> list[list[str]]:
        build_reports(batch, replace(OPTIONS, force=True))
        browser.get(batch.paths.index.as_uri())
        browser.execute_script("document.querySelector('[data-pages=slide-table] [aria-pressed]')?.click()")
        found = [shown(browser)]
        for button in browser.find_elements("css selector", "#slide-table button.sort"):
            for _ in range(2):
                button.click()
                found.append(shown(browser))
        box = browser.find_element("css selector", "[data-filters=slide-table] input, [data-find=slide-table] input")
        for words in ('d<3>&"x" &amp;', "b d2", "noscript>", "class"):
            box.clear()
            box.send_keys(words)
            found.append(shown(browser))
        return found

    short = orders()
    render: Callable[[IndexPage, str, rendering.Rows], bytes] = rendering.render_index
    monkeypatch.setattr(
        rendering, "render_index", lambda page, stamp, rows: render(replace(page, rows_a_page=2), stamp, rows)
    )
    assert len({tuple(order) for order in short}) > 8, "the orders differ"
    assert short[-4] == [hostile]
    assert short == orders()


@pytest.mark.browser
@pytest.mark.usefixtures("short_pages")
def test_printed_all_rows_that_the_filter_leaves_are_there(browser: Any, batch: Store) -> None:
    build_reports(batch, OPTIONS)
    browser.get(batch.paths.index.as_uri())
    rows = "document.querySelectorAll('#slide-table tbody tr').length"
    browser.execute_script(f"addEventListener('beforeprint', () => {{ window.printed = {rows}; }})")
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert browser.execute_script("return window.printed") == 5
    assert len(shown(browser)) == 2


@pytest.mark.browser
@pytest.mark.usefixtures("short_pages")
def test_without_scripts_the_whole_table_is_shown(batch: Store) -> None:
    build_reports(batch, OPTIONS)
    with browsers.chromium() as browser:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.get(batch.paths.index.as_uri())
        root = browser.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
        asked = {"nodeId": root, "selector": "#slide-table tbody tr"}
        rows = browser.execute_cdp_cmd("DOM.querySelectorAll", asked)["nodeIds"]
        heights = [browser.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": row})["model"]["height"] for row in rows]
    assert len(heights) == 5
    assert min(heights) > 10, "each is laid out"

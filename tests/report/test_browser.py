"""The pages in a real browser: opened from disk, without a network, at desktop and phone width."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store

pytestmark = pytest.mark.browser


@pytest.fixture
def report(batch: Store, add_slide: Callable[..., object], hostile: str) -> Store:
    add_slide(batch, "h-1", [0.9, 0.55, 0.2], first_digest=900, name=hostile, path="h/" + "long" * 60, donor=hostile)
    build_reports(batch, ReportOptions(gallery=3, min_cells=5))
    return batch


def pages(store: Store) -> list[Path]:
    return sorted(store.paths.root.rglob("*.html"))


def width(browser: Any, pixels: int) -> None:
    metrics = {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": pixels < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def names(browser: Any, table: str) -> list[str]:
    script = "return Array.from(document.querySelectorAll(arguments[0]), r => r.cells[0].innerText.trim())"
    found: list[str] = browser.execute_script(script, f"#{table} tbody tr:not([hidden])")
    return [name.split("\n")[0] for name in found]


def head(browser: Any, table: str, label: str) -> Any:
    heads = browser.find_elements("css selector", f"#{table} thead th")
    return next(th for th in heads if th.text.startswith(label))


def test_every_page_opens_from_disk_without_errors(any_browser: Any, report: Store) -> None:
    any_browser.get_log("browser")
    for page in pages(report):
        any_browser.get(page.as_uri())
        assert any_browser.find_elements("css selector", "h1")
        assert any_browser.get_log("browser") == []


def test_every_page_opens_without_requests(browser: Any, report: Store) -> None:
    width(browser, 1280)
    for page in pages(report):
        browser.get_log("performance")
        browser.get(page.as_uri())
        sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
        assert [url for url in urls if not url.startswith(("data:", report.paths.root.as_uri()))] == []


def test_style_and_pictures_pass_the_pages_own_policy(browser: Any, report: Store) -> None:
    width(browser, 1280)
    browser.get(report.paths.slide("a1").page.as_uri())
    body = browser.find_element("css selector", "body")
    assert body.value_of_css_property("margin-top") == "0px"
    image = browser.find_element("css selector", ".gallery image")
    assert image.size["width"] > 100


def test_a_foreign_script_would_not_run(browser: Any, report: Store) -> None:
    browser.get(report.paths.index.as_uri())
    browser.execute_script(
        "const s = document.createElement('script'); s.text = 'window.foreign = 1'; document.body.append(s)"
    )
    assert browser.execute_script("return window.foreign") is None
    browser.get_log("browser")


@pytest.mark.parametrize("pixels", [375, 768, 1280])
def test_no_page_scrolls_sideways(browser: Any, report: Store, pixels: int) -> None:
    width(browser, pixels)
    for page in pages(report):
        browser.get(page.as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= pixels, page


def test_hostile_names_are_shown_as_text(browser: Any, report: Store, hostile: str) -> None:
    width(browser, 1280)
    browser.get(report.paths.slide("h-1").page.as_uri())
    shown = browser.find_element("css selector", "h1").get_property("textContent")
    assert shown == hostile
    browser.get(report.paths.index.as_uri())
    assert hostile[:20] in browser.find_element("css selector", "#slide-table").text


def test_a_click_sorts_numbers_and_keeps_failed_slides_last(browser: Any, report: Store) -> None:
    width(browser, 1280)
    browser.get(report.paths.index.as_uri())
    column = head(browser, "slide-table", "BN cells")
    column.find_element("css selector", "button").click()
    rising = names(browser, "slide-table")
    assert column.get_attribute("aria-sort") == "ascending"
    assert [name for name in rising if name in {"a1", "a2", "b1", "b2", "b3"}] == ["b1", "a2", "a1", "b2", "b3"]
    column.find_element("css selector", "button").click()
    falling = names(browser, "slide-table")
    assert column.get_attribute("aria-sort") == "descending"
    assert falling[-2:] == ["b2", "b3"]
    assert [name for name in falling if len(name) == 2] == ["a1", "a2", "b1", "b2", "b3"]


def test_the_keyboard_sorts_too(browser: Any, report: Store) -> None:
    from selenium.webdriver.common.keys import Keys

    width(browser, 1280)
    browser.get(report.paths.index.as_uri())
    column = head(browser, "slide-table", "BN cells")
    column.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert column.get_attribute("aria-sort") == "ascending"
    assert head(browser, "slide-table", "Slide").get_attribute("aria-sort") == "none"


def test_filters_hide_rows_and_say_how_many_are_left(browser: Any, report: Store) -> None:
    width(browser, 1280)
    browser.get(report.paths.index.as_uri())
    tools = browser.find_element("css selector", "[data-filters=slide-table]")
    tools.find_element("css selector", "input").send_keys("a2")
    assert names(browser, "slide-table") == ["a2"]
    assert tools.find_element("css selector", "output").text == "1 of 6 shown"
    tools.find_element("css selector", "input").clear()
    tools.find_element("css selector", "option:last-child").click()
    assert set(names(browser, "slide-table")) <= {"b2", "b3"}


def test_heat_map_switches_by_button_and_key_and_by_kind(browser: Any, report: Store) -> None:
    width(browser, 1280)
    browser.get(report.paths.slide("a1").page.as_uri())
    evidence = browser.find_element("css selector", ".heat.evidence")
    attention = browser.find_element("css selector", ".heat.attention6")
    button = browser.find_element("css selector", "[data-toggle-heat]")
    assert (evidence.is_displayed(), attention.is_displayed()) == (True, False)
    button.click()
    assert not evidence.is_displayed()
    assert button.get_attribute("aria-pressed") == "false"
    browser.find_element("css selector", "body").send_keys("h")
    assert evidence.is_displayed()
    browser.find_element("css selector", "input[value=attention6]").click()
    assert (evidence.is_displayed(), attention.is_displayed()) == (False, True)
    assert browser.find_element("css selector", "[data-key=attention6]").is_displayed()


def test_the_map_lies_over_the_box_of_the_receptive_fields(browser: Any, report: Store) -> None:
    width(browser, 1280)
    browser.get(report.paths.slide("a1").page.as_uri())
    script = """
        const heat = document.querySelector('.heat.evidence');
        const crop = heat.closest('svg').getBoundingClientRect(), box = heat.getBoundingClientRect();
        return [box.left - crop.left, box.top - crop.top, box.width].map((length) => length / crop.width)"""
    left, top, size = browser.execute_script(script)
    assert (left, top) == pytest.approx((7 / 224, 7 / 224), abs=2e-3)
    assert size == pytest.approx(208 / 224, abs=2e-3)


def test_print_shows_the_evidence_on_white_whatever_is_switched_off(browser: Any, report: Store) -> None:
    browser.get(report.paths.slide("a1").page.as_uri())
    browser.find_element("css selector", "[data-toggle-heat]").click()
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    try:
        assert browser.find_element("css selector", ".heat.evidence").is_displayed()
        assert not browser.find_element("css selector", ".galbar .tools").is_displayed()
        background = browser.find_element("css selector", "body").value_of_css_property("background-color")
        assert background in {"rgb(255, 255, 255)", "rgba(255, 255, 255, 1)"}
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_no_word_of_a_light_is_broken_on_a_phone(browser: Any, report: Store) -> None:
    """The column was as narrow as a letter: "us e wi th ca re"."""
    width(browser, 375)
    browser.get(report.paths.index.as_uri())
    lines = browser.execute_script("""
        return [...document.querySelectorAll("td.lamp .light > span")].flatMap((light) => {
          const node = light.firstChild, range = document.createRange();
          return [...node.data.matchAll(/\\S+/g)].map((word) => {
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            return [word[0], range.getClientRects().length];
          });
        });""")
    assert lines
    assert [word for word, number in lines if number != 1] == []

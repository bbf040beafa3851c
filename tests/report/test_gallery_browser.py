"""The gallery page in a real browser: looked at and reviewed from disk, by keyboard, and through the local server."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mnbatch.app.signing_service import SignRequest, sign_donor
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store
from mnbatch.review.decisions import COLUMNS, LONGEST_NAME, MORE_COLUMNS
from mnbatch.review.estimate import hypergeometric_limits
from mnbatch.review.queue import ReviewPlan, save_plan
from mnbatch.review.review_import import import_review, queues_of
from mnbatch.review.review_status import slide_review
from mnbatch.review.server import ReviewServer
from mnbatch.review.sign_offs import read_signatures
from mnbatch.review.trail import read_trail
from tests.browsers import Firefox, download_into, set_width

pytestmark = pytest.mark.browser

CALLED, CELLS = 4, 60


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, module_add_slide: Callable[..., object], hostile_name: str
) -> Store:
    """Two slides of one donor; the second has a hostile name."""
    store = Store(tmp_path_factory.mktemp("gallery") / "out")
    scores = [0.9 - i / 100 for i in range(CALLED)] + [0.45 - i / 200 for i in range(CELLS - CALLED)]
    module_add_slide(store, "s1", scores)
    module_add_slide(store, "s2", scores[::-1], first_digest=900, name=hostile_name)
    save_plan(store.paths, ReviewPlan(band=0.05, sample=0.1, least_band=3, least_sample=6))
    build_reports(store, ReportOptions())
    return store


@pytest.fixture
def page(any_browser: Any, built: Store) -> Iterator[Any]:
    """The first slide's gallery, with nothing kept from the test before."""
    browser = any_browser
    browser.get(gallery(built, "s1"))
    browser.execute_script("localStorage.clear(); sessionStorage.clear()")
    browser.get(gallery(built, "s1"))
    browser.get_log("browser")
    yield browser
    assert browser.get_log("browser") == []
    # What is not saved must not hold the next page back with a question.
    browser.execute_script("localStorage.clear()")


def gallery(store: Store, slide_id: str) -> str:
    return (store.paths.slide(slide_id).root / "gallery.html").as_uri()


def press(page: Any, keys: str) -> None:
    for key in keys:
        wait(lambda: page.execute_script("return document.body.dataset.ready !== 'false'"))
        page.switch_to.active_element.send_keys(key)


def name(page: Any, reviewer: str) -> None:
    from selenium.webdriver.common.keys import Keys

    # A decision goes on at once; tests/report/test_bench_browser.py has those that wait for a number.
    page.execute_script("const w = document.getElementById('wait'); w.value = 0; w.dispatchEvent(new Event('input'))")
    field = page.find_element("id", "reviewer")
    field.clear()
    field.send_keys(reviewer + Keys.ENTER)


def text(page: Any, part: str) -> str:
    found: str = page.find_element("id", part).get_property("textContent")
    return found


def rows(page: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(page.execute_script("return mnbatch.state.csv()").splitlines()))


def wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_reviewers_whole_way_by_keyboard(page: Any, built: Store, tmp_path: Path) -> None:
    download_into(page, tmp_path)
    name(page, "Ada")
    press(page, "r")
    assert text(page, "progress-text") == "0 of 13 cells of the queue decided"
    press(page, "m2nz1" + "n" * 3 + "ux" + "n" * 5)
    waiting = "13 of 13 cells of the queue decided; 3 decided MN to be checked a second time"
    assert text(page, "progress-text") == waiting
    press(page, "m21")
    assert text(page, "progress-text") == "13 of 13 cells of the queue decided"
    assert text(page, "frequency").startswith("Reviewed: ")
    page.find_element("id", "csv").click()
    path = tmp_path / "review.csv"
    wait(path.exists)
    with path.open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == (*COLUMNS, *MORE_COLUMNS)
    assert import_review(built, path).added == 13
    queue = queues_of(built, {"s1": None})["s1"]
    assert queue is not None
    review = slide_review(queue, read_trail(built.paths, "s1"))
    built.paths.review_trail("s1").unlink()
    built.paths.checksums.unlink()
    e = review.number
    assert e is not None
    # What the page said while one reviewed is what the program says of the file.
    expected = f"Reviewed: {e.per_1000:.1f} MNBN per 1000 cells ({e.low:.1f} to {e.high:.1f})"
    assert text(page, "frequency") == expected
    said = [row["decision"] for row in rows(page)]
    assert (said.count("mn"), said.count("unsure"), said.count("not_scorable")) == (3, 1, 1)
    assert sorted(row["count"] for row in rows(page) if row["decision"] == "mn") == ["", "1", "2"]


def test_a_name_is_asked_for_first(page: Any) -> None:
    press(page, "n")
    assert page.switch_to.active_element.get_attribute("id") == "reviewer"
    assert rows(page) == []


def test_a_reload_loses_nothing_and_undo_still_knows(page: Any) -> None:
    name(page, "Ada")
    press(page, "rmnu")
    before = rows(page)
    assert len(before) == 3
    page.refresh()
    assert rows(page) == before
    press(page, "z")
    assert len(rows(page)) == 2
    press(page, "zzz")
    assert rows(page) == []


def test_undo_brings_the_earlier_decision_back(page: Any) -> None:
    name(page, "Ada")
    press(page, "m")
    page.execute_script("document.querySelector('.tile').click()")
    press(page, "n")
    assert [row["decision"] for row in rows(page)] == ["not_mn"]
    press(page, "z")
    assert [row["decision"] for row in rows(page)] == ["mn"]


def test_two_tabs_do_not_overwrite_each_other(page: Any, built: Store) -> None:
    name(page, "Ada")
    press(page, "rm")
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(gallery(built, "s1"))
    press(page, "rnn")
    assert len(rows(page)) == 3
    second = page.current_window_handle
    page.switch_to.window(first)
    wait(lambda: len(rows(page)) == 3)
    press(page, "ru")
    page.switch_to.window(second)
    wait(lambda: len(rows(page)) == 4)
    page.close()
    page.switch_to.window(first)
    page.refresh()
    assert sorted(row["decision"] for row in rows(page)) == ["mn", "not_mn", "not_mn", "unsure"]


def test_reviewers_are_kept_apart(page: Any) -> None:
    name(page, "Ada")
    press(page, "rm")
    name(page, "Bo")
    assert rows(page) == []
    press(page, "nn")
    alone = "In this browser alone, in no file yet: "
    assert text(page, "loose").startswith(alone + "3 decisions (1 of Ada, 2 of Bo). A file holds those of the reviewer")
    name(page, "Ada")
    assert [row["decision"] for row in rows(page)] == ["mn"]
    page.refresh()
    page.execute_script("mnbatch.state.filed()")
    assert text(page, "loose").startswith(alone + "2 decisions (2 of Bo).")


def test_hostile_names_are_text(page: Any, built: Store, hostile_name: str) -> None:
    page.get(gallery(built, "s2"))
    assert page.find_element("css selector", "h1").get_property("textContent") == hostile_name
    name(page, "<img src=x onerror=alert(1)>")
    press(page, "m")
    assert rows(page)[0]["reviewer"] == "<img src=x onerror=alert(1)>"
    assert not page.find_elements("css selector", "img[src=x]")
    name(page, "=1+2")
    press(page, "m")
    assert rows(page)[0]["reviewer"] == "'=1+2"
    assert page.find_element("id", "reviewer").get_attribute("maxlength") == str(LONGEST_NAME)


def test_sorting_and_filters(page: Any) -> None:
    def shown() -> list[int]:
        found: list[int] = page.execute_script(
            "return [...document.querySelectorAll('.tile')].sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)"
            ".map((t) => Number(t.id.slice(5)))"
        )
        return found

    def choose(part: str, value: str) -> None:
        script = (
            "const e = document.getElementById(arguments[0]);"
            "e.value = arguments[1]; e.dispatchEvent(new Event('input'))"
        )
        page.execute_script(script, part, value)

    assert shown()[:3] == [0, 1, 2]
    choose("sort", "uncertainty")
    assert shown()[:2] == [CALLED, CALLED + 1]
    choose("f-call", "mn")
    assert sorted(shown()) == list(range(CALLED))
    assert text(page, "shown") == f"{CALLED} of {CELLS} cells"
    choose("f-call", "")
    choose("f-low", "0.4")
    choose("f-high", "0.45")
    assert sorted(shown()) == list(range(CALLED, CALLED + 11))
    choose("f-low", "")
    choose("f-high", "")
    name(page, "Ada")
    press(page, "n")
    choose("f-review", "*")
    assert text(page, "shown") == f"1 of {CELLS} cells"


def test_pictures_show_and_the_map_switches_and_blends(page: Any) -> None:
    script = "return !document.querySelector('#bench.nothing') && document.querySelector('#plain .pic').width"
    wait(lambda: page.execute_script(script) == 224)
    drawn = (
        "const c = document.querySelector('#under .map');"
        "return c.getContext('2d').getImageData(0, 0, 13, 13).data.some((v) => v > 0)"
    )
    wait(lambda: page.execute_script(drawn))
    canvas = page.find_element("css selector", "#under .map")
    assert canvas.is_displayed()
    press(page, "[[")
    assert canvas.value_of_css_property("opacity") == "0.8"
    press(page, "h")
    assert not canvas.is_displayed()
    press(page, "hk")
    assert page.execute_script("return document.querySelector('input[name=map]:checked').value") == "attention5"


def test_blind_hides_score_call_and_map(page: Any) -> None:
    press(page, "b")
    assert text(page, "cell-facts") == ""
    assert text(page, "automatic") == ""
    assert not page.find_element("css selector", "#under .map").is_displayed()
    assert not page.find_element("id", "sort").is_displayed()
    labels = page.execute_script(
        "return [...document.querySelectorAll('.tile')].map((t) => t.ariaLabel + t.textContent)"
    )
    assert not [label for label in labels if "score" in label or "called" in label or "0.4" in label]
    press(page, "h")
    assert not page.find_element("css selector", "#under .map").is_displayed()


def test_only_what_is_in_sight_is_in_the_document_and_arrows_move(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    assert len(page.find_elements("css selector", ".tile")) < CELLS
    press(page, Keys.ARROW_DOWN + Keys.ARROW_RIGHT)
    chosen = page.execute_script("return document.querySelector('.tile[aria-selected=true]').ariaPosInSet")
    columns = page.execute_script("return mnbatch.grid.columns()")
    assert int(chosen) == columns + 2
    for _ in range(CELLS):
        press(page, Keys.ARROW_RIGHT)
    assert page.find_element("css selector", ".tile[aria-selected=true]").get_attribute("aria-posinset") == str(CELLS)


def test_the_donors_gallery_holds_all_slides(page: Any, built: Store) -> None:
    name(page, "Ada")
    press(page, "n")
    (path,) = built.paths.donors.glob("*/gallery.html")
    page.get(path.as_uri())
    assert text(page, "shown") == f"{2 * CELLS} of {2 * CELLS} cells"
    assert page.find_element("id", "f-slide").is_displayed()
    # Firefox gives each file a storage of its own; Chromium, one to all files (docs/review.md).
    known = [] if isinstance(page, Firefox) else [("s1", "not_mn")]
    assert [(row["slide_id"], row["decision"]) for row in rows(page)] == known
    script = "return [...document.querySelectorAll('.tile')].every((t) => !t.dataset.wait)"
    wait(lambda: page.execute_script(script))


def test_the_pages_limits_are_the_programs(page: Any) -> None:
    for found, looked, size in ((0, 50, 400), (3, 40, 90), (7, 7, 30), (12, 100, 3000)):
        limits = page.execute_script("return mnbatch.estimate.limits(...arguments)", found, looked, size)
        assert tuple(limits) == hypergeometric_limits(found, looked, size)


@pytest.mark.parametrize("pixels", [375, 1280])
def test_it_fits_phone_and_desktop_in_dark_and_light(page: Any, pixels: int) -> None:
    set_width(page, pixels)
    try:
        wait(lambda: page.execute_script("return innerWidth") == pixels)
        for mode in ("g", "r"):
            press(page, mode)
            wait(lambda: page.execute_script("return document.documentElement.scrollWidth") <= pixels)
    finally:
        set_width(page, None)


def test_every_control_has_a_name_for_a_screen_reader(page: Any) -> None:
    parts = "button, select, input, progress, [role=option], [role=listbox], [role=img]"
    controls = [element for element in page.find_elements("css selector", parts) if element.is_displayed()]
    assert len(controls) > 20
    assert [c.get_attribute("outerHTML") for c in controls if not c.accessible_name.strip()] == []


def test_the_page_weighs_little_more_than_its_pictures(built: Store, module_add_slide: Callable[..., object]) -> None:
    module_add_slide(built, "heavy", [0.5 - i / 1000 for i in range(300)], first_digest=5000, donor="D9")
    build_reports(built, ReportOptions())
    folder = built.paths.slide("heavy").root
    raw = sum((folder / "g1" / name).stat().st_size for name in ("crops.bin", "maps.bin"))
    weight = (folder / "gallery.html").stat().st_size + sum(p.stat().st_size for p in (folder / "gallery").iterdir())
    assert weight <= 1.3 * raw


@dataclass
class Asked:
    """What pages ask of the server; without options nothing is made."""

    store: Store
    options: ReportOptions | None = None

    def rebuild(self) -> str:
        if self.options:
            build_reports(self.store, self.options)
        return "report made"

    def sign(self, asked: Mapping[str, str]) -> str:
        sign_donor(self.store, SignRequest(**asked), self.options)
        return "signed"


def test_served_pages_save_straight_into_the_trail(page: Any, built: Store) -> None:
    with ReviewServer(built, Asked(built)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            page.get(server.address.replace("index.html", "slides/s1/gallery.html"))
            name(page, "Cy")
            press(page, "rmn")
            wait(lambda: len(read_trail(built.paths, "s1").entries) == 2)
            press(page, "z")
            wait(lambda: len(read_trail(built.paths, "s1").entries) == 3)
            assert read_trail(built.paths, "s1").entries[-1].decision == "withdrawn"
            page.find_element("id", "finish").click()
            wait(lambda: text(page, "saved") == "report made")
        finally:
            page.get("about:blank")
            server.shutdown()
            thread.join()
            built.paths.review_trail("s1").unlink(missing_ok=True)
            built.paths.checksums.unlink(missing_ok=True)
    page.get(gallery(built, "s1"))
    assert json.dumps(rows(page)) == "[]"


@pytest.fixture
def served(tmp_path: Path, module_add_slide: Callable[..., object]) -> Iterator[tuple[Store, ReviewServer]]:
    """A donor of two slides, shown by `mnbatch review serve`."""
    store = Store(tmp_path / "out")
    module_add_slide(store, "s1", [0.9, 0.8, *[0.1] * 18])
    module_add_slide(store, "s2", [0.7, *[0.2] * 19], first_digest=300)
    save_plan(store.paths, ReviewPlan(band=0.05, sample=0.1, least_band=2, least_sample=3))
    actions = Asked(store, ReportOptions(min_cells=1))
    actions.rebuild()
    with ReviewServer(store, actions) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield store, server
        server.shutdown()
        thread.join()


HELD_BACK = """
const send = window.fetch;
window.fetch = (path, what) => path.endsWith("/_review")
  ? new Promise((done) => { window.release = () => { window.fetch = send; done(send(path, what)); }; })
  : send(path, what);
"""


def test_a_report_waits_for_decisions_that_are_still_on_their_way(
    page: Any, served: tuple[Store, ReviewServer]
) -> None:
    from selenium.webdriver.common.keys import Keys

    store, server = served
    page.get(server.address.replace("index.html", "slides/s1/gallery.html"))
    name(page, "Ada")
    page.execute_script(HELD_BACK)
    press(page, "rmn")
    page.find_element("id", "finish").send_keys(Keys.ENTER)
    assert text(page, "saved") == ""
    page.execute_script("window.release()")
    wait(lambda: text(page, "saved") == "report made")
    assert len(read_trail(store.paths, "s1").entries) == 2


def test_from_the_first_cell_to_the_signed_donor_report(page: Any, served: tuple[Store, ReviewServer]) -> None:
    from selenium.webdriver.common.keys import Keys

    store, server = served
    (folder,) = store.paths.donors.iterdir()
    page.get(server.address.replace("index.html", f"donors/{folder.name}/gallery.html"))
    name(page, "Ada")
    press(page, "r")
    assert text(page, "progress-text") == "0 of 13 cells of the queue decided"
    for _ in range(13):
        press(page, "m" if "· called MN" in text(page, "cell-facts") else "n")
    press(page, "mmm")
    assert text(page, "progress-text") == "13 of 13 cells of the queue decided"
    wait(lambda: text(page, "saved") == "Saved in OUT.")
    page.find_element("id", "finish").send_keys(Keys.ENTER)
    wait(lambda: text(page, "saved") == "report made")
    press(page, Keys.ENTER)
    wait(lambda: bool(page.find_elements("id", "sign-name")))
    assert page.find_element("id", "sign-name").get_property("value") == "Ada"
    page.find_element("id", "sign-role").send_keys("Biologist" + Keys.ENTER)
    wait(lambda: bool(page.find_elements("id", "signatures")))
    assert "1 sign-off of this result" in page.find_element("css selector", "main").get_property("textContent")
    (signature,) = read_signatures(store.paths).entries
    assert (signature.name, signature.role, signature.basis.review_status) == ("Ada", "Biologist", "complete")
    # From disk the result is shown as signed, and cannot be signed.
    page.get((folder / "index.html").as_uri())
    assert not page.find_element("id", "sign").is_displayed()
    assert page.find_elements("id", "signatures")


class Advice:
    """Verdicts that are open, with the cells that are looked at next."""

    def __init__(self, *cells: str) -> None:
        self.cells = cells

    def of_donor(self, donor: str) -> dict[str, Any]:
        return {"text": "open", "verdict": "open", "next_donor": "", "next_cells": list(self.cells)}


def test_the_queue_follows_the_verdict_and_a_second_reader_has_one(
    page: Any, served: tuple[Store, ReviewServer]
) -> None:
    store, server = served
    save_plan(store.paths, ReviewPlan(band=0.05, sample=0.1, least_band=2, least_sample=3, double=0.5))
    server.make_report()
    queues = [queue for queue in queues_of(store, {"s1": None, "s2": None}).values() if queue]
    twice = sum(place.double for queue in queues for place in queue.places)
    last = max((p for p in queues[1].places if p.rank is not None), key=lambda p: p.rank or 0)
    server.verdicts = Advice(last.cell_id)
    (folder,) = store.paths.donors.iterdir()
    page.get(server.address.replace("index.html", f"donors/{folder.name}/gallery.html"))
    name(page, "Ada")
    wait(lambda: page.execute_script("return Boolean(mnbatch.advice)"))
    press(page, "rn")
    assert [row["cell_id"] for row in rows(page)] == [last.cell_id]
    press(page, "n" * 12)
    assert text(page, "progress-text") == "13 of 13 cells of the queue decided"
    # What one reviewer decided is sent under that name alone: the next takes over when it is saved.
    all_sent = "return mnbatch.save.fresh().length === 0"
    wait(lambda: page.execute_script(all_sent))
    name(page, "Ben")
    page.find_element("id", "second-mode").click()
    assert (0 < twice < 13, text(page, "second-label")) == (True, f"Second reading ({twice})")
    press(page, "n" * twice)
    assert text(page, "second-label") == "Second reading (0)"
    wait(lambda: page.execute_script(all_sent))
    assert not any(slide_review(q, read_trail(store.paths, q.slide_id)).double_open for q in queues)

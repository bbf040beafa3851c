"""The scorer's bench in a real browser: nothing that was decided is lost, hidden or put on the wrong cell."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mnbatch.app.review_service import served
from mnbatch.assay.alike_names import alike_names
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store
from mnbatch.review.queue import ReviewPlan, save_plan
from mnbatch.review.trail import read_trail
from tests.browsers import set_view

pytestmark = pytest.mark.browser

CELLS = 120


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, module_add_slide: Callable[..., object]) -> Store:
    store = Store(tmp_path_factory.mktemp("bench") / "out")
    module_add_slide(store, "s1", [0.9 - i / 1000 for i in range(40)] + [0.4 - i / 1000 for i in range(CELLS - 40)])
    save_plan(store.paths, ReviewPlan(band=0.05, sample=0.1, least_band=3, least_sample=6))
    build_reports(store, ReportOptions(min_cells=1))
    return store


@contextlib.contextmanager
def serving(store: Store) -> Iterator[str]:
    """The gallery's address while a server is there; the next one has the same."""
    with served(store.paths.root) as server:
        yield server.address.replace("index.html", "slides/s1/gallery.html")


@pytest.fixture
def page(browser: Any, built: Store) -> Iterator[Any]:
    """Chromium; what a test saved is taken away again."""
    yield browser
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", network(0))
    browser.execute_script("localStorage.clear()")
    browser.get("about:blank")
    for path in (built.paths.review_trail("s1"), built.paths.checksums, built.paths.serve):
        path.unlink(missing_ok=True)


def network(latency: int) -> dict[str, int | bool]:
    return {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1}


def wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def js(page: Any, script: str) -> Any:
    return page.execute_script(f"return {script}")


def begin(page: Any, address: str, hold: int = 0, reviewer: str = "Ada") -> None:
    page.get(address)
    page.execute_script("localStorage.clear(); sessionStorage.clear()")
    page.execute_script(f"localStorage.setItem('mnbatch|wait', {hold})")
    page.execute_script(f"localStorage.setItem('mnbatch|reviewer', '{reviewer}')")
    page.get(address + "#review")
    page.refresh()


def ready(page: Any) -> bool:
    return bool(js(page, "document.body.dataset.ready === 'true'"))


def key(page: Any, name: str, *, repeat: bool = False) -> None:
    event = f"{{key: '{name}', repeat: {str(repeat).lower()}, bubbles: true, cancelable: true}}"
    page.execute_script(f"document.body.dispatchEvent(new KeyboardEvent('keydown', {event}))")


def shown(page: Any) -> str:
    return str(js(page, "document.getElementById('bench').dataset.shown"))


def decided(page: Any) -> list[list[Any]]:
    found: list[list[Any]] = js(page, "mnbatch.state.rows().map((r) => [r.cell_id, r.decision, r.count, r.look])")
    return found


def test_a_server_that_dies_loses_nothing_and_the_next_one_gets_it(page: Any, built: Store) -> None:
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        key(page, "n")
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 1)
        wait(lambda: not js(page, "mnbatch.save.fresh().length"))
    wait(lambda: ready(page))
    key(page, "n")
    wait(lambda: not js(page, "document.getElementById('banner').hidden"))
    words = js(page, "document.getElementById('banner').textContent")
    assert words.startswith("1 decision of Ada is not saved: the server of this page does not answer.")
    # The warning is next to the picture, in sight on a laptop.
    top = js(page, "document.getElementById('banner').getBoundingClientRect().top")
    assert 0 <= top < 300
    before = decided(page)
    for name in ("n", "m", "3", "x"):
        key(page, name)
    assert decided(page) == before
    with serving(built) as again:
        assert again == address
        wait(lambda: js(page, "document.getElementById('banner').hidden"))
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 2)
        # Another browser has no store of its own: it shows what OUT has.
        begin(page, again)
        wait(lambda: len(decided(page)) == 2)
        assert [row[:2] for row in decided(page)] == [row[:2] for row in before]


def trail(store: Store) -> list[tuple[str, str]]:
    return [(entry.reviewer, entry.cell_id) for entry in read_trail(store.paths, "s1").entries]


def banner(page: Any) -> str:
    hidden = js(page, "document.getElementById('banner').hidden")
    return "" if hidden else str(js(page, "document.getElementById('banner-text').textContent"))


def take_name(page: Any, reviewer: str) -> None:
    field = page.find_element("id", "reviewer")
    field.clear()
    field.send_keys(reviewer + "\n")


def another_tab(page: Any, address: str) -> None:
    page.switch_to.new_window("tab")
    page.get(address + "#review")


def test_decisions_stay_with_who_took_them_whoever_is_named_when_they_are_sent(page: Any, built: Store) -> None:
    """The name changes while the server is away, the page is closed, and another page tells of them and sends them."""
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
    cell = shown(page)
    key(page, "n")
    wait(lambda: banner(page).startswith("1 decision of Ada is not saved"))
    take_name(page, "Bo")
    assert decided(page) == []
    assert banner(page).startswith("1 decision of Ada is not saved")
    page.get("about:blank")
    with serving(built):
        page.get(address.replace("gallery.html", "index.html"))
        line = page.find_element("id", "unsaved-decisions")
        assert "this page may lack: 1 of Ada. " in line.text
        line.find_element("css selector", "a").click()
        wait(lambda: trail(built) == [("Ada", cell)])
        wait(lambda: js(page, "mnbatch.save.fresh().length === 0 && mnbatch.state.reviewer") == "Bo")
        assert (decided(page), banner(page)) == ([], "")
        page.get(address.replace("gallery.html", "index.html"))
        assert not page.find_elements("id", "unsaved-decisions")


def test_a_page_that_says_a_key_decides_does_not_change_its_cell_when_another_tab_has_sent(
    page: Any, built: Store
) -> None:
    """Another tab sends for long; the page is ready meanwhile, and its first cell stays when the sending ends."""
    first = page.current_window_handle
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        page.execute_script(
            "navigator.locks.request('mnbatch-send', () => new Promise((end) => {"
            " window.sending = true; new BroadcastChannel('sent').onmessage = end; }))"
        )
        wait(lambda: bool(js(page, "window.sending")))
        another_tab(page, address)
        wait(lambda: ready(page))
        page.set_script_timeout(60)
        rows = page.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "new BroadcastChannel('sent').postMessage('');"
            "navigator.locks.request('mnbatch-send', () => {}).then(() => setTimeout(() => {"
            " document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'n', bubbles: true, cancelable: true }));"
            " done(mnbatch.state.rows().length); }))"
        )
        assert rows == 1
        wait(lambda: len(trail(built)) == 1)
        page.close()
        page.switch_to.window(first)


def test_two_tabs_have_a_reviewer_each_and_one_tells_and_sends_what_the_other_could_not(
    page: Any, built: Store
) -> None:
    first = page.current_window_handle
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        another_tab(page, address)
        take_name(page, "Bo")
        wait(lambda: ready(page))
        page.switch_to.window(first)
        page.refresh()
        assert js(page, "mnbatch.state.reviewer") == "Ada"
        wait(lambda: ready(page))
    key(page, "n")
    wait(lambda: banner(page).startswith("1 decision of Ada is not saved"))
    page.close()
    (second,) = page.window_handles
    page.switch_to.window(second)
    wait(lambda: banner(page).startswith("1 decision of Ada is not saved"))
    with serving(built):
        wait(lambda: banner(page) == "")
        wait(lambda: ready(page))
        key(page, "u")
        wait(lambda: [who for who, _ in trail(built)] == ["Ada", "Bo"])


def test_what_the_server_refuses_holds_nobody_else_back_and_stays_in_sight(page: Any, built: Store) -> None:
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        page.execute_script(
            "const cell = mnbatch.cells[0], value = { d: 'mn', c: null, t: new Date().toISOString() };"
            "mnbatch.outbox.put({ ...mnbatch.state.row(cell, value, 'Cy'), result_key: 'earlier' }, 'none')"
        )
        page.refresh()
        wait(lambda: "1 decision of Cy is not saved" in banner(page) and "earlier result" in banner(page))
        wait(lambda: ready(page))
        key(page, "n")
        wait(lambda: [who for who, _ in trail(built)] == ["Ada"])
        page.execute_script("window.confirm = () => true")
        page.find_element("id", "unsaved-drop").click()
        wait(lambda: banner(page) == "")
        # Ada's own may still be waiting for the server's answer.
        wait(lambda: not js(page, "Object.keys(localStorage).filter((k) => k.startsWith('mnbatch-unsent')).length"))


def test_what_was_decided_while_the_page_was_closed_is_shown(page: Any, built: Store) -> None:
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        key(page, "u")
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 1)
        page.get("about:blank")
        page.get(address)
        wait(lambda: len(decided(page)) == 1)
        assert decided(page)[0][1] == "unsure"


WATCH = """
window.wrong = []; window.seen = 0;
const bench = document.getElementById("bench");
const look = () => {
  const canvas = document.querySelector("#plain .pic"), name = document.getElementById("cell-name").textContent;
  const cell = mnbatch.cells.find((one) => one.label === name);
  if (!name) return;
  window.seen++;
  const crop = mnbatch.pictures.ready(cell);
  if (!crop || bench.classList.contains("nothing")) { window.wrong.push(`${name} without picture`); return; }
  const bytes = (c) => c.getContext("2d").getImageData(0, 0, c.width, c.height).data.join();
  if (bytes(canvas) !== bytes(crop)) window.wrong.push(`${name} with another picture`);
};
new MutationObserver(look).observe(document.getElementById("cell-name"), { childList: true });
"""


def test_with_latency_a_picture_and_its_name_change_together_or_not_at_all(page: Any, built: Store) -> None:
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        page.execute_cdp_cmd("Network.enable", {})
        page.execute_cdp_cmd("Network.emulateNetworkConditions", network(1500))
        page.get(address.replace("#review", "") + "?slow#review")
        page.execute_script(WATCH)
        # Keys at once, as a person who cannot wait: those without a picture decide nothing. What is on the page is read
        # in the same step as the key: a busy machine may show the picture in between.
        pressed = set()
        for _ in range(20):
            pressed.add(
                page.execute_script(
                    "const before = document.getElementById('bench').dataset.shown;"
                    "const press = { key: 'n', bubbles: true, cancelable: true };"
                    "document.body.dispatchEvent(new KeyboardEvent('keydown', press));"
                    "return before"
                )
            )
            time.sleep(0.15)
        wait(lambda: js(page, "window.seen") > 0 and ready(page))
        assert js(page, "window.wrong") == []
        assert {row[0] for row in decided(page)} <= pressed - {""}
        assert js(page, "document.getElementById('cell-name').textContent") in shown(page)


def test_a_gallery_that_opens_shows_no_tile_without_its_picture(page: Any, built: Store) -> None:
    """Two or three frames had up to twelve empty tiles; with latency, seconds had."""
    watch = """
    window.holes = []; window.most = 0;
    (function look() {
      const grid = document.getElementById("grid"), shows = (e) => e.checkVisibility({ visibilityProperty: true });
      const tiles = [...document.querySelectorAll(".tile")].filter((t) => t.getBoundingClientRect().top < innerHeight);
      const empty = (t) => !shows(t) || !t.querySelector(".score").textContent;
      if (grid && shows(grid)) holes.push(tiles.filter(empty).length);
      window.most = Math.max(window.most, grid && shows(grid) ? tiles.length : 0);
      requestAnimationFrame(look);
    })();
    """
    page.execute_cdp_cmd("Page.enable", {})
    added = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": watch})
    try:
        with serving(built) as address:
            page.execute_cdp_cmd("Network.enable", {})
            page.execute_cdp_cmd("Network.emulateNetworkConditions", network(300))
            page.get(address)
            wait(lambda: js(page, "most") > 10)
            assert js(page, "Math.max(...holes)") == 0
    finally:
        page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_no_tile_shows_a_map_or_a_name_without_its_picture(page: Any, built: Store) -> None:
    """Of the tiles in sight, up to half showed heat on black for seconds."""
    with serving(built) as address:
        page.get(address)
        script = """
        const done = arguments[0], counts = [], start = performance.now();
        const look = () => {
          const tiles = [...document.querySelectorAll(".tile")];
          const seen = (t, part) => getComputedStyle(t.querySelector(part)).visibility !== "hidden";
          counts.push(tiles.filter((t) => t.dataset.wait ? seen(t, ".map") || seen(t, ".src")
            : !t.querySelector(".pic").width || t.querySelector(".pic").width === 300).length);
          const early = performance.now() - start < 1000 || tiles.some((t) => t.dataset.wait === "true");
          if (early) requestAnimationFrame(look);
          else done([Math.max(...counts), tiles.filter((t) => t.dataset.wait).length, tiles.length]);
        };
        look();
        """
        page.set_script_timeout(120)
        wrong, empty, tiles = page.execute_async_script(script)
        assert tiles > 10
        assert (wrong, empty) == (0, 0)


def test_a_key_that_is_held_down_decides_once(page: Any, built: Store) -> None:
    begin(page, (built.paths.slide("s1").root / "gallery.html").as_uri())
    wait(lambda: ready(page))
    key(page, "n")
    for _ in range(30):
        key(page, "n", repeat=True)
        time.sleep(0.02)
    assert len(decided(page)) == 1


def test_a_number_after_mn_is_that_of_the_same_cell(page: Any, built: Store) -> None:
    begin(page, (built.paths.slide("s1").root / "gallery.html").as_uri(), hold=60_000)
    wait(lambda: ready(page))
    first = shown(page)
    key(page, "m")
    assert shown(page) == first
    assert decided(page) == [[first, "mn", None, ""]]
    key(page, "2")
    assert decided(page) == [[first, "mn", 2, ""]]
    assert shown(page) != first
    # One undo takes the whole decision back.
    wait(lambda: ready(page))
    key(page, "z")
    assert decided(page) == []


def test_a_number_that_comes_too_late_decides_nothing(page: Any, built: Store) -> None:
    begin(page, (built.paths.slide("s1").root / "gallery.html").as_uri(), hold=1)
    wait(lambda: ready(page))
    first = shown(page)
    script = """
    const done = arguments[0];
    const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    press("m");
    setTimeout(() => { press("2"); done(mnbatch.state.rows().map((r) => [r.cell_id, r.decision, r.count])); }, 120);
    """
    assert page.execute_async_script(script) == [[first, "mn", None]]
    assert js(page, "document.getElementById('hint').textContent").startswith("Too late")


def test_the_last_decisions_are_in_sight_and_a_click_corrects_one(page: Any, built: Store) -> None:
    begin(page, (built.paths.slide("s1").root / "gallery.html").as_uri())
    cells = []
    for name in ("n", "u", "n"):
        wait(lambda: ready(page))
        cells.append(shown(page))
        key(page, name)
    wait(lambda: js(page, "document.querySelectorAll('#echo button').length") == 3)
    words = js(page, "[...document.querySelectorAll('#echo button')].map((b) => b.lastElementChild.textContent)")
    assert words == ["not MN", "unsure", "not MN"]
    wait(lambda: ready(page))
    goes_on = shown(page)
    page.execute_script("document.querySelectorAll('#echo button')[2].click()")
    assert shown(page) == cells[0]
    wait(lambda: ready(page))
    key(page, "x")
    assert [row[1] for row in decided(page) if row[0] == cells[0]] == ["not_scorable"]
    assert shown(page) == goes_on


def test_the_last_decisions_stay_in_sight_when_the_server_has_gone(page: Any, built: Store) -> None:
    """On a laptop, over the banner; one whose picture cannot be had shows the cell's name, and its picture later."""
    metrics = {"width": 1366, "height": 768, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
    try:
        key(page, "n")
        wait(lambda: banner(page) != "")
        bottom = "document.querySelector('#echo button').getBoundingClientRect().bottom"
        wait(lambda: 0 < js(page, bottom) <= 768)
        # A cell that no page has loaded: its strip is asked for now, and nobody answers.
        page.execute_script("""
          const cell = mnbatch.cells.find((one) => !mnbatch.pictures.ready(one) && one.strip !== mnbatch.cells[0].strip)
            || mnbatch.cells.find((one) => !mnbatch.pictures.ready(one));
          mnbatch.pictures.load = ((load) => (one) => one === cell && !window.back
            ? Promise.reject(new Error("away")) : load(one))(mnbatch.pictures.load);
          const recent = mnbatch.state.recent;
          mnbatch.state.recent = () => [[cell, { d: "mn", c: 2 }], ...recent()];
          window.cell = cell;
          mnbatch.bench.echo(() => {});""")
        wait(lambda: js(page, "document.querySelectorAll('#echo .lost').length") == 1)
        lost = "document.querySelector('#echo .lost')"
        assert js(page, f"{lost}.innerText.trim().split(/\\n+/)") == [js(page, "cell.label"), "MN × 2"]
        page.execute_script("window.back = true")
        with serving(built):
            wait(lambda: banner(page) == "")
            page.execute_script("mnbatch.bench.echo(() => {})")
            wait(lambda: js(page, "document.querySelectorAll('#echo .lost').length") == 0)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_keys_can_be_set_and_other_keyboards_work(page: Any, built: Store) -> None:
    begin(page, (built.paths.slide("s1").root / "gallery.html").as_uri())
    wait(lambda: ready(page))
    page.execute_script("mnbatch.keys.set('not_mn', 'j')")
    assert js(page, "[mnbatch.keys.key('not_mn'), mnbatch.keys.key('contrastDown')]") == ["j", "n"]
    key(page, "j")
    assert [row[1] for row in decided(page)] == ["not_mn"]
    azerty = "mnbatch.keys.of({key: '&', code: 'Digit1', shiftKey: false})"
    cyrillic = "mnbatch.keys.of({key: 'ь', code: 'KeyM', shiftKey: false})"
    assert js(page, f"[{azerty}, {cyrillic}]") == ["1", "mn"]


def test_names_that_differ_in_case_are_asked_about(page: Any, built: Store) -> None:
    with serving(built) as address:
        begin(page, address, reviewer="Hold")
        wait(lambda: ready(page))
        key(page, "n")
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 1)
        take_name(page, "hold")
        assert not js(page, "document.getElementById('who').hidden")
        page.execute_script("document.getElementById('who-same').click()")
        assert js(page, "mnbatch.state.reviewer") == "Hold"
        assert len(decided(page)) == 1


@pytest.mark.parametrize("other", ["Ho ld", "H\u043eld", "Hol\u200bd", "\uff28old"])
def test_a_name_that_reads_the_same_is_never_a_second_reviewer(page: Any, built: Store, other: str) -> None:
    """The import would refuse it: the page asks for another one before a cell is decided under it."""
    with serving(built) as address:
        begin(page, address, reviewer="Hold")
        wait(lambda: ready(page))
        key(page, "n")
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 1)
        take_name(page, other)
        page.execute_script("document.getElementById('who-other').click()")
        assert "differs from “Hold” in more than case" in js(page, "document.getElementById('who').innerText")
        assert js(page, "mnbatch.state.reviewer") == ""  # the field was emptied first
        take_name(page, "Bo")
        assert js(page, "mnbatch.state.reviewer") == "Bo"
        assert js(page, "document.getElementById('who').hidden")


def test_the_page_and_the_import_have_one_rule_of_what_reads_the_same(page: Any, built: Store) -> None:
    names = [
        "Ada",
        "ada",
        "a-da",
        "a\u2013da",
        "\u0410da",
        "ADA ",
        "Bo",
        "\u0392\u03bf",
        "Bö",
        "Bo\u0308",
        "B",
        "Straße",
    ]
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        found = page.execute_script("return arguments[0].map(mnbatch.state.readAs)", names)
    groups: dict[str, list[str]] = {}
    for name, read in zip(names, found, strict=True):
        groups.setdefault(read, []).append(name)
    assert {tuple(group) for group in groups.values() if len(group) > 1} == set(alike_names(names))


def two_decide_otherwise(page: Any, address: str) -> None:
    """Ada and Bo differ on two cells, and all of it is saved."""
    for reviewer, keys in (("Ada", "1n"), ("Bo", "2u")):
        begin(page, address, reviewer=reviewer)
        for name in keys:
            wait(lambda: ready(page))
            key(page, name)
        wait(lambda: not js(page, "mnbatch.save.fresh().length"))


def test_two_scorers_differ_and_a_third_adjudicates(page: Any, built: Store) -> None:
    with serving(built) as address:
        two_decide_otherwise(page, address)
        begin(page, address, reviewer="Cy")
        page.get(address + "#differences")
        page.refresh()
        wait(lambda: ready(page))
        assert js(page, "document.getElementById('differ-label').textContent") == "Differences (2)"
        others = js(page, "document.getElementById('cell-others').textContent")
        assert others.count("Ada: ") == others.count("Bo: ") == 1
        key(page, "1")
        wait(lambda: ready(page))
        key(page, "n")
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 6)
        assert {e.look for e in read_trail(built.paths, "s1").entries if e.reviewer == "Cy"} == {"adjudication"}
        wait(lambda: js(page, "document.getElementById('differ-label').textContent") == "Differences (0)")


def test_who_is_one_of_those_who_differ_is_told_that_a_third_person_decides(page: Any, built: Store) -> None:
    """The page went round and round between the cells."""
    with serving(built) as address:
        two_decide_otherwise(page, address)
        page.get(address + "#differences")
        page.refresh()
        wait(lambda: ready(page))
        first = shown(page)
        key(page, "n")
        assert js(page, "document.getElementById('hint').textContent").startswith("You are one of those who differ")
        assert shown(page) == first


@pytest.mark.parametrize("heat", [True, False])
@pytest.mark.parametrize("size", [(375, 667), (1366, 768)])
def test_picture_and_decisions_are_in_the_first_screen(
    page: Any, built: Store, size: tuple[int, int], heat: bool
) -> None:
    set_view(page, size)
    try:
        begin(page, (built.paths.slide("s1").root / "gallery.html").as_uri())
        wait(lambda: ready(page))
        if js(page, "document.body.dataset.heat") != str(heat).lower():
            key(page, "h")
        script = """
        const seen = [...document.querySelectorAll(".pics > *, [data-say]:not([data-note]), #undo")]
          .filter((part) => part.checkVisibility()).map((part) => part.getBoundingClientRect());
        const bar = document.querySelector("#panel > .decide").getBoundingClientRect();
        const pics = document.querySelector(".pics").getBoundingClientRect();
        const apart = pics.bottom <= bar.top || pics.right <= bar.left;
        const large = seen.length > 8 && pics.width > 300 && pics.height > 300;
        return [scrollY, large, seen.every((box) => box.top >= 0 && box.bottom <= innerHeight), apart];
        """
        assert page.execute_script(script) == [0, True, True, True]
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_comment_and_classes_go_into_the_trail(page: Any, built: Store) -> None:
    with serving(built) as address:
        begin(page, address)
        wait(lambda: ready(page))
        key(page, "q")
        key(page, "n")
        wait(lambda: ready(page))
        key(page, "a")
        wait(lambda: len(read_trail(built.paths, "s1").entries) == 2)
        noted = [(e.decision, e.classes) for e in read_trail(built.paths, "s1").entries]
        assert noted == [("not_mn", ("bridge",)), ("not_scorable", ("apoptotic",))]

"""Every kind of page in Chromium and Firefox, in three windows, dark and light, and on paper: what is wrong with it.

    python benchmarks/page_walk.py FOLDER [--only NAME] [--browser NAME] [--quick]

From the root of the checkout, with it in PYTHONPATH: the browsers are those of tests/browsers.py. Pages are those of
docs_pictures.py, made in FOLDER where they are not there yet, and its batch under `review serve`. Of each view a
picture is kept (FOLDER/views), of each page a PDF, and printed is what nobody should meet: errors on the console, what
axe-core finds, a page wider than its window, parts that scroll sideways, text that is cut off or stands over its edge,
parts outside of the window, and on the bench of a reviewer decisions below the first screen.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docs_pictures import NAMED, PRESS, READY, WORK, WORKED, make_all, page_of, settle

from mnbatch.app.review_service import served
from mnbatch.report.control_charts import chart_page, find_batches
from mnbatch.results.store import Store
from tests.browsers import AXE, BROWSERS, axe_source, picture_of, printed, set_view

SIZES = ((1366, 768), (1920, 1080), (375, 667))
PAPER = (794, 1123)
"""A4 at 96 dots an inch."""
AXE_VIEWS = {
    "chromium": {"1366-light", "1366-dark", "375-light", "375-dark"},
    "firefox": {"1366-light", "375-dark"},
}
"""Where axe-core looks: 1920 px is laid out as 1366 px is, and the browsers build the same document."""
HIGHEST = 5000
"""Pictures of pages end here, px."""

FAULTS = """
const page = document.documentElement, found = new Set(), wide = page.clientWidth, paper = matchMedia("print").matches;
const name = (e) => e.tagName.toLowerCase() + (e.id ? `#${e.id}` : "")
  + (e.className && e.className.baseVal === undefined ? `.${[...e.classList].join(".")}` : "")
  + ` "${(e.textContent || "").trim().replace(/\\s+/g, " ").slice(0, 40)}"`;
if (page.scrollWidth > wide) found.add(`the page is ${page.scrollWidth} px wide in a window of ${wide}`);
const shows = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const text = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
for (const e of document.body.querySelectorAll("*")) {
  if (!shows(e) || e.closest("svg")) continue;
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (box.width <= 1 || box.height <= 1 || e.closest(".vh")) continue;
  const more = e.scrollWidth - e.clientWidth;
  if (/auto|scroll/.test(style.overflowX) && more > 1) {
    found.add(`${paper ? "cut off on paper" : "scrolls sideways"} by ${more} px: ${name(e)}`);
  }
  const cuts = /hidden|clip/.test(style.overflowX), lines = style.webkitLineClamp !== "none";
  const whole = (e.title || e.closest("[title]")) && !paper;
  const shortened = cuts && text(e) && (more > 1 || (lines && e.scrollHeight - e.clientHeight > 2));
  if (shortened && !whole) found.add(`cut off: ${name(e)}`);
  if (!cuts && text(e) && e.clientWidth && more > 1 && style.overflowX === "visible") {
    found.add(`over its edge by ${more} px: ${name(e)}`);
  }
  let inside = false;
  for (let up = e; up && up !== document.body; up = up.parentElement) {
    inside ||= getComputedStyle(up).overflowX !== "visible" || getComputedStyle(up).clipPath !== "none";
  }
  if (!inside && (box.right > wide + 1 || box.left < -1)) found.add(`outside of the window: ${name(e)}`);
}
if (document.body.dataset.mode && document.body.dataset.mode !== "look" && !paper) {
  for (const button of document.querySelectorAll("[data-say]:not([data-note])")) {
    const box = button.getBoundingClientRect();
    if (shows(button) && box.bottom > innerHeight) found.add(`below the first screen: ${name(button)}`);
  }
}
return [...found];
"""


@dataclass(frozen=True)
class Page:
    """A page in a state.

    Attributes:
        page: as `docs_pictures.page_of` takes it.
        before: script that brings it there.
        until: what holds then.
        window: the picture is of the window and not of the whole page.
    """

    name: str
    page: str
    before: str = ""
    until: str = "true"
    window: bool = False


BENCH = f"{NAMED}{PRESS} press('r');"
THIRD = f"{NAMED}{PRESS} press('v');"
AROUND = "(function again() { press('y'); if (!document.getElementById('context').open) setTimeout(again, 100); })();"
"""The key for the field round a cell, until the cell is there to have one."""
DIALOG = "document.querySelector('dialog[open]') !== null"
PAGES = (
    Page("batch", "index.html"),
    Page("donor-open", "donors/D01/index.html"),
    Page("donor-reviewed", "donors/D02/index.html"),
    Page("donor-dose", "donors/D03/index.html"),
    Page("donor-fields", "donors/D04/index.html"),
    Page("donor-failed", "donors/D05/index.html"),
    Page("sheet", "donors/D03/sheet.html"),
    Page("sheet-failed", "donors/D05/sheet.html"),
    Page("slide", "slides/D02-a/index.html"),
    Page("slide-fields", "slides/D04-fields/index.html"),
    Page("slide-failed", "slides/D05-a/index.html"),
    Page("gallery", "slides/D01-a/gallery.html", until=READY, window=True),
    Page("gallery-donor", "donors/D02/gallery.html", until=READY, window=True),
    Page("bench", "slides/D02-a/gallery.html", before=WORK, until=WORKED, window=True),
    Page("bench-blind", "slides/D01-a/gallery.html", before=f"{BENCH} press('b'); press('h');", until=READY,
         window=True),
    Page("bench-open", "slides/D01-a/gallery.html",
         before=f"{BENCH} for (const part of document.querySelectorAll('.more, .help')) part.open = true;",
         until=READY),
    Page("differences", "slides/D02-a/gallery.html", before=THIRD, until=READY, window=True),
    Page("settings", "slides/D01-a/gallery.html", before="document.getElementById('settings-open').click()",
         until=DIALOG, window=True),
    Page("criteria", "slides/D01-a/gallery.html", before=f"{PRESS} press('?')", until=DIALOG, window=True),
    Page("context", "slides/D04-fields/gallery.html", before=f"{BENCH} {AROUND}",
         until=f"{DIALOG} && document.getElementById('context-picture').complete", window=True),
    Page("dossier", "../dossier/index.html"),
    Page("control-chart", "../control-chart.html"),
    Page("served-batch", "served/index.html"),
    Page("served-donor", "served/donors/D03/index.html"),
    Page("served-bench", "served/slides/D01-a/gallery.html", before=BENCH, until=READY, window=True),
)  # fmt: skip


@dataclass
class Walk:
    """The walk of one browser.

    Attributes:
        server: where `review serve` shows the batch.
        found: fault -> the views that have it.
    """

    browser: Any
    name: str
    store: Store
    server: str
    folder: Path
    axe: str
    found: dict[str, list[str]]
    views: int = 0

    def address(self, page: Page) -> str:
        """Of a file, or of the server."""
        if not page.page.startswith("served/"):
            return str(page_of(self.store, page.page).as_uri())
        path = page_of(self.store, page.page.removeprefix("served/")).relative_to(self.store.paths.root.resolve())
        return self.server.replace("index.html", str(path.as_posix()))

    def open(self, page: Page, size: tuple[int, int], *, dark: bool = False, medium: str = "") -> None:
        """The page in its state, in such a window."""
        self.browser.get("about:blank")
        set_view(self.browser, size, dark=dark, medium="")
        self.browser.get_log("browser")
        self.browser.get(self.address(page))
        self.browser.execute_script(page.before)
        settle(self.browser, page.until)
        if medium:
            set_view(self.browser, size, dark=dark, medium=medium)
            settle(self.browser, "true")

    def look(self, page: Page, view: str) -> None:
        """Keep a picture and what is wrong."""
        self.views += 1
        name = f"{page.name}-{self.name}-{view}"
        (self.folder / f"{name}.png").write_bytes(picture_of(self.browser, 0 if page.window else HIGHEST))
        said = [
            f"console: {entry['message'] if isinstance(entry, dict) else entry}"
            for entry in self.browser.get_log("browser")
        ]
        faults = said + self.browser.execute_script(FAULTS)
        if self.axe and view in AXE_VIEWS[self.name]:
            self.browser.execute_script(self.axe)
            faults += [f"axe-core: {fault}" for fault in self.browser.execute_async_script(AXE, {})]
        for fault in faults:
            self.found.setdefault(f"{page.name}: {fault}", []).append(f"{self.name} {view}")

    def leave(self) -> None:
        """What was done in the page is gone."""
        self.browser.execute_script("localStorage.clear(); sessionStorage.clear(); window.onbeforeunload = null;")

    def visit(self, page: Page) -> None:
        """All views of a page."""
        for size in SIZES:
            for dark in (False, True):
                self.open(page, size, dark=dark)
                self.look(page, f"{size[0]}-{'dark' if dark else 'light'}")
                self.leave()
        self.open(page, PAPER, medium="print")
        self.look(page, "print")
        set_view(self.browser, PAPER)
        (self.folder / f"{page.name}-{self.name}.pdf").write_bytes(printed(self.browser))
        self.leave()


def prepared(folder: Path) -> Store:
    """The batch of the docs' pictures, its dossier, and the control chart of a year of such batches."""
    store = Store(folder / "out") if (folder / "dossier").is_dir() else make_all(folder)
    if not store.paths.batch.exists():
        stated = {"export": "/scanner/export", "layout": "donor-slide-folders", "pseudonymised": False, "kind": "crops"}
        store.paths.batch.write_text(json.dumps(stated))
    batch = find_batches(folder, [])[0]
    months = [
        replace(batch, folder=f"batch {n:02}", finished=f"2026-{n:02}-01T08:00:00+00:00", per_1000=8.0 + 3.0 * (n % 4))
        for n in range(1, 12)
    ]
    (folder / "control-chart.html").write_bytes(chart_page(months))
    return store


def walks(asked: argparse.Namespace, store: Store, found: dict[str, list[str]]) -> Iterator[Walk]:
    """One browser after the other."""
    views = asked.folder / "views"
    views.mkdir(exist_ok=True)
    with served(store.paths.root) as server:
        for name, start in BROWSERS.items():
            if asked.browser in (None, name):
                with start() as browser:
                    browser.set_script_timeout(600)
                    axe = "" if asked.quick else axe_source()
                    yield Walk(browser, name, store, server.address, views, axe, found)


def main() -> None:
    """Walk, and print each fault once with the views that have it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", help="pages of this name")
    parser.add_argument("--browser", choices=BROWSERS)
    parser.add_argument("--quick", action="store_true", help="without axe-core")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    store, found, number = prepared(asked.folder), {}, 0  # type: ignore[var-annotated]
    pages = [page for page in PAGES if not asked.only or page.name in asked.only]
    for walk in walks(asked, store, found):
        for page in pages:
            walk.visit(page)
            print(f"{walk.name}: {page.name}", file=sys.stderr, flush=True)
        number += walk.views
    for fault, views in sorted(found.items()):
        print(f"{fault}\n    {len(views)} views: {', '.join(views)}")
    (asked.folder / "faults.json").write_text(json.dumps(found, indent=1))
    axe = sum(len(views) for fault, views in found.items() if ": axe-core: " in fault)
    print(f"{len(pages)} pages, {number} views; {len(found)} faults, axe-core found something in {axe} views")


if __name__ == "__main__":
    main()

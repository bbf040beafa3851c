"""The gallery page of a slide with many cells in Chromium: paint, tiles, key to screen, scrolling, and what it weighs.

    python benchmarks/gallery.py --cells 5000
    python benchmarks/gallery.py --cells 5000 --served

Headless, no GPU; from disk, or under the local server with every decision saved in OUT. Key to next picture: from the
key event to the frame after the one in which the next cell of the queue is on the page, its crop decoded. A person who
knows the truth decides with one key each, as soon as the page takes keys; the decisions are compared with the truth
cell by cell. The tool's own time is the sum of these waits: what remains of a reviewer's time is looking. Tiles: from
the first frame of the page on, in each of which the tiles in the window without a picture are counted. Weight: all
files of the page against crops.bin and maps.bin.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gallery_store import add_slide, pictures, scores_of

from mnbatch.app import review_service
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store
from mnbatch.review.trail import read_trail

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1280,900")

KEYS = """
const [number, numbers, done] = arguments, truth = new Set(numbers), times = [];
const bench = document.getElementById("bench");
const frame = () => new Promise((next) => requestAnimationFrame(next));
let keys = 0, refused = 0, decided = 0;
const press = (key) => { keys++; document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })); };
// A person decides what is on the page, by one key: none, or the number of micronuclei where the truth has some.
async function one() {
  const asked = performance.now();
  while (document.body.dataset.ready !== "true") {
    if (performance.now() - asked > 30000) throw new Error(`the page takes no keys: ${bench.textContent}`);
    await frame();
  }
  const shown = bench.dataset.shown, cell = mnbatch.cells.find((one) => one.id === shown), start = performance.now();
  press(truth.has(Number(cell.id.slice(-9, -4))) ? "1" : "n");
  const said = mnbatch.state.of(cell);
  if (!said) { refused++; return; }
  decided++;
  while (bench.dataset.shown === shown || !bench.dataset.shown) {
    if (performance.now() - start > 3000) return;  // the last one
    await frame();
  }
  await frame();
  times.push(performance.now() - start);
}
(async () => {
  while (decided < number) await one();
  const has = (row) => truth.has(Number(row.cell_id.slice(-9, -4)));
  const wrong = mnbatch.state.rows().filter((row) => (row.decision === "mn") !== has(row)).length;
  done({ times, keys, refused, decided, wrong });
})().catch((error) => done({ error: String(error) }));
"""
TILES = """
// Tiles in the window, and those that show nothing: of a grid that is not shown yet, none is there.
function tilesInWindow() {
  const inWindow = (box) => box.top < innerHeight && box.bottom > 0;
  const all = [...document.querySelectorAll(".tile")].filter((tile) => inWindow(tile.getBoundingClientRect()));
  const shown = all.filter((tile) => tile.checkVisibility({ visibilityProperty: true }));
  const opening = document.getElementById("grid")?.dataset.opening;
  return opening ? [shown.length, shown.length] : [all.length, all.length - shown.length];
}
"""
WATCH = f"""
{TILES}
window.watched = [];
(function look() {{
  watched.push([performance.now(), ...tilesInWindow()]);
  if (performance.now() < 3000) requestAnimationFrame(look);
}})();
"""
SCROLL = """
const done = arguments[0], frames = [];
let last = performance.now(), left = 120;
function frame(now) {
  frames.push([now - last, ...tilesInWindow()]); last = now;
  scrollBy(0, 400);
  if (left-- > 0) requestAnimationFrame(frame); else done(frames.slice(1));
}
requestAnimationFrame(frame);
"""


def browser() -> Any:
    """Chromium without a window."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(900)
    return driver


def make(folder: Path, cells: int) -> tuple[Store, float, list[int]]:
    """A store with one slide, the seconds that its report took, and the cells that have a micronucleus."""
    store, rng = Store(folder), np.random.default_rng(1)
    truth = rng.random(cells) < 0.03
    add_slide(store, "slide", "D01", scores_of(truth, rng), truth, pictures("fluorescence", 1))
    start = time.perf_counter()
    build_reports(store, ReportOptions())
    return store, time.perf_counter() - start, np.flatnonzero(truth).tolist()


@contextlib.contextmanager
def address_of(store: Store, served: bool) -> Iterator[str]:
    """The page's address, from disk or of a server that is there meanwhile."""
    page = store.paths.slide("slide").root / "gallery.html"
    if not served:
        yield page.as_uri()
        return
    with review_service.served(store.paths.root) as server:
        yield server.address.replace("index.html", "slides/slide/gallery.html")


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--queue", type=int, default=360, help="decisions")
    parser.add_argument("--served", action="store_true", help="under the local server, every decision saved in OUT")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store, seconds, with_mn = make(Path(name) / "out", asked.cells)
        folder = store.paths.slide("slide").root
        files = [folder / "gallery.html", *(folder / "gallery").iterdir()]
        raw = sum((folder / "g1" / file).stat().st_size for file in ("crops.bin", "maps.bin"))
        weight = sum(file.stat().st_size for file in files)
        print(f"{asked.cells} cells; all reports of the slide made in {seconds:.1f} s")
        print(
            f"page {weight / 1e6:.1f} MB in {len(files)} files, crops and maps {raw / 1e6:.1f} MB: {weight / raw:.3f}"
        )
        with address_of(store, asked.served) as address:
            driver = browser()
            try:
                opening(driver, address)
                queue(driver, address, asked.queue, with_mn)
                if asked.served:
                    print(f"decisions in OUT's trail: {len(read_trail(store.paths, 'slide').entries)}")
            finally:
                driver.quit()


def opening(driver: Any, address: str) -> None:
    """Open the page five times, watch its tiles, and scroll it."""
    driver.execute_cdp_cmd("Page.enable", {})
    watch = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    found = []
    for _ in range(5):
        driver.get(address)
        wait(driver, "return performance.getEntriesByName('first-contentful-paint').length && performance.now() > 3000")
        paint = driver.execute_script("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        ready = driver.execute_script("return performance.timing.domComplete - performance.timing.navigationStart")
        frames = [frame for frame in driver.execute_script("return watched") if frame[1]]
        empty = [frame for frame in frames if frame[2]]
        filled = next(at for at, _, waiting in frames if not waiting and (not empty or at > empty[-1][0]))
        found.append((paint, ready, frames[0][0], filled, len(empty), max(f[2] for f in frames), frames[-1][1]))
    paint, ready, first, filled, empty, most, tiles = np.median(np.array(found, float), axis=0)
    print(f"first paint {paint:.0f} ms, page ready {ready:.0f} ms after the address was asked for (medians of 5)")
    late = max(f[3] for f in found)
    print(
        f"{tiles:.0f} tiles in the window: there at {first:.0f} ms, all with pictures at {filled:.0f} ms (longest "
        f"{late:.0f} ms); {empty:.0f} frames between, with at most {most:.0f} tiles empty"
    )
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", watch)
    took, shown, holes = np.array(driver.execute_async_script(SCROLL)).T
    print(
        f"scrolling 400 px a frame: median {np.median(took):.0f} ms a frame, 95 % below {np.percentile(took, 95):.0f} "
        f"ms; tiles without a picture in {int((holes > 0).sum())} of {len(holes)} frames, at most {int(holes.max())} "
        f"of {int(shown.max())}"
    )


def queue(driver: Any, address: str, number: int, with_mn: list[int]) -> None:
    """Review `number` cells of the queue as fast as the page lets.

    Args:
        with_mn: numbers of the cells that have a micronucleus.
    """
    driver.get(address)
    driver.find_element("id", "reviewer").send_keys("benchmark\n")
    driver.find_element("css selector", "body").send_keys("r")
    start = time.perf_counter()
    found = driver.execute_async_script(KEYS, number, with_mn)
    seconds = time.perf_counter() - start
    if "error" in found:
        raise SystemExit(f"the queue was not done: {found['error']}")
    keys = np.array(found["times"])
    print(
        f"{found['decided']} decisions with {found['keys']} keys ({found['keys'] / found['decided']:.2f} each), "
        f"{found['refused']} refused, {found['wrong']} on another cell than shown; done in {seconds:.0f} s"
    )
    print(
        f"key to next picture: median {np.median(keys):.0f} ms, 95 % below {np.percentile(keys, 95):.0f} ms, "
        f"longest {keys.max():.0f} ms, {int((keys > 1000).sum())} later than a second; the tool's own time "
        f"{keys.sum() / 1000:.1f} s"
    )
    print(f"elements in the document: {driver.execute_script('return document.getElementsByTagName(`*`).length')}")
    wait(driver, "return !mnbatch.save.fresh().length")
    driver.execute_script("localStorage.clear()")


def wait(driver: Any, script: str) -> None:
    """Until the script says true; a minute at most."""
    end = time.monotonic() + 60
    while not driver.execute_script(script):
        if time.monotonic() > end:
            raise SystemExit(f"it did not happen within a minute: {script}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()

"""The gallery page of a slide with many cells in Chromium: first paint, key to screen, scrolling, and what it weighs.

    python benchmarks/gallery.py --cells 5000

Opened from disk, headless, no GPU. Key to next picture: from the key event to the frame after the one in which the next
cell of the queue is on the page, its crop decoded. A person who knows the truth decides with one key each. The clock is
not waited for: that a queue can be done at one cell a second follows from no picture coming later than that. Weight:
all files of the page against crops.bin and maps.bin.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from gallery_store import add_slide, pictures, scores_of

from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1280,900")

KEYS = """
const [number, done] = arguments, times = [], bench = document.getElementById("bench");
const frame = () => new Promise((next) => requestAnimationFrame(next));
let keys = 0, refused = 0, decided = 0;
const press = (key) => { keys++; document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })); };
// A person decides what is on the page, by one key: none, or the number of micronuclei where the truth has some.
async function one() {
  while (document.body.dataset.ready !== "true") await frame();
  const shown = bench.dataset.shown, cell = mnbatch.cells.find((one) => one.id === shown), start = performance.now();
  press(TRUTH.has(Number(cell.id.slice(-9, -4))) ? "1" : "n");
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
  done({ times, keys, refused, decided });
})();
"""
TILES = """
const done = arguments[0], all = [...document.querySelectorAll(".tile")];
const tiles = all.filter((tile) => tile.getBoundingClientRect().top < innerHeight);
done([tiles.length, tiles.filter((tile) => tile.hasAttribute("data-wait")).length]);
"""
SCROLL = """
const done = arguments[0], frames = [];
let last = performance.now(), left = 120;
function frame(now) {
  frames.push(now - last); last = now;
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


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--queue", type=int, default=360, help="decisions")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store, seconds, with_mn = make(Path(name) / "out", asked.cells)
        folder = store.paths.slide("slide").root
        page = folder / "gallery.html"
        files = [page, *(folder / "gallery").iterdir()]
        raw = sum((folder / "g1" / file).stat().st_size for file in ("crops.bin", "maps.bin"))
        weight = sum(file.stat().st_size for file in files)
        print(f"{asked.cells} cells; all reports of the slide made in {seconds:.1f} s")
        print(
            f"page {weight / 1e6:.1f} MB in {len(files)} files, crops and maps {raw / 1e6:.1f} MB: {weight / raw:.3f}"
        )
        measure(page, asked.queue, with_mn)


def measure(page: Path, queue: int, with_mn: list[int]) -> None:
    """Open the page five times, scroll it, and review `queue` cells of it as fast as the page lets.

    Args:
        with_mn: numbers of the cells that have a micronucleus.
    """
    driver = browser()
    try:
        paints = []
        for _ in range(5):
            driver.get(page.as_uri())
            script = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            while driver.execute_script(script) is None:
                time.sleep(0.05)
            ready = driver.execute_script("return performance.timing.domComplete - performance.timing.navigationStart")
            paints.append((driver.execute_script(script), ready))
        first, ready = np.median(np.array(paints, float), axis=0)
        print(f"first paint {first:.0f} ms, page ready {ready:.0f} ms (median of 5)")
        shown, empty = driver.execute_async_script(TILES)
        print(f"tiles in the window {shown}, of these without a picture {empty}")
        frames = np.array(driver.execute_async_script(SCROLL))
        print(f"scrolling: median {np.median(frames):.0f} ms a frame, 95 % below {np.percentile(frames, 95):.0f} ms")
        field = driver.find_element("id", "reviewer")
        field.send_keys("benchmark\n")
        driver.find_element("css selector", "body").send_keys("r")
        found = driver.execute_async_script(KEYS.replace("TRUTH", f"new Set({with_mn})"), queue)
        keys = np.array(found["times"])
        print(
            f"{found['decided']} decisions with {found['keys']} keys ({found['keys'] / found['decided']:.2f} each), "
            f"{found['refused']} refused; key to next picture: median {np.median(keys):.0f} ms, "
            f"95 % below {np.percentile(keys, 95):.0f} ms, longest {keys.max():.0f} ms"
        )
        late = int((keys > 1000).sum())
        print(
            f"at one a second {found['decided']} decisions take {found['decided']} s; "
            f"{late} pictures came later than that"
        )
        print(f"elements in the document: {driver.execute_script('return document.getElementsByTagName(`*`).length')}")
        driver.execute_script("localStorage.clear()")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()

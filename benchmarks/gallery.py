"""The gallery page of a slide with many cells in Chromium: first paint, key to screen, scrolling, and what it weighs.

    python benchmarks/gallery.py --cells 5000

Opened from disk, headless, no GPU. Key to screen: from the key event to the frame after the one in which the next cell
of the queue is drawn (two animation frames), the crop decoded. Weight: all files of the page against crops.bin and
maps.bin.
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
const done = arguments[1], times = [];
async function one() {
  const start = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "n", bubbles: true }));
  await document.querySelector("#plain img").decode().catch(() => {});
  await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
  times.push(performance.now() - start);
}
(async () => { for (let i = 0; i < arguments[0]; i++) await one(); done(times); })();
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
    driver.set_script_timeout(120)
    return driver


def make(folder: Path, cells: int) -> tuple[Store, float]:
    """A store with one slide, and the seconds that its report took."""
    store, rng = Store(folder), np.random.default_rng(1)
    truth = rng.random(cells) < 0.03
    add_slide(store, "slide", "D01", scores_of(truth, rng), truth, pictures("fluorescence", 1))
    start = time.perf_counter()
    build_reports(store, ReportOptions())
    return store, time.perf_counter() - start


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        store, seconds = make(Path(name) / "out", asked.cells)
        folder = store.paths.slide("slide").root
        page = folder / "gallery.html"
        files = [page, *(folder / "gallery").iterdir()]
        raw = sum((folder / "g1" / file).stat().st_size for file in ("crops.bin", "maps.bin"))
        weight = sum(file.stat().st_size for file in files)
        print(f"{asked.cells} cells; all reports of the slide made in {seconds:.1f} s")
        print(
            f"page {weight / 1e6:.1f} MB in {len(files)} files, crops and maps {raw / 1e6:.1f} MB: {weight / raw:.3f}"
        )
        measure(page)


def measure(page: Path) -> None:
    """Open the page five times, review 100 cells of it, and scroll it."""
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
        frames = np.array(driver.execute_async_script(SCROLL))
        print(f"scrolling: median {np.median(frames):.0f} ms a frame, 95 % below {np.percentile(frames, 95):.0f} ms")
        field = driver.find_element("id", "reviewer")
        field.send_keys("benchmark\n")
        driver.find_element("css selector", "body").send_keys("r")
        keys = np.array(driver.execute_async_script(KEYS, 100))
        print(f"key to screen: median {np.median(keys):.0f} ms, 95 % below {np.percentile(keys, 95):.0f} ms (100 keys)")
        print(f"elements in the document: {driver.execute_script('return document.getElementsByTagName(`*`).length')}")
        driver.execute_script("localStorage.clear()")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()

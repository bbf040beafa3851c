"""How fast the batch page of an OUT of thousands of slides opens and sorts in Chromium.

    python benchmarks/report_scale.py --slides 5000 --cells 20 --out FOLDER
    python benchmarks/batch_page.py FOLDER [--repeats 3]

Opening is from the start of navigation to the `load` event and the next frame; sorting from the click to the next
frame. On a busy machine these say little: the last columns are processor time of the page's main thread alone (CDP,
`threadTicks`). Chromium and its driver must be installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

FRAME = "const done = arguments[arguments.length - 1]; requestAnimationFrame(() => setTimeout(done, 0));"
CLICK = """
const done = arguments[arguments.length - 1], begun = performance.now();
document.querySelectorAll("#slide-table button.sort")[arguments[0]].click();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun), 0));
"""


def open_and_sort(page: Path, repeats: int) -> list[float]:
    """Median seconds to open the page, and to sort its slides by a number; the same of the main thread alone."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as browser:
        browser.set_script_timeout(1000)
        browser.command_executor._client_config.timeout = 1000
        browser.get("data:text/html,warm")
        browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        measured: list[tuple[float, ...]] = []
        for _ in range(repeats):
            before, begun = busy(browser), time.perf_counter()
            browser.get(page.as_uri())
            browser.execute_async_script(FRAME)
            opened, between = time.perf_counter() - begun, busy(browser)
            clicked = [browser.execute_async_script(CLICK, column) / 1000 for column in (3, 6)]
            sorting = (busy(browser) - between) / len(clicked)
            # Where the page has a process of its own, its count begins anew.
            opening = between - before if between > before else between
            measured.append((opened, statistics.mean(clicked), opening, sorting))
        return [statistics.median(values) for values in zip(*measured, strict=True)]


def busy(browser: Any) -> float:
    """Seconds of processor time of the page's main thread."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    page = (arguments.out / "index.html").resolve()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    opened, sorted_, *busy_for = open_and_sort(page, arguments.repeats)
    print(f"page of {len(list((arguments.out / 'slides').iterdir()))} slides, {page.stat().st_size / 1e6:.1f} MB")
    print(f"opens in {opened:.2f} s (main thread {busy_for[0]:.2f}), sorts in {sorted_:.2f} s ({busy_for[1]:.2f})")


if __name__ == "__main__":
    main()

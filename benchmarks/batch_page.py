"""How fast the batch page of thousands of slides opens and sorts in Chromium, with its tables in pages and whole.

    python benchmarks/batch_page.py [--slides 5000] [--repeats 3]

The rows are made up; the page is rendered as reports render it. Opening is from the start of navigation to the `load`
event and the next frame; sorting from the click to the next frame. On a busy machine these say little: the last columns
are processor time of the page's main thread alone (CDP, `threadTicks`). Chromium and its driver must be installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnbatch.assay.calls import Frequency
from mnbatch.assay.intervals import clopper_pearson
from mnbatch.report import rendering, views
from mnbatch.report.headline import Headline
from mnbatch.report.views import IndexPage, RowView

FRAME = "const done = arguments[arguments.length - 1]; requestAnimationFrame(() => setTimeout(done, 0));"
CLICK = """
const done = arguments[arguments.length - 1], begun = performance.now();
document.querySelectorAll("#slide-table button.sort")[arguments[0]].click();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun), 0));
"""


def made_up_row(rng: np.random.Generator, name: str, href: str, **more: Any) -> RowView:
    """A row with a reviewed frequency."""
    cells, mnbn = 1000, int(rng.binomial(1000, 0.01))
    low, high = (1000 * end for end in clopper_pearson(mnbn, cells))
    headline = Headline(kind="reviewed", per_1000=float(mnbn), low=low, high=high, trust="", called=mnbn, cells=cells)
    frequency = Frequency(bn_cells=cells, mnbn_cells=mnbn, per_1000=float(mnbn), ci_low=low, ci_high=high)
    excluded, flagged = map(int, rng.integers(50, size=2))
    return RowView(name, href, "done", "", frequency, excluded, flagged, headline=headline, **more)


def made_up_page(slides: int, rows_a_page: int) -> IndexPage:
    """The page of a batch of so many slides, five a donor."""
    rng = np.random.default_rng(1)
    donors = [made_up_row(rng, f"D{i:04d}", f"donors/D{i:04d}/index.html", slides=5) for i in range(slides // 5)]
    rows = [
        made_up_row(
            rng, f"slide{i:05d}", f"slides/slide{i:05d}/index.html", place=f"D{i // 5:04d}/slide{i:05d}",
            donor=f"D{i // 5:04d}", donor_href=f"donors/D{i // 5:04d}/index.html",
        )
        for i in range(slides)
    ]  # fmt: skip
    scale = views.scale_of([*rows, *donors])
    marked = [[_marked(row, scale) for row in table] for table in (donors, rows)]
    return IndexPage(
        lede="Made up.", failures_text="", failures=(), failures_open=5, waiting_text="", waiting=(), warnings_text="",
        warnings=(), facts=(), scale=scale, donors=tuple(marked[0]), slides=tuple(marked[1]), show_dose=False,
        copies=(), models=(), provenance=(), rows_a_page=rows_a_page,
    )  # fmt: skip


def _marked(row: RowView, scale: Any) -> RowView:
    place, spoken = views.mark(row.headline, scale)
    return replace(row, mark=place, spoken=spoken)


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
    parser.add_argument("--slides", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    title = f"page of {arguments.slides} slides"
    print(f"{title:>24} {'MB':>6} {'opens, s':>9} {'sorts, s':>9} {'CPU':>7} {'CPU':>7}")
    with tempfile.TemporaryDirectory(prefix="mnbatch-batch-page-") as name:
        for way, rows in (("in pages", views.ROWS_A_PAGE), ("whole", 10**9)):
            path = Path(name) / "index.html"
            data = rendering.render_index(made_up_page(arguments.slides, rows), "stamp")
            path.write_bytes(data)
            opened, sorted_, *busy_for = open_and_sort(path, arguments.repeats)
            print(
                f"{way:>24} {len(data) / 1e6:6.1f} {opened:9.2f} {sorted_:9.2f} {busy_for[0]:7.2f} {busy_for[1]:7.2f}"
            )


if __name__ == "__main__":
    main()

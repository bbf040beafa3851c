"""Three people from start to end: the scorer at the bench, the operator in the shell, the physician at the pages.

    python benchmarks/people_walk.py FOLDER [--browser NAME]

From the root of the checkout, with it in PYTHONPATH. The batch is that of page_walk.py, in FOLDER; each walk has a
copy of it. What is expected is asserted; pictures of the steps are kept in FOLDER/people.

The scorer opens a real `mnbatch review serve`, decides, corrects, loses the server to SIGKILL, sees the banner and that
no key decides, finds all decisions when it is back at the same address, and a third person ends the differences of two.
The operator asks status, acknowledges the failed slide and asks again, also with OUT read-only and stdout full. The
physician goes from the batch's page by links to a donor, to the sheet, and prints.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs_pictures import PRESS, READY, settle
from page_walk import prepared

from mnbatch.results.store import Store
from mnbatch.review.trail import read_trail
from tests.browsers import BROWSERS, picture_of, printed, set_view

LAPTOP, PHONE = (1366, 768), (375, 667)
SLIDE = "D02-a"
SAVED = "!mnbatch.save.fresh().length"
MOST = 60
"""More cells than any two of the batch's reviewers differ on."""
BANNER = "!document.getElementById('banner').hidden"


def check(said: str, right: bool) -> None:
    """A line of the report; the walk ends where something is not as it should be."""
    print(f"  {'as expected' if right else 'WRONG'}: {said}", flush=True)
    if not right:
        raise SystemExit(1)


def mnbatch(*arguments: object, stdout: str = "") -> tuple[int, str]:
    """Exit code and all that a command says."""
    command = [sys.executable, "-m", "mnbatch", *map(str, arguments)]
    with contextlib.ExitStack() as files:
        to = files.enter_context(open(stdout, "w")) if stdout else subprocess.PIPE
        done = subprocess.run(command, stdout=to, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, (done.stdout or "") + done.stderr


@contextlib.contextmanager
def serving(out: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A real `mnbatch review serve` and its address; ended with SIGKILL."""
    command = [sys.executable, "-u", "-m", "mnbatch", "review", "serve", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                address = next((word for word in line.split() if word.startswith("http://127.0.0.1")), None)
                if address is not None:
                    yield process, address
                    break
            else:
                raise SystemExit("review serve ended without an address")
        finally:
            process.send_signal(signal.SIGKILL)


def key(browser: Any, name: str) -> str:
    """Press a key as soon as the page takes keys; returns the cell that was on the page."""
    settle(browser, READY)
    cell = str(browser.execute_script("return document.getElementById('bench').dataset.shown"))
    browser.execute_script(f"{PRESS} press('{name}');")
    return cell


def sit_down(browser: Any, address: str, name: str, mode: str) -> None:
    """A person at the gallery of the slide."""
    browser.get("about:blank")
    browser.get(address.replace("index.html", f"slides/{SLIDE}/gallery.html#{mode}"))
    browser.execute_script(
        "const field = document.getElementById('reviewer'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('change'));",
        name,
    )
    settle(browser, f"mnbatch.state.reviewer === '{name}' && {READY}")


def scorer(browser: Any, out: Path, keep: Any) -> None:
    """Decide, correct, lose the server, go on, adjudicate."""
    store = Store(out)
    before = len(read_trail(store.paths, SLIDE).entries)
    set_view(browser, LAPTOP)
    with serving(out) as (process, address):
        sit_down(browser, address, "Cy Test", "review")
        first = key(browser, "n")
        key(browser, "1")
        key(browser, "u")
        settle(browser, READY)
        browser.execute_script("[...document.querySelectorAll('#echo button')].at(-1).click()")
        check("a click on the first decision shows its cell again", key(browser, "x") == first)
        settle(browser, f"{READY} && {SAVED}")
        entries = read_trail(store.paths, SLIDE).entries
        check(
            f"{len(entries) - before} lines in OUT's trail for 3 decisions and a correction", len(entries) - before == 4
        )
        check(
            "the correction is the last word on that cell",
            (entries[-1].cell_id, entries[-1].decision) == (first, "not_scorable"),
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        lost = key(browser, "n")
        settle(browser, BANNER)
        browser.execute_script(f"{PRESS} press('n'); press('n');")
        decided = browser.execute_script(
            "return mnbatch.state.rows().filter((row) => row.reviewer === 'Cy Test').length"
        )
        check("the server was killed: the banner stands, and keys decide nothing more", decided == 4)
        box = browser.execute_script("return document.getElementById('banner').getBoundingClientRect().toJSON()")
        check("the banner is in the window of a laptop", box["top"] >= 0 and box["bottom"] <= LAPTOP[1])
        keep("scorer-banner")
        set_view(browser, PHONE, dark=True)
        settle(browser, "true")
        box = browser.execute_script("return document.getElementById('banner').getBoundingClientRect().toJSON()")
        check("and in that of a phone", box["top"] >= 0 and box["bottom"] <= PHONE[1])
        keep("scorer-banner-phone")
        set_view(browser, LAPTOP)
    with serving(out) as (_, again):
        check("the server is back at the same address", again == address)
        settle(browser, f"!({BANNER}) && {SAVED}")
        entries = read_trail(store.paths, SLIDE).entries
        check("what was decided without a server is in the trail now", [e.cell_id for e in entries].count(lost) > 2)
        sit_down(browser, again, "Di Third", "differences")
        label = "document.getElementById('differ-label').textContent"
        keep("scorer-differences")
        ended = set()
        while len(ended) < MOST and browser.execute_script(f"return {label}") != "Differences (0)":
            ended.add(key(browser, "n"))
        settle(browser, f"{label} === 'Differences (0)' && {SAVED}")
        check(f"a third person ended {len(ended)} differences", len(ended) > 0)
        browser.execute_script("document.getElementById('finish').click()")
        settle(browser, "document.getElementById('saved').textContent.length > 0")
        keep("scorer-finished")
        browser.execute_script("localStorage.clear(); window.onbeforeunload = null;")
        browser.get("about:blank")
    check("OUT is whole", mnbatch("verify", out)[0] == 0)


def operator(out: Path) -> None:
    """Status, acknowledge, status; a full disk behind stdout; OUT read-only."""
    code, said = mnbatch("status", out, "--quiet")
    check(f"status: {said.strip()} (exit {code})", code == 3 and "1 slide failed" in said)
    code, said = mnbatch("ack", out, "--slide", "D05-a", "--reason", "no slide left", stdout="/dev/full")
    check("ack with a full stdout is done, exit 0", code == 0)
    code, said = mnbatch("status", out, "--quiet")
    check(f"status: {said.strip()} (exit {code})", code == 0)
    check("status with a full stdout is no success", mnbatch("status", out, stdout="/dev/full")[0] != 0)
    code, said = mnbatch("report", out)
    check(f"report, exit {code}: all that fails is acknowledged", code == 0)


def physician(browser: Any, out: Path, keep: Any) -> None:
    """From the batch to a donor, to the sheet, to paper; by the links that are there."""
    set_view(browser, LAPTOP)
    browser.get((out / "index.html").as_uri())
    browser.execute_script(
        "[...document.querySelectorAll('#donors ~ * a, a')].find((a) => a.textContent === 'D03').click()"
    )
    settle(browser, "document.querySelector('h1').textContent === 'D03'")
    words = browser.execute_script("return document.querySelector('.answers').innerText")
    asked = ("Exposed?", "How much?", "How sure?", "Reviewed by whom?")
    check("the donor's first screen answers four questions", all(question in words for question in asked))
    box = browser.execute_script("return document.querySelector('.answers').getBoundingClientRect().bottom")
    check("within the window of a laptop", box <= LAPTOP[1])
    keep("physician-donor")
    browser.execute_script(
        "[...document.querySelectorAll('a')].find((a) => a.textContent === 'report for print').click()"
    )
    settle(browser, "location.pathname.endsWith('sheet.html')")
    words = browser.execute_script("return document.body.innerText")
    check(
        "the sheet states laboratory, dose and limits",
        all(w in words for w in ("Institute of Examples", "1.67 Gy", "95 %")),
    )
    keep("physician-sheet")
    pdf = printed(browser)
    check(f"printed: a PDF of {len(pdf) / 1000:.0f} kB", pdf.startswith(b"%PDF"))
    browser.get("about:blank")


def main() -> None:
    """Walk with each browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--browser", choices=BROWSERS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    store = prepared(asked.folder)
    views = asked.folder / "people"
    views.mkdir(exist_ok=True)
    os.environ.pop("DISPLAY", None)
    copy = asked.folder / "people-out"
    for name, start in BROWSERS.items():
        if asked.browser not in (None, name):
            continue
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(store.paths.root, copy)
        with start() as browser:
            keep = lambda step: (views / f"{step}-{name}.png").write_bytes(picture_of(browser))  # noqa: E731, B023
            print(f"{name}: the scorer", flush=True)
            scorer(browser, copy, keep)
            print(f"{name}: the physician", flush=True)
            physician(browser, copy, keep)
    print("the operator", flush=True)
    operator(copy)
    shutil.rmtree(copy)


if __name__ == "__main__":
    main()

"""PDFs of the batch page and of donors' reports for print, by an installed browser without a window."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnbatch.errors import MnbatchError, UsageError
from mnbatch.files import write_atomically
from mnbatch.intake import read_bytes
from mnbatch.results.out_files import storage_errors
from mnbatch.results.paths import OutPaths

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "msedge",
    "chrome",
)
"""Names under which Chromium and its kin are on the PATH; Firefox makes no PDF without a window."""
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-pdf-header-footer")
"""The pages hold nothing that runs but our own scripts (content security policy by hash), and load nothing."""
SECONDS = 300.0
"""That a page may take: a donor's gallery has thousands of pictures, and machines are slow at night."""


class NoPdfError(MnbatchError):
    """The browser made no PDF."""

    exit_code = 10


def find_browser() -> str:
    """Path of the first browser of `BROWSERS` that is installed.

    Raises:
        UsageError: there is none.
    """
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise UsageError(
        f"--pdf needs a browser, and none of {', '.join(BROWSERS)} is on the PATH.",
        "Install Chromium or Chrome (on Debian: apt-get install chromium), or print the pages from a browser.",
    )


def pages_of(paths: OutPaths) -> Iterator[Path]:
    """Pages of which a PDF is made: the batch's, and each donor's report for print."""
    yield paths.index
    yield from sorted(paths.donors.glob("*/sheet.html"))


def write_pdfs(paths: OutPaths, browser: str) -> tuple[Path, ...]:
    """Make a PDF next to each page; those that are there already are of the same page (a new page removes its PDF).

    Raises:
        NoPdfError: the browser failed; says at which page.
        StorageError: a PDF cannot be written.
    """
    written = []
    with tempfile.TemporaryDirectory(prefix="mnbatch-pdf-") as scratch:
        for page in pages_of(paths):
            target = page.with_suffix(".pdf")
            if not target.exists():
                data = _print(browser, page, Path(scratch))
                with storage_errors(target):
                    write_atomically(target, data)
            written.append(target)
    return tuple(written)


def _print(browser: str, page: Path, scratch: Path) -> bytes:
    made = scratch / "page.pdf"
    made.unlink(missing_ok=True)
    command = [browser, *FLAGS, f"--user-data-dir={scratch / 'profile'}", f"--print-to-pdf={made}"]
    try:
        done = subprocess.run(
            [*command, page.resolve().as_uri()],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
    except (OSError, subprocess.TimeoutExpired) as error:
        why = [str(error)[:300]]
    data = b""
    with contextlib.suppress(OSError):
        data = read_bytes(made)
    if not data.startswith(b"%PDF") or b"%%EOF" not in data[-1024:]:
        raise NoPdfError(f"{browser} made no PDF of {page}: {why[0][:300]}.", "Print the page from a browser's window.")
    return data

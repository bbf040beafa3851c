"""PDFs by an installed browser, and what is said where there is none or where it fails."""

import os
import stat
from pathlib import Path

import pytest

from mnbatch.app import pdf_export
from mnbatch.report.build import ReportOptions, build_reports
from mnbatch.results.store import Store
from tests.in_process import mnbatch
from tests.report.conftest import add_slide


@pytest.fixture
def out(tmp_path: Path) -> Store:
    store = Store(tmp_path / "out")
    add_slide(store, "a1", [0.9, *[0.1] * 9], keep_crops=False)
    build_reports(store, ReportOptions(gallery=0), {})
    return store


def browser_that(folder: Path, script: str) -> Path:
    """A chromium of our own on the PATH."""
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_browser_nothing_is_made_and_the_message_says_what_to_install(out, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = mnbatch("report", out.paths.root, "--pdf")
    assert done.returncode == 2
    assert "none of chromium" in done.stderr
    assert "Install Chromium" in done.stderr


def test_a_page_that_changed_loses_its_pdf_and_gets_a_new_one(out, tmp_path, monkeypatch):
    place = tmp_path / "bin"
    place.mkdir()
    script = 'for a; do case "$a" in --print-to-pdf=*) printf "%%PDF-1.4 %%%%EOF" > "${a#--print-to-pdf=}";; esac; done'
    browser_that(place, script)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    done = mnbatch("report", out.paths.root, "--pdf", "--gallery", "0")
    assert done.returncode == 0, done.stderr
    assert "PDFs: 2" in done.stdout
    (sheet,) = out.paths.donors.glob("*/sheet.pdf")
    assert sheet.read_bytes().startswith(b"%PDF")
    build_reports(out, ReportOptions(gallery=0), {"a1": {"donor": "D1", "sex": "f"}})
    assert not sheet.exists()
    assert not (out.paths.root / "index.pdf").exists()


@pytest.mark.parametrize("script", ["exit 1", "exit 0", 'echo "no display" >&2; exit 3'])
def test_a_browser_that_fails_is_an_error_and_leaves_no_pdf(out, tmp_path, monkeypatch, script):
    path = browser_that(tmp_path, script)
    with pytest.raises(pdf_export.NoPdfError, match="made no PDF of"):
        pdf_export.write_pdfs(out.paths, str(path))
    assert not list(out.paths.root.rglob("*.pdf"))

"""What another machine reads must be what was planned: scores are kept under the planned sizes and times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mnbatch.assay.cells import Slide, SourceFile
from mnbatch.imaging.discovery import find_slides
from mnbatch.pipeline.same_files import other_file
from tests.in_process import mnbatch
from tests.pipeline.conftest import results_without_times


@pytest.fixture
def slide(export: Path) -> Slide:
    return next(iter(find_slides(export, layout="donor-slide-folders")))


def test_the_planned_files_are_the_same(slide: Slide) -> None:
    assert other_file(slide) == ""


def test_another_size_or_time_is_another_file(slide: Slide) -> None:
    first, second = (slide.root / file.path for file in slide.files[:2])
    first.write_bytes(first.read_bytes() + b"\0")
    os.utime(first, ns=(0, slide.files[0].mtime_ns))
    assert f"{slide.files[0].path} has {slide.files[0].size + 1} bytes of " in other_file(slide)
    first.write_bytes(first.read_bytes()[:-1])
    os.utime(first, ns=(0, slide.files[0].mtime_ns + 2 * 10**9))
    assert other_file(slide) == ""  # two ways to one share may differ so much
    os.utime(second, ns=(0, slide.files[1].mtime_ns - 3 * 10**9))
    assert other_file(slide).startswith(slide.files[1].path)
    os.utime(second, ns=(0, -(10**18)))
    assert "bytes of 1938-" in other_file(slide)


def test_a_file_that_is_gone_or_was_never_examined_is_no_other(slide: Slide) -> None:
    (slide.root / slide.files[0].path).unlink()
    assert other_file(slide) == ""
    unseen = Slide("s", "s", "s", None, slide.root, (SourceFile(slide.files[1].path, 0, 0),), "flat-files")
    assert other_file(unseen) == ""


def test_a_job_on_a_machine_that_sees_another_export_scores_nothing(export: Path, models, tmp_path: Path) -> None:
    """Scores of other pictures stayed: no later run found anything changed."""
    out, plan, kept = tmp_path / "out", tmp_path / "plan.json", tmp_path / "kept"
    arguments = [export, "--layout", "donor-slide-folders", "--model", models["one"], "--device", "cpu"]
    plan.write_text(mnbatch("run", *arguments, "--out", out, "--plan-only", "--json").stdout)
    shutil.copytree(export, kept)
    for name in ("D1/A", "D1/B"):
        for path in (export / name).iterdir():
            shutil.copy(export / "D2/A" / path.name, path)
    done = mnbatch("score", out, "--slides", plan)
    said = " ".join(done.stderr.split())
    assert (done.returncode, done.stdout) == (3, "slides: 2 scored, 2 failed\n"), done.stderr
    assert "A is not scored: its files changed after the plan was made, or another export lies under its path" in said
    assert mnbatch("report", out, "--min-cells", 1).returncode == 3
    shutil.rmtree(export)
    shutil.copytree(kept, export)
    assert mnbatch("run", *arguments, "--out", out).returncode == 0
    plain = tmp_path / "plain"
    assert mnbatch("run", *arguments, "--out", plain).returncode == 0
    assert results_without_times(out) == results_without_times(plain)

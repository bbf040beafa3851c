"""A run whose streams are closed or full is done all the same, and OUT is whole; names with line ends are counted."""

from __future__ import annotations

import csv
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.in_process import mnbatch
from tests.pipeline.conftest import write_random_model, write_slide

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("streams")
    write_slide(root / "export/D1/A", 1)
    write_random_model(root / "model", 1, ("fluorescence", "giemsa"))
    return root


def command(given: Path, out: Path) -> list[str]:
    options = ["--model", str(given / "model"), "--layout", "donor-slide-folders", "--min-cells", "1"]
    return ["run", str(given / "export"), "--out", str(out), *options, "--device", "cpu", "--workers", "1"]


def counted(out: Path) -> dict[str, str]:
    rows = csv.DictReader((out / "donors.csv").read_text(encoding="utf-8-sig").splitlines())
    return {row["donor"]: row["bn_cells"] for row in rows}


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_a_run_with_closed_or_full_streams_is_done_and_out_is_whole(given, tmp_path, streams) -> None:
    out = tmp_path / "out"
    typed = shlex.join([sys.executable, "-m", "mnbatch", *command(given, out)])
    ended = subprocess.run(["sh", "-c", f"{typed} {streams}"], capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    if streams == ">/dev/full":
        assert b"The work is done; it would have printed:\nslides: 1 in OUT, 1 done, 0 failed" in ended.stderr
    assert counted(out) == {"D1": "6"}
    assert mnbatch("verify", out).returncode == 0


def test_a_carriage_return_in_a_file_name_is_counted_every_time(given, tmp_path) -> None:
    export, out = tmp_path / "export", tmp_path / "out"
    write_slide(export / "D1/A", 1)
    write_slide(export / "D2/line\rend", 2)
    (export / "D1/A/cell_000.png").rename(export / "D1/A/cell\r000.png")
    (export / "D1/A/cell_001.png").rename(export / 'D1/A/=1\r\n2,3".png')
    argv = command(given, out)
    argv[1] = str(export)
    for again in ([], ["--verify"]):
        done = mnbatch(*argv, *again)
        assert done.returncode == 0, done.stderr
        assert counted(out) == {"D1": "6", "D2": "6"}
    before = {path: path.read_bytes() for path in sorted(out.rglob("*.csv"))}
    assert mnbatch("report", out, "--force").returncode == 0
    assert {path: path.read_bytes() for path in sorted(out.rglob("*.csv"))} == before
    (cells,) = out.glob("slides/D1-A*/cells.csv")
    with cells.open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


def tables_but_times(out) -> list[list[dict[str, str]]]:
    """Rows of both tables without `scored_at`: a slide that is scored again was scored later."""
    tables = []
    for name in ("donors.csv", "slides.csv"):
        with (out / name).open(encoding="utf-8-sig", newline="") as file:
            tables.append([row | {"scored_at": ""} for row in csv.DictReader(file)])
    return tables


def test_a_damaged_record_is_listed_under_its_donor_and_scored_again(given, tmp_path) -> None:
    out = tmp_path / "out"
    argv = command(given, out)
    assert mnbatch(*argv).returncode == 0
    before = tables_but_times(out)
    (record,) = out.glob("slides/*/record.json")
    whole = record.read_bytes()
    record.write_bytes(whole.replace(b'"cells": 6', b'"cells": 7'))
    done = mnbatch("report", out)
    assert done.returncode == 3
    assert "damaged" in done.stdout
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["donor"], row["status"], row["bn_cells"]) == ("D1", "failed", "")
    record.write_bytes(whole[: len(whole) // 2])
    assert mnbatch("report", out).returncode == 3
    assert mnbatch(*argv).returncode == 0
    assert tables_but_times(out) == before
    assert os.listdir(record.parent).count("record.json") == 1

"""Microscopes' own files from scan and run to the table: the count of the same fields as TIFF, or a failed slide.

Files are read in worker processes, with their limits of time and memory. None of the files came from a microscope.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from mnbatch.pipeline.run import run
from mnbatch.settings import ResolvedSettings
from tests.imaging.vendor_samples import write_lif, write_nd2, write_plate, write_zarr
from tests.in_process import mnbatch
from tests.pipeline.test_fields import paint

UM = 0.325
FIELDS = 2


def stack() -> np.ndarray:
    """(field, time, channel, plane, height, width): the second channel shows nuclei, the first something else."""
    shown = np.stack([paint(seed) for seed in range(FIELDS)])
    other = np.stack([np.rot90(field, 2) for field in shown])
    return np.ascontiguousarray(np.stack([other, shown], axis=1)[:, None, :, None])


def put_nd2(root: Path) -> None:
    write_nd2(root / "S/a.nd2", stack(), um=UM, names=("FITC", "DAPI"))


def put_lif(root: Path) -> None:
    fields = {f"Position {i + 1}": field[None] for i, field in enumerate(stack())}
    write_lif(root / "S/a.lif", fields, um=UM, dyes=("FITC", "DAPI"))


def put_zarr(root: Path) -> None:
    for i, field in enumerate(stack()):
        write_zarr(root / f"S/f{i}.zarr", field, version=2 + i, chunks=256, um=UM, names=("FITC", "DAPI"))


def put_plate(root: Path) -> None:
    write_plate(root / "S/P.zarr", {"A/01": list(stack())}, chunks=256, um=UM, names=("FITC", "DAPI"))


FORMATS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "nd2": ("nd2", put_nd2),
    "lif": ("liffile", put_lif),
    "zarr": ("zarr", put_zarr),
    "plate": ("zarr", put_plate),
}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_fields_give_the_same_count(
    settings: Callable[..., ResolvedSettings], tmp_path: Path, name: str
) -> None:
    package, put = FORMATS[name]
    pytest.importorskip(package, reason=f"{name} needs {package}: pip install 'mnbatch[vendor]'")
    # `export` is made by the fixture of `settings`.
    export = tmp_path / "vendor"
    put(export)
    scanned = mnbatch("scan", export)
    head, *lines = [line.split("\t") for line in scanned.stdout.splitlines()]
    (row,) = [dict(zip(head, line, strict=True)) for line in lines]
    shown = [row[column] for column in ("kind", "cells", "pixels", "um_per_pixel")]
    assert shown == ["fields", "2", "600 x 600 uint16 grey", "0.325"], scanned.stderr
    assert "2 channels" in row["pages"]
    assert "channel 2 (DAPI)" in row["pages"]
    assert scanned.returncode == 0
    outcome = run(settings(export=export, layout="folder-per-slide"))
    (counted,) = rows(tmp_path / "out")
    assert (outcome.exit_code, counted["status"], counted["fields"], counted["bn_cells"]) == (0, "done", "2", "10")
    again = run(settings(export=export, layout="folder-per-slide"))
    assert (again.scored, len(again.kept)) == ([], 1)


def test_torn_files_fail_their_slides_and_no_other(settings: Callable[..., ResolvedSettings], tmp_path: Path) -> None:
    for package, put in FORMATS.values():
        pytest.importorskip(package, reason=f"needs {package}: pip install 'mnbatch[vendor]'")
        put(tmp_path / "whole")
    export = tmp_path / "torn"
    for name, file in (("nd2", "a.nd2"), ("lif", "a.lif")):
        data = (tmp_path / "whole/S" / file).read_bytes()
        for kind, torn in (("empty", b""), ("half", data[: len(data) // 3]), ("head", data[:60])):
            (export / f"{name}_{kind}").mkdir(parents=True)
            (export / f"{name}_{kind}" / file).write_bytes(torn)
        # One of two files is enough: how many fields it held is not known.
        (export / f"{name}_beside").mkdir()
        (export / f"{name}_beside" / f"b_{file}").write_bytes(data)
        (export / f"{name}_beside" / file).write_bytes(data[: len(data) // 3])
    put_zarr(export)
    for torn_chunk in (export / "S").rglob("c/0/1/0/0/0"):
        torn_chunk.unlink()
    for torn_chunk in (export / "S").rglob("0.1.0.0.0"):
        torn_chunk.write_bytes(torn_chunk.read_bytes()[:100])
    (export / "good").mkdir()
    tifffile.imwrite(export / "good/f.tif", paint(0))
    assert mnbatch("scan", export).returncode == 3
    outcome = run(settings(export=export, input="fields", layout="folder-per-slide"))
    assert outcome.exit_code == 3
    statuses = {row["slide"]: row["status"] for row in rows(tmp_path / "out")}
    assert statuses.pop("good") == "done"
    assert len(statuses) == 9
    assert set(statuses.values()) == {"failed"}
    reasons = {row["slide"]: row["reason"] for row in rows(tmp_path / "out") if row["status"] == "failed"}
    assert "How many fields it holds is not known" in reasons["lif_beside"]
    assert "chunks are absent" in reasons["S"] or "OME-Zarr" in reasons["S"]


def test_a_question_fails_the_slide_with_the_option_that_answers_it(
    settings: Callable[..., ResolvedSettings], tmp_path: Path
) -> None:
    pytest.importorskip("liffile", reason="LIF needs liffile: pip install 'mnbatch[vendor]'")
    write_lif(tmp_path / "asked/S/a.lif", {"one": stack()[:1], "two": stack()[1:]}, um=UM)
    scanned = mnbatch("scan", tmp_path / "asked")
    assert scanned.returncode == 3
    assert "--nuclear-channel" in scanned.stdout
    assert run(settings(export=tmp_path / "asked", layout="folder-per-slide")).exit_code == 3
    answered = run(settings(export=tmp_path / "asked", layout="folder-per-slide", nuclear_channel="2"))
    assert (answered.exit_code, rows(tmp_path / "out")[0]["bn_cells"]) == (0, "10")

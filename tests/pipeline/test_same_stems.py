"""What differs in its extension alone is counted once where it is the same picture, and fails its slide otherwise."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mnbatch.pipeline.run import run
from tests.pipeline.conftest import write_slide


@pytest.fixture
def export(tmp_path: Path) -> Path:
    write_slide(tmp_path / "export/D1/A", seed=3)
    return tmp_path / "export"


def slides(out: Path) -> list[dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tif", "TIFF", "jpeg"])
def test_the_same_picture_under_another_extension_is_counted_once(
    settings,
    export: Path,
    tmp_path: Path,
    suffix: str,
) -> None:
    for path in sorted((export / "D1/A").glob("*.png")):
        picture = Image.open(path)
        if suffix.lower().startswith("tif"):
            tifffile.imwrite(path.with_suffix(f".{suffix}"), np.asarray(picture))
        else:
            picture.save(path.with_suffix(f".{suffix}"))
    outcome = run(settings(export=export, verify=True))
    assert outcome.exit_code == 0
    (row,) = slides(tmp_path / "out")
    assert int(row["bn_cells"]) + int(row["excluded_cells"]) == 6
    # Nothing changed: a preview's content is known, so that --verify scores nothing again.
    assert run(settings(export=export, verify=True)).scored == []


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_another_picture_under_the_same_stem_fails_its_slide(
    settings,
    export: Path,
    tmp_path: Path,
    suffix: str,
) -> None:
    write_slide(tmp_path / "other", seed=4, cells=1)
    other = export / f"D1/A/cell_002.{suffix}"
    Image.open(tmp_path / "other/cell_000.png").save(other)
    outcome = run(settings(export=export))
    assert outcome.exit_code == 3
    (row,) = slides(tmp_path / "out")
    assert row["status"] == "failed"
    assert (
        f"D1/A/cell_002.{suffix} differs from D1/A/cell_002.png in its extension alone, and shows something"
        in (row["reason"])
    )
    other.rename(export / f"D1/A/cell_2b.{suffix}")
    assert run(settings(export=export)).exit_code == 0
    (row,) = slides(tmp_path / "out")
    assert int(row["bn_cells"]) + int(row["excluded_cells"]) == 7


def test_a_namesake_that_cannot_be_read_fails_its_slide(settings, export: Path, tmp_path: Path) -> None:
    (export / "D1/A/cell_002.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    assert run(settings(export=export)).exit_code == 3
    assert "cannot be compared" in slides(tmp_path / "out")[0]["reason"]

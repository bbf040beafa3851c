"""OUT is bound to an export and a layout only when a slide was found there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnbatch.errors import NoInputError
from mnbatch.pipeline.run import run
from mnbatch.results.batch import read_batch
from mnbatch.results.paths import OutPaths
from tests.imaging.imaging_helpers import put


def test_a_layout_with_a_typing_error_does_not_stay_with_out(settings, tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "e", f"D1/S1/{number}.png", seed=number)
    with pytest.raises(NoInputError):
        run(settings(export=tmp_path / "e", layout="{donor}/{slide}/x_{cell}.png"))
    assert read_batch(OutPaths(tmp_path / "out")) is None
    run(settings(export=tmp_path / "e", layout="donor-slide-folders"))
    assert (tmp_path / "out" / "slides.csv").is_file()


def test_a_share_that_is_not_mounted_does_not_bind_out(settings, tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    with pytest.raises(NoInputError):
        run(settings(export=tmp_path / "e"))
    assert read_batch(OutPaths(tmp_path / "out")) is None

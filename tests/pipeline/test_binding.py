"""OUT is bound to an export and a layout only when a slide was found there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnbatch.errors import MismatchError, NoInputError, UsageError
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


@pytest.mark.parametrize("said", ["local:0", "nowhere", "missing.toml"])
def test_a_cluster_that_cannot_be_is_refused_before_out_is_bound(settings, tmp_path: Path, said: str) -> None:
    with pytest.raises(UsageError):
        run(settings(cluster=said))
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_refused_before_its_first_slide_does_not_keep_its_layout(settings, tmp_path: Path) -> None:
    """A wrong sample sheet is found after OUT is bound; the corrected command may correct the layout, too."""
    sheet = tmp_path / "samples.csv"
    sheet.write_text("slide,donor\nnowhere,D1\n")
    with pytest.raises(UsageError):
        run(settings(layout="{donor}/{slide}/{cell}.png", samples=sheet))
    assert read_batch(OutPaths(tmp_path / "out")) is not None
    run(settings())
    known = read_batch(OutPaths(tmp_path / "out"))
    assert known is not None
    assert known.layout == "donor-slide-folders"
    with pytest.raises(MismatchError):
        run(settings(layout="{donor}/{slide}/{cell}.png"))


def test_an_out_with_a_persons_work_keeps_what_it_is_bound_to(settings, tmp_path: Path) -> None:
    sheet = tmp_path / "samples.csv"
    sheet.write_text("slide,donor\nnowhere,D1\n")
    with pytest.raises(UsageError):
        run(settings(layout="{donor}/{slide}/{cell}.png", samples=sheet))
    (tmp_path / "out" / "annotations" / "laboratory.toml").write_text("")
    with pytest.raises(MismatchError):
        run(settings())


def test_another_export_takes_an_empty_out_but_under_pseudonyms(settings, export: Path, tmp_path: Path) -> None:
    """There OUT holds codes of names, and who typed a folder too many must hear it."""
    sheet = tmp_path / "samples.csv"
    sheet.write_text("slide,donor\nnowhere,D1\n")
    for out, coded in (("open", None), ("coded", True)):
        with pytest.raises(UsageError):
            run(settings(out=tmp_path / out, samples=sheet, pseudonymise=coded, layout="{donor}/{slide}/{cell}.png"))
    export.rename(tmp_path / "other")
    with pytest.raises(MismatchError):
        run(settings(out=tmp_path / "coded", export=tmp_path / "other", pseudonymise=True))
    done = run(settings(out=tmp_path / "open", export=tmp_path / "other"))
    assert len(done.scored) == 4

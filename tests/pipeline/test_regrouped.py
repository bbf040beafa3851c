"""Files that are grouped into other slides than before: no cell is counted under two slides of one OUT."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnbatch.errors import MismatchError
from mnbatch.pipeline.run import run
from mnbatch.results.store import Store


@pytest.fixture
def plate(new_slide, tmp_path: Path) -> Path:
    """Six crops of two wells in one folder."""
    new_slide(tmp_path / "plates" / "run", seed=5, cells=6)
    for i, path in enumerate(sorted((tmp_path / "plates" / "run").iterdir())):
        path.rename(path.with_name(f"B0{3 + i % 2}_s{i // 2}_w1.png"))
    return tmp_path / "plates"


def names_in(out: Path) -> list[str]:
    return [record.name for record in Store(out).records()]


@pytest.mark.parametrize("pseudonymise", [False, True])
def test_wells_do_not_join_the_whole_that_was_counted(settings, plate, tmp_path, pseudonymise) -> None:
    known = {"export": plate, "layout": "folder-per-slide", "input": "crops", "pseudonymise": pseudonymise}
    run(settings(**known, names="plain"))
    with pytest.raises(MismatchError, match="grouped into other slides"):
        run(settings(**known))


def test_the_whole_does_not_join_its_wells(settings, plate, tmp_path) -> None:
    known = {"export": plate, "layout": "folder-per-slide", "input": "crops"}
    run(settings(**known))
    assert names_in(tmp_path / "out") == ["run_B03", "run_B04"]
    with pytest.raises(MismatchError):
        run(settings(**known, names="plain"))


def test_a_slide_that_failed_for_its_names_is_forgotten(settings, plate, tmp_path) -> None:
    known = {"export": plate, "layout": "folder-per-slide", "input": "crops"}
    stray = plate / "run" / "stray.png"
    stray.write_bytes((plate / "run" / "B03_s0_w1.png").read_bytes()[:-1])
    assert run(settings(**known)).exit_code == 3
    assert names_in(tmp_path / "out") == ["run"]
    stray.unlink()
    assert run(settings(**known)).exit_code == 0
    assert names_in(tmp_path / "out") == ["run_B03", "run_B04"]

"""An OUT of a real run with slides that are done and one that failed for good, made once a module."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.operator_tools import Place
from tests.pipeline.conftest import write_random_model, write_slide


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Donor D1 with one slide, D2 with a slide that has nothing but damaged files and a good one."""
    place = Place(tmp_path_factory.mktemp("laboratory"))
    write_slide(place.export / "D1/A", 1)
    write_slide(place.export / "D2/B", 2)
    (place.export / "D2/C").mkdir()
    (place.export / "D2/C/cell_000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_random_model(place.model, 1, ("fluorescence", "giemsa"))
    done = place.run()
    assert done.returncode == 3, done.stderr
    return place


@pytest.fixture
def place(first: Place, tmp_path: Path) -> Place:
    """The same, to be changed: OUT and export are copies."""
    copied = Place(tmp_path)
    shutil.copytree(first.export, copied.export, copy_function=shutil.copy2)
    shutil.copytree(first.out, copied.out, copy_function=shutil.copy2)
    copied.model.symlink_to(first.model)
    return copied

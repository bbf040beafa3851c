"""A package of an extra that is absent is named with what brings it; no traceback."""

import sys

from mnbatch.errors import EXTRAS, missing_extra
from tests.in_process import mnbatch


def test_only_packages_of_extras_are_explained():
    assert missing_extra(ModuleNotFoundError(name="numpy")) is None
    for package, extra in EXTRAS.items():
        error = missing_extra(ModuleNotFoundError(name=f"{package}.inner"))
        assert error is not None
        assert f"mnbatch[{extra}]" in error.next_step


def test_a_command_without_its_extra_ends_with_a_sentence(monkeypatch, tmp_path):
    loaded = ("matplotlib", "mnbatch.training.training_curves", "mnbatch.training.training_run")
    for name in [name for name in sys.modules if name.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "mn").mkdir()
    (tmp_path / "nomn").mkdir()
    done = mnbatch("train", tmp_path, "--out", tmp_path / "model", "--name", "m")
    assert done.returncode == 2
    assert "This needs matplotlib, which is not installed here" in done.stderr
    assert "Traceback" not in done.stderr

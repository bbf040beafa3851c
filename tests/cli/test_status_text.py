"""`status` past typer: the same answers, and everything that it does not know is left to typer."""

import pytest

from mnbatch.cli.status_text import quick_status
from mnbatch.results.batch import Batch, write_batch
from mnbatch.results.store import Store
from tests.in_process import mnbatch
from tests.report.conftest import add_failed, add_slide


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("status") / "out")
    add_slide(store, "s1", [0.9, 0.1], keep_crops=False)
    add_failed(store, "s2", "no model serves its stain")
    return store.paths.root


@pytest.mark.parametrize("options", [[], ["--json"], ["-q"], ["--quiet", "--max-age", "26h"], ["--max-age", "soon"]])
def test_both_ways_say_the_same(out, tmp_path, options):
    (tmp_path / "settings.toml").write_text("")
    quick = mnbatch("status", *options, out)
    typed = mnbatch("status", *options, out, "--config", tmp_path / "settings.toml")
    assert (quick.returncode, quick.stdout, quick.stderr) == (typed.returncode, typed.stdout, typed.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["scan", "x"],
        ["status"],
        ["status", "--help"],
        ["status", "a", "b"],
        ["status", "x", "--quite"],
        ["status", "x", "--max-age"],
        ["status", "x", "--max-age=26h"],
        ["status", "x", "--config", "c.toml"],
    ],
)
def test_what_it_does_not_know_is_left_to_typer(words, capsys):
    assert quick_status(words) is None
    assert capsys.readouterr() == ("", "")


def test_a_settings_file_in_the_environment_is_left_to_typer(monkeypatch):
    monkeypatch.setenv("MNBATCH_CONFIG", "settings.toml")
    assert quick_status(["status", "x"]) is None


def test_an_out_without_a_manifest_says_so_in_words(tmp_path):
    store = Store(tmp_path / "out")
    add_failed(store, "s1", "no model serves its stain")
    write_batch(store.paths, Batch("/e", "donor-slide", False))
    out = store.paths.root
    line = next(line for line in mnbatch("status", out).stdout.splitlines() if line.startswith("latest run: "))
    assert line.startswith("latest run: not known, since OUT has no manifest.json: its slides were scored by jobs")
    assert "None" not in line

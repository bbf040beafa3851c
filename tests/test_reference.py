"""The parts of the documentation that the code says itself are up to date."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["data-dictionary.md", "cli.md", "api.md"])
def test_reference_pages_are_what_the_code_says(name):
    pages = {path.name: text for path, text in reference().files().items()}
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages[name], "run `make reference`"


def test_every_column_command_and_function_says_what_it_is():
    pages = {path.name: text for path, text in reference().files().items()}
    for name in ("data-dictionary.md", "cli.md"):
        rows = [line.split("|") for line in pages[name].splitlines() if line.startswith("| `")]
        assert [row[1] for row in rows if not row[-2].strip()] == []
    assert "## `mnbatch run" in pages["cli.md"]
    assert "#### `Model.score`" in pages["api.md"]

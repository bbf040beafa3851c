"""A folder for exports, and the way to the helpers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves helpers beside the tests out


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Folder in which a test lays out its export."""
    root = tmp_path / "export"
    root.mkdir()
    return root

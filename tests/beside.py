"""What lies beside the checkout of the developers (`../shared`), and whether tests may use it.

`pytest --shared auto` (the default) uses it where it is, `without` runs as in a clone that has none, `only` runs just
the tests that ask for it.
"""

import os
from pathlib import Path

import pytest

SWITCH = "TESTS_SHARED"
"""Environment variable that carries the option to modules which are asked while tests are collected."""

needs_shared = pytest.mark.shared


def shared_folder() -> Path | None:
    """`../shared`, beside the checkout or one folder above; None where it is absent or not wanted."""
    if os.environ.get(SWITCH) == "without":
        return None
    places = (parent / "shared" for parent in Path(__file__).resolve().parents[2:4])
    return next((place for place in places if place.is_dir()), None)

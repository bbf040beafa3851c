"""Fixtures that every room uses, and the choice of tests that need what lies beside the checkout."""

import os
from pathlib import Path

import pytest

from tests.beside import SWITCH, needs_shared, shared_folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shared",
        choices=("auto", "without", "only"),
        default="auto",
        help="real images and reference numbers beside the checkout: use if there, do without, or only their tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ[SWITCH] = config.getoption("--shared")
    # Where tests run beside each other each has a core; threads of numerical libraries would only wait for each other.
    if os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what asks for the files beside the checkout; with `--shared only` run nothing else."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(needs_shared)
    if config.getoption("--shared") != "only":
        return
    if shared_folder() is None:
        raise pytest.UsageError("--shared only: there is no folder `shared` beside the checkout")
    kept = [item for item in items if item.get_closest_marker("shared")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images beside the checkout; tests that need them skip where they are absent."""
    folder = shared_folder()
    if folder is None or not (folder / "data").is_dir():
        pytest.skip("no real images beside the checkout (they are not part of the product)")
    return folder / "data"

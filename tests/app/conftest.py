"""A small OUT, and the rule that holds for every function of the room: nothing is printed."""

import pytest

from tests.review.conftest import out, queue, tools  # noqa: F401


@pytest.fixture(autouse=True)
def silent(capfd):
    """What the command line prints in this process (tests.in_process) is caught elsewhere."""
    yield
    assert capfd.readouterr() == ("", "")

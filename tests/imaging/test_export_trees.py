"""Any export tree: the right number of cells, or a slide that is failed or waits and says why; no slide is lost.

Trees are made at random of what instruments, servers and people write (`export_trees`), so what they hold is known.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.imaging.export_trees import Tree, outcome, trees

QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


def check(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(tree, Path(folder))
    assert set(found) == set(tree.cells), tree.how
    for slide, cells in tree.cells.items():
        here = found[slide]
        assert here.failed or cells > 0, (slide, tree.how)
        if here.failed:
            assert slide in tree.doubtful, (slide, here.failed, tree.how)
            assert all(here.failed)
            continue
        assert len(here.cells) + here.unreadable == cells, (slide, tree.how)
        assert here.unreadable == 0 or slide in tree.doubtful, (slide, tree.how)


@settings(QUIET, max_examples=25)
@given(trees())
def test_the_right_number_or_a_slide_that_says_why(tree: Tree) -> None:
    check(tree)


@pytest.mark.slow
@settings(QUIET, max_examples=600)
@given(trees())
def test_the_right_number_or_a_slide_that_says_why_in_many_trees(tree: Tree) -> None:
    check(tree)

"""Counts of micronuclei of drawn cells are those of the cells that they stand for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mnbatch.evaluation.count_quality import measure_counts
from mnbatch.evaluation.evaluation_set import LabelledSet
from mnbatch.evaluation.labelled_cells import LabelledCell


def test_micronuclei_per_1000_are_of_the_cells_that_are_stood_for() -> None:
    numbers = [1, 2, 0, 1, 0, 0]
    cells = tuple(LabelledCell(Path(f"{i}.png"), n > 0, n_mn=n) for i, n in enumerate(numbers))
    called = np.array([True, True, True, False, False, False])
    scored = SimpleNamespace(ratios=np.full((6, 2), 0.1), called=called, scores=np.where(called, 0.9, 0.1))
    weights = np.array([1.0, 1, 1, 8, 8, 8])
    data = LabelledSet(Path("labels.csv"), cells, tuple(str(cell.path) for cell in cells))
    found = measure_counts(data, scored, None, 50, 1, weights)  # type: ignore[arg-type]
    assert found is not None
    assert found["true_mn_per_1000"].value == pytest.approx(1000 * (1 + 2 + 8) / 27)
    assert found["mn_per_1000"].value == pytest.approx(1000 * 3 / 27)
    assert found["count_error"].value == pytest.approx((1 + 1 + 8) / 27)
    assert "inclusion probability" in found["mn_per_1000"].method
    assert found.stood_for is not None
    assert found.stood_for[1][0] == 8
    assert found.confusion[1][0] == 1

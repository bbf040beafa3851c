"""Label images of other programs in place of our own segmentation."""

from __future__ import annotations

import numpy as np
import pytest

from mnbatch.imaging.segmentation import SegmentationSettings, segment_from_labels
from tests.imaging.segmentation.drawn_fields import discs, stained

SETTINGS = SegmentationSettings()
PLACES = [(60, 60, 18), (102, 60, 18), (250, 200, 18)]


def labels_of(places: list[tuple[int, int, int]], numbers: list[int], dtype: str = "uint16") -> np.ndarray:
    rows, columns = np.mgrid[:300, :400]
    labels = np.zeros((300, 400), dtype)
    for (x, y, radius), number in zip(places, numbers, strict=True):
        labels[np.hypot(columns - x, rows - y) <= radius] = number
    return labels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_labelled_nuclei_are_paired(dtype: str) -> None:
    field = segment_from_labels(discs((300, 400), PLACES), labels_of(PLACES, [7, 3, 200], dtype), SETTINGS)
    assert sorted(cell.cell_class for cell in field.cells) == ["binucleated", "mononucleated"]
    assert field.nuclei.max() == 3


def test_nuclei_that_we_would_not_have_found_are_taken() -> None:
    places = [*PLACES, (330, 60, 18)]
    field = segment_from_labels(
        discs((300, 400), PLACES), labels_of(places, [1, 2, 3, 4]), SETTINGS, labels_of="nuclei"
    )
    assert field.nuclei.max() == 4


def test_labelled_cells_are_classed_by_the_nuclei_in_them() -> None:
    image = stained((300, 400), [(80, 60, 42, [(60, 60, 18), (100, 60, 18)]), (250, 200, 30, [(250, 200, 18)])])
    bodies = labels_of([(80, 60, 42), (250, 200, 30), (330, 60, 20)], [5, 9, 12])
    field = segment_from_labels(image, bodies, SETTINGS)
    assert [cell.cell_class for cell in field.cells] == ["binucleated", "mononucleated"]
    assert field.cells[0].cell_area == np.count_nonzero(bodies == 5)


def test_a_yes_or_no_mask_is_split_into_its_parts() -> None:
    mask = labels_of(PLACES, [255, 255, 255], "uint8")
    field = segment_from_labels(discs((300, 400), PLACES), mask, SETTINGS)
    assert field.nuclei.max() == 3


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="not the same"):
        segment_from_labels(discs((300, 400), PLACES), np.zeros((300, 399), np.uint16), SETTINGS)


def test_a_mask_of_fractions_is_refused() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        segment_from_labels(discs((300, 400), PLACES), np.full((300, 400), 0.5, np.float32), SETTINGS)


def test_an_empty_mask_is_a_problem() -> None:
    field = segment_from_labels(discs((300, 400), PLACES), np.zeros((300, 400), np.uint16), SETTINGS)
    assert "no object" in field.problem

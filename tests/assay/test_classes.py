import pytest

from mnbatch.assay.field_records import CELL_CLASSES, DIVISION_CLASSES, division_class


def test_the_division_classes_are_m1_to_m4() -> None:
    assert [division_class(n) for n in (1, 2, 3, 4, 7)] == [*DIVISION_CLASSES, "multinucleated"]
    assert set(DIVISION_CLASSES) < set(CELL_CLASSES)


def test_a_cell_without_a_nucleus_has_no_class() -> None:
    with pytest.raises(ValueError, match="at least one"):
        division_class(0)

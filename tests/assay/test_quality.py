from __future__ import annotations

from dataclasses import replace

import pytest

from mnbatch.assay.calls import FLAGS, QualityRules, quality_flags
from mnbatch.assay.cells import Quality

ORDINARY = Quality(sharpness=14, contrast=0.5, saturated_fraction=0.01, nuclei=2, nucleus_fraction=0.15)
RULES = QualityRules()


def test_an_ordinary_cell_has_no_flag() -> None:
    assert quality_flags(ORDINARY, RULES) == ()


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"sharpness": 5.0}, "blurred"),
        ({"contrast": 0.1}, "weak_stain"),
        ({"nuclei": 3}, "several_cells"),
        ({"nucleus_fraction": 0.001}, "no_nucleus"),
        ({"nucleus_fraction": 0.95}, "no_nucleus"),
        ({"saturated_fraction": 0.9}, "saturated"),
    ],
)
def test_each_fault_raises_its_flag(change: dict[str, float], flag: str) -> None:
    assert quality_flags(replace(ORDINARY, **change), RULES) == (flag,)  # type: ignore[arg-type]


def test_thresholds_are_the_rules() -> None:
    assert quality_flags(ORDINARY, QualityRules(least_sharpness=15)) == ("blurred",)
    assert quality_flags(replace(ORDINARY, nuclei=3), QualityRules(most_nuclei=3)) == ()


def test_nuclei_cut_by_the_border_are_nuclei() -> None:
    assert quality_flags(replace(ORDINARY, nuclei=0), RULES) == ()


def test_without_a_nucleus_nothing_is_called_blurred() -> None:
    nothing = Quality(0.0, 0.01, 0.0, 0, 0.0)
    assert quality_flags(nothing, RULES) == ("weak_stain", "no_nucleus")


def test_flags_come_in_a_fixed_order() -> None:
    worst = Quality(0.0, 0.0, 1.0, 9, 0.5)
    assert quality_flags(worst, RULES) == ("blurred", "weak_stain", "several_cells", "saturated")
    assert set(quality_flags(worst, RULES)) < set(FLAGS)

import pytest

from mnbatch.assay.field_records import NuclearClasses, cytostasis
from tests.assay.vectors import section


@pytest.mark.parametrize("entry", section("indices"))
def test_vectors_indices(entry):
    given, expected = entry["input"], entry["expected"]
    if "M1" in given:
        classes = NuclearClasses(*(given[f"M{k}"] for k in (1, 2, 3, 4)))
        assert classes.ndi == pytest.approx(expected["NDI"], rel=1e-9)
        assert classes.cbpi == pytest.approx(expected["CBPI_pooling_M3_M4"], rel=1e-9)
    else:
        found = cytostasis(given["CBPI_treated"], given["CBPI_control"])
        assert found == pytest.approx(expected["cytostasis_percent"], rel=1e-9)


def test_no_cells_have_no_index():
    nothing = NuclearClasses(0, 0, 0, 0)
    assert nothing.ndi is None
    assert nothing.cbpi is None
    assert cytostasis(1.0, 1.0) is None


def test_pooling_adds_cells():
    assert NuclearClasses(1, 2, 3, 4) + NuclearClasses(10, 20, 30, 40) == NuclearClasses(11, 22, 33, 44)
    with pytest.raises(ValueError, match="negative"):
        NuclearClasses(-1, 0, 0, 0)

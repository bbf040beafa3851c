"""Division indices outside of what cultures usually have."""

from mnbatch.assay.field_records import FieldCounts
from mnbatch.report.statistics import division_warnings


def counts(one, two, three=0, four=0):
    names = ("mononucleated", "binucleated", "trinucleated", "polynucleated")
    return FieldCounts(1, 0, 0, dict(zip(names, (one, two, three, four), strict=True)), {})


def test_usual_indices_and_few_cells_say_nothing():
    assert division_warnings(counts(300, 500, 50, 50)) == ()
    assert division_warnings(counts(100, 1)) == ()


def test_a_culture_that_did_not_divide_is_said():
    ndi, cbpi = division_warnings(counts(1000, 20))
    assert ndi.startswith("NDI 1.02 is outside the usual 1.2 to 2.5")
    assert cbpi.startswith("CBPI 1.02")

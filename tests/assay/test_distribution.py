import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbatch.assay.mn_counts import Distribution
from tests.assay.vectors import only, section

CLOSED = 1e-9


def counts_of(row):
    return Distribution(tuple(row[f"C{k}"] for k in range(20) if f"C{k}" in row))


def same(value, expected):
    return value is None if expected is None else value == pytest.approx(expected, rel=CLOSED, abs=1e-12)


@pytest.mark.parametrize("entry", section("case_tables"))
def test_vectors_case_tables(entry):
    found, expected = counts_of(entry["input"]), entry["expected"]
    assert (found.cells, found.micronuclei) == (expected["N"], expected["X"])
    assert same(found.mean, expected["y"])
    assert same(found.yield_error, expected["y_err"])
    assert same(found.dispersion_index, expected["DI"])
    assert same(found.u(), expected["u"])


@pytest.mark.parametrize("entry", section("count_tables"))
def test_vectors_count_tables(entry):
    for row, expected in zip(entry["input"]["rows"], entry["expected"], strict=True):
        found = counts_of(row)
        assert (found.cells, found.micronuclei) == (expected["N"], expected["X"])
        assert same(found.mean, expected["mean"])
        assert same(found.variance, expected["var"])
        assert same(found.dispersion_index, expected["DI"])
        u = None if expected["X"] == 1 else expected["u"]  # the tool divides by zero there; u is not defined
        assert same(found.u(entry["input"]["assessment_u"]), u)


@pytest.mark.parametrize("table", section("count_tables", where=lambda e: e["id"] == "count:vijayalakshmi2023:u1"))
def test_vectors_published_u(table):
    printed = only("published", "pub:vijayalakshmi2023:table4")
    for row, u in zip(table["input"]["rows"], printed["expected"]["u_printed"], strict=True):
        assert counts_of(row).u() == pytest.approx(u, abs=0.05 if u >= 10 else 0.005)


def test_no_micronucleus_leaves_dispersion_undefined():
    none = Distribution((500,))
    assert (none.mean, none.variance, none.yield_error) == (0, 0, 0)
    assert none.dispersion_index is None
    assert none.u() is None
    assert none.verdict == "not defined"


def test_one_micronucleus_leaves_u_undefined():
    one = Distribution((499, 1))
    assert one.dispersion_index == pytest.approx(1)
    assert one.u() is None


def test_no_cell_and_one_cell_have_no_variance():
    assert Distribution(()).mean is None
    assert Distribution(()).interval() is None
    assert Distribution((0, 0, 1)).variance is None
    assert Distribution((0, 0, 1)).dispersion_index is None


def test_verdicts():
    assert Distribution((302, 28, 22, 8, 1)).verdict == "overdispersed"
    assert Distribution((0, 50)).verdict == "underdispersed"
    assert Distribution((180, 18, 2)).verdict == "not distinguishable from Poisson"


@pytest.mark.parametrize("counts", [(-1, 2), (1.5, 2)])
def test_what_is_no_count_is_refused(counts):
    with pytest.raises(ValueError, match="is not a number of cells"):
        Distribution(counts)


def test_negative_micronuclei_are_refused():
    with pytest.raises(ValueError, match="negative"):
        Distribution.of_cells([0, -1])


@given(st.lists(st.integers(0, 6), max_size=40), st.lists(st.integers(0, 6), max_size=40))
def test_pooling_is_counting_together(one, other):
    pooled = Distribution.of_cells(one) + Distribution.of_cells(other)
    together = Distribution.of_cells(one + other)
    assert (pooled.cells, pooled.micronuclei, pooled.variance) == (
        together.cells,
        together.micronuclei,
        together.variance,
    )
    assert pooled.mnbn_cells == sum(k > 0 for k in one + other)

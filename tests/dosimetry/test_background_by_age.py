import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import nbinom, poisson

from mnbatch.dosimetry.background_by_age import AgeRegression, CountedControl, Person, fit_by_age
from mnbatch.dosimetry.detection_limits import compare_with_background, pool_controls

PEOPLE = [Person("fm"[i % 2], 20.0 + 2.5 * i) for i in range(24)]


def mean(person, cells=1000):
    return cells * np.exp(-5 + 0.02 * (person.age - 45) + 0.2 * (person.sex == "f"))


def controls(seed=3, differ=0.0, people=PEOPLE, cells=1000):
    rng = np.random.default_rng(seed)
    factors = rng.gamma(1 / differ**2, differ**2, len(people)) if differ else np.ones(len(people))
    counts = rng.poisson([mean(person, cells) * factor for person, factor in zip(people, factors, strict=True)])
    return [CountedControl(int(k), cells, person) for k, person in zip(counts, people, strict=True)]


def pooled(seed=3, **how):
    found = controls(seed, **how)
    return pool_controls([[(c.mnbn_cells, c.bn_cells)] for c in found], [c.person for c in found])


def test_the_fit_is_the_maximum_of_poissons_likelihood():
    # Counts that scatter less than by counting.
    found = [CountedControl(round(mean(p)) + i % 3, 1000, p) for i, p in enumerate(PEOPLE)]
    fitted = fit_by_age(found)
    assert fitted.spread == 0
    design = np.array([[1, (c.person.age - fitted.middle) / 10, c.person.sex == "f"] for c in found], np.float64)
    counts = np.array([c.mnbn_cells for c in found])

    def loss(b):
        return -poisson.logpmf(counts, 1000 * np.exp(design @ b)).sum()

    best = minimize(loss, [-5, 0, 0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 5000})
    assert fitted.coefficients == pytest.approx(best.x, abs=1e-5)


def test_two_ages_of_one_sex_are_their_own_frequencies():
    people = [Person("f", age) for age in (25.0, 65.0) for _ in range(10)]
    counts = [4, 5, 6, 5, 5, 4, 6, 5, 5, 5, 14, 16, 15, 15, 15, 15, 16, 14, 15, 15]
    fitted = fit_by_age([CountedControl(k, 1000, p) for k, p in zip(counts, people, strict=True)])
    young, old = fitted.expected(people[0]), fitted.expected(people[-1])
    assert (young.rate, old.rate) == pytest.approx((0.005, 0.015))
    assert (young.error / young.rate, old.error / old.rate) == pytest.approx((50**-0.5, 150**-0.5))
    assert fitted.why_not(Person("m", 40)) == "no man is among the controls"
    assert fitted.why_not(Person("f", 71)) == "the controls are 25 to 65 years old"
    assert fitted.why_not(Person("f", 70)) == ""


def test_people_who_differ_make_chi2_its_degrees_of_freedom():
    found = controls(differ=0.6)
    fitted = fit_by_age(found)
    means = np.array([1000 * fitted.expected(c.person).rate for c in found])
    counts = np.array([c.mnbn_cells for c in found])
    assert fitted.spread > 0.1
    assert ((counts - means) ** 2 / (means + fitted.spread * means**2)).sum() == pytest.approx(len(found) - 3, abs=1e-4)


@pytest.mark.parametrize(
    ("people", "reason"),
    [
        (PEOPLE[:19], "19 control donors have age and sex, not 20"),
        ([Person(p.sex, 30 + i) for i, p in enumerate(PEOPLE)], "the control donors' ages differ by 23 years, not 30"),
        ([Person("fm"[p.age < 32], p.age) for p in PEOPLE], "5 of the control donors are men, not 8"),
        ([None] * 24, "0 control donors have age and sex, not 20"),
    ],
)  # fmt: skip
def test_controls_that_carry_no_regression_are_one_background_and_say_why(people, reason):
    control = pool_controls([[(8, 1000)]] * len(people), people)
    assert control.by_age == reason
    found = compare_with_background(20, 1000, control, person=Person("f", 50))
    assert not found.by_age
    assert found.basis == f"own controls, all ages and both sexes: {reason}"
    plain = compare_with_background(20, 1000, pool_controls([[(8, 1000)]] * len(people)))
    assert (found.p_greater, found.limits, found.per_1000) == (plain.p_greater, plain.limits, plain.per_1000)


def test_few_events_carry_no_regression():
    assert fit_by_age([CountedControl(2, 1000, p) for p in PEOPLE]) == (
        "the control donors have 48 MNBN cells together, not 50"
    )


@pytest.mark.parametrize(("person", "by_age"), [(None, False), (Person("f", 95), False), (Person("f", 70), True)])
def test_only_a_known_person_of_their_ages_is_compared_by_age(person, by_age):
    control = pooled()
    found = compare_with_background(20, 1000, control, control.scatter_of(1000), person)
    assert found.by_age == by_age
    if not by_age:
        old = compare_with_background(20, 1000, control, control.scatter_of(1000))
        assert (found.p_greater, found.limits) == (old.p_greater, old.limits)


@pytest.mark.parametrize("differ", [0.0, 0.5])
def test_the_test_is_the_prediction_of_another_unexposed_donor(differ):
    control, person = pooled(differ=differ), Person("f", 60)
    fitted = control.by_age
    assert isinstance(fitted, AgeRegression)
    expected = fitted.expected(person)
    m = 500 * expected.rate
    variance = m + fitted.spread * m**2 + (500 * expected.error) ** 2
    law = nbinom(m**2 / (variance - m), m / variance)
    found = compare_with_background(12, 500, control, person=person)
    assert found.p_greater == pytest.approx(law.sf(11))
    assert law.sf(found.limits.decision_threshold) <= 0.05 < law.sf(found.limits.decision_threshold - 1)
    assert law.cdf(500 * found.low_per_1000 / 1000 - 1) <= 0.025
    assert law.sf(500 * found.high_per_1000 / 1000) <= 0.025
    assert found.above == (found.p_greater <= 0.05)


def test_unexposed_donors_of_every_age_are_above_as_often_as_promised():
    """Nominal 5 %: of controls together one in four old women is above, and no young man ever."""
    rng = np.random.default_rng(5)
    cases = (Person("m", 25), Person("f", 75))
    above = {(case, way): 0 for case in cases for way in ("by age", "together")}
    for seed in range(60):
        control = pooled(seed, differ=0.3)
        for case in cases:
            count = int(rng.poisson(mean(case) * rng.gamma(1 / 0.09, 0.09)))
            above[case, "by age"] += compare_with_background(count, 1000, control, person=case).above
            scatter = control.scatter_of(1000)
            above[case, "together"] += compare_with_background(count, 1000, control, scatter).above
    assert max(above[case, "by age"] for case in cases) <= 7
    assert above[cases[1], "together"] >= 10

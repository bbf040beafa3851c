"""Statements are judged like with like, by intervals, and left out where a system is absent."""

import numpy as np
import pytest

from mnbatch.comparison.comparison_tables import shown
from mnbatch.comparison.measurement import Figure, Outcome
from mnbatch.comparison.outcomes import CLAIMS, Spread, difference, find_row, grouped, judged, verdict_on
from mnbatch.evaluation.metrics import auc, average_precision, f1_at

LABELS = np.arange(200) % 2 == 0


def outcome(network: str, noise: float, seed: int = 1, start: str = "scratch", clusters: bool = False, ms: float = 1):
    rng = np.random.default_rng([seed, int(10 * noise)])
    scores = 1 / (1 + np.exp(-(LABELS - 0.5 + noise * rng.standard_normal(200))))
    return Outcome(
        digest="",
        network=network,
        loss="focal",
        start=start,
        protocol="tvad",
        seed=seed,
        status="done",
        figures={"auc": Figure(value=auc(scores, LABELS), low=auc(scores, LABELS) - 0.05, high=1)},
        scores=tuple(scores),
        labels=tuple(bool(label) for label in LABELS),
        clusters=tuple(range(20)) * 10 if clusters else (),
        train_seconds=ms,
        trained_cells=1000,
        test_seconds=ms,
        tested_cells=1000,
    )


@pytest.mark.parametrize("clusters", [False, True])
def test_differences_are_those_of_the_figures_with_a_paired_interval(clusters):
    good, poor = (outcome(name, noise, clusters=clusters) for name, noise in (("a", 0.4), ("b", 1.5)))
    rows = [find_row(grouped([good, poor]), name, "scratch", "tvad") for name in ("a", "b")]
    first, second = (np.array(o.scores) for o in (good, poor))
    figures = {"auc": auc, "average_precision": average_precision, "f1": lambda s, y: f1_at(s, y, 0.5)}
    for name, figure in figures.items():
        found = difference(*rows, name)  # type: ignore[call-arg]
        assert found.mean == pytest.approx(figure(first, LABELS) - figure(second, LABELS))
        assert 0 < found.low < found.mean < found.high
    same = difference(rows[0], rows[0], "auc")
    assert (same.low, same.mean, same.high) == (0, 0, 0)


def test_several_seeds_give_students_interval_over_the_seeds_in_common():
    rows = grouped([*(outcome("a", 0.4, s) for s in (1, 2, 3, 4)), *(outcome("b", 1.5, s) for s in (1, 2, 3))])
    found = difference(*rows, "auc")  # type: ignore[call-arg]
    values = [rows[0].outcomes[i].figures["auc"].value - rows[1].outcomes[i].figures["auc"].value for i in range(3)]
    half = 4.302653 * np.std(values, ddof=1) / np.sqrt(3)
    assert (found.seeds, found.mean) == (3, pytest.approx(np.mean(values)))
    assert (found.low, found.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))


def test_verdicts_follow_the_interval():
    assert verdict_on(Spread(0.1, 0.01, 0.2, 1)) == "held"
    assert verdict_on(Spread(-0.1, -0.2, -0.01, 1)) == "did not hold"
    assert verdict_on(Spread(0.1, -0.01, 0.2, 1)) == "undecided"
    assert verdict_on(Spread(0.1, None, None, 1)) == "undecided"


def test_statements_are_judged_within_one_start_and_only_where_both_systems_are():
    rows = grouped(
        [
            outcome("attention-alexnet", 0.4, start="weights"),
            outcome("attention-alexnet", 1.5),
            outcome("alex-light", 0.4),
            outcome("msa-net", 1.5, start="weights"),
        ]
    )
    found = {(f.start, f.claim.words): f.verdict for f in judged(rows, shown)}
    assert found == {
        ("weights", "the method is better than MSA-Net"): "held",
        ("scratch", "the method is better than Alex-light"): "did not hold",
    }


def test_networks_that_learned_nothing_test_nothing():
    rows = grouped([outcome("attention-alexnet", 0.4), outcome("alex-light", 30)])
    assert [f.verdict for f in judged(rows, shown)] == ["not testable"]


@pytest.mark.parametrize(("ms", "verdict"), [(9, "held"), (1.2, "did not hold")])
def test_times_are_judged_by_their_ratio(ms, verdict):
    rows = grouped([outcome("attention-alexnet", 0.4, ms=1), outcome("vgg16-att", 0.4, ms=ms)])
    found = [f for f in judged(rows, shown) if f.claim.figure == "time"]
    assert [(f.claim.words, f.verdict) for f in found] == [("vgg16-att is much slower than attention-alexnet", verdict)]
    assert f"{ms:.1f} times the training" in found[0].shown


def test_every_system_that_a_statement_names_is_in_the_table():
    from mnbatch.comparison.comparison_settings import Settings, table_cells

    names = {cell.name for cell in table_cells(Settings(seeds=1), lambda _: False)}
    assert {name for claim in CLAIMS for name in (claim.better, claim.worse)} <= names

"""A threshold chosen on slides holds the specificity that was asked for, and the card says how slides differ."""

import numpy as np
import pytest
from pydantic import ValidationError

from mnbatch.errors import TrainingError
from mnbatch.evaluation import slide_threshold
from mnbatch.evaluation.slide_threshold import ScoredSlide, calibrated, rates_by_slide, threshold_on_slides
from mnbatch.inference.card import ScoreCounts, SlideCounts


def slides(number: int = 20, cells: int = 200) -> list[ScoredSlide]:
    """Slides that differ: the scores of cells without micronuclei are shifted by the slide."""
    found = []
    for k in range(number):
        rng = np.random.default_rng(k)
        labels = np.arange(cells) < cells // 10
        scores = rng.beta(2, 8 - 0.2 * k, cells)
        scores[labels] = rng.beta(8, 2, int(labels.sum()))
        found.append(ScoredSlide(f"s{k}", scores, labels))
    return found


@pytest.mark.parametrize("specificity", [0.9, 0.99, 1.0])
def test_it_is_the_lowest_that_holds_the_specificity(specificity: float) -> None:
    data = slides()
    threshold = threshold_on_slides(data, specificity)
    at = rates_by_slide(data, threshold)
    assert at["specificity, mean over slides"] >= specificity - 1e-12
    lower = np.unique(np.concatenate([s.scores for s in data]))
    below = lower[lower < threshold][-1] if specificity < 1 else threshold - 1e-3
    called_more = rates_by_slide(data, float(below) - 1e-12)
    assert called_more["specificity, mean over slides"] < specificity - 1e-12 or specificity == 1.0
    assert at["specificity, worst tenth of slides"] <= at["specificity, mean over slides"]


def test_every_slide_counts_alike_whatever_its_size() -> None:
    data = slides(9)
    large = [ScoredSlide("l", np.tile(data[0].scores, 50), np.tile(data[0].labels, 50)), *data[1:]]
    assert threshold_on_slides(large, 0.95) == threshold_on_slides(data, 0.95)


def test_few_slides_are_refused() -> None:
    with pytest.raises(TrainingError, match="7 slides"):
        threshold_on_slides(slides(7), 0.99)


def test_the_card_gets_counts_of_every_slide_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_threshold, "RESAMPLES", 5)
    fields = calibrated(slides(), 0.98, "made")
    counts = [SlideCounts.model_validate(row) for row in fields["validation_slides"]]  # type: ignore[attr-defined]
    assert sum(row.right for row in counts) == fields["sensitivity"]["right"]
    assert sum(row.n_mn for row in counts) == fields["sensitivity"]["total"] == 400
    wrong = sum(row.called - row.right for row in counts)
    assert fields["specificity"]["total"] - fields["specificity"]["right"] == wrong
    assert {m["name"] for m in fields["metrics"]} >= {"auc", "f1", "specificity, worst tenth of slides"}  # type: ignore[attr-defined]
    assert fields["temperature"] > 0
    scores = ScoreCounts.model_validate(fields["validation_scores"])
    assert (sum(scores.mn), scores.data) == (400, "made")
    assert sum(scores.mn) + sum(scores.nomn) == sum(row.n for row in counts)


def test_counts_that_cannot_be_are_refused() -> None:
    for wrong in ({"right": 3}, {"called": 11}, {"n_mn": 11}):
        with pytest.raises(ValidationError):
            SlideCounts.model_validate({"slide": "a", "n": 10, "n_mn": 2, "called": 4, "right": 1, **wrong})

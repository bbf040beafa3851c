"""A threshold chosen on slides, for a background: how well it does, and how much that differs between slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mnbatch.assay.score_mixture import EDGES, ScoreHistogram, count_scores
from mnbatch.errors import TrainingError
from mnbatch.evaluation.metrics import (
    Labels,
    Scores,
    auc,
    average_precision,
    bootstrap,
    f1_at,
    fit_temperature,
    with_temperature,
)

FEWEST_SLIDES = 8
RESAMPLES = 400


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSlide:
    """The cells of one validation slide.

    Attributes:
        name: of the slide; scores: p_mn, (n,); labels: True where the cell has a micronucleus, (n,).
    """

    name: str
    scores: Scores
    labels: Labels

    def counts(self, threshold: float) -> dict[str, object]:
        """As `mnbatch.inference.card.SlideCounts` holds them, scores in the bins of `score_mixture.EDGES`."""
        called = self.scores >= threshold
        return {
            "slide": self.name,
            "n": len(self.labels),
            "n_mn": int(self.labels.sum()),
            "called": int(called.sum()),
            "right": int((called & self.labels).sum()),
            "mn_scores": count_scores(self.scores[self.labels], EDGES).tolist(),
            "nomn_scores": count_scores(self.scores[~self.labels], EDGES).tolist(),
        }


def threshold_on_slides(slides: Sequence[ScoredSlide], specificity: float) -> float:
    """The lowest threshold at which the mean specificity over the slides is at least so much.

    Each slide counts alike, whatever its size. The middle between two neighbouring scores is taken.

    Raises:
        TrainingError: too few slides, or none with cells without a micronucleus.
    """
    free = [np.sort(slide.scores[~slide.labels]) for slide in slides if (~slide.labels).any()]
    if len(free) < FEWEST_SLIDES:
        raise TrainingError(f"A threshold cannot be chosen on {len(free)} slides.", f"Give {FEWEST_SLIDES} or more.")
    levels = np.unique(np.concatenate([slide.scores for slide in slides]))
    candidates = np.append((levels[1:] + levels[:-1]) / 2, (levels[-1] + 1) / 2)
    means = np.mean([np.searchsorted(scores, candidates) / len(scores) for scores in free], axis=0)
    return float(candidates[np.argmax(means >= specificity - 1e-12)])


def rates_by_slide(slides: Sequence[ScoredSlide], threshold: float, fewest_mn: int = 3) -> dict[str, float]:
    """Mean and worst tenth of specificity and sensitivity over slides.

    Args:
        fewest_mn: slides with fewer cells with a micronucleus tell nothing of sensitivity.
    """
    called = [slide.scores >= threshold for slide in slides]
    specificity = [float((~c[~s.labels]).mean()) for c, s in zip(called, slides, strict=True) if (~s.labels).any()]
    sensitivity = [
        float(c[s.labels].mean()) for c, s in zip(called, slides, strict=True) if s.labels.sum() >= fewest_mn
    ]
    found = {"specificity": specificity, "sensitivity": sensitivity}
    figures = {}
    for name, values in found.items():
        figures[f"{name}, mean over slides"] = float(np.mean(values)) if values else float("nan")
        figures[f"{name}, worst tenth of slides"] = float(np.quantile(values, 0.1)) if values else float("nan")
    return figures


def calibrated(slides: Sequence[ScoredSlide], specificity: float, data: str) -> dict[str, object]:
    """Card fields of a model whose temperature and threshold are set on these slides.

    Args:
        slides: scored at temperature 1.
        specificity: see `threshold_on_slides`; data: name of the set, for the card.
    """
    scores, labels = (np.concatenate([getattr(s, name) for s in slides]) for name in ("scores", "labels"))
    temperature = round(fit_temperature([(scores, labels)]), 4)
    tempered = [ScoredSlide(s.name, with_temperature(s.scores, temperature), s.labels) for s in slides]
    threshold = round(threshold_on_slides(tempered, specificity), 4)
    p = with_temperature(scores, temperature)
    called = p >= threshold
    return {
        "temperature": temperature,
        "threshold": threshold,
        "threshold_rule": f"lowest with a mean specificity of {specificity:g} over {len(slides)} slides: {data}",
        "sensitivity": {"data": data, "right": int((called & labels).sum()), "total": int(labels.sum())},
        "specificity": {"data": data, "right": int((~called & ~labels).sum()), "total": int((~labels).sum())},
        "validation_scores": asdict(ScoreHistogram.of(p.tolist(), labels.tolist(), data)),
        "validation_slides": [slide.counts(threshold) for slide in tempered],
        "metrics": _metrics(p, labels, threshold, tempered, data),
    }


def _metrics(
    p: Scores, labels: Labels, threshold: float, slides: Sequence[ScoredSlide], data: str
) -> list[dict[str, object]]:
    base = {"data": data, "n": len(labels), "n_mn": int(labels.sum())}
    pooled = {"auc": auc, "average_precision": average_precision, "f1": lambda s, y: f1_at(s, y, threshold)}
    found: list[dict[str, object]] = []
    for name, figure in pooled.items():
        estimate = bootstrap(figure, p, labels, resamples=RESAMPLES)
        values = {"value": estimate.value, "ci_low": estimate.low, "ci_high": estimate.high}
        found.append({**base, "name": name, **{key: round(value, 4) for key, value in values.items()}})
    rates = {name: value for name, value in rates_by_slide(slides, threshold).items() if not np.isnan(value)}
    return [*found, *({**base, "name": name, "value": round(value, 4)} for name, value in rates.items())]

"""The story of an evaluation: read labels, score, measure, compare, point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mnbatch.errors import TrainingError
from mnbatch.inference.catalogue import ModelSet
from mnbatch.training.evaluation.calibration import reliability
from mnbatch.training.evaluation.gradcam import grad_cam
from mnbatch.training.evaluation.labels import LabelledSet, read_labelled_set
from mnbatch.training.evaluation.masks import Mask, crop_masks, find_masks
from mnbatch.training.evaluation.paired import delong, mcnemar
from mnbatch.training.evaluation.pointing import Pointing, play
from mnbatch.training.evaluation.ranking import Bools, Integers
from mnbatch.training.evaluation.request import Comparison, Evaluation, Group, ModelFacts, Request
from mnbatch.training.evaluation.scoring import ScoredCells, Scorer, pixels_of
from mnbatch.training.evaluation.statistics import Measured, Sample, measure

Say = Callable[[str], None]


def evaluate(request: Request, say: Say = lambda line: None) -> Evaluation:
    """Evaluate a model on labelled cells.

    Raises:
        ModelError: a model is missing, altered or does not fit.
        TrainingError: labels, masks or classes from which nothing can be measured.
        UsageError: an option that does not fit the data.
    """
    models = ModelSet.open(request.model)
    others = ModelSet.open(request.against) if request.against else None
    data = read_labelled_set(request.data)
    names = data.column(request.group_by) if request.group_by else ()
    say(f"{len(data.cells)} labelled cells in {data.path}.")
    scorer = Scorer(models, request.stain, request.device, request.threads)
    try:
        scored = scorer.score(data.cells)
        labels = np.array([cell.has_mn for cell in data.cells])
        kept = _kept(scored, labels, data)
        pointing = _point(request, data, scored, scorer) if request.masks else ((), "")
    finally:
        scorer.close()
    say(f"{len(kept)} cells scored, {len(data.cells) - len(kept)} not.")
    overall = _measured(request, data, scored, labels, kept, curves=True)
    groups = _groups(request, data, scored, labels, kept, names)
    against = _score_against(request, data, others) if others else None
    comparison = _compare(request, data, labels, scored, against, others) if against and others else None
    warnings = (overall.warning, _lost(data, kept), pointing[1], _independence(comparison, overall))
    return Evaluation(
        request=request,
        data=data,
        model=_facts(request.model, models, scored),
        scored=scored,
        overall=overall,
        calibration=reliability(scored.scores[kept], labels[kept]),
        groups=groups,
        comparison=comparison,
        scored_against=against,
        pointing=tuple(pointing[0]),
        warnings=tuple(warning for warning in warnings if warning),
    )


def _kept(scored: ScoredCells, labels: Bools, data: LabelledSet) -> Integers:
    """Places of the scored cells; both classes must be among them."""
    kept = np.flatnonzero(~np.isnan(scored.scores))
    for label, word in ((True, "with"), (False, "without")):
        if not (labels[kept] == label).any():
            reason = next((why for why in scored.reasons if why), "")
            raise TrainingError(
                f"No cell {word} micronuclei in {data.path} could be scored ({len(kept)} of {len(labels)} cells "
                f"could; the first that could not: {reason}).",
                "Repair the images, or use a model that serves them (or --stain).",
            )
    return kept


def _measured(
    request: Request,
    data: LabelledSet,
    scored: ScoredCells,
    labels: Bools,
    kept: Integers,
    curves: bool = False,
) -> Measured:
    units = data.units(request.group_by, kept.tolist())
    sample = Sample(scored.scores[kept], labels[kept], scored.called[kept], units)
    return measure(sample, request.prevalence, request.bootstrap, request.seed, curves)


def _groups(
    request: Request,
    data: LabelledSet,
    scored: ScoredCells,
    labels: Bools,
    kept: Integers,
    names: tuple[str, ...],
) -> tuple[Group, ...]:
    if not names:
        return ()
    of_kept = np.array([names[place] for place in kept], dtype=object)
    return tuple(
        Group(name, _measured(request, data, scored, labels, kept[of_kept == name])) for name in sorted(set(of_kept))
    )


def _score_against(request: Request, data: LabelledSet, others: ModelSet) -> ScoredCells:
    scorer = Scorer(others, request.stain, request.device, request.threads)
    try:
        return scorer.score(data.cells)
    finally:
        scorer.close()


def _compare(
    request: Request,
    data: LabelledSet,
    labels: Bools,
    scored: ScoredCells,
    against: ScoredCells,
    others: ModelSet,
) -> Comparison:
    _kept(against, labels, data)
    both = np.flatnonzero(~np.isnan(scored.scores) & ~np.isnan(against.scores))
    return Comparison(
        model=_facts(str(request.against), others, against),
        measured=_measured(request, data, against, labels, both),
        cells=len(both),
        delong=delong(scored.scores[both], against.scores[both], labels[both]),
        mcnemar=mcnemar(scored.called[both], against.called[both], labels[both]),
    )


def _facts(asked_for: str, models: ModelSet, scored: ScoredCells) -> ModelFacts:
    cards = [member.card for member in models.members]
    return ModelFacts(
        asked_for=asked_for,
        name=" and ".join(card.name for card in cards),
        version=" and ".join(card.version for card in cards),
        digest=models.digest,
        thresholds=scored.thresholds,
    )


def _lost(data: LabelledSet, kept: Integers) -> str:
    lost = len(data.cells) - len(kept)
    return f"{lost} of {len(data.cells)} cells could not be scored and are in no figure." if lost else ""


def _independence(comparison: Comparison | None, overall: Measured) -> str:
    if comparison is None or "clusters" not in overall["auc"].method:
        return ""
    return "The tests between the models take cells as independent; cells of one cluster are not."


def _point(
    request: Request, data: LabelledSet, scored: ScoredCells, scorer: Scorer
) -> tuple[list[Pointing], str]:
    """The pointing game on the scored cells with MN that have a mask, and a word on those that have none."""
    masks = find_masks(request.masks) if request.masks else None
    places, every, own = [], [], []
    wanted = [place for place, cell in enumerate(data.cells) if cell.has_mn and not scored.reasons[place]]
    for place in wanted:
        found = masks.of(data.files[place]) if masks else None
        if found is None:
            continue
        of_any, of_own = crop_masks(found, scorer.models.preparation.size)
        if of_any.any():
            places.append(place)
            every.append(of_any)
            own.append(of_own)
    if not places:
        raise TrainingError(
            f"None of the {len(wanted)} cells with micronuclei has a mask in {request.masks} that shows one.",
            "Masks are found by the crop's file name; see docs/evaluation.md.",
        )
    maps = _maps(data, scored, scorer, places)
    known: list[Mask] = [mask for mask in own if mask is not None and mask.any()]
    rounds = play(maps, every, "any")
    if len(known) == len(places):
        rounds += play(maps, known, "own")
    lost = len(wanted) - len(places)
    note = f"{lost} of {len(wanted)} cells with micronuclei have no mask that shows one; they were not played."
    return rounds, note if lost else ""


def _maps(
    data: LabelledSet, scored: ScoredCells, scorer: Scorer, places: list[int]
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    attention5, attention6, evidence = (scored.maps[places][:, layer] for layer in range(3))
    cams = np.zeros_like(evidence)
    for model, members in scorer.by_model(scored, places):
        paths = [data.cells[places[member]].path for member in members]
        cams[members] = grad_cam(model, pixels_of(paths, scorer.models.preparation))
    return {"attention5": attention5, "attention6": attention6, "evidence": evidence, "grad_cam": cams}

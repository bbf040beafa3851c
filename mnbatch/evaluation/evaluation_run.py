"""The story of an evaluation: read labels, score, measure, compare, point."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mnbatch.assay.cells import spread
from mnbatch.errors import TrainingError
from mnbatch.evaluation.cell_scoring import ScoredCells, Scorer
from mnbatch.evaluation.cell_weights import not_drawn, weights_note, weights_of
from mnbatch.evaluation.count_quality import counts_note, measure_counts
from mnbatch.evaluation.evaluation_records import Comparison, Evaluation, Group, ModelFacts, Request
from mnbatch.evaluation.evaluation_set import LabelledSet, read_labelled_set
from mnbatch.evaluation.missing_colour import evaluation_colour_note
from mnbatch.evaluation.paired_tests import delong, mcnemar
from mnbatch.evaluation.performance import Bools, Floats, Integers, Measured, Sample, measure, reliability
from mnbatch.evaluation.pointing_game import MaskedCells, Pointing, masked_cells, play, shown_part
from mnbatch.evaluation.same_pictures import repeated_note, repeated_pictures
from mnbatch.inference.catalogue import ModelSet

Say = Callable[[str], None]


def evaluate(request: Request, say: Say = lambda line: None) -> Evaluation:
    """Evaluate a model on labelled cells.

    Raises:
        ModelError: a model is missing, altered or does not fit.
        TrainingError: labels, masks or classes from which nothing can be measured.
        UsageError: an option that does not fit the data.
        SlideError: what files and their pages hold has to be said by a person.
    """
    models = ModelSet.open(request.model)
    others = ModelSet.open(request.against) if request.against else None
    data = read_labelled_set(request.data, request.options)
    names = data.column(request.group_by) if request.group_by else ()
    say(f"{len(data.cells)} labelled cells in {data.path}.")
    weights = weights_of(data)
    # The shares of the pointing game are of cells that count alike: of drawn ones there are none.
    wanted = request.masks if weights is None else None
    masked = masked_cells(data, wanted, models.preparation.size) if wanted else None
    scored = _scored(request, models, data, frozenset(masked.places) if masked else frozenset())
    picked = not_drawn(data)
    scored = scored.without(picked)
    repeated = repeated_pictures(data, scored)
    scored = scored.without(repeated)
    labels = np.array([cell.has_mn for cell in data.cells])
    kept = _kept(scored, labels, data)
    pointing, note = _point(request, masked, scored) if masked else ([], "")
    say(f"{len(kept)} cells scored, {len(data.cells) - len(kept)} not.")
    overall = _measured(request, data, scored, labels, kept, curves=True)
    groups = _groups(request=request, data=data, scored=scored, labels=labels, kept=kept, names=names)
    against = _scored(request, others, data).without(repeated | picked) if others else None
    comparison = (
        _compare(request=request, data=data, labels=labels, scored=scored, against=against, others=others)
        if against and others
        else None
    )
    counts = measure_counts(data, scored, request.group_by, request.bootstrap, request.seed, weights)
    warnings = (
        weights_note(data, kept),
        overall.warning,
        data.note,
        repeated_note(repeated, data),
        *scored.notes,
        *_colour_notes(scored, against),
        _lost(scored, repeated, picked),
        _picked(picked),
        note,
        _withheld(request, weights),
        _independence(comparison, overall),
        counts_note(counts, kept),
    )
    return Evaluation(
        request=request,
        data=data,
        model=_facts(request.model, models, scored),
        scored=scored,
        overall=overall,
        calibration=reliability(scored.scores[kept], labels[kept], weights=None if weights is None else weights[kept]),
        groups=groups,
        comparison=comparison,
        scored_against=against,
        pointing=tuple(pointing),
        warnings=tuple(warning for warning in warnings if warning),
        counts=counts,
        weights=weights,
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
                "Repair the images, or use a model for their stain (or --stain).",
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
    weights = weights_of(data)
    sample = Sample(
        scored.scores[kept], labels[kept], scored.called[kept], units, None if weights is None else weights[kept]
    )
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


def _scored(
    request: Request, models: ModelSet, data: LabelledSet, cam_for: frozenset[int] = frozenset()
) -> ScoredCells:
    scorer = Scorer(models, request.stain, request.device, request.threads)
    try:
        return scorer.score(data.cells, cam_for)
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
    alike = weights_of(data) is None
    return Comparison(
        model=_facts(str(request.against), others, against),
        measured=_measured(request, data, against, labels, both),
        delong=delong(scored.scores[both], against.scores[both], labels[both]) if alike else None,
        mcnemar=mcnemar(scored.called[both], against.called[both], labels[both]) if alike else None,
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


def _lost(scored: ScoredCells, *left_out: Mapping[int, str]) -> str:
    """A word on cells that could not be scored; those that were left out for another reason have their own."""
    elsewhere = set().union(*left_out)
    lost = sum(bool(why) and place not in elsewhere for place, why in enumerate(scored.reasons))
    return f"{lost} of {len(scored.reasons)} cells could not be scored and are in no figure." if lost else ""


def _picked(picked: Mapping[int, str]) -> str:
    if not picked:
        return ""
    return f"{len(picked)} cells were picked for their scores, not drawn (stratum outside), and are in no figure."


def _withheld(request: Request, weights: Floats | None) -> str:
    """Which figures that were asked for are not given of drawn cells."""
    if weights is None:
        return ""
    asked = {"DeLong's and McNemar's tests": request.against, "the pointing game": request.masks}
    names = [name for name, there in asked.items() if there]
    return f"Not given, since each cell would count alike: {', '.join(names)}." if names else ""


def _colour_notes(scored: ScoredCells, against: ScoredCells | None) -> tuple[str, ...]:
    """What is said of cells without the colour that a model needs."""
    first, second = (
        evaluation_colour_note(int(of.colourless.sum()), int((~np.isnan(of.scores)).sum())) if of is not None else ""
        for of in (scored, against)
    )
    return first, f"Second model: {second}" if second else ""


def _independence(comparison: Comparison | None, overall: Measured) -> str:
    if comparison is None or comparison.delong is None or "clusters" not in overall["auc"].method:
        return ""
    return "The tests between the models take cells as independent; cells of one cluster are not."


def _point(request: Request, masked: MaskedCells, scored: ScoredCells) -> tuple[list[Pointing], str]:
    """The pointing game on the scored cells that show a micronucleus, and a word on those that do not."""
    played = [number for number, place in enumerate(masked.places) if not scored.reasons[place]]
    if not played:
        raise TrainingError(f"No cell with a mask in {request.masks} could be scored.", "Repair the images.")
    places = [masked.places[number] for number in played]
    maps = dict(zip(("attention5", "attention6", "evidence"), scored.maps[places].swapaxes(0, 1), strict=True))
    maps["evidence_drawn"] = spread(maps["evidence"]).astype(np.float32)
    maps["grad_cam"] = scored.cams[places]
    zooms = scored.zooms[places]
    of_any = [shown_part(masked.of_any[number], zoom) for number, zoom in zip(played, zooms, strict=True)]
    rounds = play(maps, of_any, "any")
    own = [
        shown
        for number, zoom in zip(played, zooms, strict=True)
        if (mask := masked.of_own[number]) is not None and (shown := shown_part(mask, zoom)).any()
    ]
    if len(own) == len(played):
        rounds += play(maps, own, "own")
    lost = masked.wanted - len(played)
    note = (
        f"{lost} of {masked.wanted} cells with micronuclei have no mask that shows one; "
        "they are not in the pointing game."
    )
    return rounds, note if lost else ""

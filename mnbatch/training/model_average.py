"""Averages the weights of models of one architecture, and measures what comes out: a new model directory.

Weights that were fine-tuned from the same start lie in one basin, and their average often keeps most of what each
has learned, at the cost of one network (Wortsman et al. 2022, "Model soups"; with the start itself: "WiSE-FT").
With a single model it measures that model anew, for example for another way of preparing crops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mnbatch.assay.cells import Stain
from mnbatch.errors import TrainingError
from mnbatch.evaluation.evaluation_records import Request as Evaluation
from mnbatch.evaluation.evaluation_run import evaluate
from mnbatch.evaluation.labelled_cells import load_crops, told_cells
from mnbatch.evaluation.metrics import auc
from mnbatch.evaluation.pointing_game import Pointing
from mnbatch.inference.card import ModelCard
from mnbatch.inference.classifier import pick_device
from mnbatch.inference.model_directory import LoadedModel, load_model, write_model_directory
from mnbatch.networks.network import StreamNetwork
from mnbatch.training.augmentation import normalise_for
from mnbatch.training.card_writing import card_fields, check_card_words, served_stains
from mnbatch.training.pool_feed import Pool, score
from mnbatch.training.recipe import Recipe
from mnbatch.training.synthetic_cells import Preparer
from mnbatch.training.training_loop import Trained
from mnbatch.training.training_pools import Labelled, PoolMaker
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import preparation_of
from mnbatch.training.training_state import Epoch, mean_of

DRAWN = "evidence_drawn"
"""The map that reports draw, as the pointing game names it."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What is averaged.

    Attributes:
        models: model directories of one architecture.
        shares: of each model's weights; they add up to 1.
        masks: micronuclei of the validation crops, for the pointing game (see `docs/evaluation.md`), or None.
        validation_cells: of each synthetic source in validation.
    """

    models: tuple[Path, ...]
    shares: tuple[float, ...]
    masks: Path | None = None
    validation_cells: int = 200


def average_models(ingredients: Ingredients, request: Request, recipe: Recipe, say: Callable[[str], None]) -> ModelCard:
    """Average models, measure the average and write it to `request.out`.

    Args:
        request: `data` holds the labelled validation crops; name, version, sources, stains and seed as in a training.
        recipe: which made sets are measured (shares above 0), the preparation, and the rule for the threshold.

    Raises:
        ModelError: a model that is missing, altered or of another kind.
        TrainingError: models that cannot be averaged, or crops on which nothing can be measured.
    """
    check_card_words(request.name, request.version, request.licence)
    models = [_without_counter(load_model(path)) for path in ingredients.models]
    _check(models, ingredients, recipe)
    network = _average(models, ingredients.shares)
    crops = Labelled(*load_crops(told_cells(request.data, say, request.options), preparation_of(recipe)))
    sets = _validation(
        crops=crops, ingredients=ingredients, request=request, recipe=recipe, card=models[0].card, say=say
    )
    device = pick_device(request.device)
    normalise = normalise_for(network, recipe.coloured)
    scores = {pool.name: score(network.to(device), pool.pixels, normalise, device) for pool in sets}
    aucs = {pool.name: auc(scores[pool.name], pool.labels) for pool in sets}
    say("AUC " + ", ".join(f"{name} {value:.3f}" for name, value in aucs.items()))
    trained = Trained(network, Epoch(0, float("nan"), aucs, 0.0), ())
    stains = request.serves or models[0].card.stains
    own = served_stains(list(crops.crops), synthetic_stained=False)
    prepared = preparation_of(recipe)
    seen_as = (normalise.mean, normalise.std)
    fields = card_fields(
        request=request,
        recipe=recipe,
        preparation=prepared,
        training=(),
        validation=sets,
        stains=stains,
        scores=scores,
        trained=trained,
        started_from="",
        normalisation=seen_as,
        labelled_stains=own,
    )
    fields |= _origin(models, ingredients)
    card = write_model_directory(request.out, network.cpu(), fields)
    if ingredients.masks is None:
        return card
    pointing = _pointing(request, ingredients.masks, stains[0])  # type: ignore[arg-type]
    metrics = [metric.model_dump() for metric in card.metrics]
    return write_model_directory(request.out, network, {**fields, "metrics": [*metrics, pointing]})


def _check(models: Sequence[LoadedModel], ingredients: Ingredients, recipe: Recipe) -> None:
    if len(ingredients.shares) != len(models) or abs(sum(ingredients.shares) - 1) > 1e-6:
        raise TrainingError(
            f"{len(models)} models and the shares {', '.join(f'{share:g}' for share in ingredients.shares)}.",
            "Give one --share a model, in the same order; together they make 1.",
        )
    first = models[0].card
    for model in models:
        card = model.card
        same = (card.architecture, card.normalisation) == (first.architecture, first.normalisation)
        if not same or set(model.network.state_dict()) != set(models[0].network.state_dict()):
            raise TrainingError(
                f"{model.path} is not of the same kind as {models[0].path} (architecture, normalisation).",
                "Average models that were trained from one another.",
            )
    wanted = preparation_of(recipe)
    if (first.preparation.polarity, first.preparation.contrast) != (wanted.polarity, wanted.contrast):
        raise TrainingError(
            f"The recipe prepares crops otherwise than {models[0].path} was trained on (polarity or contrast).",
            "Give the recipe that the models were trained by.",
        )


def _without_counter(model: LoadedModel) -> LoadedModel:
    """Counters were fitted on features that the average does not have; it may get its own (`--extend`)."""
    if isinstance(model.network, StreamNetwork):
        model.network.counter = None
    return model


def _average(models: Sequence[LoadedModel], shares: Sequence[float]) -> nn.Module:
    states = [model.network.state_dict() for model in models]
    network = models[0].network
    network.load_state_dict({name: mean_of([state[name] for state in states], shares) for name in states[0]})
    return network.eval()


def _validation(
    crops: Labelled,
    ingredients: Ingredients,
    request: Request,
    recipe: Recipe,
    card: ModelCard,
    say: Callable[[str], None],
) -> list[Pool]:
    preparation = preparation_of(recipe)
    giemsa = 1.0 if "giemsa" in (request.serves or card.stains) else 0.0
    maker = PoolMaker(
        recipe=recipe,
        sources=request.sources,
        preparer=Preparer(preparation, recipe.colour_shares),
        seed=request.seed,
        workers=request.workers,
        say=say,
        validation_cells=ingredients.validation_cells,
        validation_giemsa=giemsa,
    )
    return maker.validation(crops)


def _origin(models: Sequence[LoadedModel], ingredients: Ingredients) -> dict[str, object]:
    """What the card says of the training: that of the models that were averaged."""
    averaged = [
        {"share": share, "name": m.card.name, "version": m.card.version, "digest": m.digest, "recipe": m.card.recipe}
        for share, m in zip(ingredients.shares, models, strict=True)
    ]
    data: dict[str, Mapping[str, object]] = {}
    for model in models:
        data |= {entry.name: entry.model_dump() for entry in model.card.training_data if entry.name not in data}
    return {"recipe": {"averaged": averaged}, "training_data": list(data.values())}


def _pointing(request: Request, masks: Path, stain: Stain) -> dict[str, object]:
    evaluation = evaluate(Evaluation(str(request.out), request.data, masks=masks, stain=stain, bootstrap=0))
    drawn: Pointing = next(p for p in evaluation.pointing if p.name == DRAWN and p.target == "any")
    return {
        "data": "validation, labelled: strongest point of the drawn map on a micronucleus or within 8 of 224 pixels",
        "n": drawn.cells,
        "n_mn": drawn.cells,
        "name": "pointing_game",
        "value": round(drawn.share, 4),
        "ci_low": None if drawn.low is None else round(drawn.low, 4),
        "ci_high": None if drawn.high is None else round(drawn.high, 4),
    }

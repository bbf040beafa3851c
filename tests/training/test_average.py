"""Averaged models: the weights are the mean, the card is of the average, and only like is averaged with like."""

from pathlib import Path

import pytest
import torch

from mnbatch.errors import TrainingError, UsageError
from mnbatch.inference.model_directory import load_model
from mnbatch.training.model_average import Ingredients, average_models
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_request import Request
from mnbatch.training.training_run import train_model
from tests.training.conftest import draw_crops, take_few_resamples

pytestmark = pytest.mark.usefixtures("few_resamples")

OWN_ONLY = {"labelled": 1, "dressed": 0, "composite": 0, "smear": 0, "simulated": 0}
# Without bfloat16, which a CPU that has none of it imitates ten times as slowly.
RECIPE = Recipe(epochs=1, cells_per_epoch=8, minibatch=4, zoom="as_cut", bf16=False, **OWN_ONLY)


def silent(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models that were trained with another seed each; only read."""
    place = tmp_path_factory.mktemp("two")
    crops, paths = draw_crops(place / "crops"), (place / "one", place / "two")
    with pytest.MonkeyPatch.context() as patch:
        take_few_resamples(patch)
        for seed, path in enumerate(paths):
            request = Request(crops, path, crops, init="random", seed=seed, threads=1, device="cpu")
            train_model(request, RECIPE, silent)
    return paths


def request_for(crops: Path, out: Path, **changes: object) -> Request:
    return Request(data=crops, out=out, device="cpu", name="average", **changes)


def test_the_weights_are_the_weighted_mean_and_the_card_says_of_what(
    two_models: tuple[Path, Path], crop_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mean"
    card = average_models(Ingredients(two_models, (0.25, 0.75)), request_for(crop_folder, out), RECIPE, silent)
    one, two, mean = (load_model(path).network.state_dict() for path in (*two_models, out))
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, 0.25 * one[name] + 0.75 * two[name], rtol=0, atol=1e-6)
    averaged = card.recipe["averaged"]
    assert isinstance(averaged, list)
    assert [entry["share"] for entry in averaged] == [0.25, 0.75]  # type: ignore[call-overload]
    assert [entry["digest"] for entry in averaged] == [load_model(path).digest for path in two_models]  # type: ignore[call-overload]
    assert {metric.name for metric in card.metrics} == {"auc", "average_precision", "f1"}
    assert card.training_data == load_model(two_models[0]).card.training_data
    assert card.specificity is not None
    assert card.specificity.total == 8


def test_one_model_alone_is_measured_anew_for_another_preparation(
    two_models: tuple[Path, Path], crop_folder: Path, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"zoom": "main_nucleus"})
    card = average_models(
        Ingredients(two_models[:1], (1.0,)), request_for(crop_folder, tmp_path / "zoomed"), recipe, silent
    )
    before, after = load_model(two_models[0]), load_model(tmp_path / "zoomed")
    assert card.preparation.zoom.rule == "main_nucleus"
    assert before.card.preparation.zoom.rule == "as_cut"
    assert all(torch.equal(v, after.network.state_dict()[k]) for k, v in before.network.state_dict().items())


def test_a_card_states_no_errors_for_a_stain_that_no_labelled_crop_shows(
    two_models: tuple[Path, Path], crop_folder: Path, tmp_path: Path
) -> None:
    request = request_for(crop_folder, tmp_path / "stained", serves=("giemsa",))
    card = average_models(Ingredients(two_models[:1], (1.0,)), request, RECIPE, silent)
    assert (card.sensitivity, card.specificity, card.validation_scores) == (None, None, None)
    assert card.metrics


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.6), (0.2, 0.2)])
def test_shares_that_do_not_fit_are_refused(
    two_models: tuple[Path, Path], crop_folder: Path, tmp_path: Path, shares: tuple[float, ...]
) -> None:
    with pytest.raises(TrainingError, match="models and the shares"):
        average_models(Ingredients(two_models, shares), request_for(crop_folder, tmp_path / "x"), RECIPE, silent)
    assert not (tmp_path / "x").exists()


def test_a_recipe_that_prepares_crops_otherwise_is_refused(
    two_models: tuple[Path, Path], crop_folder: Path, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"polarity": "as_is"})
    with pytest.raises(TrainingError, match="polarity or contrast"):
        average_models(Ingredients(two_models, (0.5, 0.5)), request_for(crop_folder, tmp_path / "x"), recipe, silent)


def test_a_name_that_no_card_may_have_is_refused_before_a_model_is_read(tmp_path: Path) -> None:
    request = Request(data=tmp_path / "absent", out=tmp_path / "m", name="My Lab")
    with pytest.raises(UsageError, match="lower-case letters"):
        average_models(Ingredients((tmp_path / "absent",), (1.0,)), request, RECIPE, silent)

"""Recipes: built in, from a file, or refused."""

import pytest

from mnbatch.errors import TrainingError
from mnbatch.training.recipe import PAPER, Recipe, load_recipe


def test_built_in_recipes_are_found_by_name():
    assert load_recipe("default") == Recipe()
    assert load_recipe("paper") == PAPER
    assert (PAPER.epochs, PAPER.learning_rate, PAPER.gamma, PAPER.has_synthetic_stained) == (60, 0.01, 2.0, False)


def test_a_file_changes_what_it_names(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('epochs = 3\noptimiser = "sgd"\n[augmentation]\njpeg = 0.5\n')
    recipe = load_recipe(str(file))
    assert (recipe.epochs, recipe.optimiser, recipe.augmentation.jpeg) == (3, "sgd", 0.5)
    assert recipe.gamma == Recipe().gamma


@pytest.mark.parametrize("text", ["epoch = 3\n", "epochs = 0\n", "epochs = \n"])
def test_a_wrong_file_is_refused(tmp_path, text):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(TrainingError, match="is not valid"):
        load_recipe(str(file))


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(TrainingError, match="default, paper, stage-1, stage-2"):
        load_recipe("best")


def test_a_file_can_ask_for_the_colours_apart(tmp_path):
    file = tmp_path / "colour.toml"
    file.write_text('polarity = "stains"\ncolour_shares = []\n')
    assert load_recipe(str(file)).coloured
    file.write_text('polarity = "stains"\n')
    assert not load_recipe(str(file)).coloured

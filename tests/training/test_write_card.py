from typing import Any

import pytest
from pydantic import ValidationError, create_model

from mnbatch.errors import TrainingError, UsageError
from mnbatch.inference.card import ModelCard
from mnbatch.training.card_writing import asked_stains, check_card_words


def test_a_model_serves_only_looks_that_it_was_trained_on() -> None:
    assert asked_stains(None, ["fluorescence", "giemsa"]) == ["fluorescence", "giemsa"]
    assert asked_stains(["giemsa"], ["fluorescence", "giemsa"]) == ["giemsa"]
    with pytest.raises(TrainingError, match="cannot serve giemsa"):
        asked_stains(["giemsa"], ["fluorescence"])


@pytest.mark.parametrize(
    "name", ["m", "my-lab-2", "7", "a" * 64, "", "My Lab", "my_lab", "-m", "a" * 65, "m\n", "\u00e4"]
)
def test_names_are_refused_at_the_start_that_the_card_would_refuse_at_the_end(name: str) -> None:
    named: Any = create_model("Named", name=(str, ModelCard.model_fields["name"]))
    try:
        allowed = named(name=name).model_dump() == {"name": name}
    except ValidationError:
        allowed = False
    if allowed or not name:  # "": none was given
        check_card_words(name, "1", "not stated")
        return
    with pytest.raises(UsageError, match=r"lower-case letters \(a to z\), digits and hyphens, 64 at most") as refused:
        check_card_words(name, "1", "not stated")
    like = refused.value.next_step.removeprefix("For example --name ").removesuffix(".")
    check_card_words(like, "1", "not stated")


def test_a_card_states_a_version_and_a_licence() -> None:
    for words in (("", "ours"), ("1", "")):
        with pytest.raises(UsageError, match="is empty"):
            check_card_words("m", *words)

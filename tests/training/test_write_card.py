import pytest

from mnbatch.errors import TrainingError
from mnbatch.training.card_writing import asked_stains


def test_a_model_serves_only_looks_that_it_was_trained_on() -> None:
    assert asked_stains(None, ["fluorescence", "giemsa"]) == ["fluorescence", "giemsa"]
    assert asked_stains(["giemsa"], ["fluorescence", "giemsa"]) == ["giemsa"]
    with pytest.raises(TrainingError, match="cannot serve giemsa"):
        asked_stains(["giemsa"], ["fluorescence"])

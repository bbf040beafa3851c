import pytest

from mnbatch.errors import TrainingError
from mnbatch.training.card_writing import asked_looks


def test_a_model_serves_only_looks_that_it_was_trained_on() -> None:
    assert asked_looks(None, ["fluorescence", "giemsa"]) == ["fluorescence", "giemsa"]
    assert asked_looks(["giemsa"], ["fluorescence", "giemsa"]) == ["giemsa"]
    with pytest.raises(TrainingError, match="cannot serve giemsa"):
        asked_looks(["giemsa"], ["fluorescence"])

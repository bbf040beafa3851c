"""A pass that cannot be recorded, or gives other bits when it is, goes on as it is. (Real ones: test_classifier.)"""

from types import SimpleNamespace

import pytest
import torch

from mnbatch.inference import recorded_pass
from mnbatch.inference.recorded_pass import recorded

ON_A_GPU = SimpleNamespace(device=SimpleNamespace(type="cuda"))
VALUES = torch.tensor([0.0, 0.5, torch.nan])  # a network without a map gives NaN


def values(_):
    return VALUES


def recording(monkeypatch, found):
    """Stands for the recording: gives these values, or raises."""

    def record(compute, like):
        if isinstance(found, Exception):
            raise found
        return lambda _: found

    monkeypatch.setattr(recorded_pass, "_Recorded", record)


def test_on_a_cpu_nothing_is_recorded():
    assert recorded(values, VALUES) is values


def test_one_of_the_same_bits_is_used(monkeypatch, caplog):
    recording(monkeypatch, VALUES.clone())
    assert recorded(values, ON_A_GPU) is not values
    assert not caplog.text


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (VALUES + 1e-6, "other bits"),
        (RuntimeError("CUDA error: not permitted\nmore of it"), "CUDA error: not permitted)"),
    ],
)
def test_else_the_pass_goes_on_as_it_is_and_the_log_says_so(monkeypatch, caplog, found, said):
    recording(monkeypatch, found)
    assert recorded(values, ON_A_GPU) is values
    assert said in caplog.text


def test_too_little_memory_is_for_who_can_take_fewer_cells(monkeypatch):
    recording(monkeypatch, torch.OutOfMemoryError("simulated"))
    with pytest.raises(torch.OutOfMemoryError):
        recorded(values, ON_A_GPU)

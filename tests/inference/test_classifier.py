"""A cell's score is its own: the same at every place, beside any neighbours, on any number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mnbatch.errors import MnbatchError, ModelError, UsageError
from mnbatch.imaging.preparation import Preparation, network_input
from mnbatch.inference.classifier import Classifier, Scores, pick_device
from mnbatch.inference.device_engine import DeviceEngine
from mnbatch.inference.model_directory import LoadedModel, load_model, write_model_directory
from mnbatch.inference.network_scores import Normaliser, convolutions_for, cpu_has_bfloat16
from mnbatch.networks.attention_alexnet import AttentionAlexNet
from tests.inference.inference_helpers import card_fields, crops

P_TOLERANCE = 0.02
"""Largest difference of p_mn between a CPU (fp32) and a GPU (bf16); docs/models.md states it."""


def _same_bits(one: Scores, other: Scores) -> bool:
    return one.p_mn.tobytes() == other.p_mn.tobytes() and one.maps.tobytes() == other.maps.tobytes()


def _row(scores: Scores, index: int) -> Scores:
    return Scores(scores.p_mn[index : index + 1], scores.maps[index : index + 1])


def test_score_follows_the_written_rule(model: LoadedModel, classifier: Classifier) -> None:
    """Against the plainest way to write it: float64, one image at a time, torch's own softmax."""
    pixels = crops(3)
    scores = classifier.score(pixels)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in _normalisation(model))
    network = AttentionAlexNet().eval()
    network.load_state_dict(model.network.state_dict())
    network.double()
    for index, crop in enumerate(pixels):
        x = (torch.from_numpy(crop).permute(2, 0, 1).double() / 255 - mean) / std
        with torch.no_grad():
            explained = network.explain(x[None])
        expected = torch.softmax(explained.logits, dim=1)[0, 1].item()
        assert scores.p_mn[index] == pytest.approx(expected, abs=1e-4)
        maps = torch.stack([explained.attention5, explained.attention6, explained.evidence], dim=1)[0]
        assert np.allclose(scores.maps[index], maps.numpy(), atol=1e-3)
    assert scores.p_mn.std() > 0.01, "equal scores would prove nothing"
    assert scores.p_mn.dtype == np.float64
    assert scores.maps.dtype == np.float32
    assert scores.maps.shape == (3, 3, 13, 13)


@pytest.fixture(scope="module")
def half(model: LoadedModel) -> Iterator[Classifier]:
    if not cpu_has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    with Classifier(model, device="cpu", minibatch=4, threads=2, precision="bf16") as classifier:
        yield classifier


def test_bfloat16_of_a_processor_is_another_number_and_a_near_one(half: Classifier, classifier: Classifier) -> None:
    pixels = crops(8)
    difference = np.abs(half.score(pixels).p_mn - classifier.score(pixels).p_mn)
    assert half.precision == "bf16"
    assert classifier.precision == "fp32"
    assert 0 < difference.max() < P_TOLERANCE


def test_bfloat16_gives_the_same_bits_at_every_place_beside_any_neighbours(half: Classifier, model) -> None:
    pixels, strangers = crops(4), crops(4, seed=99)
    reference = half.score(pixels)
    for shift in range(1, 4):
        rolled = half.score(np.roll(pixels, shift, axis=0))
        for index in range(4):
            assert _same_bits(_row(rolled, (index + shift) % 4), _row(reference, index))
    for place in range(4):
        mixed = strangers.copy()
        mixed[place] = pixels[0]
        assert _same_bits(_row(half.score(mixed), place), _row(reference, 0))
    assert _same_bits(half.score(pixels[:1]), _row(reference, 0))
    with Classifier(model, device="cpu", minibatch=4, threads=1, precision="bf16") as alone:
        assert _same_bits(alone.score(pixels), reference)


def test_a_precision_that_cannot_be_had_is_refused(model: LoadedModel, monkeypatch) -> None:
    with pytest.raises(UsageError, match="Unknown precision"):
        Classifier(model, device="cpu", precision="fp16")
    monkeypatch.setattr("mnbatch.inference.network_scores.cpu_has_bfloat16", lambda: False)
    with pytest.raises(UsageError, match="no instructions"):
        Classifier(model, device="cpu", precision="bf16")
    with pytest.raises(UsageError, match="not for Linear"):
        convolutions_for(torch.nn.Linear(1, 1), torch.device("cuda"), "bf16")
    assert convolutions_for(model.network, torch.device("cuda"), "auto") == torch.bfloat16
    assert convolutions_for(model.network, torch.device("cuda"), "fp32") == torch.float32


def _normalisation(model: LoadedModel) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return model.card.normalisation.mean, model.card.normalisation.std


@pytest.mark.parametrize("minibatch", [1, 3, 5, 8])
def test_score_is_the_same_bits_at_every_place_beside_any_neighbours(model: LoadedModel, minibatch: int) -> None:
    pixels = crops(minibatch)
    with Classifier(model, device="cpu", minibatch=minibatch, threads=2) as classifier:
        reference = classifier.score(pixels)
        for shift in range(1, minibatch):
            rolled = classifier.score(np.roll(pixels, shift, axis=0))
            for index in range(minibatch):
                assert _same_bits(_row(rolled, (index + shift) % minibatch), _row(reference, index))
        strangers = crops(minibatch, seed=99)
        for place in range(minibatch):
            mixed = strangers.copy()
            mixed[place] = pixels[0]
            assert _same_bits(_row(classifier.score(mixed), place), _row(reference, 0))


def test_score_is_the_same_bits_in_the_padded_last_minibatch(classifier: Classifier) -> None:
    pixels = crops(2 * classifier.minibatch)
    reference = classifier.score(pixels)
    for count in range(1, len(pixels)):
        assert _same_bits(classifier.score(pixels[:count]), Scores(reference.p_mn[:count], reference.maps[:count]))


def test_score_is_the_same_bits_with_the_default_minibatch(model: LoadedModel) -> None:
    pixels = crops(16)
    with Classifier(model, device="cpu") as classifier:
        assert classifier.minibatch == 16
        reference = classifier.score(pixels)
        backwards = classifier.score(pixels[::-1])
        alone = classifier.score(pixels[5:6])
    assert _same_bits(Scores(backwards.p_mn[::-1], backwards.maps[::-1]), reference)
    assert _same_bits(alone, _row(reference, 5))


def test_score_does_not_depend_on_the_number_of_threads(model: LoadedModel) -> None:
    pixels = crops(11)
    scores = []
    for threads in (1, 2, 3):
        with Classifier(model, device="cpu", minibatch=4, threads=threads) as classifier:
            scores.append(classifier.score(pixels))
    assert _same_bits(scores[0], scores[1])
    assert _same_bits(scores[0], scores[2])


def test_evidence_and_bias_add_up_to_the_log_odds(model: LoadedModel, classifier: Classifier) -> None:
    scores = classifier.score(crops(4))
    bias = model.network.classifier.bias
    margin = scores.maps[:, 2].sum(axis=(1, 2), dtype=np.float64) + (bias[1] - bias[0]).item()
    assert np.allclose(np.log(scores.p_mn / (1 - scores.p_mn)), margin, atol=1e-4)


def test_temperature_divides_the_log_odds(
    tmp_path_factory: pytest.TempPathFactory, network: AttentionAlexNet, classifier: Classifier
) -> None:
    path = tmp_path_factory.mktemp("hot") / "model"
    write_model_directory(path, network, card_fields(temperature=2.5))
    pixels = crops(3)
    with Classifier(load_model(path), device="cpu", minibatch=5, threads=1) as hot:
        warm = hot.score(pixels)
    cold = classifier.score(pixels)
    assert np.allclose(np.log(warm.p_mn / (1 - warm.p_mn)) * 2.5, np.log(cold.p_mn / (1 - cold.p_mn)))
    assert np.array_equal(warm.maps, cold.maps)


def test_polarity_of_the_card_is_applied(
    tmp_path_factory: pytest.TempPathFactory, network: AttentionAlexNet, classifier: Classifier
) -> None:
    preparation = Preparation(polarity="density")
    path = tmp_path_factory.mktemp("density") / "model"
    write_model_directory(path, network, card_fields(preparation=preparation))
    natural = 255 - crops(3)
    assert not np.array_equal(network_input(natural, preparation), natural)
    with Classifier(load_model(path), device="cpu", minibatch=5, threads=1) as density:
        scores = density.score(natural)
    assert _same_bits(scores, classifier.score(network_input(natural, preparation)))


def test_normalised_input_is_channels_last_and_follows_the_card(model: LoadedModel) -> None:
    pixels = torch.from_numpy(crops(2))
    x = Normaliser(model.card, torch.device("cpu"))(pixels)
    assert x.is_contiguous(memory_format=torch.channels_last)
    expected = (pixels[1, 9, 7].double() / 255 - torch.tensor(model.card.normalisation.mean)) / torch.tensor(
        model.card.normalisation.std
    )
    assert torch.allclose(x[1, :, 9, 7].double(), expected, atol=1e-6)


def test_no_cells_give_no_scores(classifier: Classifier) -> None:
    scores = classifier.score(crops(0))
    assert scores.p_mn.shape == (0,)
    assert scores.maps.shape == (0, 3, 13, 13)


def test_a_network_of_somebody_else_is_refused(model: LoadedModel) -> None:
    other = dataclasses.replace(model, network=torch.nn.Identity())
    with pytest.raises(ModelError, match="does not score cells"):
        Classifier(other, device="cpu")


def test_model_is_not_changed_by_being_used(model: LoadedModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with Classifier(model, device="cpu", threads=1) as classifier:
        classifier.score(crops(1))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())
    assert model.network.features[0].weight.is_contiguous()


def test_caller_keeps_its_own_number_of_torch_threads(model: LoadedModel) -> None:
    before = torch.get_num_threads()
    with Classifier(model, device="cpu", threads=1) as classifier:
        classifier.score(crops(1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("bad", [np.zeros((2, 224, 224, 3), np.float32), np.zeros((2, 3, 224, 224), np.uint8)])
def test_arrays_of_another_kind_are_refused(classifier: Classifier, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        classifier.score(bad)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", ""])
def test_unknown_device_is_a_usage_error(device: str) -> None:
    with pytest.raises(UsageError, match="Unknown device"):
        pick_device(device)


def test_absent_gpu_is_an_error_and_never_the_cpu() -> None:
    with pytest.raises(UsageError, match="cuda:99") as caught:
        pick_device("cuda:99")
    assert "--device cpu" in caught.value.next_step


@pytest.mark.parametrize(("minibatch", "threads"), [(0, None), (-3, None), (None, 0)])
def test_nonsense_sizes_are_usage_errors(model: LoadedModel, minibatch: int | None, threads: int | None) -> None:
    with pytest.raises(UsageError):
        Classifier(model, device="cpu", minibatch=minibatch, threads=threads)


class TestDeviceEngine:
    """The GPU's engine run on the CPU: slots, halving and order are the same code."""

    @pytest.fixture
    def engine(self, model: LoadedModel) -> Iterator[DeviceEngine]:
        engine = DeviceEngine(model, torch.device("cpu"), minibatch=4, threads=2)
        yield engine
        engine.close()

    def test_scores_agree_with_float32_within_the_stated_tolerance(
        self, engine: DeviceEngine, classifier: Classifier
    ) -> None:
        pixels = crops(6)
        exact = classifier.score(pixels)
        rough = engine.submit(list(pixels)).result()
        assert np.abs(rough.p_mn - exact.p_mn).max() < P_TOLERANCE
        assert not np.array_equal(rough.p_mn, exact.p_mn), "bfloat16 was not used"

    def test_results_survive_the_reuse_of_their_slot(self, engine: DeviceEngine) -> None:
        pixels = crops(16)
        expected = engine.submit(list(pixels)).result()
        pending = [engine.submit(list(pixels[first : first + 4])) for first in range(0, 16, 4)]
        assert _same_bits(Scores.joined([part.result() for part in pending]), expected)

    def test_padding_is_not_what_the_slot_held_before(self, engine: DeviceEngine) -> None:
        pixels = crops(5)
        for _ in range(3):
            engine.submit(list(crops(4, seed=50))).result()
        alone = engine.submit(list(pixels[:1])).result()
        together = engine.submit(list(pixels[:4])).result()
        assert _same_bits(alone, _row(together, 0))

    def test_grey_crops_in_one_channel_have_the_scores_of_three(self, engine: DeviceEngine) -> None:
        grey = [np.ascontiguousarray(crop[..., 0]) for crop in crops(4)]
        one = [np.broadcast_to(channel[..., None], (*channel.shape, 3)) for channel in grey]
        three = [np.repeat(channel[..., None], 3, axis=-1) for channel in grey]
        expected = engine.submit(three).result()
        # All grey, grey beside others, grey after others, and a part of a minibatch.
        assert _same_bits(engine.submit(one).result(), expected)
        assert _same_bits(engine.submit([*one[:2], *three[2:]]).result(), expected)
        engine.submit(list(crops(4, seed=9))).result()
        engine.submit(list(crops(4, seed=9))).result()
        assert _same_bits(_row(engine.submit(one[:1]).result(), 0), _row(expected, 0))

    def test_out_of_memory_halves_the_minibatch_and_loses_nothing(
        self,
        engine: DeviceEngine,
        model: LoadedModel,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        pixels = crops(7)
        _limit_memory(monkeypatch, engine, cells=1)
        scores = engine.submit(list(pixels)).result()
        assert engine.minibatch == 1
        assert len(scores) == 7
        fresh = DeviceEngine(model, torch.device("cpu"), minibatch=1, threads=1)
        assert _same_bits(fresh.submit(list(pixels)).result(), scores)
        fresh.close()
        assert "minibatches of 2" in caplog.text
        assert "minibatches of 1" in caplog.text

    def test_no_memory_for_one_cell_is_an_error_with_a_next_step(
        self, engine: DeviceEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _limit_memory(monkeypatch, engine, cells=0)
        with pytest.raises(MnbatchError, match="one cell") as caught:
            engine.submit(list(crops(3)))
        assert "--device" in caught.value.next_step


def _limit_memory(monkeypatch: pytest.MonkeyPatch, engine: DeviceEngine, cells: int) -> None:
    forward = engine._network.convolutions

    def limited(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if len(x) > cells:
            raise torch.OutOfMemoryError("simulated")
        return forward(x)

    monkeypatch.setattr(engine._network, "convolutions", limited)


@pytest.mark.gpu
class TestOnGpu:
    """Run where there is a CUDA device."""

    @pytest.fixture(scope="class")
    def on_gpu(self, model: LoadedModel) -> Iterator[Classifier]:
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        with Classifier(model, device="cuda", minibatch=8) as classifier:
            yield classifier

    def test_cpu_and_gpu_agree_within_the_stated_tolerance(self, on_gpu: Classifier, classifier: Classifier) -> None:
        pixels = crops(20)
        assert np.abs(on_gpu.score(pixels).p_mn - classifier.score(pixels).p_mn).max() < P_TOLERANCE

    def test_score_is_the_same_bits_at_every_place(self, on_gpu: Classifier) -> None:
        pixels = crops(8)
        reference = on_gpu.score(pixels)
        for shift in range(1, 8):
            rolled = on_gpu.score(np.roll(pixels, shift, axis=0))
            back = Scores(np.roll(rolled.p_mn, -shift), np.roll(rolled.maps, -shift, axis=0))
            assert _same_bits(back, reference)
        assert _same_bits(on_gpu.score(pixels[:3]), Scores(reference.p_mn[:3], reference.maps[:3]))

    def test_the_pass_is_recorded_and_gives_the_bits_of_one_that_is_not(
        self, on_gpu: Classifier, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pixels = crops(20)
        expected = on_gpu.score(pixels)
        assert type(on_gpu._engine._pass).__name__ == "_Recorded"  # type: ignore[attr-defined]
        monkeypatch.setattr("mnbatch.inference.device_engine.recorded", lambda compute, _: compute)
        with Classifier(model, device="cuda", minibatch=8) as without:
            assert _same_bits(without.score(pixels), expected)

    def test_float32_is_float32(self, model: LoadedModel, classifier: Classifier) -> None:
        pixels = crops(20)
        with Classifier(model, device="cuda", minibatch=8, precision="fp32") as exact:
            assert np.abs(exact.score(pixels).p_mn - classifier.score(pixels).p_mn).max() < 1e-4

    def test_minibatch_is_chosen_from_the_memory(self, model: LoadedModel) -> None:
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        with Classifier(model, device="cuda:0") as classifier:
            assert 1 <= classifier.minibatch <= 512
            assert classifier.precision == "bf16"

"""Several GPUs score what one would; one that is lost leaves its cells to the others, and the last ends the run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mnbatch.assay.cells import CellScore, SlideEnd
from mnbatch.errors import MnbatchError, UsageError
from mnbatch.inference import classifier as classifiers
from mnbatch.inference.classifier import Classifier, pick_devices
from mnbatch.inference.device_engine import DeviceEngine, DeviceLostError
from mnbatch.inference.model_directory import LoadedModel
from mnbatch.inference.packing import score_stream
from mnbatch.inference.several_devices import SeveralDevices
from tests.fake_device import FakeEngine, fake_score
from tests.inference.inference_helpers import cell, crops

CELLS = 61


def fakes(**of_the_first: object) -> list[FakeEngine]:
    return [FakeEngine(device_name=f"fake:{n}", waits=True, **(of_the_first if n == 0 else {})) for n in range(2)]  # type: ignore[arg-type]


def scored(engine: FakeEngine | SeveralDevices) -> list[CellScore]:
    """Two slides through the packing."""
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(CELLS)]
    items = [cell("a", n, picture) for n, picture in enumerate(pictures[:20])]
    items += [SlideEnd("a"), *(cell("b", n, picture) for n, picture in enumerate(pictures[20:])), SlideEnd("b")]  # type: ignore[list-item]
    ready = score_stream((engine, [item]) for item in items)
    return [item for some in ready for item in some if isinstance(item, CellScore)]


def told(scores: list[CellScore]) -> list[tuple[str, float]]:
    return [(one.crop.cell_id, one.p_mn) for one in scores]


ALONE = told(scored(FakeEngine()))


def test_two_devices_share_the_cells_and_give_the_scores_of_one_in_order() -> None:
    engines = fakes()
    found = scored(SeveralDevices(engines))
    assert told(found) == ALONE
    assert all(one.p_mn == fake_score(one.crop.pixels) for one in found)
    assert min(engine.cells for engine in engines) >= CELLS // 3
    assert [engine.most_open for engine in engines] == [2, 2], "no device waits while it could have a minibatch ready"


@pytest.mark.parametrize("after", [0, 4, 8, 28])
def test_a_lost_device_leaves_its_cells_to_the_other(after: int, caplog: pytest.LogCaptureFixture) -> None:
    engines = fakes(lost_after=after)
    devices = SeveralDevices(engines)
    assert told(scored(devices)) == ALONE
    assert "fake:0 was lost: CUDA error: simulated." in caplog.text
    assert devices.in_flight == engines[1].in_flight
    assert engines[1].most_open <= engines[1].in_flight + engines[0].in_flight
    devices.close()
    assert all(engine.closed for engine in engines)


def test_when_the_last_device_is_lost_the_run_ends_and_says_which() -> None:
    engines = [FakeEngine(device_name=f"fake:{n}", lost_after=8 + 4 * n) for n in range(2)]
    with pytest.raises(DeviceLostError, match=r"fake:[01] was lost") as caught:
        scored(SeveralDevices(engines))
    assert "start the same command again" in caught.value.next_step


def test_out_of_memory_on_one_device_halves_its_passes_and_not_those_of_the_other() -> None:
    engines = fakes(memory=2)
    devices = SeveralDevices(engines)
    assert told(scored(devices)) == ALONE
    assert max(engines[0].passes) == 2
    assert max(engines[1].passes) == devices.minibatch == 4


def test_real_engines_side_by_side_give_the_bits_of_one(model: LoadedModel) -> None:
    pixels = crops(7)
    engines = [DeviceEngine(model, torch.device("cpu"), minibatch=2, threads=1) for _ in range(2)]
    alone = engines[0].submit(list(pixels)).result()
    devices = SeveralDevices(engines)
    parts = [devices.submit(list(pixels[first : first + 2])) for first in range(0, 7, 2)]
    found = [part.result() for part in parts]
    assert np.concatenate([one.p_mn for one in found]).tobytes() == alone.p_mn.tobytes()
    assert np.concatenate([one.maps for one in found]).tobytes() == alone.maps.tobytes()
    devices.close()


def test_a_real_engine_names_the_device_that_fails(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DeviceEngine(model, torch.device("cpu"), minibatch=2, threads=1)

    def fails(_: object) -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")

    monkeypatch.setattr(engine, "_normalise", fails)
    with pytest.raises(DeviceLostError, match=r"^cpu was lost: CUDA error: unspecified launch failure\. "):
        engine.submit(list(crops(1)))
    engine.close()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two GPUs as far as torch says; gives their names, to be changed."""
    names = ["H", "H"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: names[torch.device(device).index])
    return names


def test_all_and_a_list_name_the_devices(two_gpus: list[str]) -> None:
    both = [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert pick_devices("all") == pick_devices("cuda:0,cuda:1") == both
    assert pick_devices("cuda:1") == both[1:]


@pytest.mark.parametrize(
    "device", ["cuda:0,cuda:0", "cuda,cuda:0", "cpu,cuda:0", "cuda:0,cuda:2", "cuda:0,", "all,cpu"]
)
def test_a_list_that_cannot_be_had_is_refused(device: str, two_gpus: list[str]) -> None:
    with pytest.raises(UsageError):
        pick_devices(device)


def test_gpus_of_two_kinds_are_refused_because_their_scores_differ(two_gpus: list[str]) -> None:
    two_gpus[1] = "A"
    with pytest.raises(UsageError, match=r"several kinds \(A, H\)"):
        pick_devices("all")


def test_all_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        pick_devices("all")


def test_a_classifier_of_two_gpus_gives_both_the_smaller_minibatch(
    model: LoadedModel, two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FakeEngine] = []

    def opened(
        _: LoadedModel, device: torch.device, minibatch: int | None, threads: int | None, __: object
    ) -> FakeEngine:
        assert threads == 2
        made.append(FakeEngine(minibatch or (8, 4)[device.index or 0], device_name=str(device)))
        return made[-1]

    monkeypatch.setitem(classifiers.ENGINES, "cuda", opened)  # type: ignore[arg-type]
    with Classifier(model, device="all", threads=4) as classifier:
        assert classifier.minibatch == 4
        assert classifier.in_flight == 4
        assert classifier.device_name == "2 devices: cuda:0, cuda:1"
        pixels = crops(10)
        assert classifier.score(pixels).p_mn.tolist() == [fake_score(one) for one in pixels]
    assert [(one.device_name, one.minibatch, one.closed) for one in made] == [
        ("cuda:0", 8, True),
        ("cuda:1", 4, True),
        ("cuda:0", 4, True),
    ]


def test_a_device_that_cannot_be_opened_closes_the_others(
    model: LoadedModel, two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FakeEngine()

    def opened(_: LoadedModel, device: torch.device, *__: object) -> FakeEngine:
        if device.index:
            raise MnbatchError("no room")
        return first

    monkeypatch.setitem(classifiers.ENGINES, "cuda", opened)  # type: ignore[arg-type]
    with pytest.raises(MnbatchError, match="no room"):
        Classifier(model, device="all")
    assert first.closed

"""Cells above a score are shown to the network again, turned: what becomes of their scores and maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from mnbatch.assay.cells import UInt8Array
from mnbatch.assay.map_grid import ORIGIN, STEP, positions
from mnbatch.errors import ModelError
from mnbatch.inference.card import Normalisation, SecondLook, View
from mnbatch.inference.classifier import Classifier
from mnbatch.inference.cpu_convolutions import ALL, Kinds
from mnbatch.inference.cpu_engine import CpuEngine
from mnbatch.inference.device_engine import DeviceEngine, DeviceLostError
from mnbatch.inference.engines import Engine
from mnbatch.inference.model_directory import LoadedModel, load_model, write_model_directory
from mnbatch.inference.network_features import describe
from mnbatch.inference.network_scores import Scores
from mnbatch.inference.second_look import put_back, shown
from mnbatch.inference.several_devices import SeveralDevices
from tests.inference.inference_helpers import card_fields, crops, random_network

FROM = 0.322
"""Between the first scores of the random network on its cells."""
TURNS = tuple({"quarter_turns": number} for number in (1, 2, 3))
ZOOMS = ({"quarter_turns": 1, "zoom": 1.18}, {"quarter_turns": 3, "zoom": 0.85})
Made = Callable[[LoadedModel], Engine]
ENGINES: dict[str, Made] = {
    "processor": lambda model: CpuEngine(model, minibatch=4, threads=2),
    "device": lambda model: DeviceEngine(
        model, torch.device("cpu"), minibatch=4, threads=1, convolutions=torch.float32
    ),
}


def model_with(path: Path, **changes: object) -> LoadedModel:
    network = random_network()
    network.add_counter()
    counting = {
        "mean_3plus": 3.2,
        "prior": (0.6, 0.3, 0.1),
        "training_data": (),
        "recipe": {},
        "checks": (),
    }
    write_model_directory(path, network, card_fields(temperature=2.0, endpoint="mn", counting=counting, **changes))
    return load_model(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, LoadedModel]:
    """The same weights with one look and with two."""
    torch.manual_seed(3)
    one = model_with(tmp_path_factory.mktemp("one") / "model")
    path = tmp_path_factory.mktemp("two") / "model"
    fields = one.card.model_dump(exclude={"schema_version", "weights_sha256", "created", "software"})
    write_model_directory(path, one.network, {**fields, "second_look": {"from_score": FROM, "views": TURNS}})
    return one, load_model(path)


@pytest.fixture(scope="module")
def zooming(models: tuple[LoadedModel, LoadedModel], tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The same weights with a second look that zooms."""
    path = tmp_path_factory.mktemp("zooming") / "model"
    fields = models[0].card.model_dump(exclude={"schema_version", "weights_sha256", "created", "software"})
    write_model_directory(path, models[0].network, {**fields, "second_look": {"from_score": 0.01, "views": ZOOMS}})
    return load_model(path)


def scored(engine: Engine, cells: UInt8Array) -> Scores:
    try:
        parts = [engine.submit(list(cells[first : first + 4])).result() for first in range(0, len(cells), 4)]
    finally:
        engine.close()
    return Scores.joined(parts)


def margins(scores: Scores) -> np.ndarray:
    return np.log(scores.p_mn) - np.log1p(-scores.p_mn)


@pytest.mark.parametrize("kind", ENGINES)
def test_cells_above_the_score_get_the_mean_of_four_looks_and_the_others_keep_the_first(
    models: tuple[LoadedModel, LoadedModel], kind: str
) -> None:
    one, two = models
    cells = crops(6)
    looks = [scored(ENGINES[kind](one), np.rot90(cells, turns, (1, 2)).copy()) for turns in range(4)]
    both = scored(ENGINES[kind](two), cells)
    again = looks[0].p_mn >= FROM
    assert 0 < again.sum() < len(cells)
    mean = np.mean([margins(look) for look in looks], axis=0)
    assert margins(both)[again] == pytest.approx(mean[again], abs=1e-4)
    assert np.array_equal(both.p_mn[~again], looks[0].p_mn[~again])
    evidence = np.mean([np.rot90(look.maps[:, 2], -turns, (1, 2)) for turns, look in enumerate(looks)], axis=0)
    assert both.maps[again, 2] == pytest.approx(evidence[again], abs=1e-4)
    assert np.array_equal(both.maps[~again], looks[0].maps[~again])
    assert np.array_equal(both.maps[:, :2], looks[0].maps[:, :2]), "the attention is the first look's"
    ratios = [np.log(look.ratios) - np.log1p(-look.ratios) for look in looks if look.ratios is not None]
    assert both.ratios is not None
    wanted = 1 / (1 + np.exp(-np.mean(ratios, axis=0)))
    assert both.ratios[again] == pytest.approx(wanted[again], abs=1e-5)


@pytest.mark.parametrize("kinds", [ALL, ()])
def test_a_grey_cell_has_the_same_scores_beside_coloured_ones(
    zooming: LoadedModel, monkeypatch: pytest.MonkeyPatch, kinds: Kinds
) -> None:
    monkeypatch.setattr("mnbatch.inference.cpu_engine.faster_here", lambda: kinds)
    card = zooming.card.model_copy(update={"normalisation": Normalisation(mean=(0.4,) * 3, std=(0.2,) * 3)})
    model = replace(zooming, card=card)
    cells = crops(3)
    grey = [np.broadcast_to(cell[..., :1], cell.shape) for cell in cells]
    coloured = cells[1].copy()
    coloured[60:90, 60:90, 1] = 200
    results = []
    for some in (grey, [grey[0], coloured, grey[2]], list(cells)):
        engine = CpuEngine(model, minibatch=4, threads=1)
        assert engine._one_channel == bool(kinds)
        results.append(engine.submit(some).result())
        engine.close()
    alone, beside, written_out = results
    for of in ("p_mn", "maps", "ratios"):
        first, second, third = (np.asarray(getattr(scores, of)) for scores in (alone, beside, written_out))
        assert np.array_equal(first[[0, 2]], second[[0, 2]])
        assert np.array_equal(first, third)
    assert beside.p_mn[1] != alone.p_mn[1]


def test_the_evidence_still_adds_up_to_the_score(models: tuple[LoadedModel, LoadedModel]) -> None:
    two = models[1]
    scores = scored(CpuEngine(two, threads=1), crops(6))
    bias = float(two.network.classifier.bias.detach().diff())
    total = (scores.maps[:, 2].sum(axis=(1, 2)) + bias) / two.card.temperature
    assert 1 / (1 + np.exp(-total)) == pytest.approx(scores.p_mn, abs=1e-5)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_turned_cell_gets_the_same_score_and_a_turned_map(models: tuple[LoadedModel, LoadedModel], kind: str) -> None:
    two = models[1]
    cells = crops(6)
    every_way = [np.rot90(cells, turns, (1, 2)).copy() for turns in (0, 1)]
    lying = [scored(ENGINES[kind](two), shown) for shown in every_way]
    sure = np.min([scored(ENGINES[kind](models[0]), shown).p_mn for shown in every_way], axis=0) >= FROM
    assert sure.any()
    for turns, scores in enumerate(lying):
        assert margins(scores)[sure] == pytest.approx(margins(lying[0])[sure], abs=1e-4)
        back = np.rot90(scores.maps[:, 2], -turns, (1, 2))
        assert back[sure] == pytest.approx(lying[0].maps[sure, 2], abs=1e-4)


def test_zoomed_looks_count_and_their_evidence_goes_back_where_it_belongs(
    models: tuple[LoadedModel, LoadedModel], zooming: LoadedModel
) -> None:
    cells = crops(3)
    first, both = (scored(CpuEngine(model, threads=1), cells) for model in (models[0], zooming))
    assert np.abs(both.p_mn - first.p_mn).min() > 0
    bias = float(zooming.network.classifier.bias.detach().diff())
    total = (both.maps[:, 2].sum(axis=(1, 2)) + bias) / zooming.card.temperature
    assert 1 / (1 + np.exp(-total)) == pytest.approx(both.p_mn, abs=1e-5)


@pytest.mark.parametrize("zoom", [1.18, 0.85, 1.0])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [224, 384])
def test_what_a_view_shows_at_a_position_is_put_back_to_where_it_was(
    zoom: float, quarter_turns: int, size: int
) -> None:
    view = View.model_validate({"zoom": zoom, "quarter_turns": quarter_turns})
    row, column, side = 70, 120, positions(size)
    picture = torch.zeros(1, 3, size, size)
    picture[:, :, row - 3 : row + 4, column - 3 : column + 4] = 1
    seen = shown(picture, view)
    assert seen.shape == picture.shape
    # As much evidence at a position as is white within half a step of its centre.
    evidence = torch.nn.functional.avg_pool2d(seen[:, :1, 8:, 8:], STEP, STEP)[0]
    assert evidence.shape == (1, side, side)
    back = put_back(evidence, view, size)[0]
    assert float(back.sum()) == pytest.approx(float(evidence.sum()), rel=1e-5)
    places = torch.arange(side) * STEP + ORIGIN
    centre = [float((back.sum(dim=1 - axis) * places).sum() / back.sum()) for axis in (0, 1)]
    assert centre == pytest.approx([row, column], abs=STEP / 2)


@pytest.mark.parametrize("kind", ENGINES)
def test_scores_depend_on_no_other_cell_bit_for_bit(
    models: tuple[LoadedModel, LoadedModel], zooming: LoadedModel, kind: str
) -> None:
    cells = crops(6)
    engine = ENGINES[kind](zooming)
    together, backwards = (
        Scores.joined([engine.submit(list(part)).result() for part in (order[:4], order[4:])])
        for order in (cells, cells[::-1])
    )
    assert np.array_equal(together.p_mn, backwards.p_mn[::-1])
    assert np.array_equal(together.maps, backwards.maps[::-1])
    for place in (0, 3):
        alone = engine.submit(list(cells[place : place + 1])).result()
        assert np.array_equal(alone.p_mn, together.p_mn[place : place + 1])
        assert np.array_equal(alone.maps, together.maps[place : place + 1])
    engine.close()


@pytest.mark.parametrize("kind", ENGINES)
def test_where_no_cell_is_looked_at_again_the_network_runs_once(
    models: tuple[LoadedModel, LoadedModel], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    low = models[0].card.model_copy(
        update={"second_look": SecondLook.model_validate({"from_score": 0.49, "views": TURNS})}
    )
    engine: Any = ENGINES[kind](replace(models[0], card=low))
    looks = Mock(side_effect=engine._look)
    monkeypatch.setattr(engine, "_look", looks)
    scores = engine.submit(list(crops(3))).result()
    engine.close()
    assert scores.p_mn.max() < 0.49
    assert looks.call_count == 1


def test_features_for_counters_and_plans_are_of_both_looks(
    models: tuple[LoadedModel, LoadedModel], zooming: LoadedModel
) -> None:
    cells = crops(5)
    for model in (*models, zooming):
        with Classifier(model, device="cpu", threads=1) as classifier:
            scores = classifier.score(cells)
        described = describe(model, iter(cells))
        assert described.p_mn == pytest.approx(scores.p_mn, abs=1e-5)
        counter = model.network.counter
        assert scores.ratios is not None
        logits = described.vectors @ counter.weight.detach().double().numpy().T + counter.bias.detach().numpy()
        assert 1 / (1 + np.exp(-logits)) == pytest.approx(scores.ratios, abs=1e-5)


def test_too_little_memory_for_the_second_look_makes_its_passes_smaller(
    models: tuple[LoadedModel, LoadedModel], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cells, two = crops(8), models[1]
    wanted = scored(DeviceEngine(two, torch.device("cpu"), minibatch=8, threads=1, convolutions=torch.float32), cells)
    engine = DeviceEngine(two, torch.device("cpu"), minibatch=12, threads=1, convolutions=torch.float32)
    whole = engine._look
    asked: list[int] = []

    def scarce(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        if len(x) == 6:  # two cells in three turns
            raise torch.OutOfMemoryError("injected")
        return whole(x)

    monkeypatch.setattr(engine, "_look", scarce)
    given = engine.submit(list(cells)).result()
    engine.close()
    assert given.p_mn == pytest.approx(wanted.p_mn, abs=1e-5)
    assert 6 in asked
    assert set(asked) == {12, 6, 3}
    assert "Out of memory" in caplog.text


def test_no_memory_for_one_cell_is_said(
    models: tuple[LoadedModel, LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = DeviceEngine(models[1], torch.device("cpu"), minibatch=8, threads=1, convolutions=torch.float32)
    whole = engine._look

    def none(x: torch.Tensor) -> torch.Tensor:
        if len(x) < 8:
            raise torch.OutOfMemoryError("injected")
        return whole(x)

    monkeypatch.setattr(engine, "_look", none)
    pending = engine.submit(list(crops(8)))
    with pytest.raises(Exception, match="not enough free memory for one cell"):
        pending.result()
    engine.close()


def test_a_device_lost_in_the_second_look_leaves_its_cells_to_another(
    models: tuple[LoadedModel, LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, two = crops(8), models[1]
    wanted = scored(DeviceEngine(two, torch.device("cpu"), minibatch=8, threads=1, convolutions=torch.float32), cells)
    engines = [
        DeviceEngine(two, torch.device("cpu"), minibatch=8, threads=1, convolutions=torch.float32) for _ in range(2)
    ]
    whole = engines[0]._look

    def breaks(x: torch.Tensor) -> torch.Tensor:
        if len(x) < 8:
            raise torch.AcceleratorError("injected")
        return whole(x)

    monkeypatch.setattr(engines[0], "_look", breaks)
    alone = engines[0].submit(list(cells))
    with pytest.raises(DeviceLostError, match="was lost"):
        alone.result()
    both = SeveralDevices(engines)
    pending = [both.submit(list(cells)) for _ in range(2)]
    for one in pending:
        assert np.array_equal(one.result().p_mn, wanted.p_mn)
    both.close()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"from_score": 0.6, "views": TURNS}, "above the threshold"),
        ({"from_score": 0.2, "views": (TURNS[0], TURNS[0])}, "twice"),
        ({"from_score": 0.2, "views": ({"zoom": 1.0},)}, "the first look"),
        ({"from_score": 0.2, "views": ()}, "views"),
        ({"from_score": 0.2, "views": ({"quarter_turns": 4},)}, "quarter_turns"),
        ({"from_score": 0.2, "views": ({"zoom": 9},)}, "zoom"),
        ({"from_score": 0.0, "views": TURNS}, "from_score"),
        ({"from_score": float("nan"), "views": TURNS}, "from_score"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(tmp_path: Path, asked: dict[str, object], why: str) -> None:
    with pytest.raises(ModelError, match=why):
        write_model_directory(tmp_path / "model", random_network(), card_fields(second_look=asked))

"""Leave-one-group-out: every group is held out once, and finished groups are not trained again."""

import csv
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnbatch.errors import TrainingError, UsageError
from mnbatch.training import cross_validation
from mnbatch.training.cross_validation import VIEWS, Fold, cross_validate, spread
from mnbatch.training.recipe import Recipe
from mnbatch.training.training_request import Request
from tests.training.conftest import draw_cell, take_few_resamples

pytestmark = pytest.mark.usefixtures("few_resamples")

OWN_ONLY = {"labelled": 1, "dressed": 0, "composite": 0, "smear": 0, "simulated": 0}
# Without bfloat16, which a CPU that has none of it imitates ten times as slowly.
RECIPE = Recipe(epochs=1, cells_per_epoch=4, minibatch=4, bf16=False, **OWN_ONLY)


def write_slides(folder: Path) -> Path:
    """Labels of three slides of four cells each; returns the table."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    rows = ["file,label,slide"]
    for slide in "abc":
        for number in range(4):
            name = f"{slide}{number}.png"
            Image.fromarray(draw_cell(rng, number % 2 == 0)).save(folder / name)
            rows.append(f"{name},{'mn' if number % 2 == 0 else 'nomn'},{slide}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    return labels


@pytest.fixture
def three_slides(tmp_path: Path) -> Path:
    return write_slides(tmp_path / "slides")


@dataclass(frozen=True)
class Whole:
    """A cross-validation that nothing interrupted; `seen`: slides that train and slides held out, by fold."""

    out: Path
    folds: list[Fold]
    seen: list[tuple[set[str], set[str]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    place = tmp_path_factory.mktemp("whole")
    seen: list[tuple[set[str], set[str]]] = []
    real = cross_validation._Folds.fold

    def watched(self, group, rest, held_out):
        seen.append(({cell.slide for cell in rest}, {cell.slide for cell in held_out}))
        return real(self, group, rest, held_out)

    with pytest.MonkeyPatch.context() as patch:
        take_few_resamples(patch)
        patch.setattr(cross_validation._Folds, "fold", watched)
        folds = cross_validate(request_for(write_slides(place / "slides"), place / "out"), RECIPE, lambda _: None)
    return Whole(place / "out", folds, seen)


def request_for(labels: Path, out: Path, **changes: object) -> Request:
    return Request(data=labels, out=out, init="random", device="cpu", threads=1, **changes)


def test_every_group_is_held_out_once_and_none_of_its_cells_trains(whole: Whole) -> None:
    folds = whole.folds
    assert [held for _, held in whole.seen] == [{"a"}, {"b"}, {"c"}]
    assert all(not rest & held and rest | held == set("abc") for rest, held in whole.seen)
    assert {(fold.group, fold.views) for fold in folds} == {(slide, views) for slide in "abc" for views in VIEWS}
    assert all(fold.n == 4 and fold.n_mn == 2 and fold.low <= fold.auc <= fold.high for fold in folds)
    with (whole.out / "cross_validation.csv").open(encoding="utf-8-sig") as stream:
        assert len(list(csv.DictReader(stream))) == len(folds)


def test_an_interrupted_cross_validation_goes_on_with_the_next_group(
    three_slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    request = request_for(three_slides, tmp_path / "out")
    real = cross_validation._Folds.fold

    def dies(self, group, rest, held_out):
        if group == "c":
            raise KeyboardInterrupt
        return real(self, group, rest, held_out)

    monkeypatch.setattr(cross_validation._Folds, "fold", dies)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(request, RECIPE, lambda _: None)
    trained: list[str] = []

    def counted(self, group, rest, held_out):
        trained.append(group)
        return real(self, group, rest, held_out)

    monkeypatch.setattr(cross_validation._Folds, "fold", counted)
    resumed = cross_validate(request, RECIPE, lambda _: None)
    assert trained == ["c"]
    assert resumed == whole.folds


def test_the_folder_of_another_cross_validation_is_refused(three_slides: Path, tmp_path: Path, whole: Whole) -> None:
    shutil.copytree(whole.out, tmp_path / "out")
    assert cross_validate(request_for(three_slides, tmp_path / "out"), RECIPE, lambda _: None) == whole.folds
    with pytest.raises(TrainingError, match="other cells or another recipe"):
        cross_validate(request_for(three_slides, tmp_path / "out", seed=2), RECIPE, lambda _: None)


def test_a_torn_state_is_named_and_not_trained_over(three_slides: Path, tmp_path: Path, whole: Whole) -> None:
    shutil.copytree(whole.out, tmp_path / "out")
    state = tmp_path / "out" / "cross_validation.json"
    state.write_bytes(state.read_bytes()[:50])
    with pytest.raises(TrainingError, match="cannot be read"):
        cross_validate(request_for(three_slides, tmp_path / "out"), RECIPE, lambda _: None)


def test_labels_without_groups_are_refused(crop_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="donor or slide"):
        cross_validate(request_for(crop_folder, tmp_path / "out"), RECIPE, lambda _: None)


def test_a_group_with_one_class_has_no_auc_and_leaves_the_spread(three_slides: Path, tmp_path: Path) -> None:
    text = three_slides.read_text().replace("b1.png,nomn", "b1.png,mn").replace("b3.png,nomn", "b3.png,mn")
    three_slides.write_text(text)
    folds = cross_validate(request_for(three_slides, tmp_path / "out"), RECIPE, lambda _: None)
    assert [np.isnan(fold.auc) for fold in folds if fold.group == "b"] == [True] * len(VIEWS)
    assert np.isfinite(spread(folds, "one pass")).all()


def test_the_spread_is_mean_smallest_and_largest() -> None:
    folds = [Fold(g, "one pass", 9, 4, value, 0.0, 1.0) for g, value in (("a", 0.9), ("b", 0.7), ("c", float("nan")))]
    assert spread(folds, "one pass") == (pytest.approx(0.8), 0.7, 0.9)  # type: ignore[comparison-overlap]


def test_a_device_that_is_none_is_refused_before_anything_is_trained(three_slides: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match="Unknown device 'foo'"):
        cross_validate(replace(request_for(three_slides, tmp_path / "out"), device="foo"), RECIPE, said.append)
    assert said == []


def test_slides_that_read_the_same_are_one_group(
    three_slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_slides.write_text(three_slides.read_text().replace(",b\n", ",A\n"))
    held: list[tuple[str, set[str]]] = []

    def watched(self, group, rest, held_out):
        held.append((group, {cell.slide for cell in held_out}))
        return []

    monkeypatch.setattr(cross_validation._Folds, "fold", watched)
    said: list[str] = []
    cross_validate(request_for(three_slides, tmp_path / "out"), RECIPE, said.append)
    assert held == [("A and a", {"A", "a"}), ("c", {"c"})]
    assert "'A' and 'a' read the same" in said[0]


def test_donors_that_some_cells_of_a_slide_name_make_no_second_group(
    three_slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = three_slides.read_text().splitlines()
    named = [f"{line},D{line[-1]}" if i % 2 else f"{line}," for i, line in enumerate(lines[1:])]
    three_slides.write_text("\n".join([f"{lines[0]},donor", *named]) + "\n")
    held: list[tuple[str, set[str], set[str]]] = []

    def watched(self, group, rest, held_out):
        held.append((group, {cell.slide for cell in rest}, {cell.slide for cell in held_out}))
        return []

    monkeypatch.setattr(cross_validation._Folds, "fold", watched)
    cross_validate(request_for(three_slides, tmp_path / "out"), RECIPE, lambda _: None)
    assert [(group, slides) for group, _, slides in held] == [("Da", {"a"}), ("Db", {"b"}), ("Dc", {"c"})]
    assert all(not rest & slides for _, rest, slides in held)

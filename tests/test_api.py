"""mnbatch as a library: what it returns fits what the commands write, and nothing is printed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import mnbatch
from mnbatch.errors import CurveError, NoInputError, SlideError, StorageError, UsageError
from mnbatch.imaging.preparation import Preparation
from mnbatch.simulate import CellSpec, draw_slide_appearance, simulate_cell
from tests.pipeline.conftest import write_random_model, write_slide

ROOT = Path(__file__).resolve().parents[1]


def crops(stain: str, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    slide = draw_slide_appearance(rng, stain)
    return [simulate_cell(rng, CellSpec(stain, n_mn=i % 2), slide).image for i in range(count)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "one"
    write_random_model(path, 1, ("fluorescence", "giemsa"), architecture="attention-alexnet")
    return path


@pytest.fixture(scope="module")
def model(directory):
    with mnbatch.load_model(directory, device="cpu", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def out(tmp_path_factory, directory):
    root = tmp_path_factory.mktemp("batch")
    for number, donor in enumerate(("D1", "D2")):
        write_slide(root / "export" / donor / "A", seed=71 + number, cells=4)
    (root / "export/D2/A/cell_003.png").write_bytes(b"\x89PNG broken")
    outcome = mnbatch.run(
        *(root / "export", root / "out"),
        layout="donor-slide-folders",
        model=str(directory),
        device="cpu",
        workers=1,
        min_cells=1,
        max_bad_fraction=0.5,
    )
    assert outcome.exit_code == 0
    return root / "out"


def test_importing_is_instant():
    heavy = "{'torch', 'pandas', 'numpy', 'tifffile', 'pydantic'}"
    code = f"import sys, mnbatch; assert 'run' in dir(mnbatch); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mnbatch.nothing  # noqa: B018


def test_arrays_and_files_get_the_same_scores(model, tmp_path, capsys):
    images = crops("fluorescence")
    paths = []
    for number, image in enumerate(images):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    from_arrays, from_files = model.score(images), model.score([*paths, tmp_path / "broken.png"])
    assert list(from_arrays.p_mn) == list(from_files.p_mn[:3])
    assert from_files.p_mn[3] is pd.NA
    assert from_files.reason[3]
    assert list(from_arrays.image) == ["0", "1", "2"]
    assert list(from_files.stain[:3]) == ["fluorescence"] * 3
    assert capsys.readouterr() == ("", "")


def test_scores_are_those_of_a_run(out, directory):
    cells = mnbatch.open_results(out).cells()
    row = cells[cells.source == "D1/A/cell_001.png"].iloc[0]
    with mnbatch.load_model(directory, device="cpu", threads=1) as opened:
        alone = opened.score([out.parent / "export" / row.source])
    assert alone.p_mn[0] == pytest.approx(row.p_mn, abs=1e-6)
    assert alone.qc[0] == row.qc


def test_no_image_is_an_empty_table_with_its_columns(model):
    table = model.score([])
    assert len(table) == 0
    assert table.dtypes["p_mn"] == "Float64"
    assert model.maps([]).shape == (0, 3, 13, 13)


def test_a_file_that_is_not_there_has_a_reason(model, tmp_path):
    table = model.score([tmp_path / "gone.png"])
    assert table.reason[0]
    assert table.mn[0] is pd.NA


def test_maps_and_features_come_in_the_order_of_the_images(model):
    images = crops("fluorescence")
    maps, features = model.maps(images), model.features(images)
    assert maps.shape == (3, 3, 13, 13)
    assert np.allclose(maps[1], model.maps(images[1:2])[0], atol=1e-6)
    assert features.shape[0] == 3
    assert np.allclose(features[2], model.features(images[2:])[0], atol=1e-6)
    assert np.isfinite(features).all()


def test_two_stains_are_refused_and_may_be_forced(model):
    images = [*crops("fluorescence"), *crops("giemsa")]
    with pytest.raises(UsageError, match="two stains"):
        model.score(images)
    assert model.score(images, stain="giemsa").p_mn.notna().all()


@pytest.mark.parametrize(
    "image", [np.zeros((40, 40), np.float64), np.zeros((40, 40, 4), np.uint8), np.zeros(9, np.uint8)]
)
def test_an_array_that_is_no_crop_is_refused(model, image):
    with pytest.raises(UsageError, match="Image 0 is"):
        model.score([image])


def test_a_field_is_segmented():
    rng = np.random.default_rng(2)
    ys, xs = np.mgrid[0:400, 0:400]
    field = rng.normal(400, 20, (400, 400))
    for y, x in ((100, 100), (100, 142), (300, 280), (300, 322)):
        field += 3000 * (np.hypot(ys - y, xs - x) < 20)
    found = mnbatch.segment(field.clip(0, 65535).astype(np.uint16))
    assert list(found.cells.cell_class) == ["binucleated", "binucleated"]
    assert found.nuclei.max() == 4
    assert found.stain == "fluorescence"


def test_an_export_is_scanned(out):
    found = mnbatch.scan(out.parent / "export", layout="donor-slide-folders")
    assert list(found.donor) == ["D1", "D2"]
    assert list(found.files) == [4, 4]
    with pytest.raises(NoInputError):
        mnbatch.scan(out.parent / "nowhere")


def test_what_is_said_of_names_and_pages_holds_in_a_scan_as_in_a_run(tmp_path):
    folder = tmp_path / "export" / "S"
    folder.mkdir(parents=True)
    for number in range(4):
        for channel in ("a", "b"):
            cell = np.random.default_rng(number).integers(0, 255, (40, 40), np.uint8)
            Image.fromarray(cell // (1 + (channel == "b"))).save(folder / f"c{number}_{channel}.png")
    asked = mnbatch.scan(tmp_path / "export", input="crops", names="{cell}_{channel}")
    assert "--nuclear-channel" in asked.problem[0]
    told = mnbatch.scan(tmp_path / "export", input="crops", names="{cell}_{channel}", nuclear_channel="a")
    assert list(told.files) == [4]
    assert told.problem.isna().all()


def test_what_is_said_of_pages_holds_for_files_that_are_scored(tmp_path):
    cells = np.random.default_rng(1).integers(0, 255, (2, 48, 48), np.uint8)
    tifffile.imwrite(tmp_path / "cell.tif", cells, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(SlideError, match="channels"):
        _Reader().read(tmp_path / "cell.tif")
    assert len(_Reader().read(tmp_path / "cell.tif", nuclear_channel="1")) == 1
    for wrong in ({"plane": "max"}, {"planes": "highest"}):
        with pytest.raises(UsageError):
            _Reader().read(tmp_path / "cell.tif", **wrong)


class _Reader:
    """Reads files as a model does, without weights."""

    def read(self, path, **said):
        models = SimpleNamespace(preparation=Preparation())
        return mnbatch.api.Model(models, "cpu", None)._read([path], said)


def test_a_setting_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="treshold is not a setting"):
        mnbatch.run(tmp_path, tmp_path / "out", treshold=0.5)


def test_a_run_reads_no_environment_variable(out, directory, monkeypatch):
    monkeypatch.setenv("MNBATCH_THRESHOLD", "0.999")
    monkeypatch.setenv("MNBATCH_NONSENSE", "1")
    outcome = mnbatch.run(
        *(out.parent / "export", out),
        layout="donor-slide-folders",
        model=str(directory),
        device="cpu",
        workers=1,
        min_cells=1,
        max_bad_fraction=0.5,
    )
    assert (outcome.scored, outcome.called, len(outcome.kept)) == ([], [], 2)


def test_tables_have_types_and_missing_values(out):
    results = mnbatch.open_results(out)
    cells, slides, donors = results.cells(), results.slides(), results.donors()
    assert len(cells) == 8
    assert cells.mn.dtype == "boolean"
    broken = cells[cells.source == "D2/A/cell_003.png"].iloc[0]
    assert broken.p_mn is pd.NA
    assert broken.reason
    assert slides.bn_cells.tolist() == [4, 3]
    assert donors.bn_cells.dtype == "Int64"
    written = pd.read_csv(out / "slides" / slides.slide_id[0] / "cells.csv")
    assert cells[cells.slide_id == slides.slide_id[0]].p_mn.tolist() == pytest.approx(written.p_mn.tolist())


def test_pictures_and_maps_of_a_cell(out):
    results = mnbatch.open_results(out)
    cell_id = results.cells().cell_id[0]
    assert results.crop(cell_id).shape[:2] == (224, 224)
    assert results.heatmap(cell_id).shape == (13, 13)
    for wrong in ("nothing", "../x:y", cell_id + "x"):
        with pytest.raises(UsageError):
            results.crop(wrong)


def test_no_decision_is_an_empty_table(out):
    frame = mnbatch.open_results(out).decisions()
    assert len(frame) == 0
    assert {"cell_id", "decision", "reviewer", "time"} <= set(frame.columns)


def test_an_edited_table_is_refused(out):
    path = out / "slides.csv"
    before = path.read_bytes()
    try:
        path.write_bytes(before.replace(b",4,", b",5,", 1))
        with pytest.raises(StorageError, match="not what the report wrote"):
            mnbatch.open_results(out).slides()
    finally:
        path.write_bytes(before)


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(StorageError, match="holds no results"):
        mnbatch.open_results(tmp_path)


def test_curve_and_doses_of_data_frames_are_those_of_files(tmp_path):
    points = pd.DataFrame({"D": [0, 0.5, 1, 2, 3], "N": [4000] * 5, "X": [40, 90, 170, 420, 800]})
    points.to_csv(tmp_path / "points.csv", index=False)
    curve = mnbatch.fit_curve(points)
    again = mnbatch.fit_curve(tmp_path / "points.csv")
    assert np.array_equal(curve.coefficients, again.coefficients)
    counts = pd.DataFrame({"id": ["a", "b"], "N": [1000, 1000], "X": [12, 105]})
    doses = mnbatch.estimate_dose(counts, curve)
    assert list(doses.status) == ["ok", "ok"]
    assert doses.low_gy[1] < doses.dose_gy[1] < doses.high_gy[1]
    assert doses.dose_gy[1] == pytest.approx(2, abs=0.3)


def test_counts_that_cannot_be_used_are_named():
    with pytest.raises(UsageError, match="The calibration table that was given has no column D"):
        mnbatch.fit_curve(pd.DataFrame({"N": [1], "X": [1]}))
    with pytest.raises(CurveError, match="line 3"):
        mnbatch.fit_curve(pd.DataFrame({"D": [0, 1], "N": [100, 100], "X": [1, 500]}))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(example):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout

"""From fields to tables: what is found, what is skipped and why, and that nothing found nowhere is a zero."""

import csv
import json
import re
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from mnbatch.errors import MismatchError
from mnbatch.imaging.inputs import recognise_input
from mnbatch.pipeline.run import run

STEP, SIDE, RADIUS = 130, 600, 15


def places_of(seed: int) -> list[tuple[int, int]]:
    """Where the cells of a field are: round the points of a grid, in each field elsewhere."""
    rng = np.random.default_rng([seed, 7])
    grid = [(x, y) for y in range(105, SIDE - 80, STEP) for x in range(105, SIDE - 80, STEP)]
    return [(x, y) if seed == 1 else (x + int(rng.integers(-22, 23)), y + int(rng.integers(-22, 23))) for x, y in grid]


def paint(seed: int, binucleated: int = 5, mononucleated: int = 4, empty: bool = False) -> np.ndarray:
    """A 16-bit fluorescence field: nuclei round a grid, pairs 34 pixels apart, each turned in its own way; the same
    seed paints the same field."""
    rng = np.random.default_rng(seed)
    nuclei = []
    for index, (x, y) in enumerate([] if empty else places_of(seed)[: binucleated + mononucleated]):
        angle = 0.618 * np.pi * (seed * 5 + index) if seed != 1 else 0.0
        shift = 17 * np.array([np.cos(angle), np.sin(angle)]) * (index < binucleated)
        nuclei += [(x - shift[0], y - shift[1]), (x + shift[0], y + shift[1])] if shift.any() else [(x, y)]
    rows, columns = np.mgrid[:SIDE, :SIDE]
    field = np.zeros((SIDE, SIDE))
    for x, y in nuclei:
        field[(columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2] = 2500 + rng.normal(0, 60)
    field = ndimage.gaussian_filter(field, 1.0) + 400
    return np.clip(field + rng.normal(0, 25, field.shape), 0, 65535).astype(np.uint16)


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A slide of two fields."""
    root = tmp_path / "fields"
    (root / "D1/A").mkdir(parents=True)
    for i in range(2):
        tifffile.imwrite(root / "D1/A" / f"f{i}.tif", paint(i))
    return root


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def row_of(out: Path, slide: str) -> dict[str, str]:
    (row,) = [row for row in table(out / "slides.csv") if row["slide"] == slide]
    return row


def cells_of(out: Path, slide: str) -> list[dict[str, str]]:
    return table(out / "slides" / row_of(out, slide)["slide_id"] / "cells.csv")


def mask_of(out: Path, slide: str) -> Path:
    (path,) = (out / "slides" / row_of(out, slide)["slide_id"] / "masks").iterdir()
    return path


def test_binucleated_cells_of_fields_are_found_scored_and_placed(settings, fields, tmp_path):
    outcome = run(settings(export=fields))
    row = row_of(tmp_path / "out", "A")
    counted = [row[name] for name in ("input", "status", "fields", "m1_cells", "m2_cells", "bn_cells")]
    assert (outcome.exit_code, counted) == (0, ["fields", "done", "2", "8", "10", "10"])
    cells = cells_of(tmp_path / "out", "A")
    places = sorted((float(cell["x"]), float(cell["y"])) for cell in cells)
    painted = sorted(place for seed in range(2) for place in places_of(seed)[:5])
    assert np.abs(np.array(places) - np.array(painted)).max() < 5
    first = cells[0]
    assert first["cell_id"].endswith(f"f0.tif@{round(float(first['x']))}_{round(float(first['y']))}")
    assert (first["cell_class"], first["nuclei"]) == ("binucleated", "2")
    assert float(first["nucleus_area_px"]) == pytest.approx(2 * np.pi * RADIUS**2, rel=0.25)
    assert (first["x_um"], first["y_um"]) == ("", "")


def test_a_second_run_gives_the_same_cells_and_scores_nothing(settings, fields, tmp_path):
    run(settings(export=fields))
    before = cells_of(tmp_path / "out", "A")
    outcome = run(settings(export=fields))
    assert (outcome.scored, len(outcome.kept)) == ([], 1)
    again = run(settings(export=fields, out=tmp_path / "again"))
    assert len(again.scored) == 1
    assert cells_of(tmp_path / "again", "A") == before


def test_how_cells_are_found_is_part_of_the_score_key(settings, fields, tmp_path):
    run(settings(export=fields))
    outcome = run(settings(export=fields, cells="all", um_per_pixel=0.5))
    row, cells = row_of(tmp_path / "out", "A"), cells_of(tmp_path / "out", "A")
    assert len(outcome.scored) == 1
    assert row["bn_cells"] == "28"
    assert "--cells all" in row["warnings"]
    assert float(cells[0]["x_um"]) == pytest.approx(float(cells[0]["x"]) / 2, abs=0.01)


def test_cells_at_the_border_are_scored_only_with_all_and_flagged(settings, tmp_path):
    root = tmp_path / "fields" / "A"
    root.mkdir(parents=True)
    tifffile.imwrite(root / "f.tif", paint(1)[:, 97:])
    run(settings(export=tmp_path / "fields", layout="folder-per-slide"))
    inner = cells_of(tmp_path / "out", "A")
    assert not [cell for cell in inner if float(cell["x"]) < 48]
    assert "edge" in row_of(tmp_path / "out", "A")["not_scored"]
    run(settings(export=tmp_path / "fields", layout="folder-per-slide", cells="all"))
    outer = [cell for cell in cells_of(tmp_path / "out", "A") if float(cell["x"]) < 40]
    assert outer
    assert all("border" in cell["qc"].split(";") for cell in outer)
    row = row_of(tmp_path / "out", "A")
    assert "binucleated" in row["background"]
    assert (row["background_per_1000"], row["background_p"]) == ("", "")
    assert "read BN cells as cells" in row["warnings"]


BAD = {
    "noise": (lambda: np.random.default_rng(1).normal(500, 40, (SIDE, SIDE)).astype(np.uint16), ""),
    "one-value": (lambda: np.full((SIDE, SIDE), 300, np.uint16), "every value is 300"),
    "saturated": (lambda: np.where(np.arange(SIDE) % 50 < 40, 65535, paint(3)).astype(np.uint16), "saturated"),
    "wrong-channel": (lambda: 65535 - 20 * paint(4), "another channel"),
    "channels": (lambda: np.stack([paint(5)] * 5, -1), "--nuclear-channel"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_field_is_set_aside_and_the_slide_goes_on(settings, fields, tmp_path, name):
    make, reason = BAD[name]
    bad = make()
    more = {"planarconfig": "contig"} if bad.ndim == 3 else {}
    tifffile.imwrite(fields / "D1/A" / "g_bad.tif", bad, photometric="minisblack", **more)
    outcome = run(settings(export=fields))
    row = row_of(tmp_path / "out", "A")
    assert (outcome.exit_code, row["fields"], row["bn_cells"]) == (0, "3", "10")
    if reason:
        assert (row["status"], row["fields_set_aside"]) == ("partial", "1")
        assert reason in row["warnings"]
    else:
        assert (row["status"], row["fields_set_aside"], row["fields_empty"]) == ("done", "0", "1")


def test_a_truncated_field_is_set_aside(settings, fields, tmp_path):
    whole = (fields / "D1/A/f1.tif").read_bytes()
    (fields / "D1/A/f1.tif").write_bytes(whole[: len(whole) // 2])
    run(settings(export=fields))
    row = row_of(tmp_path / "out", "A")
    assert (row["status"], row["bn_cells"], row["fields_set_aside"]) == ("partial", "5", "1")
    assert "truncated" in row["warnings"]
    assert table(tmp_path / "out" / "donors.csv")[0]["status"] == "partial"


def test_a_slide_of_bad_fields_fails(settings, fields, tmp_path):
    for name in ("f0.tif", "f1.tif"):
        (fields / "D1/A" / name).write_bytes(b"II*\0 no image")
    outcome = run(settings(export=fields, input="fields"))
    row = row_of(tmp_path / "out", "A")
    assert (outcome.exit_code, row["status"], row["bn_cells"], row["mnbn_cells"]) == (3, "failed", "", "")
    assert "2 of the 2 fields" in row["reason"]


@pytest.mark.parametrize("empty", [True, False])
def test_a_slide_without_a_binucleated_cell_is_failed_and_not_zero(settings, fields, tmp_path, empty):
    for i in range(2):
        tifffile.imwrite(fields / "D1/A" / f"f{i}.tif", paint(i, binucleated=0, mononucleated=9, empty=empty))
    outcome = run(settings(export=fields, input="fields"))
    row = row_of(tmp_path / "out", "A")
    assert (outcome.exit_code, row["status"], row["mnbn_cells"], row["mnbn_per_1000"]) == (3, "failed", "", "")
    assert "No binucleated cell" in row["reason"]
    assert row["m1_cells"] == ("0" if empty else "18")
    assert ("18 mononucleated" if not empty else "no nuclei") in row["reason"]


def masks(field: np.ndarray) -> np.ndarray:
    return ndimage.label(ndimage.gaussian_filter(field.astype(float), 1.5) > 1400)[0].astype(np.uint16)


@pytest.mark.parametrize("name", ["f0_mask.tif", "f0_cp_masks.png"])
def test_a_label_image_beside_a_field_is_used(settings, fields, tmp_path, name):
    labels = masks(paint(0))
    labels[:170] = 0
    if name.endswith("png"):
        Image.fromarray(labels).save(fields / "D1/A" / name)
    else:
        tifffile.imwrite(fields / "D1/A" / name, labels)
    run(settings(export=fields))
    row = row_of(tmp_path / "out", "A")
    assert row["fields"] == "2"
    first = [cell for cell in cells_of(tmp_path / "out", "A") if "f0.tif" in cell["source"]]
    assert len(first) == 1
    assert min(float(cell["y"]) for cell in first) > 170
    # The label image is a part of what the result depends on.
    (fields / "D1/A" / name).unlink()
    tifffile.imwrite(fields / "D1/A" / "f0_mask.tif", masks(paint(0)))
    assert run(settings(export=fields)).scored == [row["slide_id"]]


def test_a_label_image_of_another_size_sets_its_field_aside(settings, fields, tmp_path):
    tifffile.imwrite(fields / "D1/A" / "f0_mask.tif", masks(paint(0))[:-3])
    run(settings(export=fields))
    row = row_of(tmp_path / "out", "A")
    assert (row["status"], row["bn_cells"]) == ("partial", "5")
    assert "its label image is 600 x 597 pixels, the field 600 x 600" in row["warnings"]


def test_an_absurd_pixel_size_fails_the_slide_and_says_how_to_give_it(settings, fields, tmp_path):
    pixel = {"PhysicalSizeX": 1000.0, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 1000.0}
    tifffile.imwrite(fields / "D1/A/f0.tif", paint(0), ome=True, metadata={"axes": "YX", **pixel})
    run(settings(export=fields))
    row = row_of(tmp_path / "out", "A")
    assert row["status"] == "failed"
    assert "1000 um per pixel" in row["reason"]
    run(settings(export=fields, um_per_pixel=0.3))
    assert row_of(tmp_path / "out", "A")["status"] == "done"


def test_the_nuclear_channel_is_known_by_its_name_and_the_pixel_size_by_ome(settings, fields, tmp_path):
    for path in (fields / "D1/A").iterdir():
        path.unlink()
    pixel = {"PhysicalSizeX": 0.4, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.4, "PhysicalSizeYUnit": "µm"}
    both = np.stack([np.random.default_rng(0).integers(90, 110, (SIDE, SIDE)).astype(np.uint16), paint(3)])
    names = {"Channel": {"Name": ["FITC", "DAPI"]}}
    metadata = {"axes": "CYX", **pixel, **names}
    tifffile.imwrite(fields / "D1/A/m.ome.tif", both, ome=True, photometric="minisblack", metadata=metadata)
    Image.fromarray((both[1] >> 4).astype(np.uint8)).save(fields / "D1/A/m.png")  # a preview
    run(settings(export=fields))
    row, cells = row_of(tmp_path / "out", "A"), cells_of(tmp_path / "out", "A")
    assert (row["fields"], row["bn_cells"]) == ("1", "5")
    assert float(cells[0]["x_um"]) == pytest.approx(0.4 * float(cells[0]["x"]), abs=0.01)
    run(settings(export=fields, nuclear_channel="1"))
    assert row_of(tmp_path / "out", "A")["status"] == "failed"


def test_geojson_has_what_qupath_reads(settings, fields, tmp_path):
    run(settings(export=fields, geojson=True, um_per_pixel=0.5))
    files = sorted((tmp_path / "out/slides").rglob("*.geojson"))
    assert [path.name for path in files] == ["0000-f0.geojson", "0001-f1.geojson"]
    collection = json.loads(files[0].read_bytes())
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == 9
    for feature in collection["features"]:
        ring, properties = feature["geometry"]["coordinates"][0], feature["properties"]
        assert (feature["type"], feature["geometry"]["type"], uuid.UUID(feature["id"]).version) == (
            "Feature",
            "Polygon",
            5,
        )
        assert ring[0] == ring[-1]
        assert len(ring) >= 4
        assert properties["objectType"] == "detection"
        assert set(properties["classification"]) == {"name", "color"}
        assert all(isinstance(value, int | float) for value in properties["measurements"].values())
    names = Counter(
        feature["properties"]["classification"]["name"].split(": ")[0] for feature in collection["features"]
    )
    assert names == {"Binucleated": 5, "Mononucleated": 4}
    scored = [feature for feature in collection["features"] if "p(MN)" in feature["properties"]["measurements"]]
    assert len(scored) == 5
    page = files[0].parents[1].joinpath("index.html").read_text(encoding="utf-8")
    assert page.count('<rect class="mn"') + page.count('<rect class="scored"') >= 10
    anchors = set(re.findall(r'<a href="#(f\d+-\d+_\d+)"[ >]', page))
    assert len(anchors) == 10
    assert anchors == set(re.findall(r'<li id="(f\d+-\d+_\d+)"', page))


def test_a_whole_slide_goes_the_whole_way(settings, tmp_path):
    root = tmp_path / "slides" / "D1"
    root.mkdir(parents=True)
    options = {"tile": (256, 256), "photometric": "minisblack"}
    with tifffile.TiffWriter(root / "S1.tif") as tiff:
        tiff.write(paint(0), **options)
        tiff.write(paint(0)[::4, ::4], subfiletype=1, **options)
    (root / "S2.svs").write_bytes(b"no slide")
    outcome = run(settings(export=tmp_path / "slides", geojson=True, label_masks=True))
    good, bad = row_of(tmp_path / "out", "S1"), row_of(tmp_path / "out", "S2")
    got = [good[name] for name in ("input", "status", "bn_cells", "donor")]
    assert (outcome.exit_code, got) == (3, ["wsi", "done", "5", "D1"])
    assert (bad["status"], bad["mnbn_cells"]) == ("failed", "")
    assert "cannot be opened" in bad["reason"]
    labels = tifffile.imread(mask_of(tmp_path / "out", "S1"))
    assert labels.shape == (SIDE, SIDE)
    assert set(range(1, 6)) < set(np.unique(labels))
    assert run(settings(export=tmp_path / "slides", geojson=True)).scored == []


def test_out_keeps_the_kind_of_input(settings, fields, export, tmp_path):
    assert recognise_input(fields, "folder-per-slide").kind == "fields"
    assert recognise_input(export, "folder-per-slide").kind == "crops"
    run(settings(export=fields))
    with pytest.raises(MismatchError, match="fields input"):
        run(settings(export=fields, input="crops"))


def test_pseudonyms_hide_the_names_of_fields(settings, fields, tmp_path):
    run(settings(export=fields, pseudonymise=True))
    shown = [path for path in (tmp_path / "out/slides").rglob("*") if path.is_file()]
    assert shown
    assert not [path for path in shown if b"f0.tif" in path.read_bytes()]


def channels_of(folder: Path, seed: int) -> None:
    """A field of three channels, nuclei in the second; the others hold flat haze and noise, and inverted nuclei."""
    nuclei = paint(seed)
    haze = np.random.default_rng(seed).normal(500, 25, nuclei.shape).astype(np.uint16)
    planes = np.stack([haze, nuclei, 65535 - 20 * nuclei])
    folder.mkdir(parents=True)
    metadata = {"axes": "CYX", "Channel": {"Name": ["FITC", "Stain 7", "Bright field"]}}
    tifffile.imwrite(folder / "f.ome.tif", planes, ome=True, photometric="minisblack", metadata=metadata)


@pytest.mark.parametrize("channel", ["2", "stain 7"])
def test_the_chosen_channel_gives_the_cells_of_a_field_of_that_channel_alone(settings, tmp_path, channel):
    channels_of(tmp_path / "several/D1/A", 3)
    (tmp_path / "alone/D1/A").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "alone/D1/A/f.ome.tif", paint(3))
    outs = {"several": {"nuclear_channel": channel}, "alone": {}}
    for name, chosen in outs.items():
        assert run(settings(export=tmp_path / name, out=tmp_path / f"out-{name}", **chosen)).exit_code == 0
    several, alone = (cells_of(tmp_path / f"out-{name}", "A") for name in outs)
    assert len(alone) == 5
    assert several == alone


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        (None, "3 channels (FITC, Stain 7, Bright field), none is known as the nuclear one"),
        ("TRITC", "no channel 'TRITC'"),
        ("4", "no channel '4'"),
        ("1", "No binucleated cell was found"),
    ],
)
def test_another_channel_is_no_result_and_says_why(settings, tmp_path, channel, reason):
    channels_of(tmp_path / "several/D1/A", 3)
    chosen = {} if channel is None else {"nuclear_channel": channel}
    run(settings(export=tmp_path / "several", **chosen))
    row = row_of(tmp_path / "out", "A")
    assert (row["status"], row["mnbn_cells"]) == ("failed", "")
    assert reason in row["reason"]


def test_label_masks_agree_with_the_table_and_serve_as_own_segmentation(settings, tmp_path):
    folder = tmp_path / "stained/D1/A"
    folder.mkdir(parents=True)
    pixel = {"PhysicalSizeX": 0.4, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.4, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(folder / "f.ome.tif", cells_with_bodies(), metadata={"axes": "YXS", **pixel}, photometric="rgb")
    run(settings(export=tmp_path / "stained", label_masks=True, stain="giemsa"))
    cells, path = cells_of(tmp_path / "out", "A"), mask_of(tmp_path / "out", "A")
    with tifffile.TiffFile(path) as tiff:
        labels = tiff.asarray()
        assert tiff.is_ome
        assert 'PhysicalSizeX="0.4"' in tiff.ome_metadata
        assert tiff.pages.first.is_tiled
        assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert (labels.dtype, labels.shape, len(cells)) == (np.uint16, (SIDE, SIDE), 4)  # type: ignore[comparison-overlap]
    for cell in cells:
        own = labels == int(cell["mask_label"])
        rows, columns = np.nonzero(own)
        assert labels[round(float(cell["y"])), round(float(cell["x"]))] == int(cell["mask_label"])
        assert own.sum() == pytest.approx(int(cell["cell_area_px"]), rel=0.03)
        assert (columns.min(), rows.min()) >= (int(cell["box_left"]) - 1, int(cell["box_top"]) - 1)
    mononucleated = int(row_of(tmp_path / "out", "A")["m1_cells"])
    assert len(np.unique(labels)) - 1 == len(cells) + mononucleated

    before = path.read_bytes()
    path.unlink()
    run(settings(export=tmp_path / "stained", label_masks=True, stain="giemsa"))
    assert path.read_bytes() == before
    (folder / "f_mask.tif").write_bytes(before)
    run(settings(export=tmp_path / "stained", out=tmp_path / "again", stain="giemsa"))
    again = cells_of(tmp_path / "again", "A")
    assert sorted((cell["x"], cell["y"]) for cell in again) == sorted((cell["x"], cell["y"]) for cell in cells)
    run(settings(export=tmp_path / "stained", stain="giemsa"))
    assert not path.parent.exists()


def cells_with_bodies() -> np.ndarray:
    """Stained cells on light background, cytoplasm round the nuclei: four with two, four with one."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    density = np.zeros((SIDE, SIDE, 3))
    for index in range(8):
        x, y = 110 + 130 * (index % 4), 150 + 200 * (index // 4)
        body = (columns - x) ** 2 + (rows - y) ** 2 <= 48**2
        density[body] = np.array([0.7, 0.75, 0.3]) * 0.15
        for shift in (-18, 18) if index % 2 else (0,):
            nucleus = (columns - x - shift) ** 2 + (rows - y) ** 2 <= 16**2
            density[nucleus] = np.array([0.75, 1.0, 0.45]) * 0.75
    light = np.array([240, 235, 225]) * 10 ** -ndimage.gaussian_filter(density, (1, 1, 0))
    return np.clip(light + np.random.default_rng(2).normal(0, 2, light.shape), 0, 255).astype(np.uint8)

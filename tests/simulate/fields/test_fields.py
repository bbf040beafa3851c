"""Simulated fields: same seed, same bytes; the truth agrees with the pixels; pixel sizes; bad arguments."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mnbatch.errors import UsageError
from mnbatch.simulate.export_plan import ExportPlan, SlideJob
from mnbatch.simulate.fields.field_export import simulate_fields
from mnbatch.simulate.fields.field_files import TRUTH_COLUMNS, label_images
from mnbatch.simulate.fields.field_plan import CLASSES, FieldPlan, parse_mixture
from mnbatch.simulate.fields.field_rendering import Drawing, draw_field
from mnbatch.simulate.fields.field_scene import OVERLAPPING
from tests.simulate.folders import digests, rows_of

SLIDE = ExportPlan(donors=1, slides=1, doses=(4.0,), seed=5, variety=0.2)
SMALL = FieldPlan(export=SLIDE, fields=1, width=640, height=480)


@pytest.fixture(scope="module", params=["giemsa", "fluorescence"])
def drawing(request: pytest.FixtureRequest) -> Drawing:
    return draw_field(replace(SMALL, export=replace(SLIDE, stain=request.param)), SlideJob(0, 0), 1)


def test_same_seed_gives_the_same_bytes_whatever_else_is_made_and_by_how_many(tmp_path: Path) -> None:
    plan = replace(SMALL, export=replace(SLIDE, stain="both"), masks="apart", width=256, height=256)
    simulate_fields(tmp_path / "a", plan)
    more = replace(plan, fields=2, export=replace(plan.export, slides=2))
    simulate_fields(tmp_path / "b", more, workers=2)
    few, many = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert {n: d for n, d in few.items() if n.startswith(("export", "masks"))}.items() <= many.items()
    assert sum(name.startswith("export") for name in many) == 4
    simulate_fields(tmp_path / "c", replace(plan, export=replace(plan.export, seed=6)))
    assert digests(tmp_path / "c" / "export") != digests(tmp_path / "a" / "export")


def test_truth_and_masks_lie_apart_from_the_export(tmp_path: Path) -> None:
    made = simulate_fields(tmp_path / "x", replace(SMALL, masks="apart"))
    assert [p.name for p in made.export.rglob("*") if p.is_file()] == ["field_001.tif"]
    masks = {p.name: tifffile.imread(p) for p in (tmp_path / "x" / "masks").rglob("*.tif")}
    assert sorted(masks) == ["field_001_cells.tif", "field_001_mn.tif", "field_001_nuclei.tif"]
    truth = rows_of(made.truth)
    assert tuple(truth[0]) == TRUTH_COLUMNS
    assert set(np.unique(masks["field_001_cells.tif"])) - {0} <= set(range(1, len(truth) + 1))
    binucleated = [row for row in truth if row["class"] == "binucleated"]
    assert made.cells == len(binucleated)
    assert made.micronuclei == sum(int(row["n_mn"]) for row in binucleated)


def test_labels_lie_where_the_truth_says(tmp_path: Path) -> None:
    made = simulate_fields(tmp_path / "x", replace(SMALL, masks="apart"))
    cells = tifffile.imread(next((tmp_path / "x" / "masks").rglob("*_cells.tif")))
    nuclei = tifffile.imread(next((tmp_path / "x" / "masks").rglob("*_nuclei.tif")))
    micronuclei = tifffile.imread(next((tmp_path / "x" / "masks").rglob("*_mn.tif")))
    whole = [row for row in rows_of(made.truth) if row["border"] == "0" and row["contact"] != "overlapping"]
    assert len(whole) >= 3
    for row in whole:
        rows, columns = np.nonzero(cells == int(row["cell"]))
        box = [int(row[name]) for name in ("left", "top", "right", "bottom")]
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.subtract(box, found)).max() <= 4
        labels = {nuclei[round(y), round(x)] for x, y, _ in circles(row["nuclei_at"])}
        if row["class"] != "apoptotic":  # whose fragments overlap
            assert len(labels - {0}) == int(row["nuclei"])
        assert all(micronuclei[round(y), round(x)] for x, y, _ in circles(row["mn_at"]))
        assert len(circles(row["mn_at"])) == int(row["n_mn"])


def circles(text: str) -> list[tuple[float, float, float]]:
    return [tuple(float(part) for part in circle.split(":")) for circle in text.split(";") if circle]  # type: ignore[misc]


def test_nuclei_stand_out_where_the_labels_are(drawing: Drawing) -> None:
    images = label_images(drawing.scene, drawing.slide)
    pixels = drawing.whole(8).astype(float)
    grey = pixels if pixels.ndim == 2 else pixels[..., 1]
    conditions = np.median(grey[images.cells == 0])
    sign = 1 if drawing.slide.stain == "fluorescence" else -1
    for label in range(1, images.nuclei.max() + 1):
        inside = grey[images.nuclei == label]
        if inside.size > 100:
            assert sign * (np.median(inside) - conditions) > 12
    # And the other way round: dark (or bright) large things are nuclei.
    strong = sign * (grey - conditions) > 0.5 * sign * (np.median(grey[images.nuclei > 0]) - conditions)
    assert (images.nuclei[strong] > 0).mean() > 0.85


def test_windows_of_a_slide_fit_together(drawing: Drawing) -> None:
    whole = drawing.renderer.layers((100, 60, 420, 300))
    part = drawing.renderer.layers((228, 124, 420, 300))
    np.testing.assert_allclose(whole[:, 64:, 128:], part, atol=1e-5)


def test_a_tall_field_is_drawn_in_strips_without_a_seam() -> None:
    field = draw_field(replace(SMALL, width=300, height=1100, export=replace(SLIDE, stain="giemsa")), SlideJob(0, 0), 1)
    pixels = field.whole(8)[..., 1].astype(float)
    assert pixels.shape == (1100, 300)
    steps = np.abs(np.diff(pixels, axis=0)).mean(axis=1)
    assert steps[1023] < np.quantile(steps, 0.95) + 1.0


def test_cells_have_the_stated_density_and_mixture() -> None:
    mixture = parse_mixture("mononucleated=50, binucleated=50")
    plan = replace(SMALL, width=1600, height=1200, mixture=mixture, overlaps=0.0, defocus=0.0)
    scene = draw_field(plan, SlideJob(0, 0), 1).scene
    inside = [c for c in scene.cells if 0 <= c.x < 1600 and 0 <= c.y < 1200]
    expected = plan.density * plan.mm2
    assert abs(len(inside) - expected) < 4 * math.sqrt(expected)
    classes = [c.order.cell_class for c in inside]
    assert set(classes) == {"mononucleated", "binucleated"}
    assert abs(classes.count("binucleated") - len(inside) / 2) < 4 * math.sqrt(len(inside) / 4)


def test_overlapping_cells_come_as_asked_for() -> None:
    plan = replace(SMALL, width=1200, height=1000, density=500.0)
    without = draw_field(replace(plan, overlaps=0.0), SlideJob(0, 0), 1).scene.cells
    half = draw_field(replace(plan, overlaps=0.5), SlideJob(0, 0), 1).scene.cells
    assert sum(c.overlap > OVERLAPPING for c in without) <= 0.02 * len(without)
    assert 0.15 * len(half) < sum(c.overlap > OVERLAPPING for c in half) < 0.75 * len(half)


def test_a_crowded_slide_is_laid_out_and_says_what_overlaps() -> None:
    plan = replace(SMALL, density=1500.0, overlaps=0.0)
    scene = draw_field(plan, SlideJob(0, 0), 1).scene
    cells = scene.cells
    for cell in cells:
        deepest = max((cell.depth_in(o) / scene.diameter for o in cells if o is not cell), default=-1)
        assert cell.overlap == pytest.approx(max(-1.0, deepest)) or deepest < -0.05


def test_pixel_size_is_in_every_format_that_can_hold_it(tmp_path: Path) -> None:
    sizes = {}
    for fmt in ("tif", "ome.tif", "png", "jpg"):
        plan = replace(SMALL, fmt=fmt, width=128, height=128, um_per_px=0.2, export=replace(SLIDE, bits=8))
        made = simulate_fields(tmp_path / fmt, plan)
        file = next(path for path in made.export.rglob("*") if path.is_file())
        assert file.name == f"field_001.{fmt}"
        if fmt == "ome.tif":
            with tifffile.TiffFile(file) as tiff:
                assert tiff.is_ome
                assert 'PhysicalSizeX="0.2"' in (tiff.ome_metadata or "")
        else:
            sizes[fmt] = Image.open(file).info.get("dpi", (0.0,))[0]
    # The resolution of a JPEG ends at 65535 dots per inch: it has none rather than a wrong one.
    assert sizes.pop("jpg") == 0
    assert all(25_400 / dpi == pytest.approx(0.2, rel=1e-3) for dpi in sizes.values())


def test_bits_and_channels_of_the_files(tmp_path: Path) -> None:
    shapes = {}
    for stain in ("fluorescence", "giemsa"):
        plan = replace(SMALL, width=200, height=160, export=replace(SLIDE, stain=stain))
        made = simulate_fields(tmp_path / stain, plan)
        pixels = tifffile.imread(next(made.export.rglob("*.tif")))
        shapes[stain] = (pixels.shape, pixels.dtype.name)
    assert shapes == {"fluorescence": ((160, 200), "uint16"), "giemsa": ((160, 200, 3), "uint8")}


def test_masks_beside_the_fields_count_micronuclei_as_objects(tmp_path: Path) -> None:
    made = simulate_fields(tmp_path / "x", replace(SMALL, masks="beside"))
    together = tifffile.imread(next(made.export.rglob("*_mask.tif")))
    images = label_images(*(lambda d: (d.scene, d.slide))(draw_field(SMALL, SlideJob(0, 0), 1)))
    assert images.mn.max() > 0
    assert together.max() == images.nuclei.max() + images.mn.max()
    assert ((together > 0) == ((images.nuclei > 0) | (images.mn > 0))).all()


def test_frequency_of_cells_with_micronuclei_is_as_asked_for() -> None:
    export = replace(SLIDE, mnbn=(20.0, 300.0))
    plan = FieldPlan(export=export)
    for donor, share in enumerate((0.02, 0.3)):
        assert 1 - math.exp(-plan.mean_mn(donor, "binucleated")) == pytest.approx(share)
    assert plan.mean_mn(1, "mononucleated") == export.curve.c
    assert plan.mean_mn(1, "apoptotic") == 0
    assert export.dose_text(0) == ""


def test_a_simulated_directory_is_made_again_in_place(tmp_path: Path) -> None:
    simulate_fields(tmp_path / "x", replace(SMALL, width=128, height=128, fields=2, masks="apart"))
    (tmp_path / "x" / ".pyramid-killed").mkdir()
    simulate_fields(tmp_path / "x", replace(SMALL, width=128, height=128, fmt="png"))
    assert not (tmp_path / "x" / ".pyramid-killed").exists()
    assert [p.name for p in (tmp_path / "x" / "export").rglob("*") if p.is_file()] == ["field_001.png"]
    assert not [p for p in (tmp_path / "x" / "masks").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    "change",
    [
        {"fields": 0},
        {"width": 100},
        {"height": 9000},
        {"um_per_px": 0.6},
        {"um_per_px": float("nan")},
        {"density": 5000.0},
        {"density": -1.0},
        {"overlaps": 0.9},
        {"defocus": 1.0},
        {"mixture": {"binucleated": 0.0}},
        {"mixture": {"binucleated": -1.0}},
        {"mixture": {"plasma": 1.0}},
        {"kind": "wsi", "masks": "apart"},
        {"export": replace(SLIDE, mnbn=(1000.0,))},
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        simulate_fields(tmp_path / "x", replace(SMALL, **change))  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("text", ["binucleated", "plasma=1", "binucleated=many", "="])
def test_a_mixture_that_is_none_is_refused_with_the_classes(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_mixture(text)
    assert all(name in refused.value.next_step for name in CLASSES)

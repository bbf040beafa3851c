"""Fields whose cytoplasm shows: a nucleus is a nucleus, whatever shines round it; other fields as ever."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from mnbatch.imaging.segmentation import SegmentationSettings, field_segmentation, hazy_nuclei, nuclei, segment_field
from mnbatch.simulate.export_plan import ExportPlan, SlideJob
from mnbatch.simulate.fields.field_files import cells_shown, label_images
from mnbatch.simulate.fields.field_plan import FieldPlan
from mnbatch.simulate.fields.field_rendering import draw_field
from mnbatch.simulate.fields.haze import Haze
from tests.imaging.segmentation.drawn_fields import discs

PAIRS = SegmentationSettings()

Cell = tuple[float, float, float, list[tuple[float, float]]]
"""x, y, brightness, offsets of the nuclei in radii."""

CELLS: list[Cell] = [
    (90, 90, 1.0, [(0, 0)]),
    (230, 90, 0.12, [(0, 0)]),
    (380, 90, 0.4, [(-1.2, 0), (1.2, 0)]),
    (90, 240, 0.3, [(0, -1.2), (0, 1.2)]),
    (240, 250, 0.9, [(-1.2, 0), (1.2, 0)]),
    (390, 240, 0.2, [(0.5, 0)]),
    (90, 390, 0.6, [(0, 0)]),
    (230, 390, 0.15, [(-1.2, 0), (1.2, 0)]),
    (380, 390, 1.0, [(0, -1.2), (0, 1.2)]),
]


def hazy_field(cytoplasm: float, zoom: float) -> npt.NDArray[np.uint16]:
    """Nine cells with cytoplasm on an uneven background; nuclei 36 px across at zoom 1."""
    side, rng = round(480 * zoom), np.random.default_rng(4)
    rows, columns = np.mgrid[:side, :side] / zoom
    light = 0.03 + 0.03 * np.sin(columns / 150) * np.cos(rows / 130)
    for x, y, bright, offsets in CELLS:
        away = [np.hypot(columns - x - 18 * dx, rows - y - 18 * dy) for dx, dy in offsets]
        body = np.min([np.hypot(columns - x, rows - y) - 14 * len(offsets), *(a - 18 for a in away)], axis=0) - 14
        light += bright * cytoplasm * np.clip(0.5 - body / 2, 0, 1)
        for distance in away:
            light += bright * (1 - cytoplasm) * np.clip((18.5 - distance) / 1.5, 0, 1)
    light = ndimage.gaussian_filter(light, 0.8 * zoom) + rng.normal(0, 0.004, light.shape)
    return np.clip(20000 * light + 300, 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("cytoplasm", [0.2, 0.3, 0.4])
def test_dim_cytoplasm_is_no_nucleus_at_any_magnification(cytoplasm: float, zoom: float) -> None:
    found = segment_field(hazy_field(cytoplasm, zoom), PAIRS)
    assert found.nucleus_diameter == pytest.approx(36 * zoom, rel=0.15)
    assert found.nuclei.max() == sum(len(offsets) for _, _, _, offsets in CELLS)
    assert "multinucleated" not in found.counts()
    assert found.counts()["binucleated"] >= 4


@dataclass(frozen=True)
class Rates:
    recall: float
    precision: float


def rates(plan: FieldPlan, seeds: range) -> Rates:
    """Of main nuclei, found where at least half of nucleus and object together is common to both."""
    hits = wanted = found = 0
    for seed in seeds:
        drawing = draw_field(plan_with_seed(plan, seed), SlideJob(0, 0), 1)
        labels = label_images(drawing.scene, drawing.slide)
        truth, ours = labels.nuclei.astype(np.int64), segment_field(drawing.whole(16), PAIRS).nuclei
        fragments = [c.order.cell_class == "apoptotic" for c in cells_shown(drawing.scene) for _ in c.nuclei]
        area, size = np.bincount(truth.ravel(), minlength=len(fragments) + 1), np.bincount(ours.ravel())
        edge = np.unique(np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]]))
        apart = np.array([False, *fragments]) | np.isin(np.arange(len(area)), edge)
        keys, common = np.unique(truth.ravel() * len(size) + ours.ravel(), return_counts=True)
        t, f = np.divmod(keys, len(size))
        met = (t > 0) & (f > 0) & (common > 0.5 * (area[t] + size[f] - common))
        spared = np.bincount(ours.ravel(), apart[truth].ravel()) > 0.3 * size
        hits += int((~apart[t[met]]).sum())
        wanted += int(((area > 0) & ~apart)[1:].sum())
        found += int(((size > 0) & (~spared | np.isin(np.arange(len(size)), f[met & ~apart[t]])))[1:].sum())
    return Rates(hits / wanted, hits / found)


def plan_with_seed(plan: FieldPlan, seed: int) -> FieldPlan:
    """The same plan for another slide."""
    return replace(plan, export=replace(plan.export, seed=seed))


@pytest.mark.parametrize(("cytoplasm", "spread"), [(0.1, 10.0), (0.2, 3.0)])
def test_nuclei_of_simulated_hazy_fields_are_found(cytoplasm: float, spread: float) -> None:
    export = ExportPlan(donors=1, slides=1, variety=0.4)
    haze = Haze(cytoplasm=cytoplasm, spread=spread)
    plan = FieldPlan(export=export, width=640, height=512, um_per_px=0.325, haze=haze)
    found = rates(plan, range(70, 74))
    assert found.recall >= 0.93
    assert found.precision >= 0.93


def test_fields_without_haze_are_cut_at_one_level_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [
        draw_field(FieldPlan(export=ExportPlan(seed=seed), width=512, height=512), SlideJob(0, 0), 1).whole(8)
        for seed in (1, 2)
    ]
    plain.append(discs((300, 400), [(60, 60, 18), (102, 60, 18), (200, 200, 18, 90.0), (300, 90, 18)]))
    found = [segment_field(image, PAIRS) for image in plain]
    monkeypatch.setattr(nuclei, "nuclei_in_haze", lambda *_, **__: None)
    for image, field in zip(plain, found, strict=True):
        before = segment_field(image, PAIRS)
        assert np.array_equal(before.nuclei, field.nuclei)
        assert before.cells == field.cells


def test_an_out_of_focus_nucleus_is_left_out_and_a_soft_field_is_not() -> None:
    sharp = [(x, y, 18) for x in (60, 160, 260, 360) for y in (60, 160, 260)]
    image = discs((420, 420), sharp).astype(np.float64)
    rows, columns = np.mgrid[:420, :420]
    for x in (110, 310):
        image += 120 * np.exp(-((columns - x) ** 2 + (rows - 360) ** 2) / (2 * 20**2))
    with_ghosts = segment_field(np.clip(image, 0, 255).astype(np.uint8), PAIRS)
    assert with_ghosts.nuclei.max() == len(sharp)
    soft = ndimage.gaussian_filter(discs((420, 420), sharp), 5)
    assert segment_field(soft, PAIRS).nuclei.max() == len(sharp)


def test_a_dense_nucleus_is_no_sign_of_apoptosis_where_brightness_differs_anyway() -> None:
    levels = np.geomspace(60, 240, 12)
    places = [(60 + 110 * (i % 4), 60 + 110 * (i // 4), 17 if i == 11 else 18, levels[i]) for i in range(12)]
    places.append((60 + 110 * 3 + 37, 60 + 220, 17, levels[11]))
    found = segment_field(discs((400, 500), places, noise=1.0), PAIRS).counts()
    assert found == {"mononucleated": 11, "binucleated": 1}


def test_a_second_choice_takes_compact_parts_with_a_weak_outline_and_no_crescents() -> None:
    rows, columns = np.mgrid[:40, :60]

    def disc(x: float, y: float, radius: float) -> npt.NDArray[np.bool_]:
        return np.asarray(np.hypot(columns - x, rows - y) < radius)

    chosen, dim, lump = disc(10, 10, 6), disc(30, 10, 5), disc(31, 10, 1.5)
    crescent = disc(15, 28, 9) & ~disc(17, 28, 8)
    upper = (1 * chosen + 2 * dim + 3 * crescent).astype(np.int32).ravel()
    areas = np.bincount(upper).astype(np.float64)
    nothing, parents = np.zeros(4), np.array([0, 1, 1, 1])
    edges, even = np.array([0, 0.6, 0.3, 0.3]), np.full(4, 0.99)
    whole = hazy_nuclei._Level(
        np.ones(2400, np.int32), nothing[:2], parents[:2], np.array([0, 2400.0]), edges[:2], even[:2] * 0.6
    )
    level = hazy_nuclei._Level(upper, nothing, parents, areas, edges, even)
    coarse = hazy_nuclei._Coarse(*(np.zeros((40, 60), np.float32),) * 3, 0.0, 1, 2)
    first = (1 * chosen + 2 * lump).astype(np.int32).ravel()
    found = hazy_nuclei._with_weak(first, [whole, level], coarse, np.arange(2400)).reshape(40, 60)
    assert (found[chosen] == 1).all()
    assert len(np.unique(found[dim])) == 1
    assert found[10, 30] > 2
    assert not found[crescent].any()


def test_the_nuclei_of_a_dim_cell_are_paired_within_its_dim_cytoplasm(monkeypatch: pytest.MonkeyPatch) -> None:
    bright = [((x, 70), (x + 32, 70)) for x in (60, 190, 320)] + [((x, 190), (x + 32, 190)) for x in (60, 190, 320)]
    nuclei_at = [(x, y, 12) for pair in bright for x, y in pair]
    bodies = [((a[0] + b[0]) / 2, a[1], 42, 75.0) for a, b in bright]
    dim = [(90, 320, 12, 75.0), (130, 320, 12, 75.0)]
    places = [*bodies, *((x, y, r, 230.0) for x, y, r in nuclei_at), (110, 320, 42, 36.0), *dim]
    image = discs((400, 420), places, noise=1.5)
    assert segment_field(image, PAIRS).counts() == {"binucleated": 7}
    monkeypatch.setattr(field_segmentation, "_faint_seams", lambda *_: {})
    assert segment_field(image, PAIRS).counts() == {"binucleated": 6, "mononucleated": 2}

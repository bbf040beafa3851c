"""One simulated crop: what is drawn is what is said, and nothing else depends on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mnbatch.assay.cells import STAINS, Stain
from mnbatch.imaging.stain_recognition import recognise_stain
from mnbatch.simulate import (
    MAX_MN,
    MIN_CONTRAST,
    CellSpec,
    SimulatedCell,
    SlideAppearance,
    draw_slide_appearance,
    simulate_cell,
)
from mnbatch.simulate.cell_plan import Kind

KINDS: tuple[Kind, ...] = ("binucleated", "mononucleated", "multinucleated")


def some_slides(stain: Stain, count: int = 6) -> list[SlideAppearance]:
    return [draw_slide_appearance(np.random.default_rng([7, i]), stain) for i in range(count)]


def uncompressed(slide: SlideAppearance) -> SlideAppearance:
    """A slide without the steps that spread a local difference over the crop."""
    camera = replace(slide.camera, jpeg=0, native=1.0, gamma=1.0)
    glow = slide.fluorescence and replace(slide.fluorescence, haze=0.0)
    return replace(slide, camera=camera, fluorescence=glow)


def draw(seed: int, slide: SlideAppearance, **options: object) -> SimulatedCell:
    return simulate_cell(np.random.default_rng(seed), CellSpec(slide.stain, **options), slide)  # type: ignore[arg-type]


@pytest.mark.parametrize("stain", STAINS)
def test_same_seed_gives_the_same_picture_and_another_seed_another(stain: Stain) -> None:
    slide = some_slides(stain, 1)[0]
    first, again, other = draw(5, slide, n_mn=2), draw(5, slide, n_mn=2), draw(6, slide, n_mn=2)
    assert np.array_equal(first.image, again.image)
    assert first.micronuclei == again.micronuclei
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("n_mn", range(MAX_MN + 1))
def test_number_of_separate_bodies_in_the_mask_is_the_truth(stain: Stain, n_mn: int) -> None:
    for seed, slide in enumerate(some_slides(stain, 4)):
        cell = draw(seed, slide, n_mn=n_mn)
        assert cell.n_mn == n_mn == len(cell.micronuclei)
        assert ndimage.label(cell.mn_mask, np.ones((3, 3)))[1] == n_mn


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_micronucleus_is_visible_small_and_in_the_cytoplasm(stain: Stain, kind: Kind) -> None:
    for seed, slide in enumerate(some_slides(stain)):
        cell = draw(seed, slide, n_mn=3, kind=kind)
        main = ndimage.label(cell.nucleus_mask)[0]
        largest = 2 * np.sqrt(np.bincount(main.ravel())[1:].max() / np.pi)
        for body in cell.micronuclei:
            assert body.contrast >= MIN_CONTRAST
            assert cell.cell_mask[round(body.y), round(body.x)]
            assert not cell.nucleus_mask[round(body.y), round(body.x)]
            assert 2 * body.radius <= 0.5 * largest
        hidden = cell.mn_mask & cell.nucleus_mask
        assert hidden.sum() < 0.35 * cell.mn_mask.sum()


@pytest.mark.parametrize("stain", STAINS)
def test_micronucleus_differs_from_its_surroundings_in_the_finished_picture(stain: Stain) -> None:
    sign = 1.0 if stain == "fluorescence" else -1.0
    for seed, slide in enumerate(some_slides(stain)):
        cell = draw(seed, slide, n_mn=1, blur=False)
        grey = cell.image.astype(float) if cell.image.ndim == 2 else cell.image.astype(float).mean(axis=2)
        around = ndimage.binary_dilation(cell.mn_mask, iterations=5) & ~ndimage.binary_dilation(
            cell.mn_mask | cell.nucleus_mask, iterations=1
        )
        body = cell.mn_mask & ~cell.nucleus_mask
        assert sign * (grey[body].mean() - grey[around].mean()) > 3.0


@pytest.mark.parametrize("stain", STAINS)
def test_a_cell_with_micronuclei_equals_the_same_cell_without_except_there(stain: Stain) -> None:
    for seed, slide in enumerate(some_slides(stain)):
        plain = draw(seed, uncompressed(slide), n_mn=0, blur=False)
        other = draw(seed, uncompressed(slide), n_mn=2, blur=False)
        assert plain.artefacts == other.artefacts
        assert np.array_equal(plain.nucleus_mask, other.nucleus_mask)
        assert np.array_equal(plain.cell_mask, other.cell_mask)
        differs = plain.image.astype(int) != other.image.astype(int)
        differs = differs if differs.ndim == 2 else differs.any(axis=2)
        near = ndimage.binary_dilation(other.mn_mask, np.ones((3, 3)), iterations=14)
        assert differs[other.mn_mask].mean() > 0.5
        assert not differs[~near].any()


def test_debris_is_drawn_alike_with_and_without_micronuclei() -> None:
    for stain in STAINS:
        slide = some_slides(stain, 1)[0]
        without = [draw(seed, slide, n_mn=0).artefacts for seed in range(40)]
        with_mn = [draw(seed, slide, n_mn=1).artefacts for seed in range(40)]
        assert without == with_mn
        assert any("debris" in names for names in without)


@pytest.mark.parametrize("stain", STAINS)
def test_looks_are_recognised(stain: Stain) -> None:
    for seed, slide in enumerate(some_slides(stain, 12)):
        pixels = draw(seed, slide, n_mn=seed % 3).image
        assert pixels.dtype == np.uint8
        assert recognise_stain(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)) == stain


def test_knobs_are_obeyed_and_recorded() -> None:
    slide = some_slides("giemsa", 1)[0]
    bare = draw(1, slide, neighbours=0, debris=0, decoys=0, weak_stain=False, blur=False, size=160)
    assert bare.image.shape == (160, 160, 3)
    assert not {"debris", "decoy", "neighbour", "weak_stain", "blur"} & set(bare.artefacts)
    full = draw(1, slide, debris=6, decoys=2, weak_stain=True, blur=True)
    assert {"debris", "decoy", "weak_stain", "blur"} <= set(full.artefacts)


def test_weak_stain_and_blur_change_the_picture_as_named() -> None:
    slide = uncompressed(some_slides("giemsa", 1)[0])
    still = {"neighbours": 0, "debris": 0, "decoys": 0}
    plain = draw(3, slide, weak_stain=False, blur=False, **still)
    weak = draw(3, slide, weak_stain=True, blur=False, **still)
    soft = draw(3, slide, weak_stain=False, blur=True, **still)
    assert weak.image[weak.nucleus_mask].mean() > plain.image[plain.nucleus_mask].mean() + 5
    sharpness = [np.var(ndimage.laplace(cell.image.astype(float).mean(axis=2))) for cell in (plain, soft)]
    assert sharpness[1] < 0.8 * sharpness[0]


def test_nucleus_fraction_sets_the_size() -> None:
    slide = some_slides("fluorescence", 1)[0]
    areas = [
        draw(4, slide, kind="mononucleated", nucleus_fraction=fraction).nucleus_mask.sum() for fraction in (0.25, 0.5)
    ]
    assert 3.2 < areas[1] / areas[0] < 4.8


def test_sixteen_bits_use_the_camera_range() -> None:
    cell = draw(2, some_slides("fluorescence", 1)[0], bits=16)
    assert cell.image.dtype == np.uint16
    assert cell.image.max() > 300


def test_apoptotic_cell_has_many_fragments_and_no_micronucleus() -> None:
    slide = some_slides("giemsa", 1)[0]
    assert draw(1, slide, kind="apoptotic").n_mn == 0
    with pytest.raises(ValueError, match="apoptotic"):
        draw(1, slide, kind="apoptotic", n_mn=1)


def test_what_cannot_be_drawn_is_refused() -> None:
    slide = some_slides("giemsa", 1)[0]
    with pytest.raises(ValueError, match="n_mn"):
        draw(1, slide, n_mn=MAX_MN + 1)
    with pytest.raises(ValueError, match="slide is giemsa"):
        simulate_cell(np.random.default_rng(1), CellSpec("fluorescence"), slide)

"""Synthetic cells: the same for a seed, both classes alike but for the micronucleus."""

import numpy as np
import pytest

from mnbatch.imaging.preparation import ContrastRule, Preparation
from mnbatch.imaging.stain_recognition import recognise_stain
from mnbatch.training.composite_scene import CANVAS, Disc, SceneDrawer, composite_cell, place_slot
from mnbatch.training.dressed_cells import chromatin_of, smear_cells
from mnbatch.training.real_pieces import PATCH, Box, PatchLibrary, instance_patches, load_library, smear_patches
from mnbatch.training.synthetic_cells import UNCOUNTED, Preparer, composites, dressed, simulated, smears

EMPTY = PatchLibrary()


def grey_cell(rng: np.random.Generator) -> np.ndarray:
    ys, xs = np.mgrid[0:CANVAS, 0:CANVAS] - CANVAS / 2
    disc = 1 / (1 + np.exp(np.hypot(ys, xs) - 35))
    return (20 + 160 * disc + rng.normal(0, 3, disc.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("maker", [lambda r: composites(r, 5, EMPTY), lambda r: simulated(r, 5)])
def test_a_part_of_a_pool_is_the_same_as_in_the_whole(maker):
    whole = list(maker(range(4)))
    part = list(maker(range(2, 4)))
    assert [label for _, label in whole[2:]] == [label for _, label in part]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(whole[2:], part, strict=True))


def test_both_classes_are_made():
    for pool in (list(composites(range(10), 1, EMPTY)), list(simulated(range(10), 1))):
        labels = [n_mn for _, n_mn in pool]
        assert 3 <= sum(n_mn > 0 for n_mn in labels) <= 5
        assert {0, 1} < set(labels) <= {0, 1, 2, 3, 4}
        shapes = {(str(picture.dtype), picture.shape[2:]) for picture, _ in pool}
        assert shapes <= {("uint8", (3,)), ("uint16", ())}


def test_half_of_the_simulated_fluorescence_cells_come_as_16_bits_and_are_prepared_as_such_files_are():
    cells = [picture for picture, _ in simulated(range(24), 1, giemsa=0.0)]
    deep = [picture for picture in cells if picture.dtype == np.uint16]
    assert 6 <= len(deep) <= 18
    assert all(picture.ndim == 2 and picture.max() > 255 for picture in deep)
    assert all(picture.dtype == np.uint8 for picture, _ in simulated(range(6), 1, giemsa=1.0))
    preparer = Preparer(Preparation(contrast=ContrastRule(rule="deep_per_crop")), None)
    assert all(preparer.picture(picture).max() > 250 for picture in deep)


def test_composites_have_the_look_that_was_asked_for():
    for stained, stain in ((True, "giemsa"), (False, "fluorescence")):
        seen = [recognise_stain(composite_cell(np.random.default_rng(i), EMPTY, 1, stained)[0]) for i in range(8)]
        assert seen.count(stain) >= 7


def test_a_scene_without_micronuclei_says_so_and_one_with_has_more_chromatin():
    drawn = [SceneDrawer(np.random.default_rng(i), EMPTY, 2.0).draw(2) for i in range(6)]
    assert all(1 <= scene.n_mn <= 2 for scene in drawn)
    assert SceneDrawer(np.random.default_rng(0), EMPTY, 2.0).draw(0).n_mn == 0


def test_a_micronucleus_keeps_its_size_and_its_distance():
    nuclei = [Disc(90, 112, 30), Disc(140, 112, 28)]
    rng = np.random.default_rng(0)
    slots = [place_slot(rng, nuclei, 2.0, []) for _ in range(200)]
    found = [slot for slot in slots if slot is not None]
    assert len(found) > 150
    for slot in found:
        assert 2.0 <= slot.radius <= 0.38 * 30
        gaps = [np.hypot(slot.x - n.x, slot.y - n.y) - slot.radius - n.radius for n in nuclei]
        assert min(gaps) > -0.31 * slot.radius


def test_chromatin_of_a_fluorescence_crop_is_one_on_the_nucleus_and_none_outside():
    density, nucleus = chromatin_of(grey_cell(np.random.default_rng(0)))  # type: ignore[misc]
    assert nucleus.radius == pytest.approx(35, abs=2)
    assert np.median(density[100:124, 100:124]) == pytest.approx(1, abs=0.1)
    assert density[:40].mean() < 0.02


def test_a_crop_without_a_nucleus_in_the_middle_is_passed_over():
    empty = np.random.default_rng(0).integers(10, 14, (CANVAS, CANVAS)).astype(np.uint8)
    empty[:40, :40] = 200
    assert chromatin_of(empty) is None


def test_dressed_crops_look_stained_and_keep_their_labels():
    rng = np.random.default_rng(0)
    crops = [grey_cell(rng) for _ in range(4)]
    labels = [True, True, False, False]
    made = list(dressed(range(6), 1, EMPTY, crops, labels))
    assert [n_mn for _, n_mn in made] == [UNCOUNTED, 0] * 3
    assert all(recognise_stain(picture) == "giemsa" for picture, _ in made)
    counted = [n_mn for _, n_mn in dressed(range(4), 1, EMPTY, crops, labels, [4, 2, 0, 0])]
    assert sorted(counted) == [0, 0, 2, 4]


def test_instances_become_patches_and_small_or_cut_ones_do_not():
    image, labels = np.full((120, 120), 10, np.uint8), np.zeros((120, 120), np.int32)
    ys, xs = np.mgrid[0:120, 0:120]
    for number, (y, x, radius) in enumerate([(30, 30, 15), (80, 80, 16), (100, 30, 4), (60, 0, 15)], start=1):
        body = np.hypot(ys - y, xs - x) < radius
        image[body], labels[body] = 100 + 20 * number, number
    patches = instance_patches(image, labels)
    assert len(patches) == 2
    for patch in patches:
        assert np.median(patch.density[patch.alpha > 0.9]) == pytest.approx(1, abs=0.05)
        assert patch.alpha[PATCH // 2, PATCH // 2] > 0.99
        assert patch.alpha[0, 0] == 0


def test_smears_give_patches_of_nuclei_and_platelets():
    image = np.full((200, 200, 3), 225, np.uint8)
    ys, xs = np.mgrid[0:200, 0:200]
    image[np.hypot(ys - 80, xs - 80) < 30] = (90, 40, 160)
    image[np.hypot(ys - 160, xs - 160) < 9] = (150, 110, 200)
    found = smear_patches(image, [Box("WBC", 45, 45, 115, 115), Box("Platelets", 148, 148, 173, 173)])
    assert (len(found.nuclei), len(found.platelets)) == (1, 1)


def test_real_smears_feed_composites_and_the_rest_is_held_out(shared_data):
    training = smear_cells(shared_data / "bccd", 0.0, 0.05)
    held_out = smear_cells(shared_data / "bccd", 0.95, 1.0)
    assert training
    assert held_out
    made = list(smears(range(4), 1, training))
    assert [label for _, label in made] == [True, False, True, False]
    assert all(recognise_stain(picture) == "giemsa" for picture, _ in made)
    library = load_library(None, shared_data / "bccd", smear_share=0.05)
    assert library.platelets


def test_chances_of_the_numbers_can_be_given():
    only = ((3,), (1.0,))
    for maker in (composites(range(0, 8, 2), 2, EMPTY, counts=only), simulated(range(0, 8, 2), 2, counts=only)):
        counts = [n_mn for _, n_mn in maker]
        assert max(counts) == 3
        assert min(counts) >= 1

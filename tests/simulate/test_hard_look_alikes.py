"""Hard look-alikes are drawn where they were asked for alone, in their colours, and off the places of micronuclei."""

import numpy as np
import pytest

from mnbatch.simulate.cell_drawing import CellSpec, SimulatedCell, simulate_cell
from mnbatch.simulate.cell_plan import Room, plan_cell
from mnbatch.simulate.hard_look_alikes import OVER, RIM, STAINED, _spot, add_hard_look_alikes, harder_slide, shard
from mnbatch.simulate.painting import DARK, cell_brush, empty_layers
from mnbatch.simulate.slide_appearance import SlideAppearance, draw_slide_appearance

Planned = tuple[SlideAppearance, object]


def drawn(seed: int, *, hard: bool, stain: str = "giemsa") -> SimulatedCell:
    slide = draw_slide_appearance(np.random.default_rng(5), stain, 0.5)  # type: ignore[arg-type]
    return simulate_cell(np.random.default_rng(seed), CellSpec(stain, 1, hard=hard), slide)  # type: ignore[arg-type]


@pytest.mark.parametrize("stain", ["giemsa", "fluorescence"])
def test_a_cell_that_asks_for_none_is_as_it_was_and_another_has_more(stain: str) -> None:
    for seed in range(4):
        plain, hard = drawn(seed, hard=False, stain=stain), drawn(seed, hard=True, stain=stain)
        assert np.array_equal(plain.mn_mask, hard.mn_mask)
        assert set(plain.artefacts) <= set(hard.artefacts)
        added = set(hard.artefacts) - set(plain.artefacts)
        assert bool(added) == (not np.array_equal(plain.image, hard.image))
    many = [drawn(seed, hard=True, stain=stain).artefacts for seed in range(12)]
    assert {"bud", "shards"} <= {name for names in many for name in names}


def test_precipitate_of_a_harder_slide_is_grey_and_its_nuclei_are_not() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        slide = harder_slide(rng, draw_slide_appearance(rng, "giemsa"))
        assert slide.giemsa is not None
        dark = np.array(slide.giemsa.dark)
        assert dark.max() / dark.min() < 1.9
        assert 0.6 <= slide.culture.mn_density <= 1.05


def planned(seed: int):
    rng = np.random.default_rng(seed)
    slide = harder_slide(rng, draw_slide_appearance(rng, "giemsa"))
    plan = plan_cell(rng, "binucleated", Room(224, 66.0, 6.0), slide.culture, 112.0, 112.0)
    assert plan is not None
    return rng, slide, plan, cell_brush(rng, slide.culture, 66.0, weak=False)


def test_spots_lie_where_the_table_says_and_off_every_place() -> None:
    for seed in range(10):
        rng, _, plan, _ = planned(seed)
        for band in (RIM, OVER):
            spot = _spot(rng, plan, 224, band)
            if spot is None:
                continue
            depth = max(nucleus.depth_at(*spot) for nucleus in plan.nuclei) / plan.diameter
            assert band[0] < depth < band[1]
            assert all(np.hypot(spot[0] - p.x, spot[1] - p.y) > p.reach + 0.17 * plan.diameter for p in plan.places)


def test_a_shard_is_angular_and_has_the_area_it_was_asked_for() -> None:
    for seed in range(10):
        piece = shard(np.random.default_rng(seed), 50.0, 50.0, 8.0)
        assert piece.mean_radius == pytest.approx(8.0, rel=1e-3)
        assert piece.radii.max() > 1.15 * piece.radii.min(), "a circle is no shard"


def test_a_quarter_of_the_cells_is_spared_and_the_others_say_what_they_hold() -> None:
    named = 0
    for seed in range(24):
        rng, slide, plan, brush = planned(seed)
        layers, names = empty_layers(224), set()
        add_hard_look_alikes(layers, rng, plan, brush, slide, names)
        assert names <= {"decoy", *STAINED}
        assert bool(names) == bool(layers.any())
        if names & {"shards", "shards_rim", "shards_over", "specks"}:
            assert layers[DARK].any()
        named += bool(names)
    assert 10 <= named < 24

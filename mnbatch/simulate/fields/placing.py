"""Laying out the cells of a field or a whole slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnbatch.simulate.fields.plan import CLASSES, CellClass, FieldPlan
from mnbatch.simulate.fields.scene import PlacedCell, Scene
from mnbatch.simulate.fields.smooth import FocusMap, SmoothField
from mnbatch.simulate.fields.stamp import CellOrder, find_attempt
from mnbatch.simulate.look_parts import SlideLook
from mnbatch.simulate.plan import MAX_MN

OVERLAPPING = 0.08
"""Cells that lie deeper in each other, in diameters of a main nucleus, overlap; below that they touch at most."""

_TOUCHING = -0.05
_LEAST_CONTACT = 0.03
_TRIES = 80
_BEYOND_IN_D = 2.5
_DEEP = (0.12, 0.6)
_PATCH_UM = 90.0


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What differs from place to place on one field or slide: how crowded and how sharp it is."""

    crowding: SmoothField
    focus: FocusMap
    blur: float


def draw_ground(rng: np.random.Generator, plan: FieldPlan, diameter: float) -> Ground:
    """Crowding and focus of one field or slide; patches out of focus are about 90 um wide (assumed)."""
    patch = _PATCH_UM / plan.um_per_px
    return Ground(
        SmoothField(rng, 2 * patch), FocusMap(rng, plan.defocus, patch), float(rng.uniform(0.03, 0.07)) * diameter
    )


def lay_out(
    key: tuple[int, ...], donor: int, plan: FieldPlan, slide: SlideLook, ground: Ground, diameter: float
) -> Scene:
    """Place cells of all classes at the plan's density, also across the borders.

    The number is Poisson. A cell that finds no free place in 80 tries, as happens in crowded slides, is laid
    where it overlaps least; what overlaps and touches is measured afterwards, however it came about.

    Args:
        key: of the random streams; each cell has one of its own.
        diameter: of the slide's main nuclei, px.
    """
    scene = Scene(plan.width, plan.height, diameter)
    rng = np.random.default_rng([*key, 7])
    beyond = _BEYOND_IN_D * diameter
    area = (plan.width + 2 * beyond) * (plan.height + 2 * beyond) * (plan.um_per_px / 1000) ** 2
    patches = ground.focus.share_of(-beyond, -beyond, plan.width + beyond, plan.height + beyond)
    for number in range(int(rng.poisson(plan.density * area))):
        drawn = np.random.default_rng([*key, 2, number + 1])
        patch = bool(drawn.random() < patches)
        order = _order(drawn, (*key, 3, number + 1), donor, plan, slide, diameter, ground.blur if patch else 0.0)
        found, cell_plan = find_attempt(order, slide)
        cell = PlacedCell.of(found, cell_plan)
        onto = _partner(rng, scene) if rng.random() < plan.overlaps / 2 else None
        if onto is None or not _lay_on(rng, scene, cell, onto):
            _lay_free(rng, scene, cell, beyond, ground, patch)
        scene.add(cell)
    _measure_overlaps(scene)
    return scene


def contact_of(cell: PlacedCell) -> str:
    """How a cell meets its neighbours: "overlapping", "touching" or ""."""
    if cell.overlap > OVERLAPPING:
        return "overlapping"
    return "touching" if cell.overlap > _TOUCHING else ""


def _order(
    rng: np.random.Generator,
    key: tuple[int, ...],
    donor: int,
    plan: FieldPlan,
    slide: SlideLook,
    diameter: float,
    patch_blur: float,
) -> CellOrder:
    cell_class = _class(rng, plan)
    count = min(MAX_MN, int(rng.poisson(plan.mean_mn(donor, cell_class))))
    size = diameter * _relative_size(rng, cell_class) * float(np.exp(rng.normal(0, 0.08)))
    alone = float(rng.uniform(0.025, 0.06)) * diameter * float(rng.random() < slide.culture.blur_share)
    weak = bool(rng.random() < slide.culture.weak_share) or cell_class == "necrotic"
    return CellOrder(key, cell_class, count, size, patch_blur or alone, weak)


def _class(rng: np.random.Generator, plan: FieldPlan) -> CellClass:
    shares = np.array([plan.mixture.get(name, 0.0) for name in CLASSES])
    return CLASSES[int(rng.choice(len(CLASSES), p=shares / shares.sum()))]


def _relative_size(rng: np.random.Generator, cell_class: CellClass) -> float:
    """Nuclei that wait to divide are larger than daughters; a third never left rest and are small (assumed)."""
    resting = rng.random() < 0.33
    if cell_class == "mononucleated":
        return 0.78 if resting else 1.18
    return 1.15 if cell_class == "necrotic" else 1.0


def _partner(rng: np.random.Generator, scene: Scene) -> PlacedCell | None:
    """A cell to lie on, if there is any on the picture."""
    return scene.cells[int(rng.integers(len(scene.cells)))] if scene.cells else None


def _lay_on(rng: np.random.Generator, scene: Scene, cell: PlacedCell, onto: PlacedCell) -> bool:
    """Let a cell overlap another one and no third; False if there is no room."""
    for _ in range(_TRIES // 8):
        angle, deep = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(*_DEEP)) * scene.diameter
        near, far = 0.0, cell.reach + onto.reach
        for _ in range(10):
            middle = (near + far) / 2
            cell.move_to(onto.x + middle * np.cos(angle), onto.y + middle * np.sin(angle))
            near, far = (middle, far) if cell.depth_in(onto) > deep else (near, middle)
        others = [other for other in scene.near(cell.x, cell.y, cell.reach) if other is not onto]
        if _deepest(cell, others) < 0:
            return True
    return False


def _lay_free(
    rng: np.random.Generator, scene: Scene, cell: PlacedCell, beyond: float, ground: Ground, patch: bool
) -> None:
    """Lay a cell where it touches others at most, in or out of focus as it was ordered."""
    best, least = (0.0, 0.0), float("inf")
    for _ in range(_TRIES):
        x, y = _draw_position(rng, scene, beyond, ground, patch)
        cell.move_to(x, y)
        depth = _deepest(cell, scene.near(cell.x, cell.y, cell.reach))
        if depth < least:
            best, least = (x, y), depth
        if depth < _LEAST_CONTACT * scene.diameter:
            return
    cell.move_to(*best)


def _draw_position(
    rng: np.random.Generator, scene: Scene, beyond: float, ground: Ground, patch: bool
) -> tuple[float, float]:
    """A position in or out of focus, more often where the slide is crowded."""
    x = y = 0.0
    for _ in range(100 * _TRIES):
        x = float(rng.uniform(-beyond, scene.width + beyond))
        y = float(rng.uniform(-beyond, scene.height + beyond))
        crowded = rng.random() < np.exp(0.4 * ground.crowding.at(x, y) - 1.0)
        if crowded and ground.focus.blurred(x, y) == patch:
            break
    return x, y


def _deepest(cell: PlacedCell, others: list[PlacedCell]) -> float:
    return max((cell.depth_in(other) for other in others), default=float("-inf"))


def _measure_overlaps(scene: Scene) -> None:
    for cell in scene.cells:
        near = scene.near(cell.x, cell.y, cell.reach + 0.1 * scene.diameter)
        others = [other for other in near if other is not cell]
        cell.overlap = max(-1.0, _deepest(cell, others) / scene.diameter)

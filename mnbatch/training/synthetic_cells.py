"""Training cells that are made, not photographed whole: composites, dressed crops, smear pastes, simulated cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from mnbatch.assay.cells import Stain
from mnbatch.imaging.preparation import Decoded, Preparation, network_input, prepare_crop
from mnbatch.simulate.cell_drawing import CellSpec, simulate_cell
from mnbatch.simulate.cell_plan import Kind
from mnbatch.simulate.slide_appearance import draw_slide_appearance
from mnbatch.training.composite_scene import UInt8Array, composite_cell
from mnbatch.training.dressed_cells import SmearCell, dressed_cell, paste_on
from mnbatch.training.real_pieces import PatchLibrary

# Training cells that are made, not photographed whole: composites, dressed crops, smear pastes, simulated cells.
#
# Each maker yields (picture, number of micronuclei) for each index of a range, `UNCOUNTED` for a cell that has some
# and nobody knows how many; a cell depends on the seed and its index alone, so that a pool can be made again exactly,
# and in parts by several processes. Even indices are the cells with micronuclei.


Made = tuple[Decoded, int]

UNCOUNTED = -1

Chances = tuple[tuple[int, ...], tuple[float, ...]]

COUNTS: Chances = ((1, 2, 3, 4), (0.70, 0.20, 0.07, 0.03))
"""Micronuclei of a synthetic cell that has any, and their chances."""

DEEP = 0.5
"""Share of simulated fluorescence cells whose files have 16 bits. Their contrast is stretched by `prepare_crop`, which
lets bright nuclei and brighter specks look alike: a model that is to score such files has to have seen them."""

KINDS: tuple[tuple[Kind, ...], tuple[float, ...]] = (
    ("binucleated", "mononucleated", "multinucleated"),
    (0.7, 0.22, 0.08),
)
"""Kinds of simulated cells, and their chances in either class."""


def composites(
    indices: range, seed: int, library: PatchLibrary, stained: float = 0.8, counts: Chances = COUNTS
) -> Iterator[Made]:
    """Composite cells, every other one with micronuclei; `stained` of them in the Giemsa stain."""
    for index in indices:
        rng = np.random.default_rng([seed, index, 1])
        wanted = int(rng.choice(counts[0], p=counts[1])) if index % 2 == 0 else 0
        yield composite_cell(rng, library, wanted, stained=bool(rng.uniform() < stained))


def dressed(
    indices: range,
    seed: int,
    library: PatchLibrary,
    crops: Sequence[UInt8Array],
    labels: Sequence[bool],
    counts: Sequence[int] | None = None,
) -> Iterator[Made]:
    """Fluorescence crops (224 x 224 grey) as stained cells, both classes in turn; without a nucleus none is made.

    Args:
        counts: micronuclei of each crop, where they are known.
    """
    numbers = counts if counts is not None else [UNCOUNTED if label else 0 for label in labels]
    rng = np.random.default_rng([seed, 2])
    with_mn = rng.permutation(np.flatnonzero(labels))
    without = rng.permutation(np.flatnonzero(~np.asarray(labels, bool)))
    for index in indices:
        members = with_mn if index % 2 == 0 else without
        chosen = int(members[(index // 2) % len(members)])
        picture = dressed_cell(np.random.default_rng([seed, index, 3]), library, crops[chosen])
        if picture is not None:
            yield picture, int(numbers[chosen])


def smears(indices: range, seed: int, cells: Sequence[SmearCell]) -> Iterator[Made]:
    """Real stained white cells with a pasted micronucleus, or with something else pasted."""
    for index in indices:
        rng = np.random.default_rng([seed, index, 4])
        with_mn = index % 2 == 0
        yield paste_on(rng, cells[int(rng.integers(len(cells)))], with_mn), int(with_mn)


def simulated(indices: range, seed: int, giemsa: float = 0.75, counts: Chances = COUNTS) -> Iterator[Made]:
    """Cells of the simulator, each from a slide of its own, every other one with micronuclei."""
    for index in indices:
        rng = np.random.default_rng([seed, index, 5])
        stain: Stain = "giemsa" if rng.uniform() < giemsa else "fluorescence"
        wanted = int(rng.choice(counts[0], p=counts[1])) if index % 2 == 0 else 0
        kind: Kind = KINDS[0][int(rng.choice(len(KINDS[0]), p=KINDS[1]))]
        # Look-alikes and extreme scales more often than on the simulator's usual slide, in both classes alike.
        decoys = int(rng.integers(1, 4)) if rng.uniform() < 0.4 else None
        debris = int(rng.integers(1, 5)) if rng.uniform() < 0.3 else None
        width = float(rng.uniform(0.18, 0.60)) if rng.uniform() < 0.5 else None
        if wanted == 0 and rng.uniform() < 0.08:
            kind = "apoptotic"
        slide = draw_slide_appearance(rng, stain)
        bits = bits_of_file(rng, stain)
        spec = CellSpec(stain, wanted, kind, nucleus_fraction=width, decoys=decoys, debris=debris, bits=bits)
        cell = simulate_cell(rng, spec, slide)
        yield (cell.image if bits == 16 else np.asarray(Image.fromarray(cell.image).convert("RGB"))), cell.n_mn


def bits_of_file(rng: np.random.Generator, stain: Stain) -> Literal[8, 16]:
    """8 or 16, as `DEEP` says; stained cells have 8."""
    return 16 if stain == "fluorescence" and rng.uniform() < DEEP else 8


# What a process that makes cells runs. It imports no torch: that takes longer than making many cells does.


@dataclass(frozen=True, slots=True)
class Preparer:
    """From pictures to what a pool holds: the network's input before it is normalised.

    Attributes:
        colour_shares: of red, green and blue in the one channel that is kept; None keeps all three.
    """

    preparation: Preparation
    colour_shares: tuple[float, float, float] | None

    def picture(self, picture: Decoded) -> UInt8Array:
        """A picture as decoded -> (S, S, C)."""
        return self.crop(prepare_crop(picture, self.preparation))

    def crop(self, crop: UInt8Array) -> UInt8Array:
        """A prepared crop (S, S, 3) -> (S, S, C)."""
        seen = network_input(crop, self.preparation)
        if self.colour_shares is None:
            return seen
        return (seen @ np.array(self.colour_shares, np.float32) + 0.5).astype(np.uint8)[..., None]


Maker = Callable[[range], Iterator[Made]]


def made_part(maker: Maker, preparer: Preparer, indices: range) -> tuple[list[UInt8Array], list[int]]:
    """Make the cells of these numbers: prepared pictures, and how many micronuclei each has."""
    cells = [(preparer.picture(picture), n_mn) for picture, n_mn in maker(indices)]
    return [pixels for pixels, _ in cells], [n_mn for _, n_mn in cells]

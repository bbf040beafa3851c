"""Cells with known numbers of micronuclei to fit a counter on and to check it: labelled ones, and made ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mnbatch.assay.cells import Stain
from mnbatch.evaluation.labelled_cells import LabelledCell, UInt8Array
from mnbatch.evaluation.people import people_of
from mnbatch.imaging.preparation import Preparation, prepare_crop
from mnbatch.imaging.stain_recognition import recognise_stain, slide_stain
from mnbatch.training import synthetic_cells
from mnbatch.training.composite_scene import CANVAS
from mnbatch.training.real_pieces import PatchLibrary, load_library
from mnbatch.training.synthetic_cells import Maker
from mnbatch.training.training_pools import SMEARS_FOR_TRAINING, VALIDATION_SEED_STEP, Sources

SEEN = 24
"""Crops by which the stain of a donor or slide is judged, as in a run."""

TRAINING_COUNTS: synthetic_cells.Chances = ((1, 2, 3, 4), (0.40, 0.30, 0.20, 0.10))
"""Micronuclei of made training cells: enough with 2 and more; the fit's weights put the shares right again."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Cells of one kind, made when they are asked for.

    Attributes:
        data: what the card calls the set.
        cells: prepared crop, number of micronuclei, what the cell must stay together with in cross-validation.
    """

    name: str
    data: str
    cells: Iterable[tuple[UInt8Array, int, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """Labelled cells with their prepared crops (N, S, S, 3), in the same order."""

    cells: tuple[LabelledCell, ...]
    crops: UInt8Array

    def of_stain(self, stains: tuple[str, ...], with_mn_only: bool) -> Iterator[tuple[UInt8Array, int, str]]:
        """Counted cells of donors (or slides) of these stains."""
        members: dict[str, list[int]] = defaultdict(list)
        people = people_of(self.cells).names
        for place, name in enumerate(people):
            members[name].append(place)
        served = {
            g for g, places in members.items() if slide_stain([self._stain_of_cell(i) for i in places[:SEEN]]) in stains
        }
        for place, (cell, crop, name) in enumerate(zip(self.cells, self.crops, people, strict=True)):
            if cell.n_mn is not None and (cell.n_mn or not with_mn_only) and name in served:
                yield crop, cell.n_mn, name or f"#{place}"

    def _stain_of_cell(self, place: int) -> Stain:
        return recognise_stain(self.crops[place])

    def fluorescent(self) -> tuple[list[UInt8Array], npt.NDArray[np.int64]]:
        """Grey planes and counts of the counted fluorescence crops of the size that cells are drawn at."""
        kept = [
            (crop[..., 1], cell.n_mn)
            for cell, crop in zip(self.cells, self.crops, strict=True)
            if cell.n_mn is not None and len(crop) == CANVAS and recognise_stain(crop) == "fluorescence"
        ]
        return [grey for grey, _ in kept], np.array([n_mn for _, n_mn in kept], np.int64)


@dataclass(frozen=True, slots=True)
class Material:
    """Makes the sources of a model of these stains."""

    preparation: Preparation
    stains: tuple[str, ...]
    sources: Sources
    seed: int

    def training(self, own: Own, cells: int) -> list[Source]:
        """Cells with micronuclei: labelled ones of the model's stains, and `cells` of each synthetic source."""
        indices = range(0, 2 * cells, 2)  # even ones have micronuclei
        return [
            Source("labelled", "labelled", own.of_stain(self.stains, with_mn_only=True)),
            *self._made(own, indices, self.seed, TRAINING_COUNTS),
        ]

    def checks(self, own: Own, cells: int) -> list[Source]:
        """Held-out cells with and without micronuclei; made ones from another seed, with the usual numbers."""
        return [
            Source("labelled", "validation, labelled", own.of_stain(self.stains, with_mn_only=False)),
            *self._made(own, range(cells), self.seed + VALIDATION_SEED_STEP, synthetic_cells.COUNTS),
        ]

    def _made(self, own: Own, indices: range, seed: int, counts: synthetic_cells.Chances) -> list[Source]:
        if not indices:
            return []
        stained = ("giemsa" in self.stains) / len(self.stains)
        library = PatchLibrary()
        if self.sources.nuclei or self.sources.smears:
            library = load_library(self.sources.nuclei, self.sources.smears, smear_share=SMEARS_FOR_TRAINING)
        makers: dict[str, Maker] = {
            "composite": partial(
                synthetic_cells.composites, seed=seed, library=library, stained=stained, counts=counts
            ),
            "simulated": partial(synthetic_cells.simulated, seed=seed, giemsa=stained, counts=counts),
        }
        greys, numbers = own.fluorescent()
        if stained and (numbers > 0).any() and (numbers == 0).any():
            labels = (numbers > 0).tolist()
            crops = {"crops": greys, "labels": labels, "counts": numbers.tolist()}
            makers["dressed"] = partial(synthetic_cells.dressed, seed=seed, library=library, **crops)
        return [
            Source(name, f"{name} cells of seed {seed}", self._prepared(maker, indices))
            for name, maker in makers.items()
        ]

    def _prepared(self, maker: Maker, indices: range) -> Iterator[tuple[UInt8Array, int, str]]:
        for number, (picture, n_mn) in enumerate(maker(indices)):
            yield prepare_crop(picture, self.preparation), n_mn, f"#{number}"
